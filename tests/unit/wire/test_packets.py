"""Packets: both ways, both versions of IP, anything that is none; headers for a device that completes them."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

import pytest
import wire_values
from hypothesis import given
from hypothesis import strategies as st

from testbed.wire import options as o
from testbed.wire.checksum import ones_complement_sum
from testbed.wire.errors import ChecksumError, DecodeError
from testbed.wire.segment import ACK, Segment, SocketAddress


def codecs() -> list[ModuleType]:
    """Both, where librt is there for the one that is made for compiling; the facade's choice is one of them."""
    found = [importlib.import_module("testbed.wire.struct_codec")]
    if importlib.util.find_spec("librt") is not None:
        found.append(importlib.import_module("testbed.wire.librt_codec"))
    return found


pytestmark = pytest.mark.parametrize("codec", codecs(), ids=lambda codec: codec.__name__.rpartition(".")[2])

V4 = Segment(SocketAddress(b"\x0a\0\0\1", 1000), SocketAddress(b"\x0a\0\0\2", 80), 1, 2, ACK, 100, (), b"data")
V6 = Segment(SocketAddress(bytes(15) + b"\1", 1000), SocketAddress(bytes(15) + b"\2", 80), 1, 2, ACK, 9, (), b"data")


@given(wire_values.segments())
def test_a_segment_decodes_to_what_was_encoded(codec: ModuleType, segment: Segment) -> None:
    assert codec.decode(codec.encode(segment)) == segment


@given(wire_values.segments(), st.binary(max_size=30), st.integers(0, 20))
def test_padding_behind_and_a_link_header_before_are_no_part(
    codec: ModuleType, segment: Segment, padding: bytes, start: int
) -> None:
    assert codec.decode(bytes(start) + codec.encode(segment) + padding, start) == segment


@given(
    st.one_of(st.binary(max_size=120), st.binary(max_size=120).map(lambda tail: b"\x45\0\0\x64\0\0\0\0\x40\6" + tail))
)
def test_any_octets_raise_the_one_error_or_give_a_segment(codec: ModuleType, octets: bytes) -> None:
    try:
        segment = codec.decode(octets, verify=False)
    except DecodeError:
        return

    assert codec.decode(codec.encode(segment), verify=True).payload == segment.payload


@given(wire_values.segments(), st.data())
def test_a_packet_with_one_octet_changed_or_cut_raises_the_one_error(
    codec: ModuleType, segment: Segment, data: st.DataObject
) -> None:
    packet = bytearray(codec.encode(segment))
    transport = 20 if len(segment.source.host) == 4 else 40
    place = data.draw(st.integers(transport, len(packet) - 1))
    packet[place] ^= data.draw(st.integers(1, 255))

    # 0x0000 and 0xFFFF are the same number to a ones' complement sum; nothing else escapes it
    with pytest.raises(DecodeError):
        codec.decode(bytes(packet))
    with pytest.raises(DecodeError):
        codec.decode(codec.encode(segment)[: data.draw(st.integers(0, len(packet) - 1))])


@given(wire_values.segments(), st.integers(0, 0xFFFF))
def test_offloaded_headers_with_the_checksum_completed_are_the_packet(
    codec: ModuleType, segment: Segment, identification: int
) -> None:
    headers = bytearray(codec.offload_headers(segment, identification))
    transport = 20 if len(segment.source.host) == 4 else 40
    # what the kernel does (skb_checksum_help): the sum over all of TCP, the partial sum in the field included
    checksum = 0xFFFF - ones_complement_sum(bytes(headers[transport:]) + segment.payload)
    headers[transport + 16 : transport + 18] = checksum.to_bytes(2, "big")

    assert bytes(headers) + segment.payload == codec.encode(segment, identification)


@pytest.mark.parametrize("segment", [V4, V6], ids=["ipv4", "ipv6"])
def test_a_wrong_checksum_is_told_from_a_wrong_form_and_ignored_on_demand(codec: ModuleType, segment: Segment) -> None:
    packet = bytearray(codec.encode(segment))
    packet[-1] ^= 1

    with pytest.raises(ChecksumError):
        codec.decode(bytes(packet))
    assert codec.decode(bytes(packet), verify=False).payload == b"dat" + bytes((b"a"[0] ^ 1,))


def test_the_ipv4_header_is_verified(codec: ModuleType) -> None:
    packet = bytearray(codec.encode(V4))
    packet[8] -= 1

    with pytest.raises(ChecksumError, match="IPv4"):
        codec.decode(bytes(packet))


def test_ipv6_extension_headers_are_passed_over(codec: ModuleType) -> None:
    packet = codec.encode(V6)
    hop_by_hop = bytes((60, 0)) + bytes(6)
    destination_options = bytes((44, 1)) + bytes(14)
    atomic_fragment = bytes((6, 0, 0, 0)) + bytes(4)
    headers = hop_by_hop + destination_options + atomic_fragment
    length = int.from_bytes(packet[4:6], "big") + len(headers)

    extended = packet[:4] + length.to_bytes(2, "big") + b"\0" + packet[7:40] + headers + packet[40:]

    assert codec.decode(extended) == V6


@pytest.mark.parametrize(
    ("place", "octet", "words"),
    [
        (0, 0x55, "version"),
        (9, 17, "not TCP"),
        (6, 0x20, "fragment"),
        (7, 1, "fragment"),
        (0, 0x44, "header"),
        (32, 0x40, "offset"),
    ],
)
def test_what_is_no_whole_tcp_packet_is_named(codec: ModuleType, place: int, octet: int, words: str) -> None:
    packet = bytearray(codec.encode(V4))
    packet[place] = octet

    with pytest.raises(DecodeError, match=words):
        codec.decode(bytes(packet), verify=False)


def test_addresses_are_shared_between_packets_and_their_number_is_bounded(codec: ModuleType) -> None:
    assert codec.decode(codec.encode(V4)).source is codec.decode(codec.encode(V4)).source
    for port in range(5000):
        source = SocketAddress(b"\x0a\0\0\1", port)
        assert codec.decode(codec.encode(Segment(source, V4.destination, 1, 2, ACK, 3))).source == source


def test_what_the_hot_path_asks_for_is_found(codec: ModuleType) -> None:
    area = (o.NOP, o.NOP, o.Timestamps(1, 2), o.Sack(((1, 2),)), o.Dss(5), o.MpPrio(True), o.NOP)

    segment = codec.decode(codec.encode(Segment(V4.source, V4.destination, 1, 2, ACK, 3, area)))

    assert segment.timestamps == o.Timestamps(1, 2)
    assert segment.sack == o.Sack(((1, 2),))
    assert segment.dss == o.Dss(5)
    assert segment.mptcp == (o.Dss(5), o.MpPrio(True))
