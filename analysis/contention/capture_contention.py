"""Option contention of a capture: an accumulator for :func:`analysis.capture.analysis.analyze`.

analysis = analyze("client.pcap", accumulators=[of_capture(what_if=["dense,32-bit"])])
analysis.tables["contention"], analysis.tables["what_if"], analysis.tables["add_addr"]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from analysis.capture.batch import Batch, Layout
from analysis.capture.resolution import Resolution
from analysis.capture.writing import TableWriter
from analysis.contention.addresses import Announcements
from analysis.contention.delays import InformationDelay, MapDelay
from analysis.contention.replay import RECEIVERS
from analysis.contention.segment_table import SIDE_NAMES, SOURCE, segment_table
from analysis.contention.segments import DATA, MAPPINGS, NOT_KNOWN, Inference, Segments
from analysis.contention.sums import GROUPS, Sums
from analysis.contention.tables import ALL, CONTENTION, KIND_GROUPS, WHAT_IF
from analysis.contention.vantage import Side, beginning, subflows_of
from analysis.contention.what_if import WHAT_IF as USUAL_POLICIES
from analysis.contention.what_if import Policy, policies
from testbed.record.parquet import arrow_table
from testbed.record.schema import SEGMENTS

_DECLARED, _NONE = MAPPINGS.index("declared"), MAPPINGS.index("none")


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
        self.policies = tuple(what_if)
        rhythms = sorted({each.map_every for each in what_if if each.map_every is not None})
        self.inference = Inference(capture.layouts, self.subflows, receiver=RECEIVERS[stack], map_every=rhythms)
        self.sums = Sums(len(self.subflows.side), rhythms)
        self.announcements = Announcements(resolution)
        self._information: dict[tuple[int, int], InformationDelay] = {}
        self._maps = _Maps(len(self.subflows.side))
        self._mss: dict[tuple[int, int], int] = {}

    def take(self, batch: Batch, subflow: NDArray[np.int32], direction: NDArray[np.int8]) -> Segments:
        """The next batch; its segments, for whoever wants them one by one."""
        segments = self.inference.take(batch, subflow, direction)
        self.sums.take(segments)
        self.announcements.take(batch, subflow, direction)
        _information(segments, self.inference, self._information)
        self._maps.take(segments)
        _note_mss(segments, self._mss)
        return segments

    def finish(self) -> dict[str, pa.Table]:
        """The tables by name."""
        rows: list[dict[str, Any]] = []
        what_if: list[dict[str, Any]] = []
        present = set(self.sums.groups)
        for base in sorted({group // GROUPS for group in present}):
            groups = [base * GROUPS + kind for kind in range(GROUPS)]
            names = [(name, [group]) for name, group in zip(KIND_GROUPS, groups, strict=True) if group in present]
            for name, chosen in [*names, (ALL, [group for group in groups if group in present])]:
                who = self._who(base // 2, base % 2, name)
                row = who | self.sums.of(chosen, self.inference.outcomes)
                if name == ALL:
                    row |= self._waits(base // 2, base % 2) | self._mss_of(base // 2, base % 2)
                rows.append(row)
                for policy in self.policies if row["sack_wanted"] else ():
                    wanted, displaced = self.sums.what_if(chosen, self.inference.outcomes, policy)
                    numbers = {
                        "sack_wanted": wanted,
                        "sack_displaced": displaced,
                        "displacement_rate": displaced / wanted if wanted else None,
                    }
                    what_if.append({"policy": policy.text} | who | numbers)
        return {
            "contention": arrow_table(CONTENTION, rows),
            "what_if": arrow_table(WHAT_IF, what_if),
            "add_addr": self.announcements.finish(),
        }

    def _who(self, subflow: int, side: int, segment: str) -> dict[str, Any]:
        return {
            "connection": int(self.subflows.connection[subflow]),
            "subflow": subflow,
            "direction": side,
            "side": SIDE_NAMES[side],
            "source": SOURCE,
            "segment": segment,
        }

    def _waits(self, subflow: int, side: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        information = self._information.get((subflow, side))
        if information is not None:
            information.finish()
            found |= {
                "sack_ranges": information.ranges,
                "information_delay_p50_ns": information.delays.quantile(0.5),
                "information_delay_p95_ns": information.delays.quantile(0.95),
                "never_reported": information.never,
            }
        maps = self._maps.of(subflow, side)
        if maps is not None:
            p50, p95 = maps.quantiles(0.5), maps.quantiles(0.95)
            found |= {
                "map_delay_p50_ns": p50[0],
                "map_delay_p95_ns": p95[0],
                "map_delay_p95_segments": p95[1],
                "map_delayed_octets": maps.delays_ns.total,
                "map_missing_octets": maps.never,
            }
        return found

    def _mss_of(self, subflow: int, side: int) -> dict[str, Any]:
        mss = self._mss.get((subflow, side))
        if mss is None:
            return {}
        net = self.sums.mss_net((subflow * 2 + side) * GROUPS, self.inference.outcomes, mss)
        if net is None:
            return {"mss": mss}
        return {"mss": mss, "mss_net": net[0], "mss_loss": 1 - net[0] / net[1] if net[1] > 0 else None}


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


def _information(segments: Segments, inference: Inference, found: dict[tuple[int, int], InformationDelay]) -> None:
    """Python runs over the segments that want to report a range."""
    for index in sorted(segments.ranges):
        key = int(segments.subflow[index]), int(segments.side[index])
        sent = inference.outcomes[int(segments.outcome[index])].situation.sack_sent
        delay = found.setdefault(key, InformationDelay())
        delay.take(int(segments.time_ns[index]), int(segments.ack_offset[index]), segments.ranges[index], sent)


class _Maps:
    """Map delays of all subflows. Python runs over those only on which a mapping came after its data."""

    def __init__(self, subflows: int) -> None:
        self._immediate = np.zeros(2 * subflows, dtype=np.int64)
        self._is_mapped = np.zeros(2 * subflows, dtype=bool)
        self._late: dict[int, MapDelay] = {}

    def of(self, subflow: int, side: int) -> MapDelay | None:
        """The delays of one side; None: no mappings."""
        number = 2 * subflow + side
        if not self._is_mapped[number]:
            return None
        delay = self._late.pop(number, MapDelay())
        delay.immediate += int(self._immediate[number])
        return delay

    def take(self, segments: Segments) -> None:
        """The next segments."""
        data, base = segments.kind == DATA, segments.subflow * 2 + segments.side
        has = segments.mapping_octets != NOT_KNOWN
        matters = (segments.mapping != _NONE) & (data | has)
        end = segments.ssn_offset + segments.payload
        is_infinite = segments.mapping_octets == 0
        mapped_to = np.where(is_infinite, end, segments.mapping_ssn + segments.mapping_octets)
        covers = has & (is_infinite | ((segments.mapping_ssn <= segments.ssn_offset) & (mapped_to >= end)))
        simple = covers | (segments.mapping == _DECLARED)
        self._is_mapped[base[matters]] = True
        late = set(np.unique(base[matters & data & ~simple]).tolist())
        late |= {number for number, delay in self._late.items() if delay.is_waiting}
        is_late = np.isin(base, list(late))
        new = matters & data & ~segments.retransmission
        np.add.at(self._immediate, base[new & ~is_late], segments.payload[new & ~is_late])
        for index in np.flatnonzero(matters & is_late).tolist():
            start = int(segments.ssn_offset[index])
            mapping = None
            if has[index]:
                mapping = (start if is_infinite[index] else int(segments.mapping_ssn[index]), int(mapped_to[index]))
            self._late.setdefault(int(base[index]), MapDelay()).take(
                int(segments.time_ns[index]),
                (start, int(end[index])) if new[index] else None,
                segments.mapping[index] == _DECLARED,
                mapping,
            )


def _note_mss(segments: Segments, found: dict[tuple[int, int], int]) -> None:
    has = np.flatnonzero((segments.mss != NOT_KNOWN) & (segments.kind == DATA))
    base = segments.subflow[has] * 2 + segments.side[has]
    for number, place in zip(*np.unique(base, return_index=True), strict=True):
        found[int(number) // 2, int(number) % 2] = int(segments.mss[has[place]])
