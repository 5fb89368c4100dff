"""A line that delivers when a trace says so: mahimahi's link queue, decided at arrival.

Source: mm-link(1) and ``LinkQueue::rationalize`` (src/frontend/link_queue.cc) of mahimahi. An opportunity at time T:

- carries 1504 bytes, of which an IP packet takes its own and 4 (mahimahi's tun device puts a header in front): one of
  1500 bytes, or several small ones, or a part of one, which goes on at the next opportunity;
- is for packets that arrived before T; what comes at T is too late for it;
- is lost, or the rest of it, when nothing waits.

A packet comes out at the opportunity that carries its last byte. It waits until the one that carries its first byte:
only packets that wait count against the limit of the queue, in packets or, here, bytes of Ethernet frames.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from testbed.net.line import OVERFLOW, Line
from testbed.net.schedule import Timeline
from topologies.link_profile import ETHERNET_HEADER_BYTES, ProfileError, QueueLimit
from topologies.traces import OPPORTUNITY_BYTES, PACKET_HEADER_BYTES, Opportunities

_UNCOUNTED_BYTES: Final = ETHERNET_HEADER_BYTES - PACKET_HEADER_BYTES
"""Of a frame."""


class OpportunityLine(Line):
    """One direction's queue and deliveries. Times must not go backwards."""

    __slots__ = ("_at_ns", "_begin_ns", "_left_bytes", "_position", "_round_ns", "_times")

    def __init__(self, opportunities: Opportunities, limit: QueueLimit | None) -> None:
        """Raises ProfileError without a queue limit."""
        if limit is None:
            raise ProfileError("queue has no limit: call LinkProfile.resolved() or set one, such as '100packets'")
        super().__init__(Timeline(None), limit)
        self._times = opportunities.times_ns
        self._round_ns = opportunities.period_ns
        self._begin_ns = 0
        """Of the round of the opportunity at hand."""
        self._position = 0
        self._at_ns = self._times[0]
        self._left_bytes = OPPORTUNITY_BYTES
        """Of the opportunity at hand, not yet given to a packet; above 0."""

    def admit(self, size_bytes: int, now_ns: int) -> int:
        """A frame arrives: the time of the opportunity that carries its last byte, or OVERFLOW."""
        waiting = self._waiting
        while waiting and waiting[0][0] <= now_ns:
            self.waiting_bytes -= waiting.popleft()[1]
        waiting_bytes = self.waiting_bytes + size_bytes
        if len(waiting) >= self._limit_packets or waiting_bytes > self._limit_bytes:
            return OVERFLOW
        if self._at_ns <= now_ns:
            self._skip_to(now_ns)
        if self.free_ns <= now_ns:
            self.busy_since_ns = now_ns
        waiting.append((self._at_ns, size_bytes))
        self.waiting_bytes = waiting_bytes
        if waiting_bytes > self.max_bytes:
            self.max_bytes = waiting_bytes
        if len(waiting) > self.max_packets:
            self.max_packets = len(waiting)
        needed_bytes = size_bytes - _UNCOUNTED_BYTES
        while needed_bytes > self._left_bytes:
            needed_bytes -= self._left_bytes
            self._next()
        self.free_ns = self._at_ns
        self._left_bytes -= needed_bytes
        if self._left_bytes == 0:
            self._next()
        return self.free_ns

    def _next(self) -> None:
        self._position += 1
        if self._position == len(self._times):
            self._position = 0
            self._begin_ns += self._round_ns
        self._at_ns = self._begin_ns + self._times[self._position]
        self._left_bytes = OPPORTUNITY_BYTES

    def _skip_to(self, now_ns: int) -> None:
        """Go on to the first opportunity after ``now_ns``: what is left of the earlier ones is lost."""
        self._begin_ns = now_ns // self._round_ns * self._round_ns
        self._position = bisect_right(self._times, now_ns - self._begin_ns) - 1
        if self._position < 0:
            self._position = 0
            self._at_ns = self._begin_ns + self._times[0]
            self._left_bytes = OPPORTUNITY_BYTES
        else:
            self._next()
