"""The middleboxes of one direction on real frames: decode, ask, and encode what came out changed.

Only links that have a middlebox come here. A super-segment is taken apart first, so that "the n-th packet" means the
same as in virtual time. What a middlebox did not touch passes byte for byte; what it changed gets fresh headers, its
checksum left to the kernel. Packets that are not TCP, or whose checksum is wrong, pass as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

from testbed.emulation.frames import ETHERNET, NETWORK
from testbed.emulation.packet_socket import GSO_NONE, NEEDS_CSUM, VNET_BYTES, VNET_HEADER
from testbed.emulation.segmentation import UnsupportedSegmentError, parse
from testbed.net.middlebox import Chain
from testbed.wire.codec import IPV4_OCTETS, IPV6_OCTETS, decode, offload_headers
from testbed.wire.errors import DecodeError
from testbed.wire.segment import Segment
from topologies.middlebox import Middlebox

_DATA_VALID = 2
_CHECKSUM_OFFSET = 16
"""Of the checksum field in the TCP header."""


class FrameMiddleboxes:
    """A chain of middleboxes between the packet socket and the link model."""

    __slots__ = ("_chain",)

    def __init__(self, values: Sequence[Middlebox]) -> None:
        self._chain = Chain(values)

    @property
    def dropped(self) -> int:
        """Packets that a middlebox threw away."""
        return self._chain.dropped

    @property
    def changed(self) -> int:
        """Packets that left with other options."""
        return self._chain.changed

    def process(self, frame: bytes) -> list[bytes]:
        """What is there in place of the frame; a super-segment becomes its packets. Raises UnsupportedSegmentError."""
        if not frame[1]:
            return self._packet(frame)
        whole = parse(frame)
        return [out for index in range(whole.count) for out in self._packet(whole.cut(index, index + 1))]

    def _packet(self, frame: bytes) -> list[bytes]:
        try:
            segment = decode(frame, NETWORK, not frame[0] & (NEEDS_CSUM | _DATA_VALID))
        except DecodeError:
            return [frame]
        return [frame if out is segment else _encoded(out, frame) for out in self._chain.process(segment)]


def _encoded(segment: Segment, like: bytes) -> bytes:
    """A frame with the Ethernet header of another one."""
    headers = offload_headers(segment)
    transport = NETWORK - VNET_BYTES + (IPV4_OCTETS if len(segment.source.host) == 4 else IPV6_OCTETS)
    virtio = VNET_HEADER.pack(NEEDS_CSUM, GSO_NONE, NETWORK - VNET_BYTES + len(headers), 0, transport, _CHECKSUM_OFFSET)
    return b"".join((virtio, like[ETHERNET:NETWORK], headers, segment.payload))


__all__ = ["FrameMiddleboxes", "UnsupportedSegmentError"]
