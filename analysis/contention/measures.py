"""All measures of option contention over segments, wherever they are from: inferred, or recorded by an endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from analysis.contention.repacking import Outcome
from analysis.contention.segments import DATA, MAPPINGS, NOT_KNOWN, SIDE_NAMES, Segments, Subflows
from analysis.contention.sums import GROUPS, Sums
from analysis.contention.tables import ALL, CONTENTION, KIND_GROUPS, WHAT_IF
from analysis.contention.what_if import Policy
from testbed.record.delays import InformationDelay, MapDelay
from testbed.record.parquet import arrow_table

_DECLARED, _NONE = MAPPINGS.index("declared"), MAPPINGS.index("none")


class Measures:
    """Takes segments, gives the tables ``contention`` and ``what_if``. ``outcomes`` may grow meanwhile."""

    def __init__(
        self, source: str, subflows: Subflows, outcomes: Sequence[Outcome], policies: Sequence[Policy]
    ) -> None:
        self.source, self.subflows, self.outcomes = source, subflows, outcomes
        self.policies = tuple(policies)
        self.map_every = sorted({each.map_every for each in policies if each.map_every is not None})
        self.sums = Sums(len(subflows.side), self.map_every)
        self.information: dict[tuple[int, int], InformationDelay] = {}
        """(subflow, side) -> how long SACK ranges waited."""
        self.maps = Maps(len(subflows.side))
        self.mss: dict[tuple[int, int], int] = {}

    def take(self, segments: Segments) -> None:
        """The next segments."""
        self.sums.take(segments)
        _information(segments, self.outcomes, self.information)
        self.maps.take(segments)
        _note_mss(segments, self.mss)

    def finish(self) -> dict[str, pa.Table]:
        """The tables by name."""
        for delay in self.information.values():
            delay.finish()
        rows: list[dict[str, Any]] = []
        what_if: list[dict[str, Any]] = []
        present = set(self.sums.groups)
        for base in sorted({group // GROUPS for group in present}):
            groups = [base * GROUPS + kind for kind in range(GROUPS)]
            names = [(name, [group]) for name, group in zip(KIND_GROUPS, groups, strict=True) if group in present]
            for name, chosen in [*names, (ALL, [group for group in groups if group in present])]:
                who = self._who(base // 2, base % 2, name)
                row = who | self.sums.of(chosen, self.outcomes)
                if name == ALL:
                    row |= self._waits(base // 2, base % 2) | self._mss_of(base // 2, base % 2)
                rows.append(row)
                for policy in self.policies if row["sack_wanted"] else ():
                    wanted, displaced = self.sums.what_if(chosen, self.outcomes, policy)
                    numbers = {
                        "sack_wanted": wanted,
                        "sack_displaced": displaced,
                        "displacement_rate": displaced / wanted if wanted else None,
                    }
                    what_if.append({"policy": policy.text} | who | numbers)
        return {
            "contention": arrow_table(CONTENTION, rows),
            "what_if": arrow_table(WHAT_IF, what_if),
        }

    def _who(self, subflow: int, side: int, segment: str) -> dict[str, Any]:
        return {
            "connection": int(self.subflows.connection[subflow]),
            "subflow": subflow,
            "direction": side,
            "side": SIDE_NAMES[side],
            "source": self.source,
            "segment": segment,
        }

    def _waits(self, subflow: int, side: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        information = self.information.get((subflow, side))
        if information is not None:
            found |= {
                "sack_ranges": information.ranges,
                "information_delay_p50_ns": information.delays.quantile(0.5),
                "information_delay_p95_ns": information.delays.quantile(0.95),
                "never_reported": information.never,
            }
        maps = self.maps.of(subflow, side)
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
        mss = self.mss.get((subflow, side))
        if mss is None:
            return {}
        net = self.sums.mss_net((subflow * 2 + side) * GROUPS, self.outcomes, mss)
        if net is None:
            return {"mss": mss}
        return {"mss": mss, "mss_net": net[0], "mss_loss": 1 - net[0] / net[1] if net[1] > 0 else None}


def _information(
    segments: Segments, outcomes: Sequence[Outcome], found: dict[tuple[int, int], InformationDelay]
) -> None:
    """Python runs over the segments that want to report a range."""
    for index in sorted(segments.ranges):
        key = int(segments.subflow[index]), int(segments.side[index])
        sent = outcomes[int(segments.outcome[index])].situation.sack_sent
        delay = found.setdefault(key, InformationDelay())
        delay.take(int(segments.time_ns[index]), int(segments.ack_offset[index]), segments.ranges[index], sent)


class Maps:
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
