"""The codec of plain Python; :mod:`testbed.wire.codec` says when it is used.

Encoding never fails for a segment whose fields are in range; decoding raises :class:`DecodeError`, whatever the bytes.
A live driver leaves checksum and segmentation to the kernel: :func:`offload_headers` gives the headers with the
partial checksum, and the payload goes to the socket as it is.
"""

from __future__ import annotations

import struct
from typing import Final

from testbed.wire.checksum import PROTOCOL_TCP, ones_complement_sum, pseudo_header_sum
from testbed.wire.errors import ChecksumError, DecodeError
from testbed.wire.option_codec import decode_options, encode_options
from testbed.wire.options import Option
from testbed.wire.segment import Segment, SocketAddress

IPV4_OCTETS: Final = 20
"""Of the IPv4 header as encoded here: without options."""
IPV6_OCTETS: Final = 40
TCP_OCTETS: Final = 20
"""Of the TCP header without options."""

_IPV4: Final = struct.Struct("!BBHHHBBH4s4s")
_IPV6: Final = struct.Struct("!IHBB16s16s")
_TCP: Final = struct.Struct("!HHIIHHHH")
_TCP_PORTS_PASSED: Final = struct.Struct("!IIHHHH")
"""The TCP header from the sequence number on."""

_TTL: Final = 64
_DONT_FRAGMENT: Final = 0x4000
_MORE_FRAGMENTS_OR_OFFSET: Final = 0x3FFF
_LARGEST_PACKET: Final = 65535

_HOP_BY_HOP: Final = 0
_ROUTING: Final = 43
_FRAGMENT: Final = 44
_DESTINATION_OPTIONS: Final = 60

_ADDRESSES_LIMIT: Final = 4096
known_addresses: dict[bytes, tuple[SocketAddress, SocketAddress]] = {}
"""Address pairs already seen, by their octets: the packets of a connection share them. Emptied when full."""


def encode(segment: Segment, identification: int = 0) -> bytes:
    """The packet, checksums complete. ``identification``: of IPv4; 0 is fine with DF set (RFC 6864 §4.1)."""
    payload = segment.payload
    area = encode_options(segment.options) if segment.options else b""
    source = segment.source
    destination = segment.destination
    octets = TCP_OCTETS + len(area) + len(payload)
    header = _tcp_header(segment, len(area), 0)
    pseudo = pseudo_header_sum(source.host, destination.host, octets)
    # The TCP header and the options are of even length, so that the sums of the parts add up to that of the whole.
    total = pseudo + ones_complement_sum(header + area) + ones_complement_sum(payload)
    checksum = 65535 - (total % 65535 or 65535)
    return b"".join(
        (
            network_header(source.host, destination.host, octets, segment.ecn, identification),
            header[:16],
            checksum.to_bytes(2, "big"),
            header[18:],
            area,
            payload,
        )
    )


def offload_headers(segment: Segment, identification: int = 0) -> bytes:
    """IP and TCP header for a socket that completes checksums and cuts super-segments (virtio net header, NEEDS_CSUM).

    The TCP checksum field holds the sum of the pseudo header over the whole super-segment, as the kernel expects it.
    The TCP header begins at 20 (IPv4) or 40 (IPv6), its checksum field 16 octets further on.
    """
    area = encode_options(segment.options) if segment.options else b""
    source = segment.source.host
    destination = segment.destination.host
    octets = TCP_OCTETS + len(area) + len(segment.payload)
    partial = pseudo_header_sum(source, destination, octets)
    return (
        network_header(source, destination, octets, segment.ecn, identification)
        + _tcp_header(segment, len(area), partial)
        + area
    )


def _tcp_header(segment: Segment, option_octets: int, checksum: int) -> bytes:
    return _TCP.pack(
        segment.source.port,
        segment.destination.port,
        segment.seq,
        segment.ack,
        ((TCP_OCTETS + option_octets) << 10) | segment.flags,
        segment.window,
        checksum,
        segment.urgent,
    )


def network_header(source: bytes, destination: bytes, octets: int, ecn: int, identification: int) -> bytes:
    """The IP header; ``octets``: of the TCP header and payload."""
    if len(source) == 4:
        if octets > _LARGEST_PACKET - IPV4_OCTETS:
            raise ValueError(f"a segment of {octets} octets does not fit into an IPv4 packet")
        length = IPV4_OCTETS + octets
        # the sum over all other words; DF, TTL and protocol are constants
        total = (0x4500 | ecn) + length + identification + _DONT_FRAGMENT + (_TTL << 8 | PROTOCOL_TCP)
        total += int.from_bytes(source + destination, "big") % 65535
        checksum = 65535 - (total % 65535 or 65535)
        return _IPV4.pack(
            0x45, ecn, length, identification, _DONT_FRAGMENT, _TTL, PROTOCOL_TCP, checksum, source, destination
        )
    if octets > _LARGEST_PACKET:
        raise ValueError(f"a segment of {octets} octets does not fit into an IPv6 packet")
    return _IPV6.pack(6 << 28 | ecn << 20, octets, PROTOCOL_TCP, _TTL, source, destination)


def decode(packet: bytes, start: int = 0, verify: bool = True) -> Segment:
    """The segment in the IP packet that begins at ``start``; octets beyond its length (Ethernet padding) are no part.

    ``verify`` False: the checksum of TCP is not looked at, for packets whose checksum the kernel has verified or not
    yet completed. Raises ChecksumError or another DecodeError.
    """
    end = len(packet)
    if end - start < IPV4_OCTETS + TCP_OCTETS:
        raise DecodeError(f"{end - start} octets are no TCP packet")
    first = packet[start]
    if first >> 4 == 4:
        transport, end = locate_ipv4(packet, start, end, verify)
        ecn = packet[start + 1] & 3
        hosts_start = start + 12
        host_octets = 4
    elif first >> 4 == 6:
        transport, end = locate_ipv6(packet, start, end)
        ecn = packet[start + 1] >> 4 & 3
        hosts_start = start + 8
        host_octets = 16
    else:
        raise DecodeError(f"IP version {first >> 4}")
    if end - transport < TCP_OCTETS:
        raise DecodeError(f"{end - transport} octets are no TCP header")
    seq, ack, offset_flags, window, _, urgent = _TCP_PORTS_PASSED.unpack_from(packet, transport + 4)
    data = transport + ((offset_flags >> 12) << 2)
    if data < transport + TCP_OCTETS or data > end:
        raise DecodeError(f"data offset {offset_flags >> 12} in {end - transport} octets")
    hosts_end = hosts_start + 2 * host_octets
    if verify:
        pseudo = pseudo_header_sum(
            packet[hosts_start : hosts_start + host_octets],
            packet[hosts_start + host_octets : hosts_end],
            end - transport,
        )
        if (pseudo + ones_complement_sum(packet[transport:end])) % 65535:
            raise ChecksumError("TCP checksum")
    key = packet[hosts_start:hosts_end] + packet[transport : transport + 4]
    addresses = known_addresses.get(key)
    if addresses is None:
        addresses = remember_addresses(key, host_octets)
    options: tuple[Option, ...] = ()
    if data > transport + TCP_OCTETS:
        options = decode_options(packet[transport + TCP_OCTETS : data])
    return Segment(
        addresses[0],
        addresses[1],
        seq,
        ack,
        offset_flags & 0xFF,
        window,
        options,
        packet[data:end],
        urgent,
        ecn,
    )


def remember_addresses(key: bytes, host_octets: int) -> tuple[SocketAddress, SocketAddress]:
    """Both addresses from their octets: source and destination host, source and destination port."""
    if len(known_addresses) >= _ADDRESSES_LIMIT:
        known_addresses.clear()
    ports = 2 * host_octets
    pair = (
        SocketAddress(key[:host_octets], int.from_bytes(key[ports : ports + 2], "big")),
        SocketAddress(key[host_octets:ports], int.from_bytes(key[ports + 2 : ports + 4], "big")),
    )
    known_addresses[key] = pair
    return pair


def locate_ipv4(packet: bytes, start: int, end: int, verify: bool) -> tuple[int, int]:
    """Where TCP begins and the packet ends (RFC 791)."""
    header_octets = (packet[start] & 0x0F) << 2
    total = packet[start + 2] << 8 | packet[start + 3]
    if header_octets < IPV4_OCTETS or total < header_octets or start + total > end:
        raise DecodeError(f"IPv4 header of {header_octets}, packet of {total} octets in {end - start}")
    if packet[start + 9] != PROTOCOL_TCP:
        raise DecodeError(f"protocol {packet[start + 9]} is not TCP")
    if (packet[start + 6] << 8 | packet[start + 7]) & _MORE_FRAGMENTS_OR_OFFSET:
        raise DecodeError("fragment")
    if verify and int.from_bytes(packet[start : start + header_octets], "big") % 65535:
        raise ChecksumError("IPv4 header checksum")
    return start + header_octets, start + total


def locate_ipv6(packet: bytes, start: int, end: int) -> tuple[int, int]:
    """The same for IPv6, past its extension headers (RFC 8200 §4)."""
    at = start + IPV6_OCTETS
    stop = at + (packet[start + 4] << 8 | packet[start + 5])
    if stop > end:
        raise DecodeError(f"IPv6 packet of {stop - start} octets in {end - start}")
    following = packet[start + 6]
    while following != PROTOCOL_TCP:
        if following not in (_HOP_BY_HOP, _ROUTING, _FRAGMENT, _DESTINATION_OPTIONS) or at + 8 > stop:
            raise DecodeError(f"IPv6 next header {following} is not TCP")
        if following == _FRAGMENT:
            # an atomic fragment (RFC 6946) is whole
            if (packet[at + 2] << 8 | packet[at + 3]) & 0xFFF9:
                raise DecodeError("fragment")
            size = 8
        else:
            size = 8 + 8 * packet[at + 1]
        following = packet[at]
        at += size
    return at, stop
