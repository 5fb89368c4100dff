"""Option contention of a capture: an accumulator for :func:`analysis.capture.analysis.analyze`.

analysis = analyze("client.pcap", accumulators=[of_capture(what_if=["dense,32-bit"])])
analysis.tables["contention"], analysis.tables["what_if"], analysis.tables["add_addr"]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from analysis.capture.batch import Batch, Layout
from analysis.capture.resolution import Resolution
from analysis.capture.writing import TableWriter
from analysis.contention.addresses import Announcements
from analysis.contention.inference import Inference
from analysis.contention.measures import Measures
from analysis.contention.repacking import Outcome
from analysis.contention.replay import RECEIVERS
from analysis.contention.segment_table import SOURCE, segment_table
from analysis.contention.segments import Segments
from analysis.contention.vantage import Side, beginning, subflows_of
from analysis.contention.what_if import WHAT_IF as USUAL_POLICIES
from analysis.contention.what_if import Policy, policies
from testbed.record.schema import SEGMENTS


class Packets(Protocol):
    """A capture, or several files as one."""

    @property
    def layouts(self) -> Sequence[Layout]:
        """Of its option areas."""

    def batches(self) -> Iterable[Batch]:
        """All TCP packets."""


def of_capture(
    *, side: Side | None = None, stack: str = "linux", what_if: Sequence[str] = USUAL_POLICIES
) -> Callable[[Packets, Resolution], Contention]:
    """What makes the accumulator. ``side``: at whose interface the capture stands, where that is known; ``stack``: how
    that end keeps its SACK blocks (:data:`analysis.contention.replay.RECEIVERS`). Raises PolicyError."""
    wanted = policies(what_if)

    def make(capture: Packets, resolution: Resolution) -> Contention:
        return Contention(capture, resolution, wanted, side=side, stack=stack)

    return make


class Contention:
    """Takes batches, gives the tables ``contention``, ``what_if`` and ``add_addr``."""

    def __init__(
        self,
        capture: Packets,
        resolution: Resolution,
        what_if: Sequence[Policy],
        *,
        side: Side | None = None,
        stack: str = "linux",
    ) -> None:
        first = None if side is not None else beginning(capture.batches())
        self.subflows = subflows_of(resolution, first, side)
        outcomes: list[Outcome] = []
        self.measures = Measures(SOURCE, self.subflows, outcomes, what_if)
        self.inference = Inference(
            capture.layouts,
            self.subflows,
            receiver=RECEIVERS[stack],
            map_every=self.measures.map_every,
            outcomes=outcomes,
        )
        self.announcements = Announcements(resolution)

    def take(self, batch: Batch, subflow: NDArray[np.int32], direction: NDArray[np.int8]) -> Segments:
        """The next batch; its segments, for whoever wants them one by one."""
        segments = self.inference.take(batch, subflow, direction)
        self.measures.take(segments)
        self.announcements.take(batch, subflow, direction)
        return segments

    def finish(self) -> dict[str, pa.Table]:
        """The tables by name."""
        return self.measures.finish() | {"add_addr": self.announcements.finish()}


def write_segments(
    capture: Packets,
    resolution: Resolution,
    directory: Path,
    *,
    side: Side | None = None,
    stack: str = "linux",
) -> Path:
    """``segments.parquet``: one row for each segment that can be inferred, in a pass of its own."""
    seen = Contention(capture, resolution, (), side=side, stack=stack)
    writer = TableWriter(directory, SEGMENTS)
    try:
        for batch in capture.batches():
            segments = seen.inference.take(batch, *resolution.both(batch))
            if len(segments):
                table = segment_table(segments, seen.inference.outcomes, seen.subflows)
                writer.add({name: table[name].combine_chunks() for name in table.column_names})
        writer.close()
    except BaseException:
        writer.abandon()
        raise
    return writer.path
