"""Interval arithmetic over columns: which octets of a segment had been sent before, by whom, and which are new.

All intervals are half-open. Positions of many streams lie side by side in one line of int64 (:class:`Line`), so that
one call serves all streams of a batch. What is kept between batches is a set of disjoint fragments (:class:`History`):
one for each stream and hole, not one for each segment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Int64s = NDArray[np.int64]
UInt64s = NDArray[np.uint64]
Bools = NDArray[np.bool_]

MAX_SLOTS: Final = 64
"""Senders that are told apart in one stream: bits of a mask."""
_MAX_PAIRS: Final = 1 << 21
"""Pairs of a segment and an elementary interval that are looked at in one go; more are halved first."""
_KEEP: Final = 1 << 19
"""Fragments kept; above it the oldest of each stream forget who sent them, but not that they were sent."""


class Line:
    """Places streams side by side: position = stream << bits + middle + offset. Offsets may be negative."""

    __slots__ = ("_middle", "bits", "half")

    def __init__(self, streams: int) -> None:
        self.bits = 62 - max(1, streams).bit_length()
        self.half = 1 << (self.bits - 1)
        self._middle = self.half

    def place(self, stream: NDArray[np.signedinteger], offset: Int64s) -> Int64s:
        """Offsets that no stream of the real world reaches are held at its borders, away from the neighbours."""
        held = np.clip(offset, 1 - self.half, self.half - 1)
        return (stream.astype(np.int64) << self.bits) + (held + self._middle)

    def stream(self, position: Int64s) -> Int64s:
        """Whose position it is."""
        return position >> self.bits

    def offset(self, position: Int64s) -> Int64s:
        """Back from a position."""
        return (position & ((1 << self.bits) - 1)) - self._middle


@dataclass(frozen=True, slots=True)
class Earlier:
    """What had been sent before each interval of one call, in octets, and which pieces of them are new."""

    any: Int64s
    """By anybody."""
    own: Int64s
    """By the same slot."""
    others: Int64s
    """By another slot."""
    fresh_row: Int64s
    """Index of the interval that a new piece comes from."""
    fresh_start: Int64s
    fresh_end: Int64s


def union(start: Int64s, end: Int64s) -> tuple[Int64s, Int64s]:
    """Disjoint intervals, sorted, not touching, of the same octets."""
    if not len(start):
        return start, end
    order = np.argsort(start, kind="stable")
    start, reach = start[order], np.maximum.accumulate(end[order])
    first = np.ones(len(start), bool)
    first[1:] = start[1:] > reach[:-1]
    last = np.append(np.flatnonzero(first)[1:], len(start)) - 1
    return start[first], reach[last]


def total(start: Int64s, end: Int64s) -> int:
    """Octets of disjoint intervals."""
    return int((end - start).sum())


def covered(start: Int64s, end: Int64s, low: Int64s, high: Int64s) -> Int64s:
    """How many octets of each [low, high) lie in the disjoint sorted intervals [start, end)."""
    return _below(start, end, high) - _below(start, end, low)


def _below(start: Int64s, end: Int64s, position: Int64s) -> Int64s:
    if not len(start):
        return np.zeros(len(position), np.int64)
    before = np.zeros(len(start) + 1, np.int64)
    np.cumsum(end - start, out=before[1:])
    index = np.searchsorted(start, position, "right")
    within = np.maximum(index - 1, 0)
    beyond = np.where(index > 0, np.maximum(end[within] - position, 0), 0)
    return before[index] - beyond


def expand(first: Int64s, last: Int64s) -> tuple[Int64s, Int64s]:
    """Every (row, value) with first[row] <= value < last[row]."""
    counts = np.maximum(last - first, 0)
    row = np.repeat(np.arange(len(first)), counts)
    offset = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    return row, np.repeat(first, counts) + offset


def first_covering(start: Int64s, end: Int64s, rank: Int64s, point: Int64s, none: int) -> Int64s:
    """The smallest ``rank`` of the intervals that hold each point (sorted); ``none`` where none does."""
    found = np.full(len(point), none, np.int64)
    if not len(start) or not len(point):
        return found
    row, place = expand(np.searchsorted(point, start), np.searchsorted(point, end))
    np.minimum.at(found, place, rank[row])
    return found


class History:
    """The octets that have been sent, as disjoint fragments with the slots that sent them."""

    __slots__ = ("_line", "end", "mask", "start")

    def __init__(self, line: Line) -> None:
        self._line = line
        self.start: Int64s = np.empty(0, np.int64)
        self.end: Int64s = np.empty(0, np.int64)
        self.mask: UInt64s = np.empty(0, np.uint64)

    def take(self, start: Int64s, end: Int64s, slot: Int64s | None = None) -> Earlier:
        """Intervals in the order in which they were sent, none empty; ``slot``: below :data:`MAX_SLOTS`, 0 if None."""
        count = len(start)
        if slot is None:
            slot = np.zeros(count, np.int64)
        if not count:
            none = np.empty(0, np.int64)
            return Earlier(none, none, none, none, none, none)
        order = np.argsort(start, kind="stable")
        low, high = start[order], end[order]
        busy, first, last = self._busy(low, high)
        if not busy.any():
            zeros = np.zeros(count, np.int64)
            self._add(low, high, np.uint64(1) << slot[order].astype(np.uint64), None)
            return Earlier(zeros, zeros, zeros, order, low, high)
        cells = _Cells(self, low[busy], high[busy], order[busy], slot[order[busy]], first[busy], last[busy])
        if cells.pairs > _MAX_PAIRS and count > 1:
            return self._halves(start, end, slot)
        earlier = cells.earlier(count)
        quiet = ~busy
        rows = order[quiet]
        self._add(
            np.concatenate((low[quiet], cells.start)),
            np.concatenate((high[quiet], cells.end)),
            np.concatenate((np.uint64(1) << slot[rows].astype(np.uint64), cells.mask)),
            cells.touched,
        )
        return Earlier(
            earlier.any,
            earlier.own,
            earlier.others,
            np.concatenate((rows, earlier.fresh_row)),
            np.concatenate((low[quiet], earlier.fresh_start)),
            np.concatenate((high[quiet], earlier.fresh_end)),
        )

    def sums(self, streams: int) -> Int64s:
        """Octets sent at least once, for each stream."""
        result = np.zeros(streams, np.int64)
        np.add.at(result, self._line.stream(self.start), self.end - self.start)
        return result

    def _busy(self, low: Int64s, high: Int64s) -> tuple[Bools, Int64s, Int64s]:
        """Which of the sorted intervals meet another one or the history, and which fragments each of them meets."""
        reach = np.maximum.accumulate(high)
        meets = np.zeros(len(low), bool)
        meets[1:] = low[1:] < reach[:-1]
        busy = meets.copy()
        busy[:-1] |= meets[1:]
        first = np.searchsorted(self.end, low, "right")
        last = np.searchsorted(self.start, high, "left")
        busy |= last > first
        # A long interval is met by all that begin within it, not by the next alone.
        cluster = np.cumsum(~meets) - 1
        return np.asarray(np.bincount(cluster, busy) > 0)[cluster], first, last

    def _halves(self, start: Int64s, end: Int64s, slot: Int64s) -> Earlier:
        middle = len(start) // 2
        one = self.take(start[:middle], end[:middle], slot[:middle])
        two = self.take(start[middle:], end[middle:], slot[middle:])
        return Earlier(
            np.concatenate((one.any, two.any)),
            np.concatenate((one.own, two.own)),
            np.concatenate((one.others, two.others)),
            np.concatenate((one.fresh_row, two.fresh_row + middle)),
            np.concatenate((one.fresh_start, two.fresh_start)),
            np.concatenate((one.fresh_end, two.fresh_end)),
        )

    def _add(self, start: Int64s, end: Int64s, mask: UInt64s, replaced: Bools | None) -> None:
        kept = slice(None) if replaced is None else ~replaced
        start = np.concatenate((self.start[kept], start))
        end = np.concatenate((self.end[kept], end))
        mask = np.concatenate((self.mask[kept], mask))
        order = np.argsort(start, kind="stable")
        self.start, self.end, self.mask = _joined(start[order], end[order], mask[order], None)
        if len(self.start) > _KEEP:
            self._forget_senders()

    def _forget_senders(self) -> None:
        stream = self._line.stream(self.start)
        last = np.append(stream[1:] != stream[:-1], True)
        ends = np.flatnonzero(last)
        behind = ends[np.searchsorted(ends, np.arange(len(stream)))] - np.arange(len(stream))
        old = behind > _KEEP // (4 * len(ends))
        self.start, self.end, self.mask = _joined(self.start, self.end, self.mask, old)


def _joined(start: Int64s, end: Int64s, mask: UInt64s, loose: Bools | None) -> tuple[Int64s, Int64s, UInt64s]:
    """Touching fragments of the same senders become one; ``loose`` ones also those of others (all are remembered)."""
    same = mask[1:] == mask[:-1]
    if loose is not None:
        same |= loose[1:] & loose[:-1]
    first = np.ones(len(start), bool)
    first[1:] = (start[1:] != end[:-1]) | ~same
    begin = np.flatnonzero(first)
    last = np.append(begin[1:], len(start)) - 1
    return start[begin], end[last], np.bitwise_or.reduceat(mask, begin)


class _Cells:
    """Elementary intervals of the segments that overlap: within one, every octet has the same story."""

    __slots__ = ("_before", "_cell", "_points", "_row", "_slot", "end", "mask", "pairs", "start", "touched")

    def __init__(
        self, history: History, low: Int64s, high: Int64s, rank: Int64s, slot: Int64s, first: Int64s, last: Int64s
    ) -> None:
        step = np.zeros(len(history.start) + 1, np.int64)
        np.add.at(step, first, 1)
        np.add.at(step, np.maximum(first, last), -1)
        self.touched: Bools = np.cumsum(step)[:-1] > 0
        old_start, old_end = history.start[self.touched], history.end[self.touched]
        points = np.unique(np.concatenate((low, high, old_start, old_end)))
        begin, stop = np.searchsorted(points, low), np.searchsorted(points, high)
        self.pairs = int((stop - begin).sum())
        self._points = points
        if self.pairs > _MAX_PAIRS and len(low) > 1:
            return
        row, cell = expand(begin, stop)
        order = np.lexsort((rank[row], cell))
        self._cell, self._row, self._slot = cell[order], rank[row[order]], slot[row[order]]
        self._before = np.zeros(len(points) - 1, np.uint64)
        if len(old_start):
            index = np.searchsorted(old_start, points[:-1], "right") - 1
            inside = (index >= 0) & (points[:-1] < old_end[index])
            self._before[inside] = history.mask[self.touched][index[inside]]
        mask = self._before.copy()
        np.bitwise_or.at(mask, self._cell, np.uint64(1) << self._slot.astype(np.uint64))
        sent = mask != 0
        self.start, self.end, self.mask = points[:-1][sent], points[1:][sent], mask[sent]

    def earlier(self, count: int) -> Earlier:
        """Octets sent before, of each of ``count`` intervals."""
        cell, row, slot = self._cell, self._row, self._slot
        number = np.arange(len(cell))
        first = np.ones(len(cell), bool)
        first[1:] = cell[1:] != cell[:-1]
        opening = np.maximum.accumulate(np.where(first, number, 0))
        differs = slot != slot[opening]
        changes = np.cumsum(differs)
        by_other = ~first & (differs | (changes - changes[opening] > 0))
        order = np.lexsort((number, slot, cell))
        again = np.zeros(len(cell), bool)
        again[1:] = (cell[order][1:] == cell[order][:-1]) & (slot[order][1:] == slot[order][:-1])
        by_same = np.empty(len(cell), bool)
        by_same[order] = again
        bit = np.uint64(1) << slot.astype(np.uint64)
        old = self._before[cell]
        by_any = ~first | (old != 0)
        by_same |= (old & bit) != 0
        by_other |= (old & ~bit) != 0
        octets = self._points[cell + 1] - self._points[cell]
        sums = []
        for told in (by_any, by_same, by_other):
            result = np.zeros(count, np.int64)
            np.add.at(result, row[told], octets[told])
            sums.append(result)
        new = ~by_any
        anybody, own, others = sums
        return Earlier(anybody, own, others, row[new], self._points[cell[new]], self._points[cell[new] + 1])
