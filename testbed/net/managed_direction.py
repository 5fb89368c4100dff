"""One direction of a link whose queue has a discipline: who leaves the waiting room is decided when the line is free.

What is decided at the arrival (outage, loss, and the other draws) and behind the line (delay, jitter, reordering) is as
in :mod:`link`; in between, packets wait in a :class:`~testbed.net.queues.Queue`. So the caller does not learn at the
arrival when a packet comes out. It hands packets in with :meth:`ManagedDirection.arrives_managed`, is told by
``next_timeout`` when the line will be free, says so with ``handle_timeout``, and is given by both calls what left the
queue, with the time of its release.

A relay may be late: it may say that the line is free after packets have come that it has not read yet. The departure is
computed for its due time all the same; such a packet counts its waiting time from its true arrival.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from testbed.net.chance import derive_seed
from testbed.net.link import Draws, LinkDirection
from testbed.net.queues import Waiting, make_queue
from testbed.net.queues.base import FULL_FRAME_BYTES
from testbed.net.schedule import NEVER_NS
from topologies.link_profile import Change, LinkProfile, ProfileError

_BIT_NS_PER_BYTE = 8 * 10**9


class ManagedDirection(LinkDirection):
    """The model of one direction with a managed queue. Same profile, changes, seed and arrivals: same outcomes."""

    __slots__ = ("_ready_ns", "queue")

    def __init__(self, profile: LinkProfile, changes: Sequence[Change] = (), seed: int = 0) -> None:
        """As the base class; ``profile.queue`` has a discipline. Raises ProfileError."""
        super().__init__(profile, changes, seed)
        if profile.queue is None:
            raise ProfileError("a managed queue has a limit")
        self.queue = make_queue(profile.queue, derive_seed(seed, "queue"))
        self._ready_ns = 0
        """When the line can take the next packet, if one waits."""

    def arrives_managed(
        self, packet: Any, size_bytes: int, ecn_capable: bool, flow: bytes, now_ns: int
    ) -> list[Waiting]:
        """A frame of ``size_bytes`` arrives; ``packet`` is the caller's, ``flow`` is equal for packets of one flow.

        Returns what has left the queue by ``now_ns``: perhaps this packet, perhaps others, in order.
        """
        left = self.handle_timeout(now_ns)  # at the same instant, a departure comes first
        loses = self._loss is not None and self._loss.loses(now_ns)
        draws = None if self._plain else self._draw()
        counters = self.counters
        counters.arrived_packets += 1
        counters.arrived_bytes += size_bytes
        if self.is_down(now_ns):
            counters.dropped_outage += 1
            return left
        if loses:
            counters.dropped_loss += 1
            return left
        item = Waiting(packet, size_bytes, now_ns, ecn_capable, flow)
        if draws is not None:
            item.deviation_ns = draws.deviation_ns
            item.reordered = draws.reordered
            item.corrupt_at = draws.corrupt_at
        self._enqueue(item, now_ns)
        if draws is not None and draws.duplicated:
            counters.duplicated += 1
            self._serve(now_ns, left)
            self._enqueue(_copy(item, draws), now_ns)
        self._serve(now_ns, left)
        return left

    def next_timeout(self) -> int:
        """When :meth:`handle_timeout` is due; NEVER_NS: nothing waits."""
        return self._ready_ns if self.queue.waiting_packets else NEVER_NS

    def handle_timeout(self, now_ns: int) -> list[Waiting]:
        """What leaves the queue by ``now_ns``, each at its time."""
        left: list[Waiting] = []
        if self.queue.waiting_packets and self._ready_ns <= now_ns:
            self._serve(now_ns, left)
        return left

    def _enqueue(self, item: Waiting, now_ns: int) -> None:
        queue, line = self.queue, self.line
        if not queue.waiting_packets:
            self._ready_ns = line.free_ns
            if line.free_ns < now_ns:
                self._ready_ns = now_ns
                rate = line.rate_at_cursor()
                queue.was_idle(now_ns - line.free_ns, FULL_FRAME_BYTES * _BIT_NS_PER_BYTE // rate if rate else 0)
        queue.enqueue(item, now_ns)
        line.max_packets = queue.max_packets
        line.max_bytes = queue.max_bytes
        self._count()

    def _serve(self, now_ns: int, left: list[Waiting]) -> None:
        queue, line, counters = self.queue, self.line, self.counters
        while queue.waiting_packets and self._ready_ns <= now_ns:
            item = queue.dequeue(self._ready_ns)
            if item is None:
                break
            sent_ns = line.admit(item.size_bytes, self._ready_ns)
            self._ready_ns = line.free_ns
            item.release_ns = sent_ns if item.reordered else self._propagation.release(sent_ns, item.deviation_ns)
            counters.delivered_packets += 1
            counters.delivered_bytes += item.size_bytes
            counters.corrupted += item.corrupt_at is not None
            counters.reordered += item.reordered
            left.append(item)
        self._count()

    def _count(self) -> None:
        self.counters.dropped_overflow = self.queue.dropped
        self.counters.marked_ce = self.queue.marked


def _copy(item: Waiting, draws: Draws) -> Waiting:
    """An exact copy, which is not damaged itself."""
    copy = Waiting(item.packet, item.size_bytes, item.arrived_ns, item.ecn_capable, item.flow)
    copy.deviation_ns = draws.deviation_ns
    copy.reordered = draws.reordered
    copy.is_copy = True
    return copy


def is_managed(profile: LinkProfile) -> bool:
    """Whether a direction is a :class:`ManagedDirection`."""
    return profile.queue is not None and profile.queue.discipline is not None


def direction_of(profile: LinkProfile, changes: Sequence[Change] = (), seed: int = 0) -> LinkDirection:
    """The model that a profile asks for. Raises ProfileError."""
    return ManagedDirection(profile, changes, seed) if is_managed(profile) else LinkDirection(profile, changes, seed)
