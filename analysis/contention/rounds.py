"""When the segments were built that an endpoint sent in one round.

An endpoint that reads all that has come, builds all that may leave and then sends it, one segment after the other, has
segments on the line that know nothing of what came since the round began: for a stack in Python that may be some
milliseconds. Two things on record bound the time of building: segments of one round carry one timestamp and follow each
other closely, so none was built after the first of them left; and a timestamp is a clock of known rate, whose offset
is the least difference between it and the time at which a segment passed the interface.
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
    bound = _carried(time, begins)
    built: Int64s = np.where(has, np.minimum(bound, _by_clock(time, stamp, groups)), bound)
    return built


def _carried(values: Int64s, begins: NDArray[np.bool_]) -> Int64s:
    """The value at the last beginning."""
    place = np.maximum.accumulate(np.where(begins, np.arange(len(values)), 0))
    carried: Int64s = values[place]
    return carried


def _by_clock(time: Int64s, stamp: Int64s, groups: Groups) -> Int64s:
    """The end of the tick that a timestamp names."""
    offset = time - stamp * TICK_NS
    stretch = groups.place * (1 << 32) + (time - time.min()) // _STRETCH_NS
    starts = np.flatnonzero(np.append(True, stretch[1:] != stretch[:-1]))
    least = np.minimum.reduceat(offset, starts)
    place = np.cumsum(np.append(False, stretch[1:] != stretch[:-1]))
    ends: Int64s = least[place] + (stamp + 1) * TICK_NS
    return ends
