"""The middleboxes of a link on real frames: decode, ask the chain, and encode what came out changed.

Only links that have a middlebox come here. A super-segment is taken apart first, so that "the n-th packet" means the
same as in virtual time. What no middlebox touched passes byte for byte, also after it was kept for a while; what one
changed or made gets fresh headers, its checksum left to the kernel. Packets that are not TCP, or whose checksum is
wrong, pass as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from testbed.emulation.frames import ETHERNET, ETHERTYPE, NETWORK
from testbed.emulation.packet_socket import GSO_NONE, GSO_TCPV4, GSO_TCPV6, NEEDS_CSUM, VNET_BYTES, VNET_HEADER
from testbed.emulation.protocol import BoxReport
from testbed.emulation.segmentation import UnsupportedSegmentError, parse
from testbed.net.middlebox import BACKWARD, FORWARD, Chain
from testbed.net.schedule import NEVER_NS
from testbed.wire.codec import IPV4_OCTETS, IPV6_OCTETS, decode, offload_headers
from testbed.wire.errors import DecodeError
from testbed.wire.segment import Segment
from topologies.link_profile import MTU_BYTES

KEPT_FRAMES = 4096
"""Frames remembered of packets that did not leave at once; one that is kept for longer leaves with fresh headers."""

_DATA_VALID = 2
_CHECKSUM_OFFSET = 16
"""Of the checksum field in the TCP header."""
_MAC_BYTES = 6
_IPV4_TYPE, _IPV6_TYPE = b"\x08\x00", b"\x86\xdd"


class Direction(Protocol):
    """Where packets go on, past the middleboxes."""

    unsupported_frames: int

    def enters(self, frame: bytes, now_ns: int) -> None:
        """A frame comes to the link's model."""


class LiveMiddleboxes:
    """A chain between the packet sockets and the models of a link."""

    __slots__ = ("_addresses", "_chain", "_directions", "_kept", "_now_ns", "due_ns")

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._directions: tuple[Direction, ...] = ()
        self._addresses: list[bytes] = [b"", b""]
        """Ethernet addresses of the frames of each direction; empty: none has come."""
        self._kept: dict[int, tuple[Segment, bytes]] = {}
        self._now_ns = 0
        self.due_ns = NEVER_NS
        """When :meth:`handle_due` has something to do."""

    def lead_to(self, forward: Direction, backward: Direction) -> None:
        """Where packets go on; to be said before the first comes."""
        self._directions = (forward, backward)

    def frame_arrives(self, frame: bytes, way: int, now_ns: int) -> None:
        """A frame comes in direction ``way``."""
        if self.due_ns <= now_ns:
            self.handle_due(now_ns)
        if now_ns > self._now_ns:
            self._now_ns = now_ns
        if frame[1]:
            try:
                whole = parse(frame)
            except UnsupportedSegmentError:
                self._directions[way].unsupported_frames += 1
                return
            for index in range(whole.count):
                self._packet(whole.cut(index, index + 1), way)
        else:
            self._packet(frame, way)

    def handle_due(self, now_ns: int) -> None:
        """Do what is due by ``now_ns``, each at its time."""
        chain = self._chain
        while (due_ns := chain.next_timeout()) is not None and due_ns <= now_ns:
            if due_ns > self._now_ns:
                self._now_ns = due_ns
            self._let_go(chain.handle_timeout(due_ns))
        self.due_ns = NEVER_NS if due_ns is None else due_ns

    def dropped(self, way: int) -> int:
        """Packets of a direction that a middlebox threw away."""
        return self._chain.dropped(way)

    def changed(self, way: int) -> int:
        """Packets of a direction that left changed."""
        return self._chain.changed(way)

    def report(self) -> tuple[BoxReport, ...]:
        """What each of them did, by direction."""
        rows: list[dict[str, Any]] = [*self._chain.rows()]
        return tuple(BoxReport(**row) for row in rows)

    def _packet(self, frame: bytes, way: int) -> None:
        try:
            segment = decode(frame, NETWORK, not frame[0] & (NEEDS_CSUM | _DATA_VALID))
        except DecodeError:
            self._directions[way].enters(frame, self._now_ns)
            return
        self._addresses[way] = frame[ETHERNET:ETHERTYPE]
        left = self._chain.arrives(segment, way, self._now_ns)
        if len(left) == 1 and left[0][1] is segment:
            self._directions[way].enters(frame, self._now_ns)
        else:
            kept = self._kept
            kept[id(segment)] = (segment, frame)
            if len(kept) > KEPT_FRAMES:
                del kept[next(iter(kept))]
            self._let_go(left)
        due_ns = self._chain.next_timeout()
        self.due_ns = NEVER_NS if due_ns is None else due_ns

    def _let_go(self, packets: Sequence[tuple[int, Segment]]) -> None:
        for way, segment in packets:
            known = self._kept.get(id(segment))
            frame = known[1] if known is not None else self._encoded(segment, way)
            self._directions[way].enters(frame, self._now_ns)

    def _encoded(self, segment: Segment, way: int) -> bytes:
        """A frame with the Ethernet addresses of its direction, or of the other one turned round."""
        addresses = self._addresses[way]
        if not addresses:
            opposite = self._addresses[BACKWARD if way == FORWARD else FORWARD]
            addresses = opposite[_MAC_BYTES:] + opposite[:_MAC_BYTES]
        headers = offload_headers(segment)
        is_ipv4 = len(segment.source.host) == 4
        octets = IPV4_OCTETS if is_ipv4 else IPV6_OCTETS
        gso_type, gso_octets = GSO_NONE, 0
        if len(headers) + len(segment.payload) > MTU_BYTES:
            gso_type = GSO_TCPV4 if is_ipv4 else GSO_TCPV6
            gso_octets = MTU_BYTES - len(headers)
        transport = NETWORK - VNET_BYTES + octets
        virtio = VNET_HEADER.pack(
            NEEDS_CSUM, gso_type, NETWORK - VNET_BYTES + len(headers), gso_octets, transport, _CHECKSUM_OFFSET
        )
        ethertype = _IPV4_TYPE if is_ipv4 else _IPV6_TYPE
        return b"".join((virtio, addresses, ethertype, headers, segment.payload))
