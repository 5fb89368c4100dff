"""Rows of ``segments`` from two sources for the same segments: which match, and where they differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analysis.capture.reader import open_capture
from analysis.capture.resolution import resolve
from analysis.contention.inference import Inference
from analysis.contention.replay import RECEIVERS
from analysis.contention.segment_table import segment_table
from analysis.contention.vantage import Side, beginning, subflows_of

Row = Mapping[str, Any]

SACK = ("sack_wanted", "sack_sent", "sack_padding", "sack_width", "sack_policy", "sack_hard")
SENT = ("sent", "option_octets", "padding_octets", "free_octets")
"""What was on the wire."""


@dataclass(slots=True)
class Agreement:
    """Of two sources about one side's segments of one subflow."""

    matched: int = 0
    only_first: list[Row] = field(default_factory=list)
    only_second: list[Row] = field(default_factory=list)
    differences: dict[str, list[tuple[Row, Row]]] = field(default_factory=dict)
    """Column -> rows that differ in it."""
    differing: int = 0
    """Segments that differ in any column."""

    @property
    def share(self) -> float:
        """Segments, of all, about which both say the same."""
        whole = self.matched + len(self.only_first) + len(self.only_second)
        return (self.matched - self.differing) / whole if whole else 0.0

    def __str__(self) -> str:
        counts = {name: len(rows) for name, rows in self.differences.items()}
        lines = [f"{self.matched} matched, {len(self.only_first)} and {len(self.only_second)} alone, {counts}"]
        for name, rows in self.differences.items():
            for one, two in rows[:3]:
                lines.append(f"{name}: {one[name]!r} and {two[name]!r}: {dict(one)} {dict(two)}")
        return "\n".join(lines)


def agreement(first: Iterable[Row], second: Iterable[Row], columns: Sequence[str]) -> Agreement:
    """Match the n-th segment of its kind, SSN, length and acknowledgment with the n-th, in the order of time."""
    ours, theirs = _numbered(first), _numbered(second)
    found = Agreement(
        only_first=[row for key, row in ours.items() if key not in theirs],
        only_second=[row for key, row in theirs.items() if key not in ours],
    )
    for key, row in ours.items():
        if key not in theirs:
            continue
        found.matched += 1
        bad = [name for name in columns if row[name] != theirs[key][name]]
        found.differing += bool(bad)
        for name in bad:
            found.differences.setdefault(name, []).append((row, theirs[key]))
    return found


def inferred(path: Path, stack: str, side: Side | None = None) -> list[dict[str, Any]]:
    """Rows of source ``capture`` from one file."""
    rows: list[dict[str, Any]] = []
    with open_capture(path) as capture:
        resolution = resolve(capture)
        subflows = subflows_of(resolution, beginning(capture.batches()), side)
        inference = Inference(capture.layouts, subflows, receiver=RECEIVERS[stack])
        for batch in capture.batches():
            segments = inference.take(batch, *resolution.both(batch))
            rows += segment_table(segments, inference.outcomes, subflows).to_pylist()
    return rows


def _numbered(rows: Iterable[Row]) -> dict[tuple[Any, ...], Row]:
    seen: Counter[tuple[Any, ...]] = Counter()
    found = {}
    for row in sorted(rows, key=lambda each: each["time_ns"]):
        key = row["segment"], row["ssn"], row["payload"], row["ack"]
        found[(*key, seen[key])] = row
        seen[key] += 1
    return found
