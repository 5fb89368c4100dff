"""How often each option layout left, by subflow, direction and kind of segment: where the 40 octets went, exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from analysis.capture.batch import CUT_HEADER, CUT_OPTIONS, MALFORMED_OPTIONS, Batch, Layout
from analysis.capture.sums import KeyedSums
from analysis.capture.survey import ACK, FIN, RST, SYN
from testbed.record.parquet import arrow_table
from testbed.record.schema import Column, Table

if TYPE_CHECKING:
    import pyarrow as pa

    from analysis.capture.merged import MergedCapture
    from analysis.capture.reader import Capture
    from analysis.capture.resolution import Resolution

SEGMENTS: Final = ("syn", "syn-ack", "rst", "data", "fin", "ack")
"""Kinds of segments, the words of the table ``segments``; the first that fits holds."""
_LAYOUTS: Final = 1 << 16

LAYOUTS = Table(
    "layouts",
    "One row per subflow, direction, kind of segment and option layout: how many segments had it. Segments whose "
    "options were cut or are malformed are left out.",
    (
        Column("connection", "int64", "", "Number of the connection in the capture, from 0."),
        Column("subflow", "int64", "", "Number of the subflow in the capture, from 0."),
        Column("direction", "int64", "", "0: from the host that opened the connection; 1: to it."),
        Column("segment", "text", "", "Kind of the segment; data: with payload.", choices=SEGMENTS),
        Column(
            "layout", "text", "", "Options in the order on the wire, as name:octets, with nop and eol; empty: none."
        ),
        Column("segments", "int64", "segments", "Segments."),
        Column("payload_octets", "int64", "bytes", "Their payload."),
        Column("option_octets", "int64", "bytes", "Octets of the option area of each of them."),
        Column("padding_octets", "int64", "bytes", "NOP and EOL octets among them."),
    ),
)


class LayoutCounts:
    """Keeps one number for each subflow, direction, kind of segment and layout."""

    def __init__(self, layouts: Sequence[Layout], connection_of: Sequence[int]) -> None:
        """``connection_of``: connection of each subflow."""
        self._layouts = layouts
        self._connection_of = connection_of
        self._sums = KeyedSums(("segments", "payload"))

    def take(self, batch: Batch, subflow: NDArray[Any], direction: NDArray[Any]) -> None:
        """The next batch; subflow -1: none."""
        unknown = CUT_HEADER | CUT_OPTIONS | MALFORMED_OPTIONS
        rows = np.flatnonzero((subflow >= 0) & (batch.status & unknown == 0))
        payload = batch.payload[rows].astype(np.int64)
        stream = 2 * subflow[rows].astype(np.int64) + direction[rows]
        key = (stream * len(SEGMENTS) + kinds_of(batch.flags[rows], payload)) * _LAYOUTS + batch.layout[rows]
        keys, where = np.unique(key, return_inverse=True)
        octets = np.zeros(len(keys), np.int64)
        np.add.at(octets, where, payload)
        self._sums.take(keys, {"segments": np.bincount(where, minlength=len(keys)), "payload": octets})

    def finish(self) -> Mapping[str, pa.Table]:
        """The table, by its name."""
        return {LAYOUTS.name: arrow_table(LAYOUTS, self.rows())}

    def rows(self) -> list[dict[str, Any]]:
        """Rows of the table ``layouts``."""
        found = []
        for key, segments, payload in zip(
            self._sums.keys.tolist(),
            self._sums.sums["segments"].tolist(),
            self._sums.sums["payload"].tolist(),
            strict=True,
        ):
            rest, number = divmod(key, _LAYOUTS)
            stream, kind = divmod(rest, len(SEGMENTS))
            layout = self._layouts[number]
            found.append(
                {
                    "connection": self._connection_of[stream // 2],
                    "subflow": stream // 2,
                    "direction": stream % 2,
                    "segment": SEGMENTS[kind],
                    "layout": layout.text,
                    "segments": segments,
                    "payload_octets": payload,
                    "option_octets": layout.octets,
                    "padding_octets": layout.padding,
                }
            )
        return found


def layout_counts(capture: Capture | MergedCapture, resolution: Resolution) -> LayoutCounts:
    """For ``analyze(accumulators=...)``."""
    return LayoutCounts(capture.layouts, [subflow.connection for subflow in resolution.subflows])


def kinds_of(flags: NDArray[np.uint16], payload: NDArray[np.int64]) -> NDArray[np.int64]:
    """Index into SEGMENTS for each segment."""
    conditions = [
        (flags & (SYN | ACK)) == SYN,
        (flags & SYN) != 0,
        (flags & RST) != 0,
        payload > 0,
        (flags & FIN) != 0,
    ]
    return np.select(conditions, [np.int64(number) for number in range(len(conditions))], default=np.int64(5))
