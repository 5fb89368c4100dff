"""One series of two sets of trials against each other, and the verdicts on many of them together.

A change is *confirmed* when three things hold: its q over all series of the comparison is at most the false discovery
rate, its 95 % interval excludes "no change", and it is at least as large as the smallest change that matters. All else
is "no change found", with the size that would have been found, or "not comparable", with the reason.

Which test speaks follows from the number of pairs and of series, never from the values: the exact rank test where its
floor lies low enough for one change among so many series, else the t test of the log ratios.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from analysis.statistics import (
    LEVEL,
    SMALLEST_BOOTSTRAP,
    Interval,
    benjamini_hochberg,
    cliffs_delta,
    detectable_ratio,
    detectable_shift,
    median_interval,
    paired_effect,
    paired_floor,
    paired_t_test,
    paired_test,
    rate_ratio_of_trials,
    ratio_interval,
    statistic_interval,
    unpaired_floor,
    unpaired_t_test,
    unpaired_test,
)

Kind = Literal["ratio", "rate", "difference"]
Word = Literal["faster", "slower", "more", "fewer", "no change found", "not comparable"]
Better = Literal["largest", "smallest"]

FDR = 0.05
"""Share of the confirmed changes that may be false, on average."""
SMALLEST = 0.02
"""Relative change below which nobody need care; analysis.md section 5 found 2 % above the drift of a machine."""
SMALLEST_PAIRS = SMALLEST_BOOTSTRAP
"""Fewer pairs decide nothing: 5 cannot reach p < 0.05 in a rank test, nor their range cover a median with 95 %."""
_TIMED_UNITS = ("ns", "bit/s")


@dataclass(frozen=True, slots=True)
class Contrast:
    """A series of the candidate's trials against the reference's."""

    series: str
    """``"variant flow metric"``, unique in its comparison."""
    variant: str
    flow: str
    metric: str
    unit: str
    better: Better | None
    kind: Kind
    """``rate``: counts of events, compared as such; ``difference``: a value is not above 0, so there is no ratio."""
    n: int
    """Pairs; without pairs the size of the smaller group."""
    reference: Interval
    """Median of its trials; of rates and differences the mean."""
    candidate: Interval
    ratio: Interval | None
    """Candidate over reference: median over the pairs; of counts the rate ratio. None of differences, and of events of
    which the reference has none."""
    effect: float | None
    """Matched-pairs rank-biserial correlation, or without pairs Cliff's delta: from -1 to 1, above 0 when the candidate
    has the larger values."""
    p: float | None
    q: float | None
    """Benjamini and Hochberg's, over the series judged together; None before that."""
    detectable: float | None
    """Relative change that would have been found with the chance 0.8: ``0.03`` for 3 %. Never below the smallest that
    matters."""
    verdict: Word
    reason: str
    difference: Interval | None = None
    """Candidate less reference, in ``unit``: mean over the pairs."""
    test: str = ""
    """Which test ``p`` is of."""
    paired: bool = True
    identical: bool = False
    """Every trial has the value of its partner."""
    p_by_t: float | None = None
    """Of the t test of the log ratios, which stands in where the rank test cannot go low enough; None: not possible."""
    spread: float | None = None
    """Standard deviation of the log ratios, of differences that of the differences; of rates the standard error of the
    log rate ratio times the root of n; without pairs within the groups."""
    dispersion: float | None = None
    """Of rates: variance over that of Poisson counts."""
    without_value: int = 0
    """Pairs of valid trials of which one lacks a value; whoever compares fills it in."""
    note: str = ""
    """What else there is to know of its values; whoever compares fills it in."""

    @property
    def is_change(self) -> bool:
        """Whether a change was confirmed."""
        return self.verdict in ("faster", "slower", "more", "fewer")

    @property
    def is_regression(self) -> bool:
        """Whether a change was confirmed, and it is for the worse."""
        return self.is_change and self.better is not None and (self.better == "largest") != self.grew

    @property
    def magnitude(self) -> float | None:
        """Relative size of the change; None when the reference is 0, and any difference counts."""
        if self.ratio is not None:
            return abs(self.ratio.estimate - 1)
        if self.difference is None or self.reference.estimate == 0:
            return None
        return abs(self.difference.estimate / self.reference.estimate)

    @property
    def grew(self) -> bool:
        """Whether the candidate has the larger values."""
        if self.ratio is not None:
            return self.ratio.estimate > 1
        return self.difference is not None and self.difference.estimate > 0


def contrast(
    series: str,
    reference: Sequence[float],
    candidate: Sequence[float],
    *,
    variant: str = "",
    flow: str = "",
    metric: str = "",
    unit: str = "",
    better: Better | None = None,
    kind: Kind = "ratio",
    paired: bool = True,
    seed: int = 1,
) -> Contrast:
    """The contrast of one series; its verdict is pending (q is None) until :func:`adjudicate` has seen all.

    Parameters
    ----------
    series, variant, flow, metric, unit, better
        What it is; ``better`` says which way is an improvement, None: neither way.
    reference, candidate : sequence of float
        A value for each valid trial; paired: in the same order, of the same trials. Empty: not comparable.
    kind : Kind
        ``rate`` of counts of events. ``ratio`` becomes ``difference`` when a value is not above 0, and so does ``rate``
        when one is below 0: a gauge is no count.
    paired : bool
        Whether the two have the same seeds behind them.
    seed : int
        Of the resampling.

    Returns
    -------
    Contrast
    """
    n = min(len(reference), len(candidate))
    if n == 0:
        nothing = Interval(math.nan, None, None, 0, None, "none")
        base = Contrast(series, variant, flow, metric, unit, better, kind, 0, nothing, nothing, *(None,) * 5, *_PENDING)
        lacking = [name for name, values in (("reference", reference), ("candidate", candidate)) if not len(values)]
        return dataclasses.replace(
            base, verdict="not comparable", reason=f"no value in the {' and the '.join(lacking)}"
        )
    if paired and len(reference) != len(candidate):
        raise ValueError(f"{series}: pairs need as many values of the candidate as of the reference")
    least = min(*reference, *candidate)
    if (kind == "ratio" and least <= 0) or (kind == "rate" and least < 0):
        kind = "difference"
    reduced = median_interval if kind == "ratio" else lambda values, seed: statistic_interval(values, "mean", seed)
    made = Contrast(
        series,
        variant,
        flow,
        metric,
        unit,
        better,
        kind,
        n,
        reduced(reference, seed),
        reduced(candidate, seed),
        None,
        (paired_effect if paired else cliffs_delta)(reference, candidate),
        None,
        None,
        None,
        *_PENDING,
        paired=paired,
        identical=(list if paired else sorted)(reference) == (list if paired else sorted)(candidate),
    )
    return _FILLED[kind](made, reference, candidate, seed)


_PENDING: tuple[Word, str] = ("not comparable", "not judged yet")


def _with_ratio(made: Contrast, reference: Sequence[float], candidate: Sequence[float], seed: int) -> Contrast:
    first, second = np.log(np.asarray(reference, float)), np.log(np.asarray(candidate, float))
    freedom = made.n - 1 if made.paired else len(reference) + len(candidate) - 2
    if made.paired:
        ratio = median_interval([b / a for a, b in zip(reference, candidate, strict=True)], seed)
        spread = float((second - first).std(ddof=1)) if made.n > 1 else None
    else:
        ratio = ratio_interval(candidate, reference, "median", seed=seed)
        squares = float(((first - first.mean()) ** 2).sum() + ((second - second.mean()) ** 2).sum())
        spread = math.sqrt(squares / freedom) if freedom > 0 else None
    test, student = (paired_test, paired_t_test) if made.paired else (unpaired_test, unpaired_t_test)
    return dataclasses.replace(
        made,
        ratio=ratio,
        p=test(reference, candidate),
        p_by_t=student(reference, candidate) if made.n > 1 else None,
        spread=spread,
        test="signed rank, exact" if made.paired else "rank sum",
    )


def _with_rate(made: Contrast, reference: Sequence[float], candidate: Sequence[float], seed: int) -> Contrast:
    found = rate_ratio_of_trials(reference, candidate, paired=made.paired)
    totals = sum(reference), sum(candidate)
    error = math.sqrt(max(1.0, found.dispersion) * sum(1 / total for total in totals)) if all(totals) else None
    return dataclasses.replace(
        _with_difference(made, reference, candidate, seed),
        ratio=found.interval,
        p=found.p,
        spread=None if error is None else error * math.sqrt(made.n),
        dispersion=found.dispersion,
        test="quasi-Poisson" if found.overdispersed else "Poisson, exact conditional",
    )


def _with_difference(made: Contrast, reference: Sequence[float], candidate: Sequence[float], seed: int) -> Contrast:
    if made.paired:
        values = [b - a for a, b in zip(reference, candidate, strict=True)]
        return dataclasses.replace(
            made,
            difference=statistic_interval(values, "mean", seed),
            p=paired_test(reference, candidate),
            spread=float(np.std(values, ddof=1)) if made.n > 1 else None,
            test="signed rank, exact",
        )
    first, second = np.asarray(reference, float), np.asarray(candidate, float)
    variances = [float(group.var(ddof=1)) if group.size > 1 else 0.0 for group in (first, second)]
    reach = 1.96 * math.sqrt(variances[0] / first.size + variances[1] / second.size)  # the rank-sum test decides
    estimate = float(second.mean() - first.mean())
    return dataclasses.replace(
        made,
        difference=Interval(estimate, estimate - reach, estimate + reach, made.n, LEVEL, "normal approximation"),
        p=unpaired_test(reference, candidate),
        spread=math.sqrt(sum(variances) / 2),
        test="rank sum",
    )


_FILLED = {"ratio": _with_ratio, "rate": _with_rate, "difference": _with_difference}


def adjudicate(contrasts: Sequence[Contrast], *, fdr: float = FDR, smallest: float = SMALLEST) -> tuple[Contrast, ...]:
    """The contrasts with q values over all of them, the size that each could find, and their verdicts.

    Parameters
    ----------
    contrasts : sequence of Contrast
        All series that were looked at; those with fewer than six pairs, or none, count for nothing and get no q.
    fdr : float
        False discovery rate.
    smallest : float
        Smallest relative change that matters; a smaller one is never called a change.

    Returns
    -------
    tuple of Contrast
        In the same order.
    """
    family = [index for index, one in enumerate(contrasts) if one.p is not None and one.n >= SMALLEST_PAIRS]
    alpha = fdr / max(1, len(family))
    judged = list(contrasts)
    for index in family:
        judged[index] = _with_test(contrasts[index], alpha, smallest)
    q = benjamini_hochberg([judged[index].p or 0.0 for index in family])
    for index, value in zip(family, q, strict=True):
        judged[index] = dataclasses.replace(judged[index], q=value)
    return tuple(_judged(one, len(family), fdr, smallest) for one in judged)


def _with_test(one: Contrast, alpha: float, smallest: float) -> Contrast:
    """With the test that can find one change among as many series as there are, and the size that it would find."""
    found = _detectable(one, alpha)
    one = dataclasses.replace(one, detectable=max(found, smallest) if math.isfinite(found) else None)
    if one.kind != "ratio" or one.p_by_t is None or _floor(one) <= alpha:
        return one
    return dataclasses.replace(one, p=one.p_by_t, test="t of log ratios")


def _detectable(one: Contrast, alpha: float) -> float:
    """Relative size that a t test with this threshold would find with the chance 0.8; infinite: not known."""
    if one.spread is None:
        return math.inf
    others = None if one.paired or one.kind == "rate" else one.n
    if one.kind != "difference":
        return detectable_ratio(one.spread, one.n, others=others, alpha=alpha) - 1
    middle = abs(one.reference.estimate)
    return detectable_shift(one.spread, one.n, others=others, alpha=alpha) / middle if middle else math.inf


def _floor(one: Contrast) -> float:
    return paired_floor(one.n) if one.paired else unpaired_floor(one.n, one.n)


def _judged(one: Contrast, series: int, fdr: float, smallest: float) -> Contrast:
    def said(verdict: Word, reason: str) -> Contrast:
        if one.without_value:
            reason += f"; without a value: {one.without_value} more"
        return dataclasses.replace(one, verdict=verdict, reason=f"{reason}; {one.note}" if one.note else reason)

    noun = "pairs" if one.paired else "trials"
    if one.n == 0:
        return one
    if one.identical:
        return said("no change found", f"the same value in {'both trials of all ' if one.paired else ''}{one.n} {noun}")
    if one.q is None or one.p is None:
        too_few = f"{one.n} {noun if one.n > 1 else noun[:-1]}, and it takes {SMALLEST_PAIRS}"
        floor = f": a rank test of {one.n} cannot go below p = {_floor(one):.3g}"
        return said("not comparable", too_few + (floor if one.kind != "rate" and one.n > 1 else ""))
    if one.q > fdr:
        if one.kind == "difference" and _floor(one) > fdr / series:
            return said("no change found", f"{one.n} {noun} cannot show one difference among {series} series")
        return said("no change found", _could_find(one))
    if not _excludes_none(one):
        return said("no change found", f"q = {one.q:.2g}, but the interval holds no change; {_could_find(one)}")
    if one.magnitude is not None and one.magnitude < smallest:
        small = f"a change of {100 * one.magnitude:.2g} %, smaller than the smallest that matters"
        return said("no change found", small)
    return said(_word(one), one.test)


def _could_find(one: Contrast) -> str:
    if one.detectable is None:
        return "the size that could be found is not known"
    if one.detectable > 1:
        return f"detectable size: a factor of {one.detectable + 1:.2g}"
    return f"detectable size {100 * one.detectable:.2g} %"


def _excludes_none(one: Contrast) -> bool:
    """Whether the interval of the ratio excludes 1, or that of the difference 0."""
    interval, none = (one.ratio, 1.0) if one.ratio is not None else (one.difference, 0.0)
    if interval is None or interval.low is None or interval.high is None:
        return True
    return not interval.low <= none <= interval.high


def _word(one: Contrast) -> Word:
    if one.better is None or one.unit not in _TIMED_UNITS:
        return "more" if one.grew else "fewer"
    return "faster" if (one.better == "largest") == one.grew else "slower"
