"""PIE (RFC 8033 section 4 and appendix A): a controller of the queueing delay says how likely an arrival is dropped.

The delay is that of the packet that left last (the timestamp option of the appendix); a queue that runs empty has none.
With ECN, a capable packet is marked as long as the probability is at most a tenth, and dropped above (section 5.1).
The controller runs every T_UPDATE; here the updates that are due are made up for when a packet comes or leaves.
"""

from __future__ import annotations

import random
from typing import Final

from testbed.net.queues.base import FULL_FRAME_BYTES, Queue, Waiting
from topologies.link_profile import QueueLimit
from topologies.queue_discipline import Pie

ALPHA: Final = 0.125
BETA: Final = 1.25
"""Per second: weights of the delay's distance from the target, and of its trend."""
MOST_MARKED: Final = 0.1
"""``mark_ecnth``."""
_NS: Final = 1_000_000_000
_SMALL: Final = ((1e-6, 2048.0), (1e-5, 512.0), (1e-4, 128.0), (1e-3, 32.0), (1e-2, 8.0), (0.1, 2.0))
"""Below this probability, steps are so many times smaller (section 4.2)."""


class PieQueue(Queue):
    """First in, first out; early drops at the tail."""

    __slots__ = (
        "_burst_allowance_ns",
        "_delay_ns",
        "_discipline",
        "_half_ns",
        "_old_delay_ns",
        "_random",
        "_update_at_ns",
        "probability",
    )

    def __init__(self, limit: QueueLimit, discipline: Pie, chance: random.Random) -> None:
        super().__init__(limit)
        self._discipline = discipline
        self._random = chance
        self._half_ns = discipline.target_ns // 2
        self._update_at_ns = discipline.update_ns
        self._burst_allowance_ns = discipline.burst_ns
        self._delay_ns = 0
        self._old_delay_ns = 0
        self.probability = 0.0
        """``drop_prob_``."""

    def enqueue(self, item: Waiting, now_ns: int) -> None:
        """See the base class. Every arrival takes one draw."""
        self._update(now_ns)
        draw = self._random.random()
        if self._is_full(item):
            self.dropped += 1
            return
        if self.probability == 0 and self._delay_ns < self._half_ns and self._old_delay_ns < self._half_ns:
            self._burst_allowance_ns = self._discipline.burst_ns
        if self._burst_allowance_ns == 0 and draw < self.probability and not self._would_starve():
            if not (self._discipline.ecn and item.ecn_capable and self.probability <= MOST_MARKED):
                self.dropped += 1
                return
            self._mark(item)
        self._add(item)

    def dequeue(self, now_ns: int) -> Waiting | None:
        """See the base class."""
        self._update(now_ns)
        if not self._waiting:
            return None
        item = self._take()
        self._delay_ns = max(0, now_ns - item.arrived_ns) if self._waiting else 0
        return item

    def _would_starve(self) -> bool:
        """Whether a drop could leave the line with nothing to send."""
        if self._old_delay_ns < self._half_ns and self.probability < 0.2:
            return True
        return self.waiting_bytes <= 2 * FULL_FRAME_BYTES

    def _update(self, now_ns: int) -> None:
        while self._update_at_ns <= now_ns:
            before = (self.probability, self._old_delay_ns, self._burst_allowance_ns)
            self._control()
            self._update_at_ns += self._discipline.update_ns
            if before == (self.probability, self._old_delay_ns, self._burst_allowance_ns):
                periods = (now_ns - self._update_at_ns) // self._discipline.update_ns + 1
                self._update_at_ns += max(0, periods) * self._discipline.update_ns

    def _control(self) -> None:
        """RFC 8033 ``calculate_drop_prob``."""
        error_ns = self._delay_ns - self._discipline.target_ns
        step = (ALPHA * error_ns + BETA * (self._delay_ns - self._old_delay_ns)) / _NS
        for bound, divisor in _SMALL:
            if self.probability < bound:
                step /= divisor
                break
        if self.probability >= 0.1 and step > 0.02:
            step = 0.02
        probability = self.probability + step
        if self._delay_ns == 0 and self._old_delay_ns == 0:
            probability *= 0.98
        self.probability = min(1.0, max(0.0, probability))
        self._old_delay_ns = self._delay_ns
        self._burst_allowance_ns = max(0, self._burst_allowance_ns - self._discipline.update_ns)
