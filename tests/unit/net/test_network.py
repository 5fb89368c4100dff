"""The network in virtual time, with toys for endpoints."""

from __future__ import annotations

import pytest

from testbed.net.capture import Capture
from testbed.net.forwarding import ForwardingTable, Prefix
from testbed.net.middlebox import BACKWARD, BEHAVIOURS, FORWARD, Behaviour, Output, changed
from testbed.net.network import HostNode, Network, cut
from testbed.net.simulator import Simulator
from testbed.wire import pcap
from testbed.wire.codec import decode
from testbed.wire.options import NOP, Timestamps
from testbed.wire.segment import ACK, CWR, FIN, PSH, Segment, SocketAddress
from topologies.link_profile import LinkProfile, QueueLimit
from topologies.middlebox import Drop, Duplicate, Middlebox, parse

A, B, C = bytes([10, 0, 1, 1]), bytes([10, 0, 2, 2]), bytes([10, 0, 1, 77])
MS = 1_000_000


def segment(number: int, source: bytes = A, destination: bytes = B, payload: bytes = b"x" * 1000) -> Segment:
    ends = SocketAddress(source, 4000), SocketAddress(destination, 5001)
    return Segment(*ends, number, 1, ACK, 100, (NOP, NOP, Timestamps(number, 0)), payload)


class Toy:
    """Sends what it was told when, and notes what came when."""

    def __init__(self, sends: tuple[tuple[int, Segment], ...] = ()) -> None:
        self.arrived: list[tuple[int, int]] = []
        self.timeouts: list[int] = []
        self._sends = list(sends)
        self._due: list[Segment] = []

    def segment_arrives(self, segment: Segment, now: int) -> None:
        self.arrived.append((now, segment.seq))

    def segments_to_send(self, now: int) -> list[Segment]:
        due, self._due = self._due, []
        return due

    def next_timeout(self) -> int | None:
        return self._sends[0][0] if self._sends else None

    def handle_timeout(self, now: int) -> None:
        self.timeouts.append(now)
        while self._sends and self._sends[0][0] <= now:
            self._due.append(self._sends.pop(0)[1])


def network(profile: LinkProfile, client: Toy, server: Toy) -> tuple[Simulator, Network, HostNode]:
    """Client, a wire, a router, the link, server."""
    simulator = Simulator()
    made = Network(simulator)
    tables = [ForwardingTable() for _ in range(3)]
    tables[0].add_route(Prefix(bytes(4), 0, "access"))
    tables[1].add_route(Prefix(bytes([10, 0, 2, 0]), 24, "path"))
    tables[1].add_route(Prefix(bytes([10, 0, 1, 0]), 24, "access"))
    tables[2].add_route(Prefix(bytes(4), 0, "path"))
    node = made.add_host("client", client, tables[0], [A])
    made.add_router("r", tables[1])
    made.add_host("server", server, tables[2], [B])
    made.add_link("access", ("client", "r"), LinkProfile(), LinkProfile())
    made.add_link("path", ("r", "server"), profile, LinkProfile())
    return simulator, made, node


def test_packets_cross_the_links_of_their_way_with_rate_and_delay() -> None:
    # frames of 1066 bytes: 1 ms each
    profile = LinkProfile(rate_bit_s=8_528_000, delay_ns=10 * MS, queue=QueueLimit(packets=10))
    client, server = Toy(((5 * MS, segment(1)), (5 * MS, segment(2)))), Toy()
    simulator, _, node = network(profile, client, server)
    node.flush()
    simulator.run()
    assert server.arrived == [(16 * MS, 1), (17 * MS, 2)]
    assert client.timeouts == [5 * MS]


def test_a_packet_without_a_route_and_one_for_a_stranger_are_counted() -> None:
    stranger = bytes([10, 0, 9, 9])
    client = Toy(((0, segment(1, destination=stranger)), (0, segment(2, destination=bytes(16)))))
    simulator, made, node = network(LinkProfile(), client, Toy())
    node.flush()
    simulator.run()
    assert made.unroutable == 2


def test_a_damaged_packet_is_dropped_by_the_receivers_checksum() -> None:
    client, server = Toy(tuple((n * MS, segment(n)) for n in range(1, 6))), Toy()
    simulator, made, node = network(LinkProfile(corruption=1.0), client, server)
    node.flush()
    simulator.run()
    assert server.arrived == []
    assert made.damaged == 5


def test_a_middlebox_sees_packets_before_the_link_does() -> None:
    client, server = Toy(((0, segment(1)), (0, segment(2)))), Toy()
    profile = LinkProfile(middleboxes=(Drop("tcp.timestamps nth 1"),))
    simulator, made, node = network(profile, client, server)
    node.flush()
    simulator.run()
    assert [number for _, number in server.arrived] == [2]
    assert made.links["path", "r"].direction.counters.arrived_packets == 1


class Rewriting(Behaviour):
    """Gives packets forward another destination and those backward back their old one; answers data."""

    def process(self, segment: Segment, way: int, now: int, out: Output) -> None:
        if way == BACKWARD:
            out.pass_on(changed(segment, destination=SocketAddress(A, 4000)), way)
            return
        out.pass_on(changed(segment, source=SocketAddress(C, 4000)), way)
        ends = {"source": segment.destination, "destination": segment.source}
        out.pass_on(changed(segment, seq=segment.seq + 500, payload=b"", **ends), BACKWARD)


def boxed(boxes: tuple[Middlebox, ...], profile: LinkProfile, client: Toy, server: Toy) -> tuple[Simulator, Network]:
    """Client, a wire, a router, a link with middleboxes, a router, a link, server."""
    simulator = Simulator()
    made = Network(simulator)
    tables = [ForwardingTable() for _ in range(4)]
    tables[0].add_route(Prefix(bytes(4), 0, "access"))
    tables[1].add_route(Prefix(bytes([10, 0, 2, 0]), 24, "path"))
    tables[1].add_route(Prefix(bytes([10, 0, 1, 0]), 24, "access"))
    tables[2].add_route(Prefix(bytes([10, 0, 2, 0]), 24, "exit"))
    tables[2].add_route(Prefix(bytes([10, 0, 0, 0]), 16, "path"))
    tables[3].add_route(Prefix(bytes(4), 0, "exit"))
    made.add_host("client", client, tables[0], [A])
    made.add_router("r1", tables[1])
    made.add_router("r2", tables[2])
    made.add_host("server", server, tables[3], [B])
    made.add_link("access", ("client", "r1"), LinkProfile(), LinkProfile())
    made.add_link("path", ("r1", "r2"), profile, profile, middleboxes=boxes)
    made.add_link("exit", ("r2", "server"), profile, profile)
    return simulator, made


def test_timers_of_middleboxes_run_in_virtual_time_and_what_they_let_go_crosses_the_link() -> None:
    client = Toy(tuple((n * MS, segment(n)) for n in range(4)))
    server = Toy()
    boxes = parse("delay 10ms data nth 2, hold data nth 3 until tcp.syn for 20ms")
    simulator, made = boxed(boxes, LinkProfile(delay_ns=5 * MS), client, server)
    made.hosts["client"].flush()
    simulator.run()
    # the third that the second box sees is the fourth packet: the second one comes to it 10 ms later
    assert server.arrived == [(10 * MS, 0), (12 * MS, 2), (21 * MS, 1), (33 * MS, 3)]
    assert made.links["path", "r1"].direction.counters.arrived_packets == 4


def test_packets_with_another_address_and_answers_find_their_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BEHAVIOURS, Duplicate, lambda value, seed: Rewriting())  # type: ignore[arg-type]
    client, server = Toy(((0, segment(1)),)), Toy(((20 * MS, segment(7, source=B, destination=C)),))
    simulator, made = boxed((Duplicate("any"),), LinkProfile(delay_ns=MS), client, server)
    assert made.reaches("client", A, B)
    assert not made.reaches("client", A, bytes([10, 0, 9, 9]))
    for name in ("client", "server"):
        made.hosts[name].flush()
    simulator.run()
    assert server.arrived == [(2 * MS, 1)]
    assert client.arrived == [(1 * MS, 501), (22 * MS, 7)]
    assert made.unroutable == 0
    gate = made.links["path", "r1"].gate
    assert gate is not None
    assert [gate.chain.changed(way) for way in (FORWARD, BACKWARD)] == [1, 1]


def test_a_packet_that_no_table_knows_behind_the_middleboxes_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BEHAVIOURS, Duplicate, lambda value, seed: Rewriting())  # type: ignore[arg-type]
    client, server = Toy(), Toy(((0, segment(7, source=B, destination=A)),))
    simulator, made = boxed((Duplicate("any"),), LinkProfile(), client, server)
    del made._owners[A]
    made.hosts["server"].flush()
    simulator.run()
    assert made.unroutable == 1
    assert client.arrived == []


def test_a_capture_has_headers_and_lengths_at_the_simulated_time() -> None:
    client, server = Toy(((3 * MS, segment(7)),)), Toy()
    simulator, made, node = network(LinkProfile(delay_ns=MS), client, server)
    sent, came = Capture(), Capture()
    node.captures["access"] = sent
    made.hosts["server"].captures["path"] = came
    node.flush()
    simulator.run()
    (first,), (second,) = pcap.read(sent.content()), pcap.read(came.content())
    assert (first.time_ns, second.time_ns) == (3 * MS, 4 * MS)
    assert first.length == 20 + 20 + 12 + 1000
    assert len(first.data) < first.length
    assert sent.packets == came.packets == 1


def test_a_super_segment_is_cut_as_gso_cuts_it() -> None:
    ends = SocketAddress(A, 4000), SocketAddress(B, 5001)
    options = (NOP, NOP, Timestamps(1, 2))
    whole = Segment(*ends, 2**32 - 100, 5, ACK | PSH | FIN | CWR, 9, options, bytes(250), gso_octets=100)
    pieces = cut(whole)
    assert [(each.seq, len(each.payload)) for each in pieces] == [(2**32 - 100, 100), (0, 100), (100, 50)]
    assert [each.flags for each in pieces] == [ACK | CWR, ACK, ACK | PSH | FIN]
    assert all(each.options == options and not each.gso_octets for each in pieces)


def test_the_capture_of_a_short_packet_can_be_read_back() -> None:
    capture = Capture()
    capture.add(segment(3, payload=b""), 0)
    (record,) = pcap.read(capture.content())
    assert decode(record.data) == segment(3, payload=b"")
