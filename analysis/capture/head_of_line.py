"""How long octets waited at the receiver for the DSNs before them.

Octets that arrive when all before them is there wait for nothing. From a capture at the receiver's interface the times
are the receiver's; elsewhere they would not be, so the tables give them for that side alone. Waiting within a subflow
for a lost segment is part of it: what is missing there is missing in DSN space.
"""

from __future__ import annotations

import numpy as np

from analysis.capture.intervals import Int64s, Line
from analysis.capture.sending import Sent
from analysis.capture.stretch import Stretch
from analysis.capture.sums import Distributions


class HeadOfLine:
    """Distributions by flux, each octet counting once; what still waits at the end is counted apart."""

    def __init__(self, line: Line, fluxes: int, first: Int64s) -> None:
        """``first``: offset from which each flux begins (1, or the first octet seen where the capture began later)."""
        self._line = line
        self.delays = Distributions(fluxes)
        self.waited: Int64s = np.zeros(fluxes, np.int64)
        """Octets that waited at all."""
        self.untold: Int64s = np.zeros(fluxes, np.int64)
        """Octets of which it cannot be told: what they waited for is not in the capture."""
        self._front: Int64s = line.place(np.arange(fluxes), first)
        self._front_ns: Int64s = np.zeros(fluxes, np.int64)
        none = np.empty(0, np.int64)
        self._start, self._end, self._time = none, none, none

    def take(self, stretch: Stretch, sent: Sent) -> None:
        """The next stretch."""
        fresh = sent.dsn_earlier
        arrived = stretch.time_ns[sent.pieces.at[fresh.fresh_row]] if len(fresh.fresh_row) else fresh.fresh_start
        start = np.concatenate((self._start, fresh.fresh_start))
        if not len(start):
            return
        end = np.concatenate((self._end, fresh.fresh_end))
        time = np.concatenate((self._time, arrived))
        order = np.argsort(start, kind="stable")
        start, end, time = start[order], end[order], time[order]
        flux = self._line.stream(start)
        opening = np.ones(len(start), bool)
        opening[1:] = flux[1:] != flux[:-1]
        front = self._front[flux]
        before = np.empty(len(start), np.int64)
        before[1:] = end[:-1]
        before[opening] = front[opening]
        # In order from the front: no gap before this piece since the first of its flux. What lies below the front came
        # when the capture had begun already: it waits for nothing that is known.
        gap = (start > np.maximum(before, front)).astype(np.int64)
        gaps = np.cumsum(gap)
        begin = np.flatnonzero(opening)
        sizes = np.diff(np.append(begin, len(start)))
        ready = gaps - np.repeat(gaps[begin] - gap[begin], sizes) == 0
        self._deliver(flux[ready], start[ready], end[ready], time[ready])
        self._start, self._end, self._time = start[~ready], end[~ready], time[~ready]

    def acknowledged(self, flux: Int64s, position: Int64s) -> None:
        """DATA_ACKs of a stretch, as positions: what was acknowledged was there, though the capture does not show it.

        Only a capture with gaps, or one that began later, has such: what waited for it is left out.
        """
        if not len(flux):
            return
        highest = self._front.copy()
        np.maximum.at(highest, flux, position)
        if not len(self._start):
            self._front = highest
            return
        lost = self._start < highest[self._line.stream(self._start)]
        np.add.at(self.untold, self._line.stream(self._start[lost]), (self._end - self._start)[lost])
        np.maximum.at(highest, self._line.stream(self._start[lost]), self._end[lost])
        self._front = highest
        self._start, self._end, self._time = self._start[~lost], self._end[~lost], self._time[~lost]

    def waiting(self, fluxes: int) -> Int64s:
        """Octets of each flux that still waited at the end of the capture."""
        result = np.zeros(fluxes, np.int64)
        np.add.at(result, self._line.stream(self._start), self._end - self._start)
        return result

    def _deliver(self, flux: Int64s, start: Int64s, end: Int64s, time: Int64s) -> None:
        if not len(flux):
            return
        # Delivered when the latest of all up to it has come; per flux, by a rank that no other flux reaches.
        latest = _running_maximum(flux, np.maximum(time, 0), self._front_ns)
        delay = latest - time
        self.delays.take(flux, delay, end - start)
        np.add.at(self.waited, flux, np.where(delay > 0, end - start, 0))
        np.maximum.at(self._front, flux, end)
        np.maximum.at(self._front_ns, flux, latest)


def _running_maximum(group: Int64s, value: Int64s, floor: Int64s) -> Int64s:
    """Of ``value`` within each group (sorted), not below the group's ``floor``."""
    begin = np.flatnonzero(np.concatenate(([True], group[1:] != group[:-1])))
    raised = value.copy()
    raised[begin] = np.maximum(raised[begin], floor[group[begin]])
    low = int(raised.min())
    span = int(raised.max()) - low + 1
    number = np.repeat(np.arange(len(begin)), np.diff(np.append(begin, len(group))))
    if span * len(begin) < 1 << 62:
        # Each group above the one before it, so that one running maximum serves all.
        shift = number * span - low
        result: Int64s = np.maximum.accumulate(raised + shift) - shift
        return result
    values, rank = np.unique(raised, return_inverse=True)
    shift = number * len(values)
    return values[np.maximum.accumulate(rank + shift) - shift]
