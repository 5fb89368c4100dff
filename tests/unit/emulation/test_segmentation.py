"""Super-segments are cut as the kernel would cut them."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.emulation.frames import completed, corrupted, is_impaired, ones_complement_sum
from testbed.emulation.packet_socket import GSO_ECN, GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4, NEEDS_CSUM, VNET_HEADER
from testbed.emulation.segmentation import SuperSegment, UnsupportedSegmentError, parse

ETHERNET = b"\x02" * 6 + b"\x04" * 6
OPTIONS = b"\x1e\x14" + bytes(range(18))  # a DSS option's kind and length, and anything
FIN, PSH, ACK, CWR = 0x01, 0x08, 0x10, 0x80
V4 = socket.inet_aton("10.0.0.1") + socket.inet_aton("10.0.0.2")
V6 = socket.inet_pton(socket.AF_INET6, "fd00::1") + socket.inet_pton(socket.AF_INET6, "fd00::2")


def checksum(data: bytes) -> int:
    """RFC 1071, written the slow way."""
    total = 0
    for i in range(0, len(data), 2):
        total += int.from_bytes(data[i : i + 2].ljust(2, b"\0"), "big")
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def super_segment(
    payload: bytes,
    size: int,
    version: int = 4,
    flags: int = ACK | PSH,
    kind: int | None = None,
    sequence: int = 0xFFFFFF00,
) -> bytes:
    udp = kind == GSO_UDP_L4
    if udp:
        transport = struct.pack("!HHHH", 1, 2, 8 + len(payload), 0)
    else:
        offset = (20 + len(OPTIONS)) // 4 << 4
        transport = struct.pack("!HHIIBBHHH", 1, 2, sequence, 7, offset, flags, 100, 0, 0) + OPTIONS
    protocol = 17 if udp else 6
    if version == 4:
        length = 20 + len(transport) + len(payload)
        header = struct.pack("!BBHHHBBH", 0x45, 2, length, 0xFFFE, 0x4000, 64, protocol, 0) + V4
        network = b"\x08\x00" + header
    else:
        network = b"\x86\xdd" + struct.pack("!IHBB", 6 << 28, len(transport) + len(payload), protocol, 64) + V6
    ethernet = ETHERNET + network
    default = GSO_TCPV4 if version == 4 else GSO_TCPV6
    virtio = VNET_HEADER.pack(
        NEEDS_CSUM, kind or default, len(ethernet) + len(transport), size, len(ethernet), 6 if udp else 16
    )
    return virtio + ethernet + transport + payload


def read_packet(frame: bytes, version: int, udp: bool = False) -> tuple[int, int, int, bytes, bytes]:
    """(identification, sequence, flags, options, payload) of one packet, after checking every length and checksum."""
    frame = bytes(completed(frame))
    network = frame[24:]
    if version == 4:
        assert checksum(network[:20]) == 0
        assert int.from_bytes(network[2:4], "big") == len(network)
        identification, transport, addresses = int.from_bytes(network[4:6], "big"), network[20:], V4
    else:
        assert int.from_bytes(network[4:6], "big") == len(network) - 40
        identification, transport, addresses = 0, network[40:], V6
    pseudo = addresses + struct.pack("!II", len(transport), 17 if udp else 6)
    assert checksum(pseudo + transport) == 0
    if udp:
        assert int.from_bytes(transport[4:6], "big") == len(transport)
        return identification, 0, 0, b"", transport[8:]
    header = (transport[12] >> 4) * 4
    return (
        identification,
        int.from_bytes(transport[4:8], "big"),
        transport[13],
        transport[20:header],
        transport[header:],
    )


def wire_packets(frame: bytes) -> list[bytes]:
    if frame[1] == 0:
        return [frame]
    segment = parse(frame)
    return [segment.cut(i, i + 1) for i in range(segment.count)]


@settings(deadline=None)
@given(st.binary(min_size=201, max_size=4000), st.integers(100, 200), st.sampled_from([4, 6]))
def test_the_packets_of_a_segment_carry_its_stream(payload: bytes, size: int, version: int) -> None:
    segment = parse(super_segment(payload, size, version))
    assert segment.count == -(-len(payload) // size)
    sequence, rest = 0xFFFFFF00, b""
    for index in range(segment.count):
        packet = segment.cut(index, index + 1)
        assert len(packet) - 10 == segment.wire_bytes(index)
        identification, number, flags, options, data = read_packet(packet, version)
        assert number == sequence
        assert options == OPTIONS
        assert bool(flags & PSH) == (index == segment.count - 1)
        assert version == 6 or identification == (0xFFFE + index) % 65536
        sequence = (sequence + len(data)) % 2**32
        rest += data
    assert rest == payload


@settings(deadline=None)
@given(st.data(), st.sampled_from([4, 6]))
def test_cutting_twice_is_cutting_once(data: st.DataObject, version: int) -> None:
    payload = bytes(range(256)) * 8
    segment = parse(super_segment(payload, 100, version, flags=ACK | PSH | FIN | CWR, kind=None))
    first = data.draw(st.integers(0, segment.count - 1))
    end = data.draw(st.integers(first + 1, segment.count))
    run = segment.cut(first, end)
    assert [read_packet(packet, version) for packet in wire_packets(run)] == [
        read_packet(segment.cut(i, i + 1), version) for i in range(first, end)
    ]


def test_fin_and_push_stay_last_and_cwr_first() -> None:
    frame = super_segment(bytes(300), 100, 4, ACK | PSH | FIN | CWR, GSO_TCPV4 | GSO_ECN)
    packets = [read_packet(packet, 4) for packet in wire_packets(frame)]
    assert [packet[2] for packet in packets] == [ACK | CWR, ACK, ACK | PSH | FIN]
    segment = parse(frame)
    assert segment.cut(0, 2)[1] == GSO_TCPV4 | GSO_ECN
    assert segment.cut(1, 3)[1] == GSO_TCPV4


def test_udp_segments_are_datagrams() -> None:
    frames = wire_packets(super_segment(bytes(range(250)), 100, 4, kind=GSO_UDP_L4))
    assert b"".join(read_packet(frame, 4, udp=True)[4] for frame in frames) == bytes(range(250))


def test_the_whole_is_passed_untouched() -> None:
    frame = super_segment(bytes(300), 100)
    assert parse(frame).cut(0, 3) is parse(frame).frame or parse(frame).cut(0, 3) == frame


@pytest.mark.parametrize("gso_type", [3, 2, 0x40])
def test_an_unknown_kind_is_refused(gso_type: int) -> None:
    frame = bytearray(super_segment(bytes(300), 100))
    frame[1] = gso_type
    with pytest.raises(UnsupportedSegmentError, match="gso_type"):
        parse(frame)


@settings(deadline=None)
@given(st.floats(0, 1, exclude_max=True), st.sampled_from([4, 6]), st.binary(min_size=1, max_size=100))
def test_a_flipped_bit_is_caught_by_the_checksum(place: float, version: int, payload: bytes) -> None:
    segment: SuperSegment = parse(super_segment(payload + bytes(100), 100, version))
    packet = segment.cut(0, 1)
    good, bad = bytes(completed(packet))[10:], corrupted(packet, place)[10:]
    assert sum((a ^ b).bit_count() for a, b in zip(good, bad, strict=True)) == 1
    header = 14 + (20 if version == 4 else 40)
    assert good[:header] == bad[:header]
    transport = bad[header:]
    pseudo = (V4 if version == 4 else V6) + struct.pack("!II", len(transport), 6)
    assert checksum(pseudo + transport) != 0


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_the_fast_checksum_is_the_slow_one(data: bytes) -> None:
    assert (0xFFFF - ones_complement_sum(data)) % 0xFFFF == checksum(data) % 0xFFFF


def test_what_the_link_impairs() -> None:
    virtio = bytes(10)
    assert is_impaired(virtio + ETHERNET + b"\x08\x00" + bytes(40))
    assert is_impaired(virtio + ETHERNET + b"\x86\xdd" + bytes(60))
    assert not is_impaired(virtio + ETHERNET + b"\x08\x06" + bytes(40))
    solicitation = struct.pack("!IHBB", 6 << 28, 32, 58, 255) + V6 + bytes([135]) + bytes(31)
    echo = struct.pack("!IHBB", 6 << 28, 32, 58, 255) + V6 + bytes([128]) + bytes(31)
    assert not is_impaired(virtio + ETHERNET + b"\x86\xdd" + solicitation)
    assert is_impaired(virtio + ETHERNET + b"\x86\xdd" + echo)
    report = (
        struct.pack("!IHBB", 6 << 28, 32, 0, 1) + V6[:16] + socket.inet_pton(socket.AF_INET6, "ff02::16") + bytes(32)
    )
    assert not is_impaired(virtio + ETHERNET + b"\x86\xdd" + report)
    assert not is_impaired(virtio + ETHERNET + b"\x08\x00" + bytes(16) + bytes([224, 0, 0, 22]) + bytes(20))
    assert is_impaired(virtio + ETHERNET + b"\x08\x00" + bytes(16) + bytes([224, 1, 0, 22]) + bytes(20))
