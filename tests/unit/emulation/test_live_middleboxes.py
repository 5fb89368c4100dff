"""Middleboxes on frames: what the relay makes of them is what virtual time makes of the same packets."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.emulation.frames import completed
from testbed.emulation.middleboxes import NEVER_NS, LiveMiddleboxes
from testbed.emulation.packet_socket import GSO_TCPV4, NEEDS_CSUM, VNET_BYTES, VNET_HEADER
from testbed.net.forwarding import ForwardingTable, Prefix
from testbed.net.middlebox import BACKWARD, BEHAVIOURS, FORWARD, Behaviour, Chain, Output
from testbed.net.network import Network
from testbed.net.simulator import Simulator
from testbed.wire.codec import decode, encode, offload_headers
from testbed.wire.options import NOP, Dss, Option, Timestamps
from testbed.wire.segment import ACK, FIN, PSH, SYN, Segment, SocketAddress
from topologies.link_profile import LinkProfile
from topologies.middlebox import Duplicate, parse

A, B = SocketAddress(bytes([10, 0, 1, 1]), 4000), SocketAddress(bytes([10, 0, 2, 2]), 5001)
A6, B6 = SocketAddress(bytes([0xFD, *bytes(14), 1]), 4000), SocketAddress(bytes([0xFD, *bytes(14), 2]), 5001)
MAC = bytes(range(12))
DSS: tuple[Option, ...] = (NOP, NOP, Timestamps(1, 2), NOP, NOP, Dss(data_ack=7, dsn=3, ssn=1, length=5))
SEED = 11


class Line:
    """Where a direction goes on."""

    def __init__(self) -> None:
        self.unsupported_frames = 0
        self.entered: list[tuple[int, bytes]] = []

    def enters(self, frame: bytes, now_ns: int) -> None:
        self.entered.append((now_ns, frame))

    def segments(self) -> list[tuple[int, Segment]]:
        return [(now_ns, decode(bytes(completed(frame)), VNET_BYTES + 14)) for now_ns, frame in self.entered]


def live(text: str, forward: str = "none") -> tuple[LiveMiddleboxes, Line, Line]:
    boxes = LiveMiddleboxes(Chain(parse(text), parse(forward), seed=SEED))
    lines = Line(), Line()
    boxes.lead_to(*lines)
    return boxes, *lines


def frame(segment: Segment, mac: bytes = MAC) -> bytes:
    ethertype = b"\x08\x00" if len(segment.source.host) == 4 else b"\x86\xdd"
    return bytes(VNET_BYTES) + mac + ethertype + encode(segment, identification=77)


def segment(number: int, way: int = FORWARD, flags: int = ACK, payload: bytes = b"12345", **values: int) -> Segment:
    ends = (A, B) if way == FORWARD else (B, A)
    return Segment(*ends, number, 1, flags, 100, DSS, payload, **values)


ARRIVALS = st.lists(
    st.tuples(st.integers(0, 400), st.sampled_from((FORWARD, BACKWARD)), st.sampled_from((0, 1, 700, 1400))),
    max_size=40,
)
CHAINS = st.lists(
    st.sampled_from(
        (
            "drop data and chance 30%",
            "drop any every 7",
            "delay 150ns data nth 2+5+9",
            "duplicate backward every 3",
            "hold data nth 3+4 until data nth 8 for 300ns",
            "hold forward every 5 until backward",
            "mark ce chance 50%",
            "strip mptcp on data every 2",
            "strip tcp.timestamps on ack close",
        )
    ),
    min_size=1,
    max_size=4,
).map(", ".join)


class Silent:
    """An end that notes what comes."""

    def __init__(self) -> None:
        self.arrived: list[tuple[int, Segment]] = []

    def segment_arrives(self, segment: Segment, now: int) -> None:
        self.arrived.append((now, segment))

    def segments_to_send(self, now: int) -> list[Segment]:
        return []

    def next_timeout(self) -> int | None:
        return None

    def handle_timeout(self, now: int) -> None:
        raise AssertionError


def virtual(text: str, arrivals: list[tuple[int, Segment, int]]) -> tuple[list[tuple[int, Segment]], ...]:
    """What comes out at b, and at a, in virtual time."""
    simulator = Simulator()
    network = Network(simulator)
    ends = Silent(), Silent()
    for name, end, address in (("a", ends[0], A.host), ("b", ends[1], B.host)):
        table = ForwardingTable()
        table.add_route(Prefix(bytes(4), 0, "link"))
        network.add_host(name, end, table, [address])
    wire = LinkProfile()
    network.add_link("link", ("a", "b"), wire, wire, (), SEED, parse(text))
    gate = network.links["link", "a"].gate
    assert gate is not None
    for now_ns, each, way in arrivals:
        simulator.call_at(now_ns, gate.arrives, each, way)
    simulator.run()
    return ends[1].arrived, ends[0].arrived


@settings(deadline=None)
@given(CHAINS, ARRIVALS)
def test_both_drivers_let_the_same_packets_go_at_the_same_times(text: str, steps: list[tuple[int, int, int]]) -> None:
    now_ns, arrivals = 0, []
    for number, (step_ns, way, octets) in enumerate(steps, start=1):
        now_ns += step_ns
        arrivals.append((now_ns, segment(number, way, payload=bytes(octets)), way))
    boxes, forward, backward = live(text)
    for now_ns, each, way in arrivals:
        boxes.frame_arrives(frame(each), way, now_ns)
    boxes.handle_due(NEVER_NS - 1)
    assert (forward.segments(), backward.segments()) == virtual(text, arrivals)
    assert boxes.due_ns == NEVER_NS


def test_what_nobody_touched_passes_byte_for_byte_even_after_it_was_kept() -> None:
    boxes, forward, _ = live("delay 50ns data nth 1, duplicate data nth 2")
    first, second = frame(segment(1)), frame(segment(2))
    boxes.frame_arrives(first, FORWARD, 10)
    assert (forward.entered, boxes.due_ns) == ([], 60)
    boxes.frame_arrives(second, FORWARD, 20)
    boxes.handle_due(70)
    assert forward.entered == [(20, second), (60, first), (60, first)]


def test_a_late_look_lets_packets_go_at_their_own_times_and_before_what_came_later() -> None:
    boxes, forward, _ = live("delay 50ns data nth 1+2")
    boxes.frame_arrives(frame(segment(1)), FORWARD, 10)
    boxes.frame_arrives(frame(segment(2)), FORWARD, 30)
    boxes.frame_arrives(frame(segment(3)), FORWARD, 70)
    assert [(now_ns, each.seq) for now_ns, each in forward.segments()] == [(60, 1), (70, 3)]
    boxes.handle_due(500)
    assert [(now_ns, each.seq) for now_ns, each in forward.segments()][2:] == [(80, 2)]


def test_what_is_changed_gets_right_checksums_in_both_families() -> None:
    for ends in ((A, B), (A6, B6)):
        boxes, forward, _ = live("mark ce any, strip mptcp")
        before = Segment(*ends, 1, 2, ACK | PSH, 100, DSS, b"odd")
        boxes.frame_arrives(frame(before), FORWARD, 0)
        ((_, out),) = forward.segments()  # decode refuses a wrong checksum
        assert (out.ecn, out.mptcp, out.payload, out.source) == (3, (), b"odd", ends[0])
        assert forward.entered[0][1][VNET_BYTES : VNET_BYTES + 12] == MAC


class Answering(Behaviour):
    """Passes what comes and answers it."""

    def process(self, segment: Segment, way: int, now: int, out: Output) -> None:
        out.pass_on(segment, way)
        out.pass_on(Segment(segment.destination, segment.source, 9, 9, ACK, 100), 1 - way)


class Merging(Behaviour):
    """Lets more go than fits into a packet."""

    def process(self, segment: Segment, way: int, now: int, out: Output) -> None:
        out.pass_on(Segment(segment.source, segment.destination, 1, 1, ACK, 100, DSS, bytes(2800)), way)


def test_an_answer_to_a_side_that_has_not_spoken_turns_the_addresses_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BEHAVIOURS, Duplicate, lambda value, seed: Answering())  # type: ignore[arg-type]
    boxes, forward, backward = live("duplicate any")
    boxes.frame_arrives(frame(segment(1)), FORWARD, 5)
    assert len(forward.entered) == 1
    ((_, answer),) = backward.entered
    assert answer[VNET_BYTES : VNET_BYTES + 12] == MAC[6:] + MAC[:6]
    assert decode(bytes(completed(answer)), VNET_BYTES + 14).source == B


def super_segment(payload: bytes, octets: int) -> bytes:
    whole = segment(100, flags=ACK | PSH | FIN, payload=payload)
    headers = offload_headers(whole)
    virtio = VNET_HEADER.pack(NEEDS_CSUM, GSO_TCPV4, 14 + len(headers), octets, 34, 16)
    return virtio + MAC + b"\x08\x00" + headers + payload


def test_a_super_segment_is_cut_before_it_is_counted() -> None:
    boxes, forward, _ = live("drop any nth 2")
    payload = bytes(range(250))
    boxes.frame_arrives(super_segment(payload, 100), FORWARD, 0)
    pieces = [each for _, each in forward.segments()]
    assert [(each.seq, each.payload) for each in pieces] == [(100, payload[:100]), (300, payload[200:])]
    assert [each.flags for each in pieces] == [ACK, ACK | PSH | FIN]


def test_a_payload_beyond_the_mtu_leaves_as_a_super_segment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BEHAVIOURS, Duplicate, lambda value, seed: Merging())  # type: ignore[arg-type]
    boxes, forward, _ = live("duplicate any")
    boxes.frame_arrives(frame(segment(1)), FORWARD, 0)
    flags, gso_type, _, gso_octets, _, _ = VNET_HEADER.unpack_from(forward.entered[0][1])
    headers = len(forward.entered[0][1]) - VNET_BYTES - 14 - 2800
    assert (flags, gso_type, gso_octets) == (NEEDS_CSUM, GSO_TCPV4, 1500 - headers)


def test_what_is_not_tcp_or_is_damaged_passes_untouched() -> None:
    boxes, forward, backward = live("drop any, strip mptcp")
    datagram = bytearray(frame(segment(1)))
    datagram[VNET_BYTES + 14 + 9] = 17
    damaged = bytearray(frame(segment(2)))
    damaged[-1] ^= 1
    for each in (datagram, damaged):
        boxes.frame_arrives(bytes(each), BACKWARD, 3)
    assert backward.entered == [(3, bytes(datagram)), (3, bytes(damaged))]
    assert forward.entered == []


def test_the_report_has_each_box_by_direction() -> None:
    boxes, _, _ = live("drop syn", "mark ce any")
    boxes.frame_arrives(frame(segment(1, flags=SYN)), FORWARD, 0)
    boxes.frame_arrives(frame(segment(1, way=BACKWARD)), BACKWARD, 0)
    rows = [(box.place, box.middlebox, box.direction, box.seen, box.dropped) for box in boxes.report()]
    assert rows == [
        ("link", "drop syn", "forward", 1, 1),
        ("link", "drop syn", "backward", 1, 0),
        ("forward", "mark ce any", "forward", 0, 0),
    ]
    assert (boxes.dropped(FORWARD), boxes.dropped(BACKWARD), boxes.changed(FORWARD)) == (1, 0, 0)
