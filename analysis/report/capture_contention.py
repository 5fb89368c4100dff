"""SACK blocks that were wanted, by what became of them; and what other policies would have made of the same trace."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from analysis.contention.what_if import WORDS
from analysis.report.capture_bars import Bar, Part, bars
from analysis.report.scale import linear_axis
from analysis.report.wording import NOT_MEASURED, THIN_SPACE, quantity, share

CLASSES = ("padding", "width", "policy", "hard")
MEANINGS = {
    "sent": "sent",
    "padding": "would fit without NOPs",
    "width": "would fit with 32-bit DSN and DATA_ACK besides",
    "policy": "would fit if what can wait were left out besides, or fitted as it was",
    "hard": "would fit with none of these",
}
KINDS = {"data": "data", "pure ACK": "ACKs"}
"""Kinds of segments that are told apart, and their words."""
ALL = "all"
"""Rows of all kinds, which carry the delays."""


@dataclass(frozen=True, slots=True)
class BarFigure:
    """Bars with their legend."""

    drawing: Markup
    legend: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ContentionLine:
    """One kind of segments of one group, in numbers and in words."""

    label: str
    source: str
    sums: Mapping[str, int]

    @property
    def displaced(self) -> int:
        """SACK blocks wanted and not sent."""
        return self.sums["sack_wanted"] - self.sums["sack_sent"]

    @property
    def rate(self) -> float | None:
        """Of the blocks wanted; None when none was."""
        wanted = self.sums["sack_wanted"]
        return self.displaced / wanted if wanted else None

    def texts(self) -> tuple[str, ...]:
        """Cells: segments, contended, wanted, sent, displaced, by class, header tax, padding share."""
        sums = self.sums
        classes = ", ".join(f"{name} {grouped(sums[f'sack_{name}'])}" for name in CLASSES if sums[f"sack_{name}"])
        displaced = f"{grouped(self.displaced)} ({share(self.rate)})" if self.rate is not None else NOT_MEASURED
        return (
            grouped(sums["segments"]),
            share(sums["contended"] / sums["segments"]) if sums["segments"] else NOT_MEASURED,
            grouped(sums["sack_wanted"]),
            grouped(sums["sack_sent"]),
            displaced,
            classes or NOT_MEASURED,
            share(sums["option_octets"] / sums["payload"]) if sums["payload"] else NOT_MEASURED,
            share(sums["padding_octets"] / sums["option_octets"]) if sums["option_octets"] else NOT_MEASURED,
        )


_SUMS = (
    "segments", "contended", "payload", "option_octets", "padding_octets", "sack_wanted", "sack_sent",
    *(f"sack_{name}" for name in CLASSES),
)  # fmt: skip


def contention_lines(rows: Iterable[Mapping[str, Any]], label: Mapping[tuple[int, int], str]) -> list[ContentionLine]:
    """Rows of ``contention`` added up by group, kind of segment and source, never over sources."""
    found: dict[tuple[str, int, str], Counter[str]] = defaultdict(Counter)
    kinds = list(KINDS)
    for row in rows:
        if row["segment"] in KINDS:
            key = (label[row["subflow"], row["direction"]], kinds.index(row["segment"]), row["source"])
            found[key].update({name: row[name] or 0 for name in _SUMS})
    return [
        ContentionLine(f"{group}, {KINDS[kinds[kind]]}", source, {name: counts[name] for name in _SUMS})
        for (group, kind, source), counts in sorted(found.items())
    ]


def displacement_figure(lines: Sequence[ContentionLine]) -> BarFigure | None:
    """Blocks wanted, stacked: sent, and displaced by class; None where none was wanted."""
    shown = [line for line in lines if line.sums["sack_wanted"]]
    if not shown:
        return None
    axis = linear_axis([0.0, *(line.sums["sack_wanted"] for line in shown)], "blocks", count=4, tight=True)
    drawn = [
        Bar(
            line.label,
            f"{grouped(line.displaced)} of {grouped(line.sums['sack_wanted'])} displaced, {share(line.rate)}",
            (
                Part("sent", line.sums["sack_sent"], "c-sent"),
                *(Part(name, line.sums[f"sack_{name}"], f"c-{name}") for name in CLASSES),
            ),
        )
        for line in shown
    ]
    described = "; ".join(f"{bar.label}: {bar.note}" for bar in drawn)
    drawing = bars("SACK blocks wanted, by what became of them", described, drawn, axis)
    used = [name for name in ("sent", *CLASSES) if name == "sent" or any(line.sums[f"sack_{name}"] for line in shown)]
    return BarFigure(drawing, tuple((f"c-{name}", f"{name}: {MEANINGS[name]}".removeprefix("sent: ")) for name in used))


@dataclass(frozen=True, slots=True)
class PolicyLine:
    """What one policy would have made of the trace."""

    policy: str
    wanted: int
    displaced: int

    @property
    def rate(self) -> float | None:
        """Of the blocks wanted."""
        return self.displaced / self.wanted if self.wanted else None


def policy_lines(rows: Iterable[Mapping[str, Any]]) -> list[PolicyLine]:
    """Rows of ``what_if`` added up by policy, in the order of the table."""
    wanted: Counter[str] = Counter()
    displaced: Counter[str] = Counter()
    for row in rows:
        if row["segment"] == ALL:
            continue
        wanted[row["policy"]] += row["sack_wanted"] or 0
        displaced[row["policy"]] += row["sack_displaced"] or 0
    return [PolicyLine(policy, wanted[policy], displaced[policy]) for policy in wanted]


def policy_in_words(policy: str) -> str:
    """What the words of a policy mean, as far as they are known."""
    known = {word.partition("=")[0]: meaning for word, meaning in WORDS.items()}
    parts = []
    for word in policy.split(","):
        name, _, number = word.partition("=")
        meaning = known.get(name, word)
        parts.append(meaning.replace("K-th", f"{number}th").replace("N SACK", f"{number} SACK") if number else meaning)
    return "; ".join(parts)


def policy_figure(lines: Sequence[PolicyLine]) -> BarFigure | None:
    """Share of the SACK blocks displaced under each policy."""
    shown = [line for line in lines if line.rate is not None]
    if not shown:
        return None
    axis = linear_axis([1.0], "probability", count=5)
    drawn = [
        Bar(line.policy, f"{share(line.rate)}: {grouped(line.displaced)} blocks", (Part("", line.rate or 0.0, "c-if"),))
        for line in shown
    ]
    described = "; ".join(f"{bar.label}: {bar.note}" for bar in drawn)
    return BarFigure(bars("SACK blocks displaced under other policies", described, drawn, axis), ())


def grouped(number: int) -> str:
    """``12 345``."""
    return f"{number:,}".replace(",", THIN_SPACE)


def delay(value: int | None) -> str:
    """A time or a dash."""
    return quantity(value, "ns")
