"""What every segment adds to: packets, octets, options, the highest acknowledgments; and the same over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from analysis.capture.batch import Layout
from analysis.capture.intervals import Int64s
from analysis.capture.ordering import grouped
from analysis.capture.sending import Sent
from analysis.capture.stretch import Stretch, Stretcher
from analysis.capture.sums import KeyedSums
from analysis.capture.widening import group_starts

_NONE: Final = -(1 << 62)

COUNTS: Final = (
    "packets",
    "wire_octets",
    "payload_octets",
    "option_octets",
    "padding_octets",
    "syns",
    "fins",
    "resets",
    "pure_acks",
)


class Totals:
    """Sums by stream."""

    def __init__(self, stretcher: Stretcher, layouts: Sequence[Layout]) -> None:
        self._layouts = layouts
        self._padding: Int64s = np.empty(0, np.int64)
        streams, fluxes = stretcher.streams, stretcher.fluxes
        self.sums: dict[str, Int64s] = {name: np.zeros(streams, np.int64) for name in COUNTS}
        self.acked: Int64s = np.full(streams, _NONE)
        """Highest acknowledgment of each stream's data, as offset."""
        self.fin: Int64s = np.full(streams, _NONE)
        """Offset of the FIN."""
        self.data_acked: Int64s = np.full(fluxes, _NONE)
        self.data_fin: Int64s = np.full(fluxes, _NONE)

    def take(self, stretch: Stretch) -> None:
        """The next stretch."""
        batch, rows = stretch.batch, stretch.rows
        stream = stretch.stream[rows]
        options = np.maximum(batch.tcp_header_octets[rows].astype(np.int64) - 20, 0)
        payload = stretch.payload[rows]
        bare = stretch.has_ack[rows] & (payload == 0) & ~(stretch.syn | stretch.fin | stretch.rst)[rows]
        columns: dict[str, NDArray[Any]] = {
            "packets": np.ones(len(rows), np.int64),
            "wire_octets": batch.wire_octets[rows].astype(np.int64),
            "payload_octets": payload,
            "option_octets": options,
            "padding_octets": self._padding_of(batch.layout[rows]),
            "syns": stretch.syn[rows],
            "fins": stretch.fin[rows],
            "resets": stretch.rst[rows],
            "pure_acks": bare,
        }
        begin = group_starts(stream)
        if not len(begin):
            return
        for name, values in columns.items():
            self.sums[name][stream[begin]] += np.add.reduceat(values, begin, dtype=np.int64)
        self._acknowledge(stretch)

    def _acknowledge(self, stretch: Stretch) -> None:
        rows = stretch.rows
        acks = rows[stretch.has_ack[rows] & ~stretch.rst[rows]]
        np.maximum.at(self.acked, stretch.stream[acks] ^ 1, stretch.ack[acks])
        fins = rows[stretch.fin[rows]]
        np.maximum.at(self.fin, stretch.stream[fins], stretch.start[fins] + stretch.payload[fins])
        acks = np.flatnonzero(stretch.has_data_ack)
        np.maximum.at(self.data_acked, stretch.flux[acks] ^ 1, stretch.data_ack[acks])
        fins = np.flatnonzero(stretch.data_fin)
        np.maximum.at(self.data_fin, stretch.flux[fins], stretch.fin_dsn[fins])

    def acknowledged(self, stream: int) -> int | None:
        """Octets of data of a stream that its peer acknowledged, from its ISN on; None: no acknowledgment seen."""
        return _acknowledged(int(self.acked[stream]), int(self.fin[stream]))

    def data_acknowledged(self, flux: int) -> int | None:
        """The same by DATA_ACK, from the IDSN on."""
        return _acknowledged(int(self.data_acked[flux]), int(self.data_fin[flux]))

    def _padding_of(self, layout: NDArray[np.uint16]) -> Int64s:
        known = len(self._padding)
        if len(self._layouts) > known:
            more = np.array([item.padding for item in self._layouts[known:]], np.int64)
            self._padding = np.concatenate((self._padding, more))
        return self._padding[layout]


def _acknowledged(highest: int, fin: int) -> int | None:
    if highest == _NONE:
        return None
    return max(highest - 1 - (fin != _NONE and highest > fin), 0)


SERIES: Final = (
    "packets",
    "wire_octets",
    "payload_octets",
    "new_octets",
    "retransmitted_octets",
    "reinjected_octets",
)
_BINS: Final = 1000
_STEPS: Final = (1, 2, 5)


class Series:
    """The same over time, in bins of equal width."""

    def __init__(self, first_ns: int, last_ns: int) -> None:
        self.first_ns = first_ns
        self.bin_ns = bin_width(last_ns - first_ns)
        self.sums = KeyedSums(SERIES)

    def take(self, stretch: Stretch, sent: Sent) -> None:
        """The next stretch."""
        rows = stretch.rows[stretch.time_ns[stretch.rows] >= self.first_ns]
        self._add(
            stretch,
            rows,
            stretch.stream[rows],
            {
                "packets": np.ones(len(rows), np.int64),
                "wire_octets": stretch.batch.wire_octets[rows].astype(np.int64),
                "payload_octets": stretch.payload[rows],
            },
        )
        again = np.flatnonzero(sent.earlier.any)
        rows = sent.rows[again]
        self._add(stretch, rows, stretch.stream[rows], {"retransmitted_octets": sent.earlier.any[again]})
        pieces, before = sent.pieces, sent.dsn_earlier
        self._add(
            stretch,
            pieces.at,
            pieces.stream,
            {
                "new_octets": pieces.end - pieces.start - before.any,
                "reinjected_octets": before.any - before.own,
            },
        )

    def _add(self, stretch: Stretch, rows: Int64s, stream: Int64s, values: dict[str, Int64s]) -> None:
        number = np.clip((stretch.time_ns[rows] - self.first_ns) // self.bin_ns, 0, 2 * _BINS)
        self.sums.take(*grouped(stream * (1 << 20) + number, values))


def bin_width(duration_ns: int) -> int:
    """1, 2 or 5 times a power of ten, from a millisecond on, so that there are at most a thousand."""
    power = 1_000_000
    while True:
        for step in _STEPS:
            if step * power * _BINS >= duration_ns:
                return step * power
        power *= 10
