"""TCP flows through one bottleneck in virtual time: what a managed queue is measured with."""

from __future__ import annotations

import random
from collections.abc import Sequence

from testbed.mptcp.connection import Connection
from testbed.mptcp.parameters import Parameters
from testbed.mptcp.stack import Stack
from testbed.net.forwarding import ForwardingTable, Prefix
from testbed.net.managed_direction import ManagedDirection
from testbed.net.network import Network
from testbed.net.queues import Waiting
from testbed.net.simulator import Simulator
from testbed.tcp.parameters import Parameters as TcpParameters
from testbed.wire.segment import Segment, SocketAddress
from topologies.link_profile import LinkProfile

MS = 1_000_000
SECOND = 1_000_000_000
HERE, THERE = bytes([10, 0, 1, 1]), bytes([10, 0, 1, 2])
CHUNK = bytes(1 << 16)


class Sender:
    """A stack whose connections always have more to send; sparse ones a little, now and then."""

    def __init__(self, stack: Stack, greedy: Sequence[Connection], sparse: Sequence[Connection], gap_ns: int) -> None:
        self.stack, self.greedy, self.sparse, self.gap_ns = stack, greedy, sparse, gap_ns
        self.next_ns = SECOND

    def segment_arrives(self, segment: Segment, now: int) -> None:
        self.stack.segment_arrives(segment, now)

    def segments_to_send(self, now: int) -> list[Segment]:
        for connection in self.greedy:
            while connection.send(CHUNK, now) == len(CHUNK):
                pass
        return self.stack.segments_to_send(now)

    def next_timeout(self) -> int | None:
        due = self.stack.next_timeout()
        return self.next_ns if due is None else min(due, self.next_ns)

    def handle_timeout(self, now: int) -> None:
        if now >= self.next_ns:
            self.next_ns += self.gap_ns
            for connection in self.sparse:
                connection.send(b"x" * 100, now)
        self.stack.handle_timeout(now)


class Receiver:
    """A stack that reads everything."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.listener = stack.listen(5001)
        self.received: list[int] = []
        """Octets of each connection, in the order in which they came."""
        self._connections: list[Connection] = []

    def segment_arrives(self, segment: Segment, now: int) -> None:
        self.stack.segment_arrives(segment, now)
        while (connection := self.listener.accept()) is not None:
            self._connections.append(connection)
            self.received.append(0)
        for index, connection in enumerate(self._connections):
            while data := connection.receive(1 << 20):
                self.received[index] += len(data)

    def segments_to_send(self, now: int) -> list[Segment]:
        return self.stack.segments_to_send(now)

    def next_timeout(self) -> int | None:
        return self.stack.next_timeout()

    def handle_timeout(self, now: int) -> None:
        self.stack.handle_timeout(now)


class Bottleneck:
    """``greedy`` and ``sparse`` TCP flows over one link; its forward direction is ``profile``."""

    def __init__(
        self, profile: LinkProfile, *, greedy: int = 1, sparse: int = 0, ecn: bool = False, delay_ns: int = 20 * MS
    ) -> None:
        self.simulator = Simulator()
        self.network = Network(self.simulator)
        parameters = Parameters(enabled=False, tcp=TcpParameters(ecn=ecn))
        client, server = (
            Stack([address], parameters, random.Random(seed)) for seed, address in ((1, HERE), (2, THERE))
        )
        connections = [client.connect(SocketAddress(THERE, 5001), 0) for _ in range(greedy + sparse)]
        self.connections = connections
        sender = Sender(client, connections[:greedy], connections[greedy:], 10 * MS)
        self.receiver = Receiver(server)
        tables = [ForwardingTable() for _ in range(2)]
        for table in tables:
            table.add_route(Prefix(bytes(4), 0, "path"))
        node = self.network.add_host("client", sender, tables[0], [HERE])
        self.network.add_host("server", self.receiver, tables[1], [THERE])
        self.network.add_link("path", ("client", "server"), profile, LinkProfile(delay_ns=delay_ns), seed=3)
        link = self.network.links["path", "client"]
        assert isinstance(link.direction, ManagedDirection)
        self.direction = link.direction
        self.sojourns: dict[int, list[int]] = {}
        """Source port -> ns that each packet with data waited, of those that left after the first two seconds."""
        self._propagation_ns = profile.delay_ns
        assert link.queue is not None
        self._leave, link.queue._leave = link.queue._leave, self._watched
        node.flush()

    def _watched(self, segment: Segment, way: object, item: Waiting) -> None:
        if self.simulator.now_ns > 2 * SECOND and segment.payload:
            waited_ns = item.release_ns - self._propagation_ns - item.arrived_ns
            self.sojourns.setdefault(segment.source.port, []).append(waited_ns)
        self._leave(segment, way, item)

    def run(self, duration_ns: int) -> None:
        self.simulator.run(duration_ns)

    def waits_of(self, flow: int) -> list[int]:
        """Of the flow ``flow``, serialisation included, in ascending order."""
        return sorted(self.sojourns[self.connections[flow].subflows[0].tcp.local.port])
