"""CoDel (RFC 8289 section 5): the time that packets have waited decides, when they leave.

Once every packet has waited longer than TARGET for a whole INTERVAL, one is dropped from the head; the next ones
INTERVAL / sqrt(count) after each other, until one has waited less. With ECN, a capable packet is marked and leaves
(as Linux, include/net/codel_impl.h).
"""

from __future__ import annotations

from collections import deque
from math import isqrt

from testbed.net.queues.base import FULL_FRAME_BYTES, Queue, Waiting
from topologies.link_profile import QueueLimit
from topologies.queue_discipline import CoDel

_NEAR_INTERVALS = 16
"""A queue that begins to stand again within so many intervals is controlled at the rate that was right before."""


class ControlledQueue:
    """A first in, first out queue under CoDel, without a limit: RFC 8289's ``codel_queue_t``."""

    __slots__ = (
        "_count",
        "_drop_next_ns",
        "_ecn",
        "_first_above_ns",
        "_interval_ns",
        "_is_dropping",
        "_last_count",
        "_may_drop",
        "_target_ns",
        "dropped",
        "marked",
        "waiting",
        "waiting_bytes",
    )

    def __init__(self, target_ns: int, interval_ns: int, ecn: bool) -> None:
        self._target_ns = target_ns
        self._interval_ns = interval_ns
        self._ecn = ecn
        self._first_above_ns = 0
        """When packets will have waited too long for an interval; 0: the last one had not."""
        self._is_dropping = False
        self._may_drop = False
        """What was looked at last has waited too long, and so had all for an interval."""
        self._drop_next_ns = 0
        self._count = 0
        self._last_count = 0
        self.waiting: deque[Waiting] = deque()
        self.waiting_bytes = 0
        self.dropped: list[Waiting] = []
        """By the latest :meth:`dequeue`."""
        self.marked = False
        """Whether that marked what it returned."""

    def enqueue(self, item: Waiting) -> None:
        """A packet comes."""
        self.waiting.append(item)
        self.waiting_bytes += item.size_bytes

    def drop_head(self) -> Waiting:
        """Take the packet that came first, CoDel aside: an overflow."""
        item = self.waiting.popleft()
        self.waiting_bytes -= item.size_bytes
        return item

    def dequeue(self, now_ns: int) -> Waiting | None:
        """The packet that leaves; None: the queue is empty."""
        if self.dropped:
            self.dropped = []
        self.marked = False
        item = self._next(now_ns)
        if self._is_dropping:
            if not self._may_drop:
                self._is_dropping = False
            elif now_ns >= self._drop_next_ns:
                item = self._drop_when_due(item, now_ns)
        elif self._may_drop and item is not None:
            item = self._begin_to_drop(item, now_ns)
        return item

    def _next(self, now_ns: int) -> Waiting | None:
        """RFC 8289 ``dodequeue``."""
        self._may_drop = False
        if not self.waiting:
            self._first_above_ns = 0
            return None
        item = self.drop_head()
        if now_ns - item.arrived_ns < self._target_ns or self.waiting_bytes <= FULL_FRAME_BYTES:
            self._first_above_ns = 0
        elif self._first_above_ns == 0:
            self._first_above_ns = now_ns + self._interval_ns
        elif now_ns >= self._first_above_ns:
            self._may_drop = True
        return item

    def _drop_when_due(self, item: Waiting | None, now_ns: int) -> Waiting | None:
        while item is not None and self._is_dropping and now_ns >= self._drop_next_ns:
            self._count += 1
            if self._is_spared(item):
                self._drop_next_ns = self._after(self._drop_next_ns)
                return item
            self.dropped.append(item)
            item = self._next(now_ns)
            if self._may_drop:
                self._drop_next_ns = self._after(self._drop_next_ns)
            else:
                self._is_dropping = False
        return item

    def _begin_to_drop(self, item: Waiting, now_ns: int) -> Waiting | None:
        following: Waiting | None = item
        if not self._is_spared(item):
            self.dropped.append(item)
            following = self._next(now_ns)
        self._is_dropping = True
        delta = self._count - self._last_count
        self._count = 1
        if delta > 1 and now_ns - self._drop_next_ns < _NEAR_INTERVALS * self._interval_ns:
            self._count = delta
        self._drop_next_ns = self._after(now_ns)
        self._last_count = self._count
        return following

    def _is_spared(self, item: Waiting) -> bool:
        """Whether it is marked instead of dropped."""
        if not (self._ecn and item.ecn_capable):
            return False
        item.is_marked = self.marked = True
        return True

    def _after(self, time_ns: int) -> int:
        """The control law: INTERVAL / sqrt(count) later, in whole ns."""
        return time_ns + isqrt(self._interval_ns * self._interval_ns // self._count)


class CoDelQueue(Queue):
    """One such queue with a limit."""

    __slots__ = ("_controlled",)

    def __init__(self, limit: QueueLimit, discipline: CoDel) -> None:
        super().__init__(limit)
        self._controlled = ControlledQueue(discipline.target_ns, discipline.interval_ns, discipline.ecn)

    def enqueue(self, item: Waiting, now_ns: int) -> None:
        """See the base class."""
        if self._is_full(item):
            self.dropped += 1
            return
        self._controlled.enqueue(item)
        self._count_in(item)

    def dequeue(self, now_ns: int) -> Waiting | None:
        """See the base class."""
        controlled = self._controlled
        item = controlled.dequeue(now_ns)
        for dropped in controlled.dropped:
            self._count_out(dropped)
            self.dropped += 1
        if item is not None:
            self._count_out(item)
            self.marked += controlled.marked
        return item
