"""The columns of the capture engine against a plain dissection of each packet: any segment, any frame, any octets."""

from __future__ import annotations

import numpy as np
from capture_reference import (
    Frame,
    NotTcp,
    batch_rows,
    dissect_frame,
    records_of,
    row_values,
)
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from wire_values import ONE_OF_EACH, damaged_areas, segments, u8, u16, u32

from analysis.capture.batch import CUT_HEADER, CUT_OPTIONS, FRAGMENT, MALFORMED_OPTIONS, joined
from analysis.capture.dissection import dissect
from analysis.capture.flows import Flows
from analysis.capture.layouts import Layouts
from analysis.capture.reasons import reason_in_words
from testbed.wire.codec import encode
from testbed.wire.segment import Segment, SocketAddress

HERE, THERE = SocketAddress(b"\x0a\0\0\1", 1000), SocketAddress(b"\x0a\0\0\2", 2000)
HERE6, THERE6 = SocketAddress(bytes(15) + b"\1", 1000), SocketAddress(bytes(15) + b"\2", 2000)
TAGS = (b"\x81\x00", b"\x88\xa8", b"\x91\x00")
SLOW = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def check(frames: list[Frame], layouts: Layouts | None = None, flows: Flows | None = None, filler: int = 0xA5) -> None:
    """The batch of these frames says of each what the reference says, and its layouts and flows are theirs."""
    layouts = Layouts() if layouts is None else layouts
    flows = Flows() if flows is None else flows
    found = dissect(records_of(frames, filler), flows, layouts)
    expected, reasons = [], {}
    for number, frame in enumerate(frames, 1):
        try:
            expected.append((number, frame, dissect_frame(frame)))
        except NotTcp as reason:
            reasons[str(reason)] = reasons.get(str(reason), 0) + 1
    said: dict[str, int] = {}
    for code, count in found.not_tcp.items():
        said[reason_in_words(code)] = said.get(reason_in_words(code), 0) + count
    assert said == reasons
    batch = found.batch
    assert batch.frame.tolist() == [number for number, _, _ in expected]
    assert batch_rows(batch) == [row_values(row) for _, _, row in expected]
    assert [flows[number] for number in batch.flow] == [row.flow for _, _, row in expected]
    assert batch.wire_octets.tolist() == [frame.wire for _, frame, _ in expected]
    assert batch.captured_octets.tolist() == [len(frame.data) for _, frame, _ in expected]
    for number, (_, _, row) in zip(batch.layout, expected, strict=True):
        layout = layouts.layouts[number]
        assert (layout.octets, layout.padding) == (row.area_octets, row.padding)
        if not layout.text.count("other"):
            assert (list(layout.items), layout.text) == (row.items, row.text)


def with_area(area: bytes) -> bytes:
    """An IPv4 packet whose TCP option area is any octets."""
    area += bytes(-len(area) % 4)
    packet = bytearray(encode(Segment(HERE, THERE, 1, 2, 0x10, 3, (), b"payload")))
    packet[2:4] = (len(packet) + len(area)).to_bytes(2, "big")
    packet[32] = (20 + len(area)) // 4 << 4
    return bytes(packet[:40]) + area + bytes(packet[40:])


@st.composite
def ipv4_extras(draw: st.DrawFn, packet: bytes) -> bytes:
    """The packet with IP options, as a fragment, or with a length that is not its own."""
    header = bytearray(packet[:20])
    options = draw(st.binary(max_size=40).map(lambda data: data[: len(data) & ~3]))
    header[0] = 0x40 | (5 + len(options) // 4)
    total = len(packet) + len(options)
    change = draw(st.sampled_from(("none", "none", "zero", "more", "less", "any")))
    total = {"zero": 0, "more": total + 7, "less": max(total - 7, 0), "any": draw(u16)}.get(change, total)
    header[2:4] = (total & 0xFFFF).to_bytes(2, "big")
    header[6:8] = draw(st.sampled_from((0x4000, 0, 0x2000, 0x6000, 0x2001, 0x0001, 0x1FFF))).to_bytes(2, "big")
    header[9] = draw(st.sampled_from((6, 6, 6, 6, 17, 1)))
    return bytes(header) + options + packet[20:]


@st.composite
def extension(draw: st.DrawFn, kind: int, following: int) -> bytes:
    """An IPv6 extension header."""
    if kind == 44:
        return (
            bytes((following, draw(u8)))
            + draw(st.sampled_from((0, 1, 8, 6))).to_bytes(2, "big")
            + draw(u32).to_bytes(4, "big")
        )
    units = draw(st.integers(0, 3))
    if kind == 51:
        return bytes((following, units)) + draw(st.binary(min_size=4 * units + 6, max_size=4 * units + 6))
    body = draw(st.binary(min_size=8 * units + 6, max_size=8 * units + 6))
    if kind == 0 and draw(st.booleans()):
        jumbo = b"\xc2\x04" + draw(st.sampled_from((0, 60, 100, 70_000, 1 << 31))).to_bytes(4, "big")
        body = (draw(st.sampled_from((b"", b"\0\0", b"\1\1\0\0"))) + jumbo + bytes(len(body)))[: len(body)]
    return bytes((following, units)) + body


@st.composite
def ipv6_extras(draw: st.DrawFn, packet: bytes) -> bytes:
    """The packet with extension headers, or with a length that is not its own."""
    kinds = draw(st.lists(st.sampled_from((0, 43, 44, 51, 60)), max_size=4))
    following = draw(st.sampled_from((6, 6, 6, 6, 17, 59)))
    headers = b""
    for kind in reversed(kinds):
        headers = draw(extension(kind, following)) + headers
        following = kind
    header = bytearray(packet[:40])
    header[6] = following
    length = len(packet) - 40 + len(headers)
    length = draw(st.sampled_from((length, length, 0, length + 9, max(length - 9, 0))))
    header[4:6] = (length & 0xFFFF).to_bytes(2, "big")
    return bytes(header) + headers + packet[40:]


@st.composite
def framed(draw: st.DrawFn, packet: bytes) -> tuple[int, bytes]:
    """The packet behind a link header of any kind."""
    four = packet[:1] < b"\x60"
    ethertype = b"\x08\x00" if four else b"\x86\xdd"
    link = draw(st.sampled_from((0, 1, 1, 1, 9, 12, 14, 50, 101, 108, 113, 228 if four else 229, 276, 7)))
    tags = b"".join(
        draw(st.sampled_from(TAGS)) + draw(st.binary(min_size=2, max_size=2)) for _ in range(draw(st.integers(0, 2)))
    )
    if link == 1:
        return link, bytes(12) + tags + ethertype + packet
    if link == 113:
        device = draw(st.sampled_from((b"\0\1", b"\x03\x38", b"\x03\x04")))
        return link, b"\0\4" + device + bytes(10) + (tags + ethertype) + packet
    if link == 276:
        device = draw(st.sampled_from((b"\0\1", b"\x03\x38", b"\x03\x04")))
        chain = tags + ethertype
        return link, chain[:2] + bytes(6) + device + bytes(10) + chain[2:] + packet
    if link in (0, 108):
        family = 2 if four else draw(st.sampled_from((10, 24, 28, 30)))
        order = draw(st.sampled_from(("big", "little"))) if link == 0 else "big"
        return link, family.to_bytes(4, order) + packet  # type: ignore[arg-type]
    if link in (9, 50):
        protocol = b"\x21" if four else b"\x57"
        front = draw(st.sampled_from((b"", b"\xff\x03")))
        if link == 50 and draw(st.booleans()):
            return link, b"\x0f\x00" + ethertype + packet
        return link, front + draw(st.sampled_from((b"", b"\0"))) + protocol + packet
    return link, packet


@st.composite
def frames(draw: st.DrawFn, damage: bool = True) -> Frame:
    """Anything that a capture may have of a TCP segment: with extras below it, padded, cut, and sometimes damaged."""
    packet = draw(st.one_of(segments().map(encode), damaged_areas.map(with_area)))
    if draw(st.booleans()):
        packet = draw(ipv4_extras(packet) if packet[0] >> 4 == 4 else ipv6_extras(packet))
    link, data = draw(framed(packet))
    data += bytes(draw(st.sampled_from((0, 0, 6, 18))))
    wire = len(data)
    if draw(st.booleans()):
        data = data[: draw(st.integers(0, 160))]
    if damage and data and draw(st.booleans()):
        octets = bytearray(data)
        for place in draw(st.lists(st.integers(0, min(len(data), 120) - 1), max_size=3)):
            octets[place] = draw(u8)
        data = bytes(octets)
    wire = draw(st.sampled_from((wire, wire, wire, wire - 3, len(data), 0, wire + 5)))
    return Frame(link, data, max(wire, 0), draw(st.integers(0, 1 << 60)), draw(st.integers(0, 3)))


@SLOW
@given(st.lists(frames(), min_size=1, max_size=12), st.sampled_from((0x00, 0xA5, 0xFF, 0x03, 0x08)))
def test_columns_say_what_a_plain_dissection_says(given_frames: list[Frame], filler: int) -> None:
    check(given_frames, filler=filler)


@SLOW
@given(st.lists(frames(), min_size=1, max_size=12), st.integers(1, 3), st.integers(1, 2))
def test_more_layouts_than_are_kept_change_no_column(given_frames: list[Frame], limit: int, templates: int) -> None:
    layouts = Layouts(limit=limit, templates=templates)
    flows = Flows()
    for _ in range(2):
        check(given_frames, layouts, flows)
    assert len(set(layouts.layouts[limit:])) == len(layouts.layouts[limit:])


@SLOW
@given(
    st.lists(
        st.tuples(st.sampled_from((0, 1, 9, 50, 101, 108, 113, 228, 229, 276)), st.binary(max_size=120)), min_size=1
    )
)
def test_any_octets_are_dissected_or_counted_with_a_reason(given_octets: list[tuple[int, bytes]]) -> None:
    check([Frame(link, data, len(data)) for link, data in given_octets])


@SLOW
@given(st.lists(st.binary(max_size=40), min_size=1, max_size=60))
@example(
    [
        bytes(range(40)),
        b"\x08\x0a" * 20,
        b"\x1e\x04\x20\x00" * 10,
        b"\xff\x02" * 20,
        b"\x01" * 40,
        b"\x05\x0a" + b"x" * 30,
    ]
)
def test_any_option_area_is_taken_apart_or_marked(areas: list[bytes]) -> None:
    check([Frame(101, with_area(area), len(with_area(area))) for area in areas])


def test_every_option_and_every_cut_of_it() -> None:
    whole = [encode(Segment(HERE, THERE, 5, 6, 0x18, 7, area, b"data")) for area in ONE_OF_EACH]
    whole += [encode(Segment(HERE6, THERE6, 5, 6, 0x18, 7, area, b"data")) for area in ONE_OF_EACH]
    cuts = [Frame(101, packet[:size], len(packet)) for packet in whole for size in range(len(packet) + 1)]
    check(cuts)
    found = dissect(records_of(cuts), Flows(), Layouts()).batch
    assert np.count_nonzero(found.status & CUT_OPTIONS) > 1000
    assert np.count_nonzero(found.status & CUT_HEADER) == len(whole) * 16


def test_what_was_cut_is_not_read_from_what_lies_behind_it() -> None:
    packet = encode(Segment(HERE, THERE, 5, 6, 0x18, 7, ONE_OF_EACH[0], b"data"))
    for filler in range(256):
        check([Frame(101, packet[:size], len(packet)) for size in range(20, 60)], filler=filler)


def test_flows_are_numbered_by_their_first_packets_whatever_the_chunks() -> None:
    random = np.random.default_rng(5)
    ends = []
    for _ in range(3000):
        here, there = (HERE, THERE) if random.integers(2) else (HERE6, THERE6)
        ports = random.integers(0, 40, 2)
        ends.append((SocketAddress(here.host, int(ports[0])), SocketAddress(there.host, int(ports[1]))))
    packets = [encode(Segment(here, there, 0, 0, 0x10, 0)) for here, there in ends]
    made = [Frame(101, packet, len(packet)) for packet in packets]
    first: dict[object, int] = {}
    for pair in ends:
        first.setdefault(pair, len(first))
    for size in (3000, 700, 37):
        flows, layouts = Flows(), Layouts()
        batches = [dissect(records_of(made[at : at + size]), flows, layouts).batch for at in range(0, 3000, size)]
        assert joined(batches).flow.tolist() == [first[pair] for pair in ends]
        assert [(f.source, f.source_port, f.destination, f.destination_port) for f in flows] == [
            (a.host, a.port, b.host, b.port)
            for a, b in first  # type: ignore[misc]
        ]


def test_thousands_of_layouts_do_not_blow_up() -> None:
    random = np.random.default_rng(6)
    areas = [random.integers(0, 256, 40, dtype=np.uint8).tobytes() for _ in range(4000)]
    layouts = Layouts(limit=500)
    made = [Frame(101, with_area(area), 87) for area in areas]
    check(made, layouts)
    assert 500 < len(layouts.layouts) < 500 + 11 * 41
    check(made, layouts)


def test_joined_batches_are_the_batch_of_the_whole() -> None:
    made = [
        Frame(101, encode(Segment(HERE, THERE, at, 6, 0x18, 7, area, b"data")), 99)
        for at, area in enumerate(ONE_OF_EACH)
    ]
    flows, layouts = Flows(), Layouts()
    whole = dissect(records_of(made), flows, layouts).batch
    parts = [
        dissect(records_of(made[at : at + 5], first_frame=at + 1), flows, layouts).batch
        for at in range(0, len(made), 5)
    ]
    together = joined(parts)
    assert batch_rows(together) == batch_rows(whole)
    assert together.frame.tolist() == whole.frame.tolist()
    assert together.rare.row.tolist() == whole.rare.row.tolist()


def test_a_first_fragment_is_a_row_that_says_so_and_later_ones_are_counted() -> None:
    packet = bytearray(encode(Segment(HERE, THERE, 5, 6, 0x18, 7, (), bytes(40))))
    packet[6:8] = b"\x20\x00"
    later = bytes(packet[:6]) + b"\x00\x08" + bytes(packet[8:])
    found = dissect(records_of([Frame(101, bytes(packet), 80), Frame(101, later, 80)]), Flows(), Layouts())
    assert found.batch.status.tolist() == [FRAGMENT]
    assert found.fragments == 1 and found.incomplete == 0
    assert {reason_in_words(code): count for code, count in found.not_tcp.items()} == {"fragment after the first": 1}


def test_a_super_segment_without_a_length_has_the_payload_of_the_wire() -> None:
    packet = bytearray(encode(Segment(HERE, THERE, 5, 6, 0x18, 7, (), b"begin")))
    packet[2:4] = b"\0\0"
    packet6 = bytearray(encode(Segment(HERE6, THERE6, 5, 6, 0x18, 7, (), b"begin")))
    packet6[4:6] = b"\0\0"
    found = dissect(
        records_of([Frame(101, bytes(packet), 150_040), Frame(101, bytes(packet6), 150_060)]), Flows(), Layouts()
    )
    assert found.batch.payload.tolist() == [150_000, 150_000]


def test_a_header_longer_than_its_segment_has_no_payload() -> None:
    packet = bytearray(encode(Segment(HERE, THERE, 5, 6, 0x18, 7)))
    packet[32] = 0xF0
    found = dissect(records_of([Frame(101, bytes(packet), 40)]), Flows(), Layouts()).batch
    assert (found.payload[0], found.status[0], found.tcp_header_octets[0]) == (0, MALFORMED_OPTIONS, 60)


def test_one_octet_of_ppp_is_not_taken_for_more() -> None:
    for octet in range(256):
        check([Frame(9, bytes((octet,)), 50), Frame(50, bytes((octet,)), 50)], filler=3)


def test_every_cut_of_every_link_header() -> None:
    packet = encode(Segment(HERE, THERE, 5, 6, 0x18, 7, ONE_OF_EACH[0], b"data"))
    tagged = b"\x81\x00\x00\x01\x88\xa8\x00\x02\x08\x00"
    headers = {
        1: bytes(12) + tagged,
        113: b"\0\4\0\1" + bytes(10) + tagged,
        276: tagged[:2] + bytes(6) + b"\0\1" + bytes(10) + tagged[2:],
        0: b"\2\0\0\0",
        108: b"\0\0\0\2",
        9: b"\xff\x03\x00\x21",
        50: b"\x0f\x00\x08\x00",
        101: b"",
    }
    for filler in (0x00, 0x08, 0x45, 0x81, 0xFF):
        for link, header in headers.items():
            data = header + packet
            check([Frame(link, data[:size], len(data)) for size in range(len(header) + 24)], filler=filler)


def test_every_mptcp_option_of_every_length_and_flags() -> None:
    made = []
    for third in range(256):
        for size in (*range(2, 13), 16, 18, 20, 22, 24, 26, 28, 30):
            for flags in (0, 0x0F) if third >> 4 != 2 else range(32):
                area = bytes((30, size, third, flags))[:size] + bytes(max(0, size - 4))
                packet = with_area(area + b"\1" * (-len(area) % 4))
                made.append(Frame(101, packet, len(packet)))
    check(made)
