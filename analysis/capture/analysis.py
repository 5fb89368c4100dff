"""A capture from beginning to end: who talked, what was sent, and all that was measured of it.

    analysis = analyze("client.pcap")
    analysis.tables["connections"]
    analysis.write(Path("out"))

Two passes over the file, in constant memory: the first says what belongs together, the second measures; long tables
(packets, mappings, SACK blocks) are written as they come, in a further pass when :meth:`CaptureAnalysis.write` is
called.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from analysis.capture import tables
from analysis.capture.batch import Batch, Flow
from analysis.capture.errors import CaptureError
from analysis.capture.events import Signals
from analysis.capture.long_tables import DsnWidth, MappingRuns, sack_rows
from analysis.capture.measuring import Measures
from analysis.capture.merged import MergedCapture
from analysis.capture.one_way import one_way_table
from analysis.capture.packets_file import PacketsFile
from analysis.capture.placing import Places
from analysis.capture.reader import Capture, open_capture
from analysis.capture.resolution import Resolution, resolve
from analysis.capture.summary import connection_table, series_table, subflow_table
from analysis.capture.vantage import At, vantage
from analysis.capture.writing import TableWriter, save_memory
from testbed.record.files import write_atomically
from testbed.record.parquet import to_parquet
from testbed.record.schema import Table

Side = Literal["opener", "listener", "between"]
PathLike = str | os.PathLike[str]


class Accumulator(Protocol):
    """What else wants to see the packets."""

    def take(self, batch: Batch, subflow: NDArray[np.int32], direction: NDArray[np.int8]) -> None:
        """The next batch, with what each packet belongs to."""

    def finish(self) -> Mapping[str, pa.Table]:
        """All batches were taken: tables by name."""


AccumulatorFactory = Callable[[Capture | MergedCapture, Resolution], Accumulator]


@dataclass(slots=True)
class CaptureAnalysis:
    """What was found in one capture."""

    source: str
    """Name of the file or files."""
    capture: Capture | MergedCapture
    resolution: Resolution
    at: At | None
    """Where the capture stands; None: not known."""
    tables: dict[str, pa.Table] = field(default_factory=dict)
    """The short tables by name; ``tables.py`` declares them."""
    others: list[CaptureAnalysis] = field(default_factory=list)
    """Captures of the same traffic at other places."""

    @property
    def warnings(self) -> list[str]:
        """Of the file, and what could not be told of its connections."""
        return [*self.capture.warnings, *self.resolution.notes]

    def write(self, directory: Path) -> list[Path]:
        """All tables as Parquet into an existing directory: each file is there whole or not at all.

        Those of other places go into ``place-2`` and so on within it. Raises RecordError when there is no room.
        """
        save_memory()
        paths = []
        for name, table in self.tables.items():
            path = directory / f"{name}.parquet"
            write_atomically(path, to_parquet(table))
            paths.append(path)
        paths += self._write_long(directory)
        for number, other in enumerate(self.others, 2):
            below = directory / f"place-{number}"
            below.mkdir(exist_ok=True)
            paths += other.write(below)
        return paths

    def close(self) -> None:
        """Give the files back."""
        for analysis in (self, *self.others):
            analysis.capture.close()

    def __enter__(self) -> CaptureAnalysis:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write_long(self, directory: Path) -> list[Path]:
        writers: list[TableWriter] = []
        try:
            with PacketsFile(directory / "packets.parquet", self.capture) as packets:
                mappings = TableWriter(directory, tables.MAPPINGS)
                writers.append(mappings)
                sack = TableWriter(directory, tables.SACK)
                writers.append(sack)
                places = Places(self.capture, self.resolution)
                runs = MappingRuns(DsnWidth(self.resolution))
                for batch in self.capture.batches():
                    stretch, resolved = places.take(batch)
                    packets.take(batch, resolved)
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
        return [packets.path, *(writer.path for writer in writers)]


def analyze(
    paths: PathLike | Sequence[PathLike],
    *,
    side: Side | None = None,
    accumulators: Iterable[AccumulatorFactory] = (),
    progress: Callable[[int], None] | None = None,
) -> CaptureAnalysis:
    """Read captures and measure what is in them.

    Files without a flow in common are one place (the interfaces of a host); a file that has flows of another one was
    taken at another place: it is measured by itself (:attr:`CaptureAnalysis.others`) and paired with the first (table
    ``one_way``). ``side``: where the first place is, when the handshakes do not tell; ``progress`` is called with the
    TCP packets read so far, over all passes. Raises CaptureError for what is no capture, empty, or without TCP.
    """
    several = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    factories, seen = list(accumulators), _Progress(progress)
    with contextlib.ExitStack() as open_files:
        captures = [open_files.enter_context(open_capture(path)) for path in several]
        places = _places(captures, seen)
        found = [
            _measured(place, side if number == 0 else None, factories, seen) for number, place in enumerate(places)
        ]
        first = found[0]
        first.others = found[1:]
        if first.others:
            first.tables["one_way"] = one_way_table(first, first.others)
        open_files.pop_all()
    return first


def _places(captures: Sequence[Capture], seen: _Progress) -> list[Capture | MergedCapture]:
    """Files that show the same place, together."""
    if len(captures) == 1:
        return list(captures)
    places: list[tuple[list[Capture], set[Flow]]] = []
    for capture in captures:
        for batch in capture.batches():
            seen.add(batch)
        flows = {_either_way(flow) for flow in capture.flows}
        for members, theirs in places:
            if not flows & theirs:
                members.append(capture)
                theirs |= flows
                break
        else:
            places.append(([capture], flows))
    return [members[0] if len(members) == 1 else MergedCapture(members) for members, _ in places]


def _either_way(flow: Flow) -> Flow:
    back = Flow(flow.version, flow.destination, flow.source, flow.destination_port, flow.source_port)
    ends = (flow.source, flow.source_port), (flow.destination, flow.destination_port)
    return flow if ends[0] <= ends[1] else back


def _measured(
    capture: Capture | MergedCapture, side: Side | None, accumulators: Sequence[AccumulatorFactory], progress: _Progress
) -> CaptureAnalysis:
    seen = _Seen(capture, progress)
    resolution = resolve(seen)
    if not resolution.subflows:
        raise CaptureError(f"{capture.name}: {_nothing(capture)}")
    at = side if side is not None else vantage(resolution.subflows)
    measures = Measures(capture, resolution)
    others = [factory(capture, resolution) for factory in accumulators]
    signals = Signals()
    for batch in seen.batches():
        stretch, _ = measures.take(batch)
        signals.take(stretch)
        for other in others:
            other.take(batch, stretch.subflow, stretch.direction)
    measures.finish()
    found: dict[str, pa.Table] = {
        "connections": connection_table(measures, at),
        "subflows": subflow_table(measures),
        "series": series_table(measures),
        "mptcp_events": signals.table(),
    }
    for other in others:
        found |= other.finish()
    return CaptureAnalysis(capture.name, capture, resolution, at, found)


class _Progress:
    """Tells how many packets have been read."""

    def __init__(self, told: Callable[[int], None] | None) -> None:
        self._told = told
        self._packets = 0

    def add(self, batch: Batch) -> None:
        """A batch was read."""
        self._packets += len(batch)
        if self._told is not None:
            self._told(self._packets)


class _Seen:
    """A capture that tells how far it has been read."""

    def __init__(self, capture: Capture | MergedCapture, progress: _Progress) -> None:
        self._capture = capture
        self._progress = progress
        self.flows = capture.flows
        self.layouts = capture.layouts

    def batches(self) -> Iterable[Batch]:
        """Those of the capture."""
        for batch in self._capture.batches():
            yield batch
            self._progress.add(batch)


def _nothing(capture: Capture | MergedCapture) -> str:
    """Why there is nothing to analyze."""
    counts = capture.counts
    if not counts.packets:
        return "holds no packets"
    reasons = ", ".join(f"{number} {reason}" for reason, number in sorted(counts.not_tcp.items()))
    return f"holds no TCP ({counts.packets} packets: {reasons or 'none readable'})"


def declared() -> Sequence[Table]:
    """The tables of this room, for docs/data-format.md."""
    return tuple(tables.TABLES.values())
