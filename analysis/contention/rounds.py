"""When the segments were built that an endpoint sent in one round.

An endpoint that reads all that has come, builds all that may leave and then sends it, one segment after the other, has
segments on the line that know nothing of what came since the round began: for a stack in Python that may be some
milliseconds. Three things on record say when a round was built: its segments carry one timestamp and follow each other
closely, so none was built after the first of them left; building takes its time for each; and a timestamp is a clock of
known rate, whose offset is the least difference between it and the time at which a segment passed the interface: it
names the tick in which the segment was built.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analysis.contention.grouped import Groups
from analysis.contention.replay import NO_STAMP

Int64s = NDArray[np.int64]

TICK_NS = 1_000_000
"""Of the timestamp clock (testbed.tcp.control_block; Linux likewise)."""
CLOSE_NS = 250_000
"""Segments of one round follow each other faster than this, mostly."""
BUILDING_NS = 10_000
"""Of one segment, by a compiled stack that keeps a ledger. Too much is worse than too little: what came in the meantime
is then unknown to segments that told of it (0.997 of them agree with 100 us, and 0.9995 with 10 us; interpreted stacks,
which take ten times as long, lose less)."""
_STRETCH_NS = 2_000_000_000
"""The offset of the clock is told anew so often: the two clocks may drift apart by 500 ppm, 1 ms in this time."""


def built_by(time: Int64s, stamp: Int64s, groups: Groups) -> Int64s:
    """No segment was built after this; rows sorted by subflow, then as they left. ``stamp``: its own timestamp."""
    if not len(time):
        return time
    is_first = np.zeros(len(time), dtype=bool)
    is_first[groups.first] = True
    gap = np.diff(time, prepend=time[:1])
    has = stamp != NO_STAMP
    turns = is_first | (has & (stamp != np.roll(stamp, 1)))
    since = time - _carried(time, turns)
    begins = turns | ((gap > CLOSE_NS) & (~has | (since < TICK_NS)))
    starts = np.flatnonzero(begins)
    size = np.diff(np.append(starts, len(time)))[np.cumsum(begins) - 1]
    built: Int64s = _carried(time, begins) - BUILDING_NS * size
    tick = _by_clock(time, stamp, groups)
    return np.where(has, np.clip(built, tick, tick + TICK_NS), built)


def _carried(values: Int64s, begins: NDArray[np.bool_]) -> Int64s:
    """The value at the last beginning."""
    place = np.maximum.accumulate(np.where(begins, np.arange(len(values)), 0))
    carried: Int64s = values[place]
    return carried


def _by_clock(time: Int64s, stamp: Int64s, groups: Groups) -> Int64s:
    """The beginning of the tick that a timestamp names."""
    offset = time - stamp * TICK_NS
    stretch = groups.place * (1 << 32) + (time - time.min()) // _STRETCH_NS
    is_new = np.append(True, stretch[1:] != stretch[:-1])
    least = np.minimum.reduceat(offset, np.flatnonzero(is_new))
    begins: Int64s = least[np.cumsum(is_new) - 1] + stamp * TICK_NS
    return begins
