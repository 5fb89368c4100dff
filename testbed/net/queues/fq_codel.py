"""FQ-CoDel (RFC 8290 section 4): flows have queues of their own, each under CoDel, served by deficit round robin.

A flow that had nothing waiting comes first (the list of new queues), until it has sent a quantum. Which queue is a
flow's is a seeded hash of its addresses, protocol and ports, so flows may collide. When the whole is full, half of
what waits in the longest queue goes, from its head, 64 packets at most (section 4.1.3).
"""

from __future__ import annotations

from collections import deque
from hashlib import blake2b
from typing import Final

from testbed.net.queues.base import Queue, Waiting
from testbed.net.queues.codel import ControlledQueue
from topologies.link_profile import QueueLimit
from topologies.queue_discipline import FqCoDel

MOST_DROPPED: Final = 64
"""Packets at once, by an overflow."""


class FlowQueue(ControlledQueue):
    """The queue of one hash value."""

    __slots__ = ("credits", "is_listed")

    def __init__(self, discipline: FqCoDel) -> None:
        super().__init__(discipline.target_ns, discipline.interval_ns, discipline.ecn)
        self.credits = 0
        """Bytes that it may send before it is the next one's turn."""
        self.is_listed = False
        """Whether it is in one of the two lists."""


class FqCoDelQueue(Queue):
    """All queues of a line."""

    __slots__ = ("_buckets", "_discipline", "_new", "_old", "_quantum", "_queues", "_salt")

    def __init__(self, limit: QueueLimit, discipline: FqCoDel, seed: int) -> None:
        super().__init__(limit)
        self._discipline = discipline
        self._quantum = discipline.quantum_bytes
        self._salt = seed.to_bytes(16, "big", signed=True)
        self._buckets: dict[bytes, FlowQueue] = {}
        """Flow -> its queue."""
        self._queues: dict[int, FlowQueue] = {}
        """Hash value -> queue, in the order of the first packets."""
        self._new: deque[FlowQueue] = deque()
        self._old: deque[FlowQueue] = deque()

    def enqueue(self, item: Waiting, now_ns: int) -> None:
        """See the base class."""
        queue = self._buckets.get(item.flow)
        if queue is None:
            queue = self._buckets[item.flow] = self._queue_of(item.flow)
        queue.enqueue(item)
        self._count_in(item)
        if not queue.is_listed:
            queue.is_listed = True
            queue.credits = self._quantum
            self._new.append(queue)
        while self.waiting_packets > self._limit_packets or self.waiting_bytes > self._limit_bytes:
            self._drop_from_longest()

    def dequeue(self, now_ns: int) -> Waiting | None:
        """See the base class."""
        while True:
            queues = self._new or self._old
            if not queues:
                return None
            queue = queues[0]
            if queue.credits <= 0:
                queue.credits += self._quantum
                queues.popleft()
                self._old.append(queue)
                continue
            item = queue.dequeue(now_ns)
            for dropped in queue.dropped:
                self._count_out(dropped)
                self.dropped += 1
            if item is not None:
                queue.credits -= item.size_bytes
                self._count_out(item)
                self.marked += queue.marked
                return item
            queues.popleft()
            if queues is self._new:
                self._old.append(queue)  # one round as an old one, so that it cannot be new all the time
            else:
                queue.is_listed = False

    def bucket(self, flow: bytes) -> int:
        """The hash value of a flow, below the number of queues."""
        digest = blake2b(flow, digest_size=8, key=self._salt).digest()
        return int.from_bytes(digest, "big") % self._discipline.flows

    def _queue_of(self, flow: bytes) -> FlowQueue:
        number = self.bucket(flow)
        queue = self._queues.get(number)
        if queue is None:
            queue = self._queues[number] = FlowQueue(self._discipline)
        return queue

    def _drop_from_longest(self) -> None:
        longest = max(self._queues.values(), key=_backlog)
        for _ in range(max(1, min(MOST_DROPPED, len(longest.waiting) // 2))):
            self._count_out(longest.drop_head())
            self.dropped += 1


def _backlog(queue: FlowQueue) -> int:
    return queue.waiting_bytes
