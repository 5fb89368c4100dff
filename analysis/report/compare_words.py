"""A comparison in words: the answer, each change, what it was found with. Never a p without n and the interval."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

from analysis.comparison.contrast import SMALLEST_PAIRS, Contrast
from analysis.comparison.runs import Comparison
from analysis.report.wording import NOT_MEASURED, THIN_SPACE, count, metric_name, quantity, significant
from analysis.statistics import Interval

Tone = Literal["met", "failed", "open"]

SIGNS = {"faster": "▲", "slower": "▼", "more": "▲", "fewer": "▼", "no change found": "=", "not comparable": "–"}
"""Beside the word of a verdict, so that colour is never alone."""
_FLOW_FIRST = ("goodput_bit_s", "completion_time_ns")


@dataclass(frozen=True, slots=True)
class Answer:
    """What is said first."""

    tone: Tone
    line: str
    numbers: str
    """The strongest change, or what could have been found."""


def answer(comparison: Comparison, candidate: str = "The candidate") -> Answer:
    """What all series together say of the candidate, which is called so where there is more than one pair."""
    compared, changes, worse = comparison.compared, comparison.changes, comparison.regressions
    of = f"of {count(len(compared), 'series', 'series')}"
    if not comparison.is_decided:
        reasons = list(dict.fromkeys(one.reason for one in comparison.contrasts if not one.identical))
        few = any(0 < one.n < SMALLEST_PAIRS for one in comparison.contrasts)
        fix = f" Run both with the same --seed and with --repeat {SMALLEST_PAIRS} or more." if few else ""
        told = "; ".join(reasons[:2]) or "no series that both have"
        return Answer("open", "Nothing can be said.", f"{told}.{fix}")
    if comparison.same_run and not comparison.of_variants and not changes:
        return Answer("met", "This is the same run twice: nothing differs.", f"{len(compared)} series, all alike.")
    who = candidate if len(comparison.pairs) != 1 else comparison.pairs[0].name
    better = tuple(one for one in changes if one.better is not None and not one.is_regression)
    rest = len(changes) - len(worse) - len(better)
    more = f"; {rest} more changed, neither way" if rest else ""
    down = "slower" if any(one.verdict == "slower" for one in worse) else "worse"
    up = "faster" if any(one.verdict == "faster" for one in better) else "better"
    strongest = partial(_strongest, comparison)
    if worse and better:
        line = f"{who} is {down} in some and {up} in other series: "
        line += f"{len(worse)} {of} changed for the worse, {len(better)} for the better{more}."
        return Answer(
            "failed", line, f"{_strongest(comparison, worse, 2)} For the better: {_strongest(comparison, better, 2)}"
        )
    if worse:
        return Answer("failed", f"{who} is {down}: {len(worse)} {of} changed for the worse{more}.", strongest(worse))
    if better:
        return Answer("met", f"{who} is {up}: {len(better)} {of} changed for the better{more}.", strongest(better))
    if changes:
        line = f"{who} does some things more or less often: {len(changes)} {of}, none for better or worse."
        return Answer("met", line, strongest(changes))
    return Answer("met", f"No change found in {count(len(compared), 'series', 'series')}.", _could_find(comparison))


def _strongest(comparison: Comparison, changes: tuple[Contrast, ...], most: int = 3) -> str:
    """The changes that are told at once: of goodput and completion time, what else the flows got, then the largest."""
    told = sorted(changes, key=lambda one: (_rank(one), -(one.magnitude or 0)))
    more = f"; and {len(told) - most} more" if len(told) > most else ""
    return "; ".join(f"{name_in(comparison, one)}: {change(one)}" for one in told[:most]) + more + "."


def _rank(one: Contrast) -> int:
    return 0 if one.metric in _FLOW_FIRST else 2 if ":" in one.metric else 1


def _could_find(comparison: Comparison) -> str:
    flows = [one for one in comparison.compared if one.metric in _FLOW_FIRST and one.detectable is not None]
    found = "a change of {} would have been found"
    told = [f"{name_in(comparison, one)}: {found.format(size(one.detectable))}" for one in flows[:3]]
    return "; ".join(told) + "." if told else ""


def name_in(comparison: Comparison, one: Contrast) -> str:
    """The series; without its variants where the comparison is of one pair of them alone."""
    return measured(one) if len(comparison.pairs) == 1 else subject(one)


def subject(one: Contrast) -> str:
    """``"mptcp, goodput"``."""
    return f"{one.variant}, {measured(one)}"


def measured(one: Contrast) -> str:
    """``"goodput"``; a flow that is not the only usual one is named."""
    flow = f" of flow {one.flow}" if one.flow not in ("", "main") else ""
    return f"{metric_name(one.metric)}{flow}"


def change(one: Contrast) -> str:
    """``"2.9 % less (95 % interval −3.2 to −2.4 %, 12 pairs)"``."""
    n = count(one.n, "pair" if one.paired else "trial")
    if one.ratio is not None:
        return f"{_relative(one.ratio.estimate)} ({_bounds(one.ratio)}{n})"
    if one.difference is not None:
        word = "more" if one.difference.estimate > 0 else "less"
        middle = f"{_amount(abs(one.difference.estimate), one.unit)} {word}"
        was = f"{quantity(one.reference.estimate, one.unit)} in the mean before, {n}"
        return f"{middle} ({was})"
    return f"{quantity(one.candidate.estimate, one.unit)}, none before ({n})"


def _bounds(ratio: Interval) -> str:
    """``"95 % interval −3.2 to −2.4 %, "``; of large ratios the ratios."""
    if ratio.low is None or ratio.high is None:
        return ""
    if ratio.low < 0.5 or ratio.high > 2:
        return f"95{THIN_SPACE}% interval {times(ratio.low)} to {times(ratio.high)}, "
    ends = [f"{100 * (end - 1):+.2g}".replace("-", "−") for end in (ratio.low, ratio.high)]
    return f"95{THIN_SPACE}% interval {ends[0]} to {ends[1]}{THIN_SPACE}%, "


def _relative(ratio: float) -> str:
    """``0.971`` -> ``"2.9 % less"``, ``2.4`` -> ``"2.4 times as much"``."""
    if ratio == 0:
        return "none any more"
    if 0.5 <= ratio <= 2:
        return f"{size(abs(ratio - 1))} {'more' if ratio > 1 else 'less'}"
    return f"{significant(ratio)} times as much"


def size(relative: float | None) -> str:
    """A relative change: ``0.0312`` -> ``"3.1 %"``, ``2.4`` -> ``"a factor of 3.4"``."""
    if relative is None:
        return NOT_MEASURED
    if relative > 1:
        return f"a factor of {significant(relative + 1, 2)}"
    return f"{100 * relative:.2g}{THIN_SPACE}%"


def _amount(difference: float, unit: str) -> str:
    """A difference: of shares in percentage points, for 31.6 % more of 9.4 % would be another thing."""
    if unit in ("share", "probability"):
        return f"{significant(100 * difference)}{THIN_SPACE}points"
    return quantity(difference, unit)


def times(ratio: float) -> str:
    """``"0.971 ×"``: three decimals, up to five where it takes them to tell it from 1."""
    digits = next((digits for digits in (3, 4, 5) if round(ratio, digits) != 1), 3)
    shown = f"{ratio:.{digits}f}" if 0.1 <= ratio < 10 else significant(ratio)
    return f"{shown}{THIN_SPACE}×"


def ratio_words(one: Contrast) -> str:
    """``"0.971 × (0.968 – 0.976)"``, or the difference where there is no ratio."""
    if one.ratio is not None:
        middle = times(one.ratio.estimate)
        if one.ratio.low is None or one.ratio.high is None:
            return middle
        ends = " – ".join(times(end).removesuffix(f"{THIN_SPACE}×") for end in (one.ratio.low, one.ratio.high))
        return f"{middle} ({'range ' if one.ratio.method == 'range' else ''}{ends})"
    if one.difference is not None and one.n:
        sign = "+" if one.difference.estimate > 0 else ""
        never = ", none before" if one.kind == "rate" and one.difference.estimate > 0 else ""
        return sign + _amount(one.difference.estimate, one.unit) + never
    return NOT_MEASURED


def value(interval: Interval, unit: str) -> str:
    """The median or mean of one side; a dash when it has no trial."""
    return quantity(interval.estimate, unit) if interval.n else NOT_MEASURED


def evidence(one: Contrast, *, with_test: bool = True) -> str:
    """``"q = 0.006, 12 pairs, signed rank, exact"``; empty when there was no test."""
    if one.q is None or one.identical:
        return count(one.n, "pair" if one.paired else "trial")
    n = count(one.n, "pair" if one.paired else "trial")
    return f"q {probability(one.q)}, {n}{f', {one.test}' if with_test else ''}"


def probability(p: float) -> str:
    """``"= 0.006"``, ``"< 1e-6"``."""
    return "< 1e-6" if p < 1e-6 else f"= {p:.2g}"


def effect(one: Contrast) -> str:
    """From −1.00 to +1.00."""
    if not one.effect:
        return NOT_MEASURED if one.effect is None else "0"
    return f"{one.effect:+.2f}".replace("-", "−")


def tone(one: Contrast) -> str:
    """Of the word of a verdict: ``failed``, ``met`` (a change for the better), ``soft`` or ``open``."""
    if one.is_regression:
        return "failed"
    if one.is_change and one.better is not None:
        return "met"
    return "open" if one.is_change or one.verdict == "not comparable" else "soft"


def in_order(comparison: Comparison) -> list[Contrast]:
    """Changes for the worse, for the better, others; then what did not change; then what cannot be compared.

    In each what the flows got comes before what their hosts and segments tell.
    """
    ranks = {"failed": 0, "met": 1}

    def rank(one: Contrast) -> tuple[int, int]:
        if one.is_change:
            return ranks.get(tone(one), 2), _rank(one)
        return (4 if one.verdict == "not comparable" else 3), min(1, _rank(one))

    return sorted(comparison.contrasts, key=rank)


def is_headline(comparison: Comparison, one: Contrast) -> bool:
    """Whether it is shown at first: every change, what the applications of the flows got, and what was asked for."""
    return one.is_change or ":" not in one.metric or one.metric in comparison.metrics
