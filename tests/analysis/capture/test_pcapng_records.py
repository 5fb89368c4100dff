"""What was written to a pcapng file comes back: sections, interfaces, clocks and blocks of every kind."""

from __future__ import annotations

import gzip
import struct
from dataclasses import dataclass

import numpy as np
import pytest
from capture_files import NO_TIME, Order, Packet, PcapngWriter, read
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.capture.clocks import Clock
from analysis.capture.errors import CaptureError
from testbed.wire import pcap as wire_pcap

SECOND = 10**9
LONGEST = 1 << 20
ORDERS = st.sampled_from(("<", ">"))
CHUNKS = st.one_of(st.none(), st.integers(1, 3000))
UNKNOWN = st.integers(7, 2**31).filter(lambda kind: kind != 0x0A0D0D0A)
TICKS = st.integers(0, 2**64 - 1)
RESOLUTIONS = st.one_of(st.none(), st.integers(0, 255), st.sampled_from((3, 6, 9, 12, 0x80 + 10, 0x80 + 32)))
OFFSETS = st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.integers(-(10**10), 10**10))


def nanoseconds(ticks: int, resolution: int | None, offset_s: int | None) -> int:
    """As the draft says, with integers of any size."""
    per_second = 10**6
    if resolution is not None:
        per_second = 2 ** (resolution & 0x7F) if resolution & 0x80 else 10**resolution
    time_ns = ticks * SECOND // per_second + (offset_s or 0) * SECOND
    return time_ns if -(2**63) <= time_ns < 2**63 else NO_TIME


@settings(deadline=None)
@given(ticks=st.lists(TICKS, min_size=1, max_size=5), resolution=RESOLUTIONS, offset_s=OFFSETS)
def test_ticks_become_nanoseconds_exactly_or_not_at_all(
    ticks: list[int], resolution: int | None, offset_s: int | None
) -> None:
    clock = Clock(6 if resolution is None else resolution, offset_s or 0)
    assert clock.nanoseconds(np.array(ticks, np.uint64)).tolist() == [
        nanoseconds(each, resolution, offset_s) for each in ticks
    ]


@dataclass
class Written:
    content: bytes
    packets: list[Packet]
    ends: list[tuple[int, int]]
    """Where each block ends, and how many packets there are up to it."""


@st.composite
def captures(draw: st.DrawFn) -> Written:
    """Sections, each with its byte order and interfaces, and blocks of every kind among the packets."""
    content = b""
    packets: list[Packet] = []
    ends: list[tuple[int, int]] = []
    number = 0
    for _ in range(draw(st.integers(1, 3))):
        writer = PcapngWriter(draw(ORDERS))
        first = number
        interfaces: list[tuple[int, int, int | None, int | None]] = []
        content += writer.section(draw(st.sampled_from((-1, 0, 77))), options=draw(st.sampled_from((b"", b"\0\0\0\0"))))
        ends.append((len(content), len(packets)))
        for kind in draw(st.lists(st.sampled_from("IEEEEESPU"), max_size=15)):
            if kind == "I" or (not interfaces and kind != "U"):
                snaplen = draw(st.sampled_from((0, 10, 65535)))
                given_to = draw(st.integers(0, 400)), snaplen, draw(RESOLUTIONS), draw(OFFSETS)
                content += writer.interface(*given_to, name=draw(st.one_of(st.none(), st.just("eth0"))))
                interfaces.append(given_to)
                number += 1
            elif kind == "U":
                content += writer.block(draw(UNKNOWN), draw(st.binary(max_size=100)))
            else:
                data = draw(st.binary(max_size=60))
                wire = draw(st.integers(0, 2**32 - 1))
                index = draw(st.integers(0, len(interfaces) - 1))
                ticks = draw(TICKS)
                link, snaplen, resolution, offset_s = interfaces[index]
                if kind == "S":
                    link, snaplen = interfaces[0][:2]
                    data = data[: snaplen or None]
                    wire = len(data) + (draw(st.integers(0, 2000)) if len(data) == snaplen else 0)
                    content += writer.simple(data, wire)
                    packets.append(Packet(NO_TIME, data, wire, link, first))
                else:
                    if kind == "E":
                        options = draw(st.sampled_from((b"", writer.option(1, b"comment") + writer.option(0, b""))))
                        content += writer.enhanced(index, ticks, data, wire, options)
                    else:
                        content += writer.obsolete(index, ticks, data, wire)
                    time_ns = nanoseconds(ticks, resolution, offset_s)
                    packets.append(Packet(time_ns, data, wire, link, first + index))
            ends.append((len(content), len(packets)))
    return Written(content, packets, ends)


@settings(max_examples=200, deadline=None)
@given(written=captures(), octets=CHUNKS)
def test_packets_come_back_as_written(written: Written, octets: int | None) -> None:
    found, warnings = read(written.content, octets)
    assert found == written.packets
    untimed = sum(packet.time_ns == NO_TIME for packet in written.packets)
    assert warnings == ([f"{untimed} of {len(found)} packets have no time that can be told"] if untimed else [])


@settings(max_examples=200, deadline=None)
@given(written=captures(), octets=CHUNKS, data=st.data())
def test_a_file_cut_anywhere_gives_the_whole_packets_before_the_cut_and_one_warning(
    written: Written, octets: int | None, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(28, len(written.content)))
    end, whole = max((end, count) for end, count in written.ends if end <= cut) if cut >= written.ends[0][0] else (0, 0)
    found, warnings = read(written.content[:cut], octets)
    assert found == written.packets[:whole]
    damage = [warning for warning in warnings if warning.startswith("damaged")]
    if cut == end:
        assert damage == []
    else:
        (warning,) = damage
        assert warning.startswith(f"damaged at octet {end} after {whole} packets: the file ends within a block")


@settings(max_examples=300, deadline=None)
@given(written=captures(), changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_whatever_octets_are_changed_the_result_is_the_same_for_any_chunks(
    written: Written, changes: list[tuple[float, int]]
) -> None:
    content = bytearray(written.content)
    for place, value in changes:
        content[int(place * (len(content) - 1))] = value
    results = []
    for octets in (None, 1, 100):
        try:
            results.append(read(bytes(content), octets))
        except CaptureError as error:
            results.append(str(error).split(":", 1)[1])
    assert results[0] == results[1] == results[2]


@settings(max_examples=300, deadline=None)
@given(order=ORDERS, content=st.binary(max_size=400), octets=CHUNKS)
def test_any_octets_behind_a_section_header_are_read_or_refused(
    order: Order, content: bytes, octets: int | None
) -> None:
    writer = PcapngWriter(order)
    read(writer.section() + writer.interface() + content, octets)
    for beginning in (b"\x0a\x0d\x0d\x0a", writer.section()[:12]):
        try:
            read(beginning + content, octets)
        except CaptureError as error:
            assert "\n" not in str(error)


@settings(deadline=None)
@given(packets=st.lists(st.tuples(TICKS, st.binary(max_size=50)), max_size=10), order=ORDERS)
def test_the_testbeds_own_reader_agrees(packets: list[tuple[int, bytes]], order: Order) -> None:
    writer = PcapngWriter(order)
    content = writer.section() + writer.interface(276, resolution=9)
    content += b"".join(writer.enhanced(0, ticks, data, 99) for ticks, data in packets)
    expected = list(wire_pcap.read(content))
    assert [(packet.time_ns, packet.data, packet.wire) for packet in read(content)[0]] == [
        (each.time_ns if each.time_ns < 2**63 else NO_TIME, each.data, each.length) for each in expected
    ]


def damage(blocks: bytes, order: Order = "<", octets: int | None = None) -> str:
    """The one warning about blocks that come after a section header, an interface and a packet."""
    writer = PcapngWriter(order)
    content = writer.section() + writer.interface() + writer.enhanced(0, 5000, b"good", 4)
    packets, warnings = read(content + blocks + writer.enhanced(0, 6000, b"lost", 4), octets)
    assert packets == [Packet(5_000_000, b"good", 4)]
    (warning,) = warnings
    beginning = f"damaged at octet {len(content)} after 1 packets: "
    assert warning.startswith(beginning)
    return warning.removeprefix(beginning)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("octets", [None, 1])
def test_what_cannot_be_ends_the_file_there_and_says_why(order: Order, octets: int | None) -> None:
    writer = PcapngWriter(order)
    packet = writer.enhanced(0, 0, b"data", 4)

    def packet_of(captured: int) -> bytes:
        return struct.pack(order + "IIIII", 0, 0, 0, captured, captured)

    cases = {
        packet[:-4] + struct.pack(order + "I", 40): "a block gives its length as 36 octets and as 40",
        writer.block(99, b"", length=8): "a block cannot have 8 octets",
        writer.block(6, bytes(16)): "a block of type 6 cannot have 28 octets",
        writer.block(1, b"1234"): "a block of type 1 cannot have 16 octets",
        writer.block(6, bytes(2 << 20)): f"a block of type 6 with {(2 << 20) + 12} octets is not believed",
        writer.enhanced(1, 0, b"data", 4): "a packet of interface 1, of which there is no description",
        writer.block(6, packet_of(5) + b"data"): "a packet of 5 octets in a block with room for 4",
        writer.block(6, packet_of(LONGEST + 1) + bytes(LONGEST + 1)): (
            f"a packet of {LONGEST + 1} octets is not believed (the limit is {LONGEST})"
        ),
        writer.section(major=2): "a section of version 2.0; only 1 is known",
        writer.section()[:8] + b"what" + writer.section()[12:]: "a section header without a byte order (77686174)",
        writer.block(99, bytes(2 << 20))[:-4] + b"else": f"a block gives its length as {(2 << 20) + 12} octets and as "
        f"{int.from_bytes(b'else', 'little' if order == '<' else 'big')}",
    }
    for blocks, what in cases.items():
        assert damage(blocks, order, octets) == what


def test_an_interface_counts_only_in_its_section_and_after_its_description() -> None:
    writer = PcapngWriter()
    packet = writer.enhanced(0, 1, b"data", 4)
    for content in (
        writer.section() + packet + writer.interface(),
        writer.section() + writer.interface() + writer.section() + packet,
        writer.section() + writer.interface() + writer.section() + writer.simple(b"data", 4),
    ):
        packets, (warning,) = read(content)
        assert packets == []
        assert warning.endswith("a packet of interface 0, of which there is no description")


@pytest.mark.parametrize("octets", [None, 1, 1 << 16])
def test_a_long_block_of_no_matter_is_passed_over(octets: int | None) -> None:
    writer = PcapngWriter()
    content = writer.section() + writer.interface() + writer.enhanced(0, 1, b"one", 3)
    content += writer.block(10, bytes(3 << 20)) + writer.enhanced(0, 2, b"two", 3)
    for form in (content, gzip.compress(content, 1)):
        assert read(form, octets) == ([Packet(1000, b"one", 3), Packet(2000, b"two", 3)], [])


def test_a_length_that_is_no_multiple_of_four_is_rounded() -> None:
    writer = PcapngWriter()
    content = writer.section() + writer.interface() + writer.block(99, b"12345678", length=17)
    assert read(content + writer.enhanced(0, 1, b"one", 3)) == ([Packet(1000, b"one", 3)], [])


def test_options_that_make_no_sense_are_passed_over() -> None:
    writer = PcapngWriter()
    fields = struct.pack("<HHI", 1, 0, 0)
    for options in (
        struct.pack("<HH", 9, 400),
        struct.pack("<HHI", 9, 4, 9),
        b"\xff\xff",
        struct.pack("<HH", 2, 3) + b"\xff\xfe\xfd\0",
    ):
        content = writer.section() + writer.block(1, fields + options) + writer.enhanced(0, 1, b"one", 3)
        assert read(content) == ([Packet(1000, b"one", 3)], [])


def test_sections_by_the_thousand_and_in_turns_of_byte_order_take_no_time() -> None:
    content = b""
    packets = []
    for number in range(6000):
        writer = PcapngWriter("<" if number % 2 else ">")
        content += writer.section() + writer.interface() + b"".join(writer.enhanced(0, 1, b"data", 4) for _ in range(3))
        packets += [Packet(1000, b"data", 4, interface=number)] * 3
    assert read(content) == (packets, [])


def test_more_interfaces_than_can_be_numbered_end_the_file() -> None:
    writer = PcapngWriter()
    content = writer.section() + writer.interface() * 65_537 + writer.enhanced(65_535, 1, b"data", 4)
    packets, (warning,) = read(content)
    assert packets == []
    assert warning.endswith("after 0 packets: more than 65536 interfaces")
