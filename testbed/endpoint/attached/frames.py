"""Segments <-> frames with a virtio header: checksums and segmentation are left to the kernel where it offers them.

Outwards every frame asks for its checksum to be completed (NEEDS_CSUM), and a super-segment for being cut at
``gso_octets``, by the device or, before it, by the kernel. Inwards the header tells whether the checksum is known to be
right, not yet complete (it never left this machine), or for us to verify; and whether the kernel has merged several
packets (GRO), all with the same options.

Sources: linux/virtio_net.h; net/core/dev.c (validate_xmit_skb); include/linux/virtio_net.h.
"""

from __future__ import annotations

from testbed.endpoint.attached.packet_port import (
    DATA_VALID,
    ETHERNET_BYTES,
    GSO_ECN,
    GSO_NONE,
    GSO_TCPV4,
    GSO_TCPV6,
    NEEDS_CSUM,
    VNET_BYTES,
    VNET_HEADER,
)
from testbed.wire.codec import IPV4_OCTETS, IPV6_OCTETS, decode, offload_headers
from testbed.wire.segment import CWR, Segment

LINK_HEADER_BYTES = VNET_BYTES + ETHERNET_BYTES
_CHECKSUM_OFFSET = 16
"""Of the checksum field in the TCP header."""
_ETHERTYPES = {4: b"\x08\x00", 16: b"\x86\xdd"}
_virtio_headers: dict[tuple[int, int, int], bytes] = {}
"""By octets of headers (negative: IPv6), gso_size and type: one connection needs a handful."""


def ethernet_header(destination: bytes, source: bytes, address_octets: int) -> bytes:
    """Of a frame with a packet of IPv4 (4) or IPv6 (16)."""
    return destination + source + _ETHERTYPES[address_octets]


def frame_of(segment: Segment, ethernet: bytes) -> tuple[bytes, bytes]:
    """All headers (virtio, Ethernet, IP, TCP) and the payload, which is not copied: one frame in parts, for sendmsg."""
    headers = offload_headers(segment)
    is_ipv4 = len(segment.source.host) == 4
    gso_octets = segment.gso_octets
    gso_type = GSO_NONE
    if 0 < gso_octets < len(segment.payload):
        gso_type = GSO_TCPV4 if is_ipv4 else GSO_TCPV6
        if segment.flags & CWR:
            gso_type |= GSO_ECN
    else:
        gso_octets = 0
    key = (len(headers) if is_ipv4 else -len(headers), gso_octets, gso_type)
    virtio = _virtio_headers.get(key)
    if virtio is None:
        virtio = _virtio_headers[key] = _virtio_header(len(headers), gso_octets, gso_type, is_ipv4)
    return virtio + ethernet + headers, segment.payload


def segment_of(frame: bytes) -> Segment:
    """The segment in a frame. Raises DecodeError, of which a wrong checksum is one."""
    flags = frame[0]
    segment = decode(frame, LINK_HEADER_BYTES, not flags & (NEEDS_CSUM | DATA_VALID))
    if frame[1]:
        segment.gso_octets = VNET_HEADER.unpack_from(frame)[3]
    return segment


def _virtio_header(headers: int, gso_octets: int, gso_type: int, is_ipv4: bool) -> bytes:
    transport = ETHERNET_BYTES + (IPV4_OCTETS if is_ipv4 else IPV6_OCTETS)
    return VNET_HEADER.pack(NEEDS_CSUM, gso_type, ETHERNET_BYTES + headers, gso_octets, transport, _CHECKSUM_OFFSET)
