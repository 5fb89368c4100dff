"""What each level of a matrix' first factor costs: the sentences, the table, the figure and the tables by factor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from analysis.matrix import Cost, Matrix
from analysis.report import dot_plot
from analysis.report.ladder import ladder, legend, ratio_axis
from analysis.report.scale import linear_axis
from analysis.report.wording import NOT_MEASURED, THIN_SPACE, quantity, share, significant
from analysis.statistics import Interval
from analysis.verdict import FATES

MOST_NAMED = 6
"""Levels that a sentence names."""
MIDDLE_RATIO = (0.5, 1.5)
"""Ratios beyond are drawn at the edge: one policy that collapses must not flatten all others."""

HEADS = (
    "stayed MPTCP",
    "goodput",
    "displaced SACK",
    "on pure ACKs",
    "never reported",
    "reported after",
    "arrived twice",
    "RTOs",
    "resets",
    "header tax",
)


@dataclass(frozen=True, slots=True)
class CostRow:
    """One level in the main table."""

    level: str
    cells: tuple[str, ...]
    """By HEADS."""
    goodput: Markup
    displaced: Markup
    """Drawings."""


@dataclass(frozen=True, slots=True)
class FactorTable:
    """Levels of the compared factor as rows, those of another one as columns."""

    factor: str
    levels: tuple[str, ...]
    rows: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    """(level, for each column the goodput, and what else is worth a word)."""


@dataclass(frozen=True, slots=True)
class MatrixSection:
    """All texts and drawings."""

    compared: str
    reference: str
    by: str
    """The factor whose levels the drawings step through."""
    steps: tuple[str, ...]
    answers: tuple[str, ...]
    heads: tuple[str, ...]
    rows: tuple[CostRow, ...]
    goodput_scale: Markup
    displaced_scale: Markup
    legend: tuple[tuple[Markup, str], ...]
    has_ledger: bool
    tables: tuple[FactorTable, ...]
    n: int
    """Situations."""


def matrix_section(matrix: Matrix) -> MatrixSection:
    """The section of a report."""
    costs = matrix.costs()
    by = max(matrix.factors[1:], key=lambda factor: len(matrix.levels[factor]))
    steps = matrix.levels[by]
    stepped = {step: {cost.level: cost for cost in matrix.costs(**{by: step})} for step in steps}
    ratios = [
        min(max(cost.goodput.estimate, MIDDLE_RATIO[0]), MIDDLE_RATIO[1])
        for found in [costs, *(each.values() for each in stepped.values())]
        for cost in found
        if cost.goodput
    ]
    x_goodput = ratio_axis(ratios)
    x_displaced = linear_axis([0.0, 1.0], "probability", count=4)
    rows = []
    for cost in costs:
        line = [stepped[step].get(cost.level) for step in steps]
        title = f"{cost.level} by {by}"
        rows.append(
            CostRow(
                cost.level,
                _cells(cost),
                ladder(
                    f"Goodput of {title}",
                    [each.goodput.estimate if each and each.goodput else None for each in line],
                    steps,
                    x_goodput,
                    cost.goodput,
                    base=1.0,
                ),
                ladder(
                    f"Displaced SACK blocks of {title}",
                    [each.displaced if each else None for each in line],
                    steps,
                    x_displaced,
                    None,
                ),
            )
        )
    return MatrixSection(
        compared=matrix.compared,
        reference=matrix.reference,
        by=by,
        steps=tuple(steps),
        answers=tuple(_answers(matrix, costs)),
        heads=HEADS,
        rows=tuple(rows),
        goodput_scale=dot_plot.scale_row(x_goodput),
        displaced_scale=dot_plot.scale_row(x_displaced),
        legend=legend(steps),
        has_ledger=any(cost.header_tax is not None for cost in costs),
        tables=tuple(_factor_table(matrix, factor) for factor in matrix.factors[1:] if len(matrix.levels[factor]) > 1),
        n=len({trial.situation for trial in matrix.trials}),
    )


def matrix_summary(matrix: Matrix) -> Mapping[str, Any]:
    """For summary.json: the costs over all situations, and by the levels of each factor."""
    return {
        "compared": matrix.compared,
        "reference": matrix.reference,
        "costs": [_as_json(cost) for cost in matrix.costs()],
        "by": {
            factor: {
                level: [_as_json(cost) for cost in matrix.costs(**{factor: level})] for level in matrix.levels[factor]
            }
            for factor in matrix.factors[1:]
        },
    }


def _as_json(cost: Cost) -> Mapping[str, Any]:
    goodput = cost.goodput
    return {
        "level": cost.level,
        "trials": cost.trials,
        "fates": dict(cost.fates),
        "goodput_ratio": None
        if goodput is None
        else {"estimate": goodput.estimate, "low": goodput.low, "high": goodput.high, "n": goodput.n},
        "displaced_share": cost.displaced,
        "displaced_share_on_acks": cost.displaced_on_acks,
        "never_reported_share": cost.never_reported,
        "information_delay_p95_ns": cost.information_delay_ns,
        "duplicates_per_1000_segments": cost.duplicates,
        "timeouts_per_trial": cost.timeouts,
        "resets_per_trial": cost.resets,
        "header_tax": cost.header_tax,
        "map_delayed_share": cost.map_delayed,
    }


def ratio_in_words(found: Interval | None) -> str:
    """``1.032 (1.008 – 1.055)``; of the reference itself 1."""
    if found is None:
        return NOT_MEASURED
    if found.low == found.high == 1:
        return "1"
    if found.low is None or found.high is None:
        return _ratio_text(found.estimate)
    return f"{_ratio_text(found.estimate)} ({_ratio_text(found.low)} – {_ratio_text(found.high)})"


def _ratio_text(ratio: float) -> str:
    """Three decimals near 1, where three digits would not tell 1.004 from 1."""
    return f"{ratio:.3f}" if 0.9 < ratio < 1.1 else significant(ratio)


def fates_in_words(cost: Cost) -> str:
    """``288 of 420; fell back to TCP 60, reset 72``: what stayed MPTCP, and what became of the rest."""
    stayed = cost.fates.get("mptcp", 0)
    if stayed == cost.trials:
        return f"all {cost.trials}"
    rest = ", ".join(f"{FATES[fate]} {count}" for fate, count in cost.fates.items() if fate != "mptcp")
    return f"{stayed} of {cost.trials}; {rest}"


def _cells(cost: Cost) -> tuple[str, ...]:
    return (
        fates_in_words(cost),
        ratio_in_words(cost.goodput),
        share(cost.displaced),
        share(cost.displaced_on_acks),
        share(cost.never_reported),
        quantity(cost.information_delay_ns, "ns"),
        NOT_MEASURED if cost.duplicates is None else f"{significant(cost.duplicates)}{THIN_SPACE}‰",
        NOT_MEASURED if cost.timeouts is None else significant(cost.timeouts),
        NOT_MEASURED if cost.resets is None else significant(cost.resets),
        share(cost.header_tax),
    )


def _answers(matrix: Matrix, costs: Sequence[Cost]) -> list[str]:
    """What the first screen says in words; only intervals that exclude 1 are called a difference."""
    others = [cost for cost in costs if cost.level != matrix.reference and cost.goodput and cost.goodput.level]
    above = sorted((c for c in others if c.goodput and (c.goodput.low or 0) > 1), key=lambda c: -_ratio(c))
    below = sorted((c for c in others if c.goodput and (c.goodput.high or 2) < 1), key=_ratio)
    found = []
    if others:
        parts = [
            f"{word} {matrix.reference}: "
            + ", ".join(f"{cost.level} {ratio_in_words(cost.goodput)}" for cost in some[:MOST_NAMED])
            for word, some in (("more goodput than", above), ("less than", below))
            if some
        ]
        rest = len(others) - len(above) - len(below)
        if rest:
            parts.append(f"{rest} not to be told from it")
        found.append("; ".join(parts)[:1].upper() + "; ".join(parts)[1:] + ".")
    else:
        found.append(f"Too few situations to tell the goodput of any from that of {matrix.reference}.")
    known = sorted((c for c in costs if c.displaced is not None), key=lambda c: c.displaced or 0.0)
    own = next((c for c in known if c.level == matrix.reference), None)
    if own is not None and len(known) > 1:
        least = ", ".join(f"{cost.level} {share(cost.displaced)}" for cost in known[:3])
        most = "" if known[-1] is own else f", most {known[-1].level} {share(known[-1].displaced)}"
        text = f"Of the SACK blocks wanted {matrix.reference} displaces {share(own.displaced)}"
        found.append(f"{text}; least displace {least}{most}.")
    broken = [cost for cost in costs if cost.fates.get("mptcp", 0) < cost.trials]
    if broken:
        found.append(
            "Not every receiver bears "
            + ", ".join(f"{c.level} (MPTCP in {c.fates.get('mptcp', 0)} of {c.trials} trials)" for c in broken)
            + "."
        )
    else:
        found.append("Every connection stayed MPTCP to its end.")
    return found


def _ratio(cost: Cost) -> float:
    return cost.goodput.estimate if cost.goodput else 0.0


def _factor_table(matrix: Matrix, factor: str) -> FactorTable:
    levels = tuple(matrix.levels[factor])
    by_level = {level: {cost.level: cost for cost in matrix.costs(**{factor: level})} for level in levels}
    rows = []
    for name in matrix.levels[matrix.compared]:
        cells = tuple(_short(by_level[level].get(name)) for level in levels)
        rows.append((name, cells))
    return FactorTable(factor, levels, tuple(rows))


def _short(cost: Cost | None) -> tuple[str, str]:
    if cost is None:
        return NOT_MEASURED, ""
    words = [] if cost.displaced is None else [f"{share(cost.displaced)} displaced"]
    if cost.fates.get("mptcp", 0) < cost.trials:
        words.append(f"MPTCP in {fates_in_words(cost)}")
    return ratio_in_words(cost.goodput), "; ".join(words)
