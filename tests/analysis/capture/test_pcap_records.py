"""What was written to a pcap file comes back, in chunks of any size; what is damaged is read up to the damage."""

from __future__ import annotations

import struct

import pytest
from capture_files import ETHERNET, Order, Packet, in_microseconds, packets_of, pcap, pcap_header, pcap_record, read
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.capture.errors import CaptureError
from analysis.capture.files import open_file
from testbed.wire import pcap as wire_pcap

ORDERS = st.sampled_from(("<", ">"))
CHUNKS = st.one_of(st.none(), st.integers(1, 3000))
PACKETS = st.lists(
    st.builds(
        Packet,
        time_ns=st.integers(0, 2**32 * 10**9 - 1),
        data=st.binary(max_size=90),
        wire=st.integers(0, 2**32 - 1),
    ),
    max_size=40,
)
LONGEST = 1 << 20


@settings(deadline=None)
@given(packets=PACKETS, order=ORDERS, nanoseconds=st.booleans(), octets=CHUNKS)
def test_packets_come_back_as_written(
    packets: list[Packet], order: Order, nanoseconds: bool, octets: int | None
) -> None:
    found, warnings = read(pcap(packets, order, nanoseconds), octets)
    assert found == (packets if nanoseconds else in_microseconds(packets))
    assert warnings == []


@settings(deadline=None)
@given(packets=PACKETS)
def test_the_testbeds_own_writer_and_reader_agree(packets: list[Packet]) -> None:
    content = wire_pcap.file_header(ETHERNET) + b"".join(
        wire_pcap.record(packet.time_ns, packet.data, packet.wire) for packet in packets
    )
    assert read(content)[0] == packets
    assert [(each.time_ns, each.data, each.length, each.link) for each in wire_pcap.read(content)] == [
        (packet.time_ns, packet.data, packet.wire, packet.link) for packet in packets
    ]


@settings(deadline=None)
@given(packets=PACKETS, order=ORDERS, octets=CHUNKS, data=st.data())
def test_a_file_cut_anywhere_gives_the_whole_packets_before_the_cut_and_one_warning(
    packets: list[Packet], order: Order, octets: int | None, data: st.DataObject
) -> None:
    content = pcap(packets, order)
    cut = data.draw(st.integers(24, len(content)))
    ends = [24]
    for packet in packets:
        ends.append(ends[-1] + 16 + len(packet.data))
    whole = sum(end <= cut for end in ends) - 1
    found, warnings = read(content[:cut], octets)
    assert found == packets[:whole]
    if cut == ends[whole]:
        assert warnings == []
    else:
        (warning,) = warnings
        assert warning.startswith(f"damaged at octet {ends[whole]} after {whole} packets: the file ends within ")


@pytest.mark.parametrize("octets", range(24))
def test_a_file_cut_within_its_header_is_refused(octets: int) -> None:
    content = pcap([Packet(0, b"packet", 6)])[:octets]
    with pytest.raises(CaptureError, match="is empty" if not octets else "no capture" if octets < 4 else "file header"):
        read(content)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("octets", [None, 1, 500])
def test_a_length_that_cannot_be_ends_the_file_there(order: Order, octets: int | None) -> None:
    good = [Packet(number, bytes(50), 50) for number in range(20)]
    damaged = struct.pack(order + "IIII", 0, 0, LONGEST + 1, 100)
    found, warnings = read(pcap(good, order) + damaged + bytes(2 << 20), octets)
    assert found == good
    assert warnings == [
        f"damaged at octet {24 + 20 * 66} after 20 packets: "
        f"a packet of {LONGEST + 1} octets is not believed (the limit is {LONGEST})"
    ]


@pytest.mark.parametrize("snaplen", [0, 1, 64, 262_144, 2**32 - 1])
@pytest.mark.parametrize("octets", [None, 1, 100_000])
def test_the_snaplen_of_the_header_means_nothing(snaplen: int, octets: int | None) -> None:
    packets = [Packet(number, bytes([number]) * size, size) for number, size in enumerate((60, 300_000, LONGEST, 0, 9))]
    content = pcap_header(snaplen=snaplen) + b"".join(map(pcap_record, packets))
    assert read(content, octets) == (packets, [])


def test_bits_above_the_link_type_are_not_part_of_it() -> None:
    content = pcap_header(link=0x4400_0000 | 276) + pcap_record(Packet(7, b"12", 2))
    assert read(content)[0] == [Packet(7, b"12", 2, link=276)]


@settings(deadline=None)
@given(packets=PACKETS, order=ORDERS, octets=CHUNKS)
def test_before_version_2_4_lengths_come_in_either_order(
    packets: list[Packet], order: Order, octets: int | None
) -> None:
    content = pcap_header(order, minor=3)
    for number, packet in enumerate(packets):
        lengths = [len(packet.data), len(packet.data) + 5]
        times = divmod(packet.time_ns, 10**9)
        content += struct.pack(order + "IIII", *times, *(lengths if number % 2 else lengths[::-1])) + packet.data
    found, warnings = read(content, octets)
    assert found == [Packet(packet.time_ns, packet.data, len(packet.data) + 5) for packet in packets]
    assert warnings == []


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_modified_format_is_refused_by_name(order: Order) -> None:
    with pytest.raises(CaptureError, match=r"modified by A\. Kuznetzov"):
        read(struct.pack(order + "IHHiIII", 0xA1B2CD34, 2, 4, 0, 0, 65535, 1) + bytes(100))


def test_another_version_is_refused() -> None:
    with pytest.raises(CaptureError, match=r"is pcap of version 3\.0; only 2 is known"):
        read(struct.pack("<IHHiIII", 0xA1B2C3D4, 3, 0, 0, 0, 65535, 1))


@settings(max_examples=300, deadline=None)
@given(
    beginning=st.sampled_from((b"", *(pcap_header(order, unit) for order in ("<", ">") for unit in (True, False)))),
    content=st.binary(max_size=400),
    octets=CHUNKS,
)
def test_any_octets_are_read_or_refused(beginning: bytes, content: bytes, octets: int | None) -> None:
    try:
        packets, warnings = read(beginning + content, octets)
    except CaptureError as error:
        assert "\n" not in str(error)
        return
    assert len(warnings) <= 1
    taken = len(beginning) + sum(16 + len(packet.data) for packet in packets)
    assert bool(warnings) == (taken != len(beginning + content))


def test_a_file_may_be_gone_over_again_and_by_two_at_once(tmp_path) -> None:  # type: ignore[no-untyped-def]
    packets = [Packet(number, bytes([number]) * 70, 70) for number in range(100)]
    path = tmp_path / "twice.pcap"
    path.write_bytes(pcap(packets) + b"rest")
    with open_file(path) as file:
        first, warnings = packets_of(file, 1000), list(file.warnings)
        assert (packets_of(file), file.warnings) == (first, warnings)
        assert len(warnings) == 1
    with open_file(path) as file, open_file(path) as other:
        for one, two in zip(file.chunks(500), other.chunks(500), strict=True):
            assert one.first_frame == two.first_frame
            assert one.buffer is not two.buffer


@settings(max_examples=200, deadline=None)
@given(packets=PACKETS, changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_whatever_octets_are_changed_the_result_is_the_same_for_any_chunks(
    packets: list[Packet], changes: list[tuple[float, int]]
) -> None:
    content = bytearray(pcap(packets))
    for place, value in changes:
        content[int(place * (len(content) - 1))] = value
    results: list[object] = []
    for octets in (None, 1, 100):
        try:
            results.append(read(bytes(content), octets))
        except CaptureError as error:
            results.append(str(error).split(":", 1)[1])
    assert results[0] == results[1] == results[2]
