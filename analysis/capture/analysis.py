"""A capture from beginning to end: who talked, what was sent, and all that was measured of it.

    analysis = analyze(["client.pcap"])
    analysis.tables["connections"]
    analysis.write(Path("out"))

Two passes over the file, in constant memory: the first says what belongs together, the second measures; long tables
(packets, mappings, SACK blocks) are written as they come, in a further pass when :meth:`CaptureAnalysis.write` is
called.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from analysis.capture import tables
from analysis.capture.batch import Batch
from analysis.capture.errors import CaptureError
from analysis.capture.events import events
from analysis.capture.long_tables import DsnWidth, MappingRuns, sack_rows
from analysis.capture.measuring import Measures
from analysis.capture.reader import Capture, open_capture
from analysis.capture.resolution import Resolution, resolve
from analysis.capture.summary import connection_table, series_table, subflow_table
from analysis.capture.vantage import At, vantage
from analysis.capture.writing import TableWriter
from testbed.record.files import write_atomically
from testbed.record.parquet import arrow_table, to_parquet
from testbed.record.schema import Table

Side = Literal["opener", "listener", "between"]
PathLike = str | os.PathLike[str]


class Accumulator(Protocol):
    """What else wants to see the packets."""

    def take(self, batch: Batch, subflow: NDArray[np.int32], direction: NDArray[np.int8]) -> None:
        """The next batch, with what each packet belongs to."""

    def finish(self) -> Mapping[str, pa.Table]:
        """All batches were taken: tables by name."""


AccumulatorFactory = Callable[[Capture, Resolution], Accumulator]


@dataclass(slots=True)
class CaptureAnalysis:
    """What was found in one capture."""

    source: str
    """Name of the file."""
    capture: Capture
    resolution: Resolution
    at: At | None
    """Where the capture stands; None: not known."""
    tables: dict[str, pa.Table] = field(default_factory=dict)
    """The short tables by name; ``tables.py`` declares them."""

    @property
    def warnings(self) -> list[str]:
        """Of the file, and what could not be told of its connections."""
        return [*self.capture.warnings, *self.resolution.notes]

    def write(self, directory: Path) -> list[Path]:
        """All tables as Parquet into an existing directory: each file is there whole or not at all.

        Raises RecordError when there is no room.
        """
        paths = []
        for name, table in self.tables.items():
            path = directory / f"{name}.parquet"
            write_atomically(path, to_parquet(table))
            paths.append(path)
        return paths + self._write_long(directory)

    def _write_long(self, directory: Path) -> list[Path]:
        writers: list[TableWriter] = []
        try:
            mappings = TableWriter(directory, tables.MAPPINGS)
            writers.append(mappings)
            sack = TableWriter(directory, tables.SACK)
            writers.append(sack)
            measures = Measures(self.capture, self.resolution)
            runs = MappingRuns(DsnWidth(self.resolution))
            for batch in self.capture.batches():
                stretch = measures.stretcher.take(batch)
                mappings.add(runs.take(stretch))
                sack.add(sack_rows(stretch))
            rest = runs.finish()
            if rest is not None:
                mappings.add(rest)
            for writer in writers:
                writer.close()
        except BaseException:
            for writer in writers:
                writer.abandon()
            raise
        return [writer.path for writer in writers]


def analyze(
    path: PathLike,
    *,
    side: Side | None = None,
    accumulators: Iterable[AccumulatorFactory] = (),
    progress: Callable[[int], None] | None = None,
) -> CaptureAnalysis:
    """Read a capture and measure what is in it.

    ``side``: where it was taken, when the handshakes do not tell; ``progress`` is called with the TCP packets read so
    far, over both passes. Raises CaptureError for what is no capture, empty, or without TCP.
    """
    capture = open_capture(path)
    seen = _Progress(capture, progress)
    resolution = resolve(seen)
    if not resolution.subflows:
        raise CaptureError(f"{capture.name}: {_nothing(capture)}")
    at = side if side is not None else vantage(resolution.subflows)
    measures = Measures(capture, resolution)
    others = [factory(capture, resolution) for factory in accumulators]
    rows = []
    for batch in seen.batches():
        stretch, _ = measures.take(batch)
        rows += list(events(stretch))
        for other in others:
            other.take(batch, stretch.subflow, stretch.direction)
    measures.finish()
    found = {
        "connections": connection_table(measures, at),
        "subflows": subflow_table(measures),
        "series": series_table(measures),
        "mptcp_events": arrow_table(tables.MPTCP_EVENTS, rows),
    }
    for other in others:
        found |= other.finish()
    return CaptureAnalysis(capture.name, capture, resolution, at, found)


class _Progress:
    """A capture that tells how far it has been read."""

    def __init__(self, capture: Capture, progress: Callable[[int], None] | None) -> None:
        self._capture = capture
        self._progress = progress
        self._packets = 0
        self.flows = capture.flows
        self.layouts = capture.layouts

    def batches(self) -> Iterable[Batch]:
        """Those of the capture."""
        for batch in self._capture.batches():
            yield batch
            self._packets += len(batch)
            if self._progress is not None:
                self._progress(self._packets)


def _nothing(capture: Capture) -> str:
    """Why there is nothing to analyze."""
    counts = capture.counts
    if not counts.packets:
        return "holds no packets"
    reasons = ", ".join(f"{number} {reason}" for reason, number in sorted(counts.not_tcp.items()))
    return f"holds no TCP ({counts.packets} packets: {reasons or 'none readable'})"


def declared() -> Sequence[Table]:
    """The tables of this room, for docs/data-format.md."""
    return tuple(tables.TABLES.values())
