"""What each segment brought that was new: retransmissions in sequence space, goodput and reinjections in DSN space.

Goodput is the union of the DSNs that left: exact to the octet, whatever was cut again or repeated. An octet is
*reinjected* when another subflow of the connection had sent its DSN before; a segment counts as a reinjection when it
holds such an octet (tshark's ``mptcp.reinjection_of``, which asks the same of the DSN ranges).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from analysis.capture.intervals import Earlier, History, Int64s, Line
from analysis.capture.mapping import Pieces, flags_of
from analysis.capture.ordering import added
from analysis.capture.stretch import Stretch, Stretcher

Bools = NDArray[np.bool_]


@dataclass(slots=True)
class Sent:
    """What became of the data of a stretch."""

    rows: Int64s
    """Segments with payload, by stream, within one in order."""
    start: Int64s
    end: Int64s
    """Their octets in sequence space, as positions on the line of streams."""
    earlier: Earlier
    """What their streams had sent before, in the order of ``rows``."""
    pieces: Pieces
    flux: Int64s
    dsn_start: Int64s
    dsn_end: Int64s
    """The octets of ``pieces`` in DSN space, as positions on the line of fluxes."""
    dsn_earlier: Earlier
    retransmission: Bools
    """By row of the batch: holds an octet that its stream had sent before."""
    reinjection: Bools
    """By row of the batch: holds an octet whose DSN another subflow had sent before."""


SUMS: Final = (
    "retransmitted_segments",
    "retransmitted_octets",
    "reinjected_segments",
    "reinjected_octets",
    "goodput_octets",
    "mapped_octets",
)


class Sending:
    """Sums by stream."""

    def __init__(self, stretcher: Stretcher, stream_line: Line, flux_line: Line) -> None:
        self._stretcher = stretcher
        self.streams = stream_line
        self.fluxes = flux_line
        self._sequences = History(stream_line)
        self._dsns = History(flux_line)
        self.sums: dict[str, Int64s] = {name: np.zeros(stretcher.streams, np.int64) for name in SUMS}
        self.data_segments: Int64s = np.zeros(stretcher.streams, np.int64)

    def take(self, stretch: Stretch, pieces: Pieces) -> Sent:
        """The next stretch."""
        rows = stretch.rows[stretch.payload[stretch.rows] > 0]
        stream = stretch.stream[rows]
        start = self.streams.place(stream, stretch.start[rows])
        end = start + stretch.payload[rows]
        earlier = self._sequences.take(start, end)
        flux = self._stretcher.flux_of_stream[pieces.stream] if len(pieces.stream) else pieces.stream
        slot = self._stretcher.slot_of_stream[pieces.stream] if len(pieces.stream) else pieces.stream
        low = self.fluxes.place(flux, pieces.start)
        high = low + (pieces.end - pieces.start)
        before = self._dsns.take(low, high, slot)
        count = len(stretch.batch)
        sent = Sent(
            rows=rows,
            start=start,
            end=end,
            earlier=earlier,
            pieces=pieces,
            flux=flux,
            dsn_start=low,
            dsn_end=high,
            dsn_earlier=before,
            retransmission=flags_of(rows, earlier.any > 0, count),
            reinjection=flags_of(pieces.row, before.others > 0, count),
        )
        self._add(stretch, sent)
        return sent

    def sent_octets(self) -> Int64s:
        """Octets of sequence space that each stream sent at least once."""
        return self._sequences.sums(self._stretcher.streams)

    def _add(self, stretch: Stretch, sent: Sent) -> None:
        stream, pieces, before = stretch.stream[sent.rows], sent.pieces, sent.dsn_earlier
        sums = self.sums
        added(self.data_segments, stream, np.ones(len(stream), np.int64))
        again = np.flatnonzero(sent.earlier.any)
        added(sums["retransmitted_segments"], stream[again], np.ones(len(again), np.int64))
        added(sums["retransmitted_octets"], stream[again], sent.earlier.any[again])
        length = pieces.end - pieces.start
        added(sums["goodput_octets"], pieces.stream, length - before.any)
        added(sums["mapped_octets"], pieces.stream, length - before.own)
        again = np.flatnonzero(before.any)
        added(sums["reinjected_octets"], pieces.stream[again], (before.any - before.own)[again])
        again = np.flatnonzero(sent.reinjection)
        np.add.at(self.sums["reinjected_segments"], stretch.stream[again], 1)
        # Of segments whose mapping came in a later batch only the mapping is still there to count.
        late = (pieces.row < 0) & (before.others > 0)
        np.add.at(self.sums["reinjected_segments"], pieces.stream[late], 1)
