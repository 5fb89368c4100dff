"""Rows of the history -> one value for each series and night, on the scale on which levels are compared.

The night is the unit: repetitions of one night share its machine, so they are reduced to the night's ratio before
nights are compared with each other. On the *scale* of a series no change is 0 and equal steps are equal factors: the
logarithm of the ratio, or the difference where a ratio does not exist.

All nights of all series are reduced together, in arrays: one by one it took 200 microseconds a night and series.

Refuses to know what is usual and what is an alarm.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from analysis.comparison.contrast import Better, Kind
from analysis.comparison.series import kind_of
from analysis.history.states import Night, Series
from analysis.statistics import LEVEL
from testbed.record.measure import MeasureError, parse_measure

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]

_FACTS = ("series", "experiment", "variant", "flow", "metric", "unit")


@dataclass(frozen=True, slots=True)
class Pairs:
    """The valid values of one series in one night; the three arrays have the same repetitions, in the same order."""

    reference: Array
    candidate: Array
    control: Array
    """NaN where there was no valid control."""


@dataclass(frozen=True, slots=True)
class SeriesNights(Series):
    """One series with all its nights."""

    nights: tuple[Night, ...]
    newest: Pairs | None
    """Of the newest night of the campaign; None: the series has no row in it."""

    def scaled(self, ratio: float) -> float:
        """A ratio (or difference) on the scale of this series."""
        return ratio if self.kind == "difference" else math.log(ratio)

    def unscaled(self, value: float) -> float:
        """Back again."""
        return value if self.kind == "difference" else math.exp(value)


def series_nights(frame: pd.DataFrame, segments: Mapping[str, int]) -> list[SeriesNights]:
    """Every series of the rows of one campaign on one machine, as :meth:`History.frame` orders them.

    ``segments`` has the nights of the campaign, oldest first, each with the number of its segment.
    """
    codes = frame["series"].cat.codes.to_numpy()
    starts = np.flatnonzero(np.r_[True, (np.diff(codes) != 0) | (np.diff(frame["night"].cat.codes) != 0)])
    starts = starts if len(frame) else starts[:0]
    groups = _Groups(frame, starts)
    firsts = np.flatnonzero(np.r_[True, np.diff(codes[starts]) != 0, True]) if len(frame) else np.array([0])
    facts = frame.iloc[starts[firsts[:-1]]]
    newest = max(segments)
    return [
        _one(groups, range(first, end), row, segments, newest)
        for first, end, row in zip(firsts, firsts[1:], facts.to_dict("records"), strict=False)
    ]


class _Groups:
    """One entry for each series and night, in the order of the rows."""

    def __init__(self, frame: pd.DataFrame, starts: npt.NDArray[np.int64]) -> None:
        size = starts.size
        ends = np.r_[starts[1:], len(frame)]
        self.night = frame["night"].iloc[starts].to_list()
        self.night_utc = frame["night_utc"].iloc[starts].to_list()
        self.trials = ends - starts
        group = np.repeat(np.arange(size), self.trials)
        verdict = frame["verdict"]
        self.invalid = _counted(group[(verdict == "INVALID").to_numpy()], size)
        self.unsupported = _counted(group[(verdict == "UNSUPPORTED").to_numpy()], size)
        self.retries = np.bincount(group, frame["retries"], size).astype(int)
        candidate, reference, control = (frame[name].to_numpy() for name in ("candidate", "reference", "control"))
        valid = (verdict == "VALID").to_numpy() & np.isfinite(candidate) & np.isfinite(reference)
        self._of = group[valid]
        self._values = reference[valid], candidate[valid], control[valid]
        self.pairs = _Reduced(self._of, self._values[0], self._values[1], size)
        again = np.isfinite(self._values[2])
        self.controls = _Reduced(self._of[again], self._values[0][again], self._values[2][again], size)

    def values(self, index: int) -> Pairs:
        """The pairs of one entry."""
        low, high = np.searchsorted(self._of, [index, index + 1])
        return Pairs(*(values[low:high] for values in self._values))


class _Reduced:
    """What the pairs of every entry come to, for each kind of comparison.

    Of ratios the median over the pairs, between two of its order statistics; of counts the ratio of the totals, with
    half an event added to both where one has none (Haldane 1955, Anscombe 1956: the logarithm of a night without
    events would not exist); of differences the mean.
    """

    def __init__(self, group: npt.NDArray[np.int64], reference: Array, candidate: Array, size: int) -> None:
        self.n = _counted(group, size)
        self.totals = np.bincount(group, reference, size), np.bincount(group, candidate, size)
        self.medians = tuple(_middle(values, group, self.n)[0] for values in (reference, candidate))
        with np.errstate(divide="ignore", invalid="ignore"):
            self.ratio = _middle(candidate / reference, group, self.n)
        self.no_ratio = _counted(group[reference <= 0], size) + (self.medians[1] <= 0)

    def told(self, index: int, kind: Kind) -> tuple[float | None, float | None, float | None]:
        """The night's ratio and where it may lie, as :class:`Night` has it; None: no pair, no interval."""
        n = int(self.n[index])
        if n == 0:
            return None, None, None
        if kind == "ratio":
            middle, low, high = (float(each[index]) for each in self.ratio)
            return (middle, low, high) if n > 1 else (middle, None, None)
        reference, candidate = (float(total[index]) for total in self.totals)
        if kind == "difference":
            return (candidate - reference) / n, None, None
        half = 0.0 if reference and candidate else 0.5
        return (candidate + half) / (reference + half), None, None

    def levels(self, index: int, kind: Kind) -> tuple[float | None, float | None]:
        """Reference and candidate: medians, of counts and differences means; None: no pair."""
        n = int(self.n[index])
        if n == 0:
            return None, None
        reference, candidate = (float(each[index]) for each in (self.medians if kind == "ratio" else self.totals))
        return (reference, candidate) if kind == "ratio" else (reference / n, candidate / n)


def _counted(group: npt.NDArray[np.int64], size: int) -> npt.NDArray[np.int64]:
    return np.bincount(group, minlength=size)


def _middle(values: Array, group: npt.NDArray[np.int64], n: npt.NDArray[np.int64]) -> tuple[Array, Array, Array]:
    """Median of each group, and the order statistics between which it lies (:func:`middle_ranks`); NaN where none."""
    ordered = np.r_[values[np.lexsort((values, group))], np.nan]
    first = np.cumsum(n) - n
    rank = np.array([middle_ranks(count) for count in range(int(n.max(initial=0)) + 1)])[n]
    last = np.where(n > 0, first + n - 1, values.size)
    first = np.where(n > 0, first, values.size)
    middle = (ordered[first + np.maximum(n - 1, 0) // 2] + ordered[first + np.where(n > 0, n // 2, 0)]) / 2
    return middle, ordered[first + rank], ordered[last - rank]


@lru_cache
def middle_ranks(n: int) -> int:
    """How many of n values may be left out at either end so that the rest still covers the median with 95 %.

    The distribution-free interval of the sign test: the median lies below the (k+1)-th smallest of n independent
    values with the chance that a fair coin shows at most k heads in n throws. 0 also where even the range covers less.

    Examples
    --------
    >>> [middle_ranks(n) for n in (0, 5, 6, 10, 20)]
    [0, 0, 0, 1, 5]

    References
    ----------
    M. Hollander, D. Wolfe, E. Chicken, Nonparametric Statistical Methods, 2014, section 3.6,
    doi:10.1002/9781119196037
    """
    rank, tail = 0, 0.5**n
    while tail <= (1 - LEVEL) / 2:
        rank += 1
        tail += math.comb(n, rank) * 0.5**n
    return max(0, rank - 1)


def _one(
    groups: _Groups, entries: range, facts: Mapping[str, Any], segments: Mapping[str, int], newest: str
) -> SeriesNights:
    kind = _kind(str(facts["metric"]), groups, entries)
    last = entries[-1]
    better: Better | None = facts["better"] if facts["better"] in ("largest", "smallest") else None
    return SeriesNights(
        **{name: str(facts[name]) for name in _FACTS},
        better=better,
        kind=kind,
        nights=tuple(_night(groups, index, kind, segments) for index in entries),
        newest=groups.values(last) if groups.night[last] == newest else None,
    )


def _kind(metric: str, groups: _Groups, entries: range) -> Kind:
    """As a comparison of two runs takes it, but a difference where the ratio of some night is not a positive number."""
    try:
        kind = kind_of(parse_measure(metric))
    except MeasureError:
        kind = "ratio"
    if kind == "ratio" and groups.pairs.no_ratio[entries.start : entries.stop].any():
        return "difference"
    return kind


def _night(groups: _Groups, index: int, kind: Kind, segments: Mapping[str, int]) -> Night:
    ratio, low, high = groups.pairs.told(index, kind)
    reference, candidate = groups.pairs.levels(index, kind)
    night = groups.night[index]
    return Night(
        night=night,
        night_utc=groups.night_utc[index],
        ratio=ratio,
        low=low,
        high=high,
        candidate=candidate,
        reference=reference,
        control=groups.controls.told(index, kind)[0],
        pairs=int(groups.pairs.n[index]),
        trials=int(groups.trials[index]),
        invalid=int(groups.invalid[index]),
        unsupported=int(groups.unsupported[index]),
        retries=int(groups.retries[index]),
        segment=segments[night],
    )
