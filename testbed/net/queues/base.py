"""A queue: packets that wait, and its books."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from topologies.link_profile import ETHERNET_HEADER_BYTES, MTU_BYTES, QueueLimit

FULL_FRAME_BYTES: Final = MTU_BYTES + ETHERNET_HEADER_BYTES
"""MAXPACKET of RFC 8289."""
NO_LIMIT: Final = 1 << 62


class Waiting:
    """A packet in a queue, and what becomes of it."""

    __slots__ = (
        "arrived_ns",
        "corrupt_at",
        "deviation_ns",
        "ecn_capable",
        "flow",
        "is_copy",
        "is_marked",
        "packet",
        "release_ns",
        "reordered",
        "size_bytes",
    )

    def __init__(self, packet: Any, size_bytes: int, arrived_ns: int, ecn_capable: bool, flow: bytes) -> None:
        self.packet = packet
        """The caller's."""
        self.size_bytes = size_bytes
        self.arrived_ns = arrived_ns
        self.ecn_capable = ecn_capable
        """ECT(0), ECT(1) or CE."""
        self.flow = flow
        """What is equal for the packets of one flow: addresses, protocol, ports."""
        self.is_marked = False
        """It has to carry CE from now on."""
        self.release_ns = 0
        """When it comes out of the link, once it has left the queue."""
        self.deviation_ns = 0
        self.reordered = False
        self.corrupt_at: float | None = None
        """As in ``link.Delivery``."""
        self.is_copy = False


class Queue:
    """One direction's waiting room. This class is drop-tail, first in first out; disciplines are made of it.

    Calls come in the order of their times, except that a relay which is late may hand in a packet that arrived
    before the latest departure.
    """

    __slots__ = (
        "_limit_bytes",
        "_limit_packets",
        "_waiting",
        "dropped",
        "marked",
        "max_bytes",
        "max_packets",
        "waiting_bytes",
        "waiting_packets",
    )

    def __init__(self, limit: QueueLimit) -> None:
        self._limit_packets = limit.packets if limit.packets is not None else NO_LIMIT
        self._limit_bytes = limit.size_bytes if limit.size_bytes is not None else NO_LIMIT
        self._waiting: deque[Waiting] = deque()
        self.waiting_packets = 0
        self.waiting_bytes = 0
        self.max_packets = 0
        self.max_bytes = 0
        """Most that ever waited."""
        self.dropped = 0
        """Packets that came and will not leave."""
        self.marked = 0
        """Packets that leave, or have left, marked."""

    def enqueue(self, item: Waiting, now_ns: int) -> None:
        """A packet comes. It may be dropped, or others for it."""
        if self._is_full(item):
            self.dropped += 1
            return
        self._add(item)

    def dequeue(self, now_ns: int) -> Waiting | None:
        """The packet that leaves now; None: none is left."""
        return self._take() if self._waiting else None

    def was_idle(self, idle_ns: int, frame_ns: int) -> None:
        """The packet that comes next finds a line that has had nothing to send for ``idle_ns``; a full frame takes
        ``frame_ns`` on it (0: no time)."""

    def _is_full(self, item: Waiting) -> bool:
        return self.waiting_packets >= self._limit_packets or self.waiting_bytes + item.size_bytes > self._limit_bytes

    def _add(self, item: Waiting) -> None:
        self._waiting.append(item)
        self._count_in(item)

    def _count_in(self, item: Waiting) -> None:
        self.waiting_packets += 1
        self.waiting_bytes += item.size_bytes
        if self.waiting_packets > self.max_packets:
            self.max_packets = self.waiting_packets
        if self.waiting_bytes > self.max_bytes:
            self.max_bytes = self.waiting_bytes

    def _take(self) -> Waiting:
        item = self._waiting.popleft()
        self._count_out(item)
        return item

    def _count_out(self, item: Waiting) -> None:
        self.waiting_packets -= 1
        self.waiting_bytes -= item.size_bytes

    def _mark(self, item: Waiting) -> None:
        item.is_marked = True
        self.marked += 1
