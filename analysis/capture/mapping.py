"""Which DSNs the payload of each segment has: by the mapping on it, an earlier one, or one that comes late.

Data that were sent before their mapping count from the segment that brings it. Of two mappings for the same octets the
first holds (RFC 8684 section 3.3.1: a mapping is not changed). Connections without DSNs, plain TCP, have their
subflow's sequence numbers instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from analysis.capture.intervals import Int64s, Line, expand, union
from analysis.capture.ordering import stable_order
from analysis.capture.stretch import Stretch, Stretcher

_KEEP: Final = 1024
"""Runs of mappings that are remembered of each stream, for segments that carry none."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """Octets of payload with their DSNs, by flux, and within one in the order in which they count as sent."""

    row: Int64s
    """Of the segment; -1: sent in an earlier batch."""
    at: Int64s
    """Of the segment from which they count."""
    stream: Int64s
    start: Int64s
    """DSN, as offset."""
    end: Int64s


@dataclass(slots=True)
class _Maps:
    """Mappings: subflow sequence numbers as positions on the line, and what is to be added to make a DSN offset."""

    start: Int64s
    end: Int64s
    delta: Int64s
    rank: Int64s
    """Row that brought it; -1: an earlier batch."""


class Mapper:
    """Keeps the mappings in use and the octets that wait for one."""

    def __init__(self, stretcher: Stretcher, line: Line) -> None:
        self._line = line
        self._mptcp = stretcher.mptcp
        self._flux, self._fluxes = stretcher.flux_of_stream, stretcher.fluxes
        self._several = stretcher.streams != stretcher.fluxes
        """Some connection has several subflows: what is sorted by stream is not in the order of its flux."""
        none = np.empty(0, np.int64)
        self._known = _Maps(none, none, none, none)
        self._waiting: tuple[Int64s, Int64s] = (none, none)

    def take(self, stretch: Stretch) -> Pieces:
        """The payload of a batch."""
        rows = stretch.rows[stretch.payload[stretch.rows] > 0]
        start = stretch.start[rows]
        end = start + stretch.payload[rows]
        mptcp = self._mptcp[stretch.flux[rows]] if len(rows) else np.empty(0, bool)
        map_ssn = stretch.map_ssn[rows]
        own = mptcp & stretch.has_map[rows] & (map_ssn <= start) & (end <= map_ssn + stretch.map_length[rows])
        shift = np.where(own, stretch.map_dsn[rows] - map_ssn, 0)
        direct = own | ~mptcp
        slow = rows[~direct]
        maps = self._maps(stretch)
        parts = [
            (rows[direct], rows[direct], (start + shift)[direct], (end + shift)[direct], stretch.stream[rows[direct]])
        ]
        if len(slow) or len(self._waiting[0]):
            parts.append(self._looked_up(stretch, slow, maps))
        self._remember(maps)
        row, at, low, high, stream = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        if len(parts) > 1 or self._several:
            # By flux, and within one by the segment from which they count.
            order = np.argsort(at, kind="stable")
            order = order[stable_order(self._flux[stream[order]], self._fluxes)]
            row, at, low, high, stream = row[order], at[order], low[order], high[order], stream[order]
        return Pieces(row, at, stream, low, high)

    def unmapped(self, streams: int) -> Int64s:
        """Octets of each stream that no mapping was ever seen for."""
        result = np.zeros(streams, np.int64)
        np.add.at(result, self._line.stream(self._waiting[0]), self._waiting[1] - self._waiting[0])
        return result

    def _maps(self, stretch: Stretch) -> _Maps:
        """The mappings of a batch, repetitions in sequence left out, by row."""
        order = stretch.rows[stretch.has_map[stretch.rows]]
        stream, ssn = stretch.stream[order], stretch.map_ssn[order]
        delta, length = stretch.map_dsn[order] - ssn, stretch.map_length[order]
        new = np.ones(len(order), bool)
        new[1:] = (
            (stream[1:] != stream[:-1])
            | (ssn[1:] != ssn[:-1])
            | (delta[1:] != delta[:-1])
            | (length[1:] != length[:-1])
        )
        first = order[new]
        stream, ssn, delta, length = stream[new], ssn[new], delta[new], length[new]
        start = self._line.place(stream, ssn)
        return _Maps(start, self._line.place(stream, ssn + length), delta, first)

    def _looked_up(self, stretch: Stretch, slow: Int64s, maps: _Maps) -> tuple[Int64s, Int64s, Int64s, Int64s, Int64s]:
        """(row, row from which it counts, DSN from, to, stream) of payload without a mapping of its own."""
        line, known, waiting = self._line, self._known, self._waiting
        low = np.concatenate((waiting[0], line.place(stretch.stream[slow], stretch.start[slow])))
        high = np.concatenate(
            (waiting[1], line.place(stretch.stream[slow], stretch.start[slow] + stretch.payload[slow]))
        )
        row = np.concatenate((np.full(len(waiting[0]), -1, np.int64), slow))
        names = np.unique(line.stream(low))
        ours = np.isin(line.stream(maps.start), names)
        old = np.isin(line.stream(known.start), names)
        map_start = np.concatenate((known.start[old], maps.start[ours]))
        map_end = np.concatenate((known.end[old], maps.end[ours]))
        delta = np.concatenate((known.delta[old], maps.delta[ours]))
        rank = np.concatenate((known.rank[old], maps.rank[ours]))
        points = np.unique(np.concatenate((low, high, map_start, map_end)))
        map_index, cell = expand(np.searchsorted(points, map_start), np.searchsorted(points, map_end))
        order = np.lexsort((map_index, rank[map_index], cell))
        map_index, cell = map_index[order], cell[order]
        first = np.ones(len(cell), bool)
        first[1:] = cell[1:] != cell[:-1]
        holder = np.full(len(points), -1, np.int64)
        holder[cell[first]] = map_index[first]
        piece, cell = expand(np.searchsorted(points, low), np.searchsorted(points, high))
        found = holder[cell]
        lost = found < 0
        self._waiting = union(points[cell[lost]], points[cell[lost] + 1])
        piece, cell, found = piece[~lost], cell[~lost], found[~lost]
        stream = line.stream(points[cell])
        begin = line.offset(points[cell]) + delta[found]
        return (
            row[piece],
            np.maximum(row[piece], rank[found]),
            begin,
            begin + points[cell + 1] - points[cell],
            stream,
        )

    def _remember(self, maps: _Maps) -> None:
        known = self._known
        start = np.concatenate((known.start, maps.start))
        end = np.concatenate((known.end, maps.end))
        delta = np.concatenate((known.delta, maps.delta))
        order = np.lexsort((delta, start))
        start, end, delta = start[order], end[order], delta[order]
        stream = self._line.stream(start)
        new = np.ones(len(start), bool)
        new[1:] = (delta[1:] != delta[:-1]) | (start[1:] > end[:-1]) | (stream[1:] != stream[:-1])
        begin = np.flatnonzero(new)
        if len(begin):
            end = np.maximum.reduceat(end, begin)
            start, delta, stream = start[begin], delta[begin], stream[begin]
        last = np.flatnonzero(np.append(stream[1:] != stream[:-1], True)) if len(stream) else begin
        behind = last[np.searchsorted(last, np.arange(len(stream)))] - np.arange(len(stream))
        kept = behind < _KEEP
        self._known = _Maps(start[kept], end[kept], delta[kept], np.full(int(kept.sum()), -1, np.int64))


def flags_of(rows: Int64s, told: NDArray[np.bool_], count: int) -> NDArray[np.bool_]:
    """Rows of the batch of which at least one piece is told; those of earlier batches are left out."""
    result = np.zeros(count, bool)
    here = rows[told]
    result[here[here >= 0]] = True
    return result
