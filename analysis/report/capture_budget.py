"""Where the 40 octets of options went: by kind of option, for data segments and for ACKs, from the layouts.

A layout says every octet of the area, so these sums are exact.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from analysis.report.capture_bars import Bar, Part, bars
from analysis.report.scale import Axis
from analysis.report.wording import Unit, share

AREA = 40
"""Octets of options in a TCP header (RFC 9293 section 3.1)."""
PARTS = ("timestamps", "dss", "sack", "other", "padding", "free")
WORDS = {
    "timestamps": "timestamps",
    "dss": "DSS",
    "sack": "SACK",
    "other": "other",
    "padding": "padding",
    "free": "free",
    "options": "options",
}
SEGMENTS = {"data": "data", "ack": "ACKs"}
"""Kinds of segments that the figure shows, and their words, in the order of the figure."""


@dataclass(frozen=True, slots=True)
class BudgetRow:
    """Segments of one kind and direction: octets of their areas by part."""

    label: str
    segments: int
    octets: Mapping[str, int]

    def mean(self, part: str) -> float:
        """Octets of a segment."""
        return self.octets[part] / self.segments if self.segments else 0.0

    def texts(self) -> tuple[str, ...]:
        """Cells of the table: number of segments, the parts in the order of ``octets``, what is used of the area."""
        used = AREA - self.mean("free")
        return (
            f"{self.segments:,}".replace(",", "\u202f"),
            *(_octets(self.mean(part)) for part in self.octets),
            share(used / AREA),
        )


@dataclass(frozen=True, slots=True)
class BudgetFigure:
    """Bars and the same numbers."""

    drawing: Markup
    legend: tuple[tuple[str, str], ...]
    rows: tuple[BudgetRow, ...]


def parts_of(row: Mapping[str, Any]) -> dict[str, int]:
    """Octets of each part of the area of a row of ``layouts``: ``nop nop timestamps:10 dss:26(A8M8) nop nop``.

    Where the text does not tell every octet (layouts too many to be kept apart), what is not padding is other.
    """
    octets = dict.fromkeys(PARTS, 0)
    for name, size in items_of(row["layout"]):
        part = "padding" if name in ("nop", "eol") else name if name in octets else "other"
        octets[part] += size
    if sum(octets.values()) != row["option_octets"] or octets["padding"] != row["padding_octets"]:
        octets = dict.fromkeys(PARTS, 0)
        octets |= {"padding": row["padding_octets"], "other": row["option_octets"] - row["padding_octets"]}
    octets["free"] = AREA - sum(octets.values())
    return octets


def items_of(layout: str) -> list[tuple[str, int]]:
    """(name, octets) in wire order. A form in brackets may hold spaces; NOP and EOL need no size."""
    items = []
    text = ""
    for word in layout.split():
        text = f"{text} {word}" if text else word
        if text.count("(") > text.count(")"):
            continue
        name, _, rest = text.partition("(")[0].partition(":")
        text = ""
        items.append((name, int(rest) if rest.isdecimal() else 1))
    return items


def budget_rows(groups: Mapping[str, Iterable[Mapping[str, Any]]]) -> list[BudgetRow]:
    """Label -> rows of ``layouts`` (layout, segments); the order of the labels stays."""
    rows = []
    for label, layouts in groups.items():
        sums: Counter[str] = Counter(dict.fromkeys(PARTS, 0))
        segments = 0
        for row in layouts:
            segments += row["segments"]
            for part, octets in parts_of(row).items():
                sums[part] += octets * row["segments"]
        if segments:
            rows.append(BudgetRow(label, segments, {part: sums[part] for part in PARTS}))
    return rows


def budget_figure(rows: Sequence[BudgetRow]) -> BudgetFigure:
    """Mean octets of a segment, stacked to 40. All rows have the same parts."""
    parts = tuple(rows[0].octets)
    axis = Axis(0.0, float(AREA), (0.0, 10.0, 20.0, 30.0, 40.0), Unit("octets", 1), "octets")
    lines = [
        Bar(
            row.label,
            f"{row.segments:,} segments".replace(",", "\u202f"),
            tuple(Part(WORDS[part], row.mean(part), f"p-{part}") for part in parts),
        )
        for row in rows
    ]
    described = "; ".join(
        f"{row.label}: " + ", ".join(f"{WORDS[part]} {_octets(row.mean(part))}" for part in parts) for row in rows
    )
    drawing = bars("Mean octets of the option area of a segment", described, lines, axis)
    return BudgetFigure(drawing, tuple((f"p-{part}", WORDS[part]) for part in parts), tuple(rows))


def grouped(
    layouts: Iterable[Mapping[str, Any]], label: Mapping[tuple[int, int], str]
) -> dict[str, list[Mapping[str, Any]]]:
    """Rows of ``layouts`` by label and kind of segment; ``label``: (subflow, direction) -> its group."""
    found: dict[tuple[str, int], list[Mapping[str, Any]]] = defaultdict(list)
    kinds = list(SEGMENTS)
    for row in layouts:
        if row["segment"] in SEGMENTS:
            found[label[row["subflow"], row["direction"]], kinds.index(row["segment"])].append(row)
    return {f"{group}, {SEGMENTS[kinds[kind]]}": rows for (group, kind), rows in sorted(found.items())}


def _octets(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
