"""Addresses come and go, paths fail and return, priorities change, options are lost: the bytes arrive all the same."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from two_hosts import MS, SECOND, Path, TwoHosts

from testbed.mptcp.connection import Connection
from testbed.mptcp.parameters import Parameters
from testbed.tcp.parameters import Parameters as TcpParameters

OCTETS = 400_000


class Journey:
    """A transfer both ways while things happen; the first path stays, so that nothing can be lost for good."""

    def __init__(self, seed: int) -> None:
        chance = self.chance = random.Random(seed)
        managers = ("signal", "subflow", "fullmesh", "ndiffports", "backup", "none")
        paths = [
            Path(
                delay_ns=chance.choice((1, 10, 40)) * MS,
                rate_bits=chance.choice((2, 10, 50)) * 1_000_000,
                loss=chance.choice((0.0, 0.0, 0.01, 0.05)),
                duplicates=chance.choice((0.0, 0.02)),
                jitter_ns=chance.choice((0, 0, 5)) * MS,
            )
            for _ in range(chance.choice((2, 3)))
        ]
        tcp = TcpParameters(timestamps=chance.randrange(3) > 0, sack=chance.randrange(4) > 0)
        checksum = chance.randrange(3) == 0

        def side() -> Parameters:
            return Parameters(
                path_manager=chance.choice(managers),
                checksum=checksum,
                tcp=tcp,
                subflows_limit=chance.choice((2, 4, 8)),
                scheduler=chance.choice(("lowest-rtt", "round-robin", "redundant")),
                subflow_jitter_ns=chance.choice((0, 50 * MS)),
            )

        self.hosts = TwoHosts(side(), side(), paths=paths, seed=seed, full_mesh=chance.getrandbits(1) == 1)
        self.data = (chance.randbytes(OCTETS), chance.randbytes(OCTETS))

    def disturb(self, ends: tuple[Connection, Connection]) -> None:
        chance, hosts = self.chance, self.hosts
        side = chance.randrange(2)
        stack, connection = (hosts.client, hosts.server)[side], ends[side]
        addresses = (hosts.client_addresses, hosts.server_addresses)[side]
        number = chance.randrange(1, len(addresses))
        kind = chance.randrange(5)
        if kind == 0:
            stack.remove_address(addresses[number], hosts.now)
        elif kind == 1:
            stack.add_address(addresses[number], hosts.now)
        elif kind == 2:
            hosts.paths[number].is_up = not hosts.paths[number].is_up
        elif kind == 3 and connection.subflows:
            connection.signalling.set_backup(chance.choice(connection.subflows), bool(chance.getrandbits(1)))
        elif kind == 4 and len(connection.subflows) > 1 and not connection.fallen_back:
            connection.signalling.close_subflow(connection.subflows[-1], hosts.now)

    def go(self) -> tuple[bytes, bytes]:
        """What the server and the client got."""
        hosts, chance = self.hosts, self.chance
        ends = hosts.connect()
        offsets = [0, 0]
        received = [bytearray(), bytearray()]
        disturbances = chance.randrange(12)
        due = hosts.now + chance.randrange(300 * MS)
        limit = hosts.now + 900 * SECOND
        while hosts.now < limit and not all(len(got) >= OCTETS for got in received):
            for number in range(2):
                if offsets[number] < OCTETS:
                    offsets[number] += ends[number].send(self.data[number][offsets[number] :][:65536], hosts.now)
                while piece := ends[1 - number].receive(1 << 16):
                    received[1 - number] += piece
            if disturbances and hosts.now >= due:
                disturbances -= 1
                self.disturb(ends)
                due = hosts.now + chance.randrange(500 * MS)
            if not hosts.step(min(limit, due) if disturbances else limit):
                hosts.now = min(limit, due) if disturbances else limit
        for end in ends:
            end.close(hosts.now)
        hosts.run(2000 * SECOND)  # R2 of a FIN on a path that is gone
        return bytes(received[1]), bytes(received[0])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32))
def test_addresses_in_motion_lose_and_repeat_no_octet(seed: int) -> None:
    journey = Journey(seed)
    at_server, at_client = journey.go()
    assert (at_server, at_client) == journey.data
    for stack in (journey.hosts.client, journey.hosts.server):
        assert stack.connections == []
        assert stack.flows == {}
        assert len(stack.tokens) == 0
        assert stack.next_timeout() is None
