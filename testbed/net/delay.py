"""Propagation: the delay after the line, its jitter, and reordering.

Sources: tc-netem(8) DELAY and REORDER; sch_netem.c (tabledist, netem_enqueue); iproute2 netem/normal.c, pareto.c and
paretonormal.c, whose distributions are rebuilt here as functions of a quantile, with the same cap of 4 (tables hold
16-bit numbers with 8192 for one).

The delay that counts is the one that holds when the frame leaves the line. Unless ``reorders`` is set, jitter and
shortened delays keep the order: a frame waits for the one before it. Reordering is netem's: the chosen frame skips the
delay, and nobody waits for it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from functools import lru_cache
from statistics import NormalDist
from typing import Final

from testbed.net.chance import Autocorrelated
from testbed.net.schedule import Timeline
from topologies.link_profile import Jitter, Reordering

TABLE_SIZE: Final = 4096
TABLE_CAP: Final = 32767 / 8192

_STANDARD_NORMAL: Final = NormalDist()


def _uniform(quantile: float) -> float:
    return 2.0 * quantile - 1.0


def _normal(quantile: float) -> float:
    return max(-TABLE_CAP, min(TABLE_CAP, _STANDARD_NORMAL.inv_cdf(quantile)))


def _pareto(quantile: float) -> float:
    """Shape 3, mean 1.5 subtracted, scaled by 4/3 as pareto.c does."""
    value: float = ((1.0 - quantile) ** (-1.0 / 3.0) - 1.5) * 4.0 / 3.0
    return min(TABLE_CAP, value)


def _paretonormal(quantile: float) -> float:
    return (_normal(quantile) + 3.0 * _pareto(quantile)) / 4.0


QUANTILES: Mapping[str, Callable[[float], float]] = {
    "uniform": _uniform,
    "normal": _normal,
    "pareto": _pareto,
    "paretonormal": _paretonormal,
}
"""Distribution -> its value at a quantile in (0, 1), in units of the amplitude."""


@lru_cache(maxsize=32)
def jitter_table(distribution: str, amplitude_ns: int) -> tuple[int, ...]:
    """The deviations from the delay, in ns, at the middles of TABLE_SIZE equal quantiles, ascending."""
    value = QUANTILES[distribution]
    return tuple(round(amplitude_ns * value((i + 0.5) / TABLE_SIZE)) for i in range(TABLE_SIZE))


class JitterDraw:
    """The random part of the delay, one draw per packet."""

    __slots__ = ("_chance", "_draw", "_table")

    def __init__(self, jitter: Jitter, chance: random.Random) -> None:
        self._table = jitter_table(jitter.distribution, jitter.amplitude_ns)
        first = chance.random()
        self._chance = Autocorrelated(jitter.correlation, first) if jitter.correlation else None
        self._draw = chance.random

    def next_ns(self) -> int:
        """This packet's deviation, in ns; may be negative."""
        draw = self._draw()
        if self._chance is not None:
            draw = self._chance.next(draw)
        return self._table[int(draw * TABLE_SIZE)]


class ReorderingDraw:
    """netem's reordering: after ``gap - 1`` packets in order, each next one skips the delay with ``probability``."""

    __slots__ = ("_chance", "_draw", "_gap", "_in_order", "_probability")

    def __init__(self, reordering: Reordering, chance: random.Random) -> None:
        self._probability = reordering.probability
        self._gap = reordering.gap
        first = chance.random()
        self._chance = Autocorrelated(reordering.correlation, first) if reordering.correlation else None
        self._draw = chance.random
        self._in_order = 0

    def next(self) -> bool:
        """Whether this packet skips the delay."""
        draw = self._draw()
        if self._chance is not None:
            draw = self._chance.next(draw)
        if draw < self._probability and self._in_order >= self._gap - 1:
            self._in_order = 0
            return True
        self._in_order += 1
        return False


class Propagation:
    """From the end of the line to the far end. Times given must not go backwards."""

    __slots__ = ("_delays", "_keeps_order", "last_ns")

    def __init__(self, delays: Timeline[int], keeps_order: bool) -> None:
        self._delays = delays
        self._keeps_order = keeps_order
        self.last_ns = 0
        """The latest release of a packet that was not reordered."""

    def delay_ns(self, now_ns: int) -> int:
        """The delay that holds at ``now_ns``, or a little later if a frame on the line got there first."""
        return self._delays.advance(now_ns)

    def release(self, sent_ns: int, deviation_ns: int = 0) -> int:
        """When a frame that left the line at ``sent_ns`` comes out."""
        delays = self._delays
        if sent_ns >= delays.next_ns:
            delays.advance(sent_ns)
        release_ns = sent_ns + delays.value + deviation_ns
        if release_ns < sent_ns:
            release_ns = sent_ns
        if self._keeps_order:
            if release_ns < self.last_ns:
                return self.last_ns
            self.last_ns = release_ns
        return release_ns
