"""Segments out of order, by the definition of RFC 4737 section 3.3, in sequence space and in DSN space.

A segment is reordered when its first octet lies below the next one expected: the highest octet seen so far, plus
one. Segments that bring nothing new are duplicates and left out (RFC 4737 section 3.2). In a capture at the sender this
counts what the sender itself repeated or sent out of order.
"""

from __future__ import annotations

import numpy as np

from analysis.capture.intervals import Int64s, Line
from analysis.capture.sending import Sent
from analysis.capture.stretch import Stretch


class NextExpected:
    """The highest position of each stream so far."""

    def __init__(self, line: Line, streams: int) -> None:
        self._line = line
        self._highest: Int64s = line.place(np.arange(streams), np.full(streams, -line.half + 1))

    def take(self, stream: Int64s, start: Int64s, end: Int64s) -> Int64s:
        """How far below the next expected position each interval begins, sorted by stream; 0 or less: in order."""
        if not len(stream):
            return start
        reach = np.maximum.accumulate(end)
        before = np.empty(len(start), np.int64)
        before[0] = self._highest[stream[0]]
        # Positions of a later stream are all higher, so what an earlier one has reached does no harm.
        before[1:] = np.maximum(reach[:-1], self._highest[stream[1:]])
        last = np.flatnonzero(np.append(stream[1:] != stream[:-1], True))
        self._highest[stream[last]] = np.maximum(reach[last], self._highest[stream[last]])
        extent: Int64s = before - start
        return extent


class Reordering:
    """Counts by stream."""

    def __init__(self, stream_line: Line, streams: int, flux_line: Line, fluxes: int) -> None:
        self._sequence = NextExpected(stream_line, streams)
        self._dsn = NextExpected(flux_line, fluxes)
        zeros = np.zeros(streams, np.int64)
        self.segments, self.octets, self.extent = zeros.copy(), zeros.copy(), zeros.copy()
        self.dsn_segments, self.dsn_octets, self.dsn_extent = zeros.copy(), zeros.copy(), zeros.copy()

    def take(self, stretch: Stretch, sent: Sent) -> None:
        """The next stretch."""
        stream = stretch.stream[sent.rows]
        extent = self._sequence.take(stream, sent.start, sent.end)
        fresh = sent.end - sent.start - sent.earlier.any
        late = (extent > 0) & (fresh > 0)
        np.add.at(self.segments, stream[late], 1)
        np.add.at(self.octets, stream[late], fresh[late])
        np.maximum.at(self.extent, stream[late], extent[late])
        pieces = sent.pieces
        extent = self._dsn.take(sent.flux, sent.dsn_start, sent.dsn_end)
        fresh = sent.dsn_end - sent.dsn_start - sent.dsn_earlier.any
        late = (extent > 0) & (fresh > 0)
        # A segment cut into pieces by its mappings is one segment.
        first = np.ones(len(pieces.row), bool)
        first[1:] = (pieces.row[1:] != pieces.row[:-1]) | (pieces.row[1:] < 0)
        counted = np.zeros(len(first), np.int64)
        if len(first):
            begin = np.flatnonzero(first)
            counted[begin] = np.logical_or.reduceat(late, begin)
        np.add.at(self.dsn_segments, pieces.stream, counted)
        np.add.at(self.dsn_octets, pieces.stream[late], fresh[late])
        np.maximum.at(self.dsn_extent, pieces.stream[late], extent[late])
