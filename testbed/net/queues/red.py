"""RED (Floyd and Jacobson 1993), gentle (Floyd 2000): the average queue says how likely an arrival is dropped.

The average is moved by each arrival, and over an idle time as if so many full frames had found the queue empty. From
``minimum`` to ``maximum`` the probability rises to ``probability``, from there to twice ``maximum`` to one; above,
everything is dropped. Between two drops of a stretch between the thresholds, their distance is uniformly distributed
(the paper's second method). With ECN, a capable packet is marked between the thresholds, and dropped above
(RFC 3168 section 7).
"""

from __future__ import annotations

import random

from testbed.net.queues.base import Queue, Waiting
from topologies.link_profile import QueueLimit
from topologies.queue_discipline import Red


class RedQueue(Queue):
    """First in, first out; early drops at the tail."""

    __slots__ = ("_count", "_discipline", "_in_packets", "_random", "average")

    def __init__(self, limit: QueueLimit, discipline: Red, chance: random.Random) -> None:
        super().__init__(limit)
        self._discipline = discipline
        self._random = chance
        self._in_packets = discipline.unit == "packets"
        self._count = -1
        """Arrivals since the last drop or mark above ``minimum``; -1: below it."""
        self.average = 0.0
        """Of the queue, in the unit of the thresholds."""

    def was_idle(self, idle_ns: int, frame_ns: int) -> None:
        """See the base class."""
        keeps = 1.0 - self._discipline.weight
        self.average = self.average * keeps ** (idle_ns / frame_ns) if frame_ns else 0.0

    def enqueue(self, item: Waiting, now_ns: int) -> None:
        """See the base class. Every arrival takes one draw."""
        draw = self._random.random()
        queue = self.waiting_packets if self._in_packets else self.waiting_bytes
        self.average += self._discipline.weight * (queue - self.average)
        chosen = self._chooses(draw)
        if self._is_full(item) or (chosen and not self._is_spared(item)):
            self.dropped += 1
            return
        if chosen:
            self._mark(item)
        self._add(item)

    def _is_spared(self, item: Waiting) -> bool:
        """Whether it is marked instead of dropped."""
        return self._discipline.ecn and item.ecn_capable and self.average < self._discipline.maximum

    def _chooses(self, draw: float) -> bool:
        """Whether this arrival is to be dropped or marked."""
        rules = self._discipline
        if self.average < rules.minimum:
            self._count = -1
            return False
        self._count += 1
        if self.average < rules.maximum:
            share = rules.probability * (self.average - rules.minimum) / (rules.maximum - rules.minimum)
        else:
            # one or more from twice the maximum on: everything
            share = rules.probability + (1.0 - rules.probability) * (self.average - rules.maximum) / rules.maximum
        spread = 1.0 - self._count * share
        if spread <= 0.0 or draw < share / spread:
            self._count = 0
            return True
        return False
