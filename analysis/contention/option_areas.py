"""What stood in the 40 octets of options of the segments of a run, by part: exact, from the segments or their sums."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from analysis.contention.recorded import sizes
from analysis.contention.repacking import AREA_OCTETS
from analysis.contention.run_rows import KINDS, parts
from analysis.contention.run_sums import summed_trials
from analysis.runs import Run

NAMED = ("timestamps", "dss", "sack")
"""Options that are told apart; the rest is ``other``."""
DETAILED = (*NAMED, "other", "padding", "free")
SUMMED = ("options", "padding", "free")
"""What is known where only sums were kept."""


@dataclass(frozen=True, slots=True)
class OptionAreas:
    """The option areas of the data segments, or of the pure ACKs, of one side in the valid trials of a variant."""

    variant: str
    flow: str
    side: str
    source: str
    kind: str
    """``data`` or ``pure ACK``."""
    segments: int
    octets: Mapping[str, int]
    """By DETAILED, or by SUMMED: they add up to 40 for each segment."""

    @property
    def is_detailed(self) -> bool:
        """Whether the kinds of options are told apart."""
        return "options" not in self.octets


def option_areas(run: Run) -> list[OptionAreas]:
    """In the order of variants, flows, sides, sources and kinds; opening and closing segments are not among them."""
    found = []
    for part in parts(run):
        for word, kind in KINDS.items():
            segments, octets = _counted(part.table, word)
            if segments:
                found.append(OptionAreas(part.variant, part.flow, part.side, part.source, kind, segments, octets))
    return found + _of_sums(run)


def _counted(table: pa.Table, word: str) -> tuple[int, Mapping[str, int]]:
    of_kind = table.filter(pc.equal(pc.cast(table["segment"], pa.string()), word))
    octets: Counter[str] = Counter(dict.fromkeys(DETAILED, 0))
    columns = ["sent", "option_octets", "padding_octets"]
    for row in of_kind.select(columns).group_by(columns).aggregate([([], "count_all")]).to_pylist():
        many = row["count_all"]
        for name, size in sizes(row["sent"]):
            octets[name if name in NAMED else "other"] += many * size
        octets["padding"] += many * row["padding_octets"]
        octets["free"] += many * (AREA_OCTETS - row["option_octets"])
    return of_kind.num_rows, dict(octets)


def _of_sums(run: Run) -> list[OptionAreas]:
    groups: dict[tuple[str, str, str, str, str], Counter[str]] = defaultdict(Counter)
    for variant, row in summed_trials(run):
        if row["kind"] in KINDS:
            key = variant, row["flow"], row["side"], row["source"], KINDS[row["kind"]]
            options = row["option_octets"]
            groups[key].update(
                segments=row["segments"],
                options=options - row["padding_octets"],
                padding=row["padding_octets"],
                free=AREA_OCTETS * row["segments"] - options,
            )
    return [
        OptionAreas(*key, sums["segments"], {name: sums[name] for name in SUMMED})
        for key, sums in groups.items()
        if sums["segments"]
    ]
