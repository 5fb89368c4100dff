"""The contention of a run, from its table ``segments``: one row for each variant, flow, side, source and kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from analysis.contention.repacking import AREA_OCTETS, CLASSES
from analysis.load import Run

KINDS: Mapping[str, str] = {"data": "data", "ack": "pure ACK"}
"""Segment of the ledger -> the group that it is counted in; the others are "opening and closing"."""
REST = "opening and closing"

_SUMS = (
    "payload",
    "option_octets",
    "padding_octets",
    "sack_wanted",
    "sack_sent",
    *(f"sack_{word}" for word in CLASSES),
)


@dataclass(frozen=True, slots=True)
class ContentionRow:
    """The segments of one kind that one side built in the valid trials of a variant."""

    variant: str
    flow: str
    side: str
    source: str
    kind: str
    segments: int
    contended: int
    """Segments whose wanted options exceed 40 octets."""
    sums: Mapping[str, int]
    blame: tuple[tuple[str, int], ...]
    """(options any one of which, taken off, would have let a block more in; segments), the most frequent first."""
    omitted: tuple[tuple[str, int], ...]
    """(option other than SACK that waited or was left out, with its class; segments), the most frequent first."""

    @property
    def displaced(self) -> int:
        """SACK blocks wanted and not sent."""
        return self.sums["sack_wanted"] - self.sums["sack_sent"]

    @property
    def displacement_rate(self) -> float | None:
        """Of the SACK blocks wanted; None when none was."""
        wanted = self.sums["sack_wanted"]
        return self.displaced / wanted if wanted else None

    @property
    def header_tax(self) -> float | None:
        """Option octets per payload octet; None without payload."""
        return self.sums["option_octets"] / self.sums["payload"] if self.sums["payload"] else None

    @property
    def padding_share(self) -> float | None:
        """Of the option octets; None without options."""
        octets = self.sums["option_octets"]
        return self.sums["padding_octets"] / octets if octets else None

    def classes(self) -> dict[str, int]:
        """Displaced blocks by class, those that occur."""
        return {word: self.sums[f"sack_{word}"] for word in CLASSES if self.sums[f"sack_{word}"]}


def contention(run: Run) -> list[ContentionRow]:
    """All rows, in the order of variants, flows, sides and kinds; empty when the run kept no ledger."""
    trials = run.directory.read_table("trials").select(["trial", "variant", "verdict"]).to_pylist()
    valid: dict[str, list[int]] = {name: [] for name in run.variants}
    for row in trials:
        if row["verdict"] == "VALID":
            valid[row["variant"]].append(row["trial"])
    table = run.directory.read_table("segments", encoded=True)
    rows: list[ContentionRow] = []
    for variant, numbers in valid.items():
        chosen = table.filter(pc.is_in(table["trial"], pa.array(numbers, pa.int64())))
        if chosen.num_rows:
            rows += _of_variant(variant, chosen)
    return rows


def _of_variant(variant: str, table: pa.Table) -> list[ContentionRow]:
    rows = []
    for flow in _texts(table, "flow"):
        for side in ("client", "server"):
            for source in _texts(table, "source"):
                part = _where(table, flow=flow, side=side, source=source)
                kinds = pc.cast(part["segment"], pa.string())
                for kind in (*KINDS.values(), REST):
                    if kind == REST:
                        mask = pc.invert(pc.is_in(kinds, pa.array(list(KINDS))))
                    else:
                        mask = pc.is_in(kinds, pa.array([word for word, group in KINDS.items() if group == kind]))
                    found = part.filter(mask)
                    if found.num_rows:
                        rows.append(_row(variant, flow, side, source, kind, found))
    return rows


def _row(variant: str, flow: str, side: str, source: str, kind: str, table: pa.Table) -> ContentionRow:
    return ContentionRow(
        variant=variant,
        flow=flow,
        side=side,
        source=source,
        kind=kind,
        segments=table.num_rows,
        contended=pc.sum(pc.greater(table["wanted_octets"], AREA_OCTETS)).as_py() or 0,
        sums={name: pc.sum(table[name]).as_py() or 0 for name in _SUMS},
        blame=_counted(table, "sack_blame", lambda text: [" or ".join(text.split())]),
        omitted=_counted(table, "omitted", str.split),
    )


def _counted(table: pa.Table, column: str, parts: Callable[[str], Iterable[str]]) -> tuple[tuple[str, int], ...]:
    counts: Counter[str] = Counter()
    for item in pc.value_counts(pc.cast(table[column], pa.string())).to_pylist():
        if item["values"]:
            for word in parts(item["values"]):
                counts[word] += item["counts"]
    return tuple(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def _where(table: pa.Table, **wanted: str) -> pa.Table:
    for column, text in wanted.items():
        table = table.filter(pc.equal(pc.cast(table[column], pa.string()), text))
    return table


def _texts(table: pa.Table, column: str) -> list[str]:
    return sorted(pc.unique(pc.cast(table[column], pa.string())).to_pylist())
