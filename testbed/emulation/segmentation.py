"""A GSO super-segment taken apart into wire packets, and any run of them put together again.

A super-segment stands for ``count`` wire packets that share its headers. The link model decides about each of them;
neighbours that survive together travel on as one smaller super-segment. :meth:`SuperSegment.cut` does to the headers
what the kernel's segmentation does (net/ipv4/tcp_offload.c tcp_gso_segment, udp_offload.c __udp_gso_segment, af_inet.c
inet_gso_segment, ipv6 ip6_offload.c): sequence number and IPv4 identification advance, lengths shrink, FIN and PSH
stay on the last packet, CWR on the first, TCP options (and so a DSS mapping) are copied to every one.

TCP over IPv4 and IPv6 and UDP (USO) are known; anything else raises UnsupportedSegmentError, never passes half-treated.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from testbed.emulation.frames import ETHERNET, NETWORK, Buffer, ones_complement_sum
from testbed.emulation.packet_socket import (
    GSO_ECN,
    GSO_NONE,
    GSO_TCPV4,
    GSO_TCPV6,
    GSO_UDP_L4,
    NEEDS_CSUM,
    VNET_BYTES,
    VNET_HEADER,
)

_TCP, _UDP = 6, 17
_FIN, _PSH, _CWR = 0x01, 0x08, 0x80


class UnsupportedSegmentError(ValueError):
    """A super-segment of a kind that cannot be taken apart here; the message says which."""


@dataclass(frozen=True, slots=True)
class SuperSegment:
    """A super-segment and where its parts are; offsets count from the beginning of the virtio header."""

    frame: bytes
    gso_type: int
    gso_size: int
    """Payload bytes of each wire packet but the last."""
    transport: int
    payload: int
    csum_offset: int
    count: int

    def wire_bytes(self, index: int) -> int:
        """Size of wire packet ``index`` as an Ethernet frame."""
        if index < self.count - 1:
            return self.payload - VNET_BYTES + self.gso_size
        return len(self.frame) - VNET_BYTES - (self.count - 1) * self.gso_size

    def cut(self, first: int, end: int) -> bytes:
        """Wire packets ``first`` to ``end - 1`` as one frame: a super-segment again, or one packet when it is one."""
        if first == 0 and end == self.count:
            return self.frame
        start = self.payload + first * self.gso_size
        stop = self.payload + end * self.gso_size if end < self.count else len(self.frame)
        header = bytearray(self.frame[: self.payload])
        self._write_network(header, first, stop - start)
        self._write_transport(header, first, end, stop - start)
        gso_type = self.gso_type if first == 0 else self.gso_type & ~GSO_ECN
        single = end - first == 1
        VNET_HEADER.pack_into(
            header,
            0,
            NEEDS_CSUM,
            GSO_NONE if single else gso_type,
            self.payload - VNET_BYTES,
            0 if single else self.gso_size,
            self.transport - VNET_BYTES,
            self.csum_offset,
        )
        return b"".join((header, self.frame[start:stop]))

    def _write_network(self, header: bytearray, first: int, payload_bytes: int) -> None:
        length = self.payload - NETWORK + payload_bytes
        if header[NETWORK] >> 4 == 4:
            identification = int.from_bytes(header[NETWORK + 4 : NETWORK + 6], "big") + first
            struct.pack_into("!HH", header, NETWORK + 2, length, identification & 0xFFFF)
            internet_header_bytes = (header[NETWORK] & 0x0F) * 4
            struct.pack_into("!H", header, NETWORK + 10, 0)
            checksum = 0xFFFF - ones_complement_sum(header[NETWORK : NETWORK + internet_header_bytes])
            struct.pack_into("!H", header, NETWORK + 10, checksum)
        else:
            struct.pack_into("!H", header, NETWORK + 4, length - 40)

    def _write_transport(self, header: bytearray, first: int, end: int, payload_bytes: int) -> None:
        at = self.transport
        transport_bytes = self.payload - at + payload_bytes
        if self.gso_type & ~GSO_ECN == GSO_UDP_L4:
            protocol = _UDP
            struct.pack_into("!H", header, at + 4, transport_bytes)
        else:
            protocol = _TCP
            sequence = int.from_bytes(header[at + 4 : at + 8], "big") + first * self.gso_size
            struct.pack_into("!I", header, at + 4, sequence & 0xFFFFFFFF)
            if first > 0:
                header[at + 13] &= ~_CWR & 0xFF
            if end < self.count:
                header[at + 13] &= ~(_FIN | _PSH) & 0xFF
        addresses = (
            header[NETWORK + 12 : NETWORK + 20] if header[NETWORK] >> 4 == 4 else header[NETWORK + 8 : NETWORK + 40]
        )
        # A partial checksum field holds the folded sum of the pseudo header, not its complement.
        partial = (ones_complement_sum(addresses) + protocol + transport_bytes) % 65535
        struct.pack_into("!H", header, at + self.csum_offset, partial)


def parse(frame: Buffer) -> SuperSegment:
    """The super-segment in a frame whose virtio header says that it is one. Raises UnsupportedSegmentError."""
    flags, gso_type, _, gso_size, start, offset = VNET_HEADER.unpack_from(frame)
    kind = gso_type & ~GSO_ECN
    if kind not in (GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4) or not flags & NEEDS_CSUM or gso_size == 0:
        raise UnsupportedSegmentError(f"super-segment of gso_type {gso_type:#x}, flags {flags:#x}, size {gso_size}")
    if frame[NETWORK] >> 4 not in (4, 6):
        raise UnsupportedSegmentError("super-segment that is not directly IPv4 or IPv6")
    transport = ETHERNET + start
    payload = transport + (8 if kind == GSO_UDP_L4 else (frame[transport + 12] >> 4) * 4)
    payload_bytes = len(frame) - payload
    if payload_bytes <= 0:
        raise UnsupportedSegmentError("super-segment without payload")
    return SuperSegment(bytes(frame), gso_type, gso_size, transport, payload, offset, -(-payload_bytes // gso_size))
