"""Any sequence of segments, however absurd, leaves a stack in order: no exception, bounded memory, sane tables."""

from __future__ import annotations

import random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from raw_peer import HOST, KEY, PORT, RawBench

from testbed.mptcp.keys import add_addr_hmac, idsn_of, join_hmac, token_of
from testbed.mptcp.parameters import Parameters
from testbed.tcp.parameters import Parameters as TcpParameters
from testbed.wire.options import (
    AddAddr,
    Dss,
    MpCapable,
    MpFail,
    MpFastclose,
    MpJoin,
    MpPrio,
    MpTcprst,
    Option,
    RemoveAddr,
    Sack,
    Timestamps,
    Unknown,
)
from testbed.wire.segment import ACK, FIN, PSH, RST, SYN, URG, Segment, SocketAddress

M32, M64 = 2**32 - 1, 2**64 - 1
SECOND = 1_000_000_000


class Attacker:
    """Knows both keys and guesses numbers near the right ones: the hardest kind of nonsense."""

    def __init__(self, chance: random.Random, parameters: Parameters) -> None:
        self.chance = chance
        self.bench = RawBench(parameters)
        self.flow, self.connection, self.key = self.bench.connected_client()
        if chance.getrandbits(1):
            self.bench.say_dss(self.flow, self.key)
        self.nonce = 5

    def near(self, number: int, mask: int) -> int:
        step = self.chance.choice((0, 0, 0, 0, 1, -1, 100, 1400, -1400, 70_000, 2**31, -(2**20)))
        return (number + step) & mask

    def option(self) -> Option:
        chance = self.chance
        own = idsn_of(KEY) + 1
        theirs = idsn_of(self.key) + 1
        address = bytes((10, 9, chance.randrange(3), chance.randrange(4)))
        ident = chance.randrange(6)
        kind = chance.randrange(14)
        if kind == 0:
            return MpCapable(chance.randrange(256), *chance.choice(((), (KEY,), (KEY, self.key), (KEY, self.key, 100))))
        if kind == 1:
            return MpJoin(ident, bool(chance.getrandbits(1)), token=token_of(self.key), nonce=self.nonce)
        if kind == 2:
            return MpJoin(hmac=join_hmac(KEY, self.key, self.nonce, chance.randrange(8))[:20])
        if kind == 3:
            proof = add_addr_hmac(KEY, self.key, ident, address, None)
            return AddAddr(ident, address, None, chance.choice((proof, bytes(8), None)))
        if kind == 4:
            return RemoveAddr((ident, chance.randrange(256)))
        if kind == 5:
            return chance.choice((MpPrio(True), MpTcprst(chance.randrange(9), True), Unknown(30, b"\xf0x")))
        if kind == 6:
            right = chance.randrange(20) == 0
            return chance.choice((MpFail(self.near(own, M64)), MpFastclose(self.key if right else 1)))
        if kind == 7:
            start = self.near(self.flow.ack, M32)
            return Sack(((start, (start + chance.randrange(5000)) & M32),))
        if kind == 8:
            return Timestamps(chance.randrange(2**32), chance.randrange(2**32))
        length = chance.choice((0, 1, 10, 100, 1000, 65535))
        return Dss(
            data_ack=chance.choice((None, self.near(theirs, M64))),
            dsn=chance.choice((None, self.near(own, M64))),
            ssn=self.near(1, M32),
            length=length,
            checksum=chance.choice((None, None, None, 7)),
            data_fin=chance.randrange(6) == 0,
        )

    def segment(self) -> Segment:
        chance = self.chance
        flags = chance.choice((ACK,) * 14 + (ACK | PSH, ACK | FIN, SYN, SYN | ACK, RST, RST | ACK, ACK | URG, 0))
        options = tuple(self.option() for _ in range(chance.choice((0, 1, 1, 1, 2, 3))))
        payload = bytes(chance.choice((0, 0, 1, 10, 100, 1400)))
        source = self.flow.own
        if chance.randrange(4) == 0:
            source = SocketAddress(source.host, 6000 + chance.randrange(12))
        destination = SocketAddress(HOST, PORT if chance.randrange(8) else 1)
        return Segment(
            source,
            destination,
            self.near(self.flow.seq, M32),
            self.near(self.flow.ack, M32),
            flags,
            chance.choice((0, 1, 1000, 65535)),
            options,
            payload,
            chance.randrange(100),
        )

    def step(self) -> None:
        chance = self.chance
        bench = self.bench
        kind = chance.randrange(12)
        if kind == 0:
            bench.wait(chance.choice((1, 10**6, 10**8, 3 * SECOND, 100 * SECOND)))
        elif kind == 1 and not self.connection.is_closed and not self.connection.error:
            try:
                self.connection.send(bytes(chance.randrange(1, 5000)), bench.now)
            except Exception as refusal:
                assert type(refusal).__name__ == "NotOpen"
        elif kind == 2:
            while self.connection.receive(1 << 16):
                pass
        elif kind == 3 and chance.randrange(8) == 0:
            self.connection.close(bench.now)
        else:
            segment = self.segment()
            out = self.flow.hear(bench.deliver(segment))
            if segment.source == self.flow.own and out and chance.getrandbits(1):
                self.flow.seq = out[-1].ack  # the peer goes on where the stack expects it

    def check(self) -> None:
        stack = self.bench.stack
        limit = self.connection.parameters.subflows_limit
        known = stack.connections
        for key, subflow in stack.flows.items():
            assert key == (subflow.tcp.local, subflow.tcp.remote)
            assert subflow.connection in known
        for connection in known:
            live = [subflow for subflow in connection.subflows if not subflow.is_gone]
            assert len(live) <= limit + 8  # those in TIME_WAIT beside them
            assert len(connection.signalling.book.remotes) <= connection.parameters.add_addr_accepted_limit
            assert all(len(subflow.signals) <= 32 for subflow in live)
        assert len(known) <= 40
        assert len(stack.tokens) <= len(known)
        assert len(self.bench.stack._timers) < 2000


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32), st.booleans(), st.booleans(), st.integers(20, 120))
def test_a_stack_survives_any_segments(seed: int, checksum: bool, sack: bool, steps: int) -> None:
    parameters = Parameters(
        checksum=checksum, path_manager="fullmesh", subflows_limit=4, tcp=TcpParameters(sack=sack, keepalive_ns=None)
    )
    attacker = Attacker(random.Random(seed), parameters)
    for _ in range(steps):
        attacker.step()
        attacker.check()
    for connection in attacker.bench.stack.connections:
        connection.abort(attacker.bench.now)
    attacker.bench.flush()
    attacker.bench.wait(1000 * SECOND)
    stack = attacker.bench.stack
    assert stack.connections == []
    assert stack.flows == {}
    assert len(stack.tokens) == 0
    assert stack.next_timeout() is None


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32))
def test_the_same_segments_give_the_same_answers(seed: int) -> None:
    def answers() -> list[str]:
        attacker = Attacker(random.Random(seed), Parameters(path_manager="signal"))
        for _ in range(40):
            attacker.step()
        return [repr(segment) for segment in attacker.bench.sent]

    assert answers() == answers()
