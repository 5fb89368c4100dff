"""Option contention of a run: where the 40 octets went, what found no room and why, and what another packing would do.

Figures show the groups of segments that matter most; the tables have all. Nothing is ever added up over sources, and
where a run has several each figure has one of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from analysis.contention import ContentionRow, PackedRow, contention, waits_and_what_if
from analysis.contention.option_areas import OptionAreas, option_areas
from analysis.contention.run_rows import parts
from analysis.contention.run_sums import summed_contention
from analysis.contention.what_if import WHAT_IF
from analysis.report.capture_budget import BudgetFigure, BudgetRow, budget_figure
from analysis.report.capture_contention import (
    BarFigure,
    PolicyLine,
    displacement_figure,
    policy_figure,
    policy_in_words,
)
from analysis.report.capture_contention import ContentionLine as DrawnLine
from analysis.report.contention_table import ContentionLine, WaitLine, lines_of, wait_lines
from analysis.report.wording import count, share
from analysis.runs import Run

MOST_BARS = 16
"""Of a figure: more would be a wall; the tables have all."""
SMALL_PART = 0.01
"""Groups with a smaller part of their variant's segments, and nothing displaced, are not drawn: a handshake's ACK."""
MOST_SEGMENTS = 400_000
"""Looked at one by one, which takes two seconds: of a run with more, the first repetitions that fit."""
MOST_VARIANTS = 24
"""In the table of policies."""
KINDS = {"data": "data", "pure ACK": "ACKs"}
SOURCES = {
    "ledger": "the endpoint’s own ledger",
    "kernel": "read from the kernel (BPF)",
    "capture": "inferred from captures",
}

Group = tuple[str, str, str, str]
"""Variant, flow, side, kind."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Where the octets went, by one source."""

    source: str
    figure: BudgetFigure
    rows: tuple[BudgetRow, ...]
    """All of them; the figure may have fewer."""
    left_out: int


@dataclass(frozen=True, slots=True)
class Displacement:
    """What became of the SACK blocks, by one source."""

    source: str
    figure: BarFigure
    left_out: int


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The segments of a run packed under other policies, by one source."""

    source: str
    variant: str
    """That of the figure: the one that displaced most."""
    figure: BarFigure
    policies: tuple[tuple[str, str], ...]
    """(policy, what it means)."""
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    """(variant, share displaced under each policy)."""
    left_out: int


@dataclass(frozen=True, slots=True)
class ContentionSection:
    """All of it."""

    budgets: tuple[Budget, ...]
    displacements: tuple[Displacement, ...]
    what_ifs: tuple[WhatIf, ...]
    sampled: str
    """Of which trials delays and other policies are, where there are too many segments for all; else empty."""
    lines: tuple[ContentionLine, ...]
    waits: tuple[WaitLine, ...]


def contention_section(run: Run) -> ContentionSection | None:
    """None where nothing is known of the options of a run."""
    kept = contention(run)
    rows = [*kept, *summed_contention(run)]
    if not rows:
        return None
    areas = option_areas(run)
    several = len({row.flow for row in rows}) > 1
    displaced: Counter[tuple[str, Group]] = Counter()
    for row in rows:
        displaced[row.source, (row.variant, row.flow, row.side, row.kind)] += row.displaced
    trials = _fitting(run)
    waited, packed = waits_and_what_if(run, WHAT_IF, trials)
    return ContentionSection(
        budgets=tuple(_budgets(areas, displaced, several=several)),
        displacements=tuple(_displacements(rows, several=several)),
        what_ifs=tuple(_what_ifs(packed, rows)),
        sampled="" if trials is None else f"{len(trials)} of {count(len(_valid(run)), 'valid trial')}",
        lines=tuple(lines_of(rows)),
        waits=tuple(wait_lines(waited)),
    )


def _fitting(run: Run) -> set[int] | None:
    """Trials of the first repetitions, as many as have MOST_SEGMENTS together; None: all of them fit."""
    sizes: Counter[int] = Counter()
    valid = _valid(run)
    for part in parts(run):
        for row in part.table.group_by("trial").aggregate([([], "count_all")]).to_pylist():
            sizes[row["trial"]] += row["count_all"]
    if sum(sizes.values()) <= MOST_SEGMENTS:
        return None
    chosen: set[int] = set()
    left = MOST_SEGMENTS
    for repetition in sorted(set(valid.values())):
        trials = {trial for trial in sizes if valid[trial] == repetition}
        left -= sum(sizes[trial] for trial in trials)
        if left < 0:
            break
        chosen |= trials
    return chosen


def _valid(run: Run) -> dict[int, int]:
    """Valid trial -> its repetition."""
    rows = run.directory.read_table("trials").select(["trial", "repetition", "verdict"]).to_pylist()
    return {row["trial"]: row["repetition"] for row in rows if row["verdict"] == "VALID"}


def _label(variant: str, flow: str, side: str, kind: str, *, several: bool) -> str:
    return f"{variant}, {f'{flow}.{side}' if several else side}, {KINDS[kind]}"


def _budgets(
    areas: Sequence[OptionAreas], displaced: Mapping[tuple[str, Group], int], *, several: bool
) -> list[Budget]:
    of_variant: Counter[tuple[str, str]] = Counter()
    for area in areas:
        of_variant[area.variant, area.source] += area.segments
    found = []
    for source, detailed in dict.fromkeys((area.source, area.is_detailed) for area in areas):
        mine = [area for area in areas if (area.source, area.is_detailed) == (source, detailed)]
        labels = [_label(area.variant, area.flow, area.side, area.kind, several=several) for area in mine]
        rows = [BudgetRow(label, area.segments, area.octets) for label, area in zip(labels, mine, strict=True)]
        weights = [displaced[source, (area.variant, area.flow, area.side, area.kind)] for area in mine]
        large = [
            number
            for number, area in enumerate(mine)
            if weights[number] or area.segments > SMALL_PART * of_variant[area.variant, source]
        ]
        chosen = _most(large, weights)
        figure = budget_figure([rows[number] for number in chosen])
        found.append(Budget(SOURCES[source], figure, tuple(rows), len(large) - len(chosen)))
    return found


def _displacements(rows: Sequence[ContentionRow], *, several: bool) -> list[Displacement]:
    found = []
    for source in dict.fromkeys(row.source for row in rows):
        mine = [row for row in rows if row.source == source and row.kind in KINDS and row.sums["sack_wanted"]]
        chosen = _most(range(len(mine)), [row.displaced for row in mine])
        lines = [
            DrawnLine(
                _label(row.variant, row.flow, row.side, row.kind, several=several),
                source,
                {"segments": row.segments, "contended": row.contended, **row.sums},
            )
            for row in (mine[number] for number in chosen)
        ]
        figure = displacement_figure(lines)
        if figure is not None:
            found.append(Displacement(SOURCES[source], figure, len(mine) - len(chosen)))
    return found


def _most(numbers: Sequence[int] | range, weights: Sequence[int]) -> list[int]:
    """Those of the largest weights, in their order."""
    heaviest = sorted(numbers, key=lambda number: (-weights[number], number))[:MOST_BARS]
    return sorted(heaviest)


def _what_ifs(packed: Sequence[PackedRow], rows: Sequence[ContentionRow]) -> list[WhatIf]:
    """Of the variants that displaced anything: packing what had room again says nothing."""
    lost: Counter[tuple[str, str]] = Counter()
    for row in rows:
        lost[row.source, row.variant] += row.displaced
    sums: dict[tuple[str, str], dict[str, Counter[str]]] = {}
    for variant, _flow, _side, source, policy, wanted, displaced in packed:
        found = sums.setdefault((source, variant), {}).setdefault(policy, Counter())
        found.update(wanted=wanted, displaced=displaced)
    answers = []
    for source in dict.fromkeys(source for source, _ in sums):
        mine = {variant: found for (by, variant), found in sums.items() if by == source and lost[source, variant]}
        if not mine:
            continue
        worst = max(mine, key=lambda variant: lost[source, variant])
        lines = [PolicyLine(policy, found["wanted"], found["displaced"]) for policy, found in mine[worst].items()]
        figure = policy_figure(lines)
        if figure is None:
            continue
        chosen = sorted(mine, key=lambda variant: -lost[source, variant])[:MOST_VARIANTS]
        table = [
            (variant, tuple(share(_rate(found)) for found in mine[variant].values()))
            for variant in mine
            if variant in chosen
        ]
        words = tuple((line.policy, policy_in_words(line.policy)) for line in lines)
        answers.append(WhatIf(SOURCES[source], worst, figure, words, tuple(table), len(mine) - len(chosen)))
    return answers


def _rate(found: Mapping[str, int]) -> float | None:
    return found["displaced"] / found["wanted"] if found["wanted"] else None
