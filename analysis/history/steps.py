"""The steps of a series: change points of its night values, with levels and intervals, within a segment each.

Where the reference changed (another segment) every ratio is over something else, and no step is seen across.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby, pairwise

import numpy as np

from analysis.history.change_points import change_points
from analysis.history.night_values import SeriesNights
from analysis.history.states import Direction, Night, Step
from analysis.statistics import LEVEL, Interval


def measured_segments(series: SeriesNights) -> list[list[Night]]:
    """The nights that have a value, of each segment."""
    measured = (night for night in series.nights if night.ratio is not None)
    return [list(nights) for _, nights in groupby(measured, key=lambda night: night.segment)]


def smallest_step(series: SeriesNights, smallest: float) -> float:
    """The smallest change that matters on the scale of the series; ``smallest`` is relative."""
    if series.kind != "difference":
        return math.log1p(smallest)
    levels = [abs(night.reference) for night in series.nights if night.reference is not None]
    return smallest * float(np.median(levels)) if levels else 0.0


def values(series: SeriesNights, nights: Sequence[Night]) -> list[float]:
    """Their values on the scale of the series; the nights have one."""
    return [series.scaled(night.ratio) for night in nights if night.ratio is not None]


def steps_of(series: SeriesNights, smallest: float) -> list[tuple[Step, ...]]:
    """The steps of each of :func:`measured_segments`."""
    least = smallest_step(series, smallest)
    found = []
    for nights in measured_segments(series):
        scaled = values(series, nights)
        points = change_points(scaled, smallest=least)
        ends = [0, *(point.index for point in points), len(nights)]
        found.append(
            tuple(
                _step(series, nights, low, index, high, point.p)
                for point, (low, index), high in zip(points, pairwise(ends), ends[2:], strict=False)
            )
        )
    return found


def _step(series: SeriesNights, nights: Sequence[Night], low: int, index: int, high: int, p: float) -> Step:
    before, after = values(series, nights[low:index]), values(series, nights[index:high])
    return Step(
        began_utc=nights[index].night_utc,
        last_before_utc=nights[index - 1].night_utc,
        before=series.unscaled(float(np.mean(before))),
        after=series.unscaled(float(np.mean(after))),
        change=change_between(series, before, after),
        p=p,
        nights_before=len(before),
        nights_after=len(after),
        direction=direction_of(series, float(np.mean(after) - np.mean(before))),
    )


def direction_of(series: SeriesNights, change: float) -> Direction:
    """Whether a change on the scale of the series is for the better."""
    if series.better is None:
        return "neither"
    return "better" if (change > 0) == (series.better == "largest") else "worse"


def change_between(series: SeriesNights, before: Sequence[float], after: Sequence[float]) -> Interval:
    """After over before (of differences: less before), from night values on the scale of the series.

    The interval is Student's, with pooled variance, on that scale: 95 % for two stretches that were given beforehand.
    Where they were chosen because they differ, it lies too far out by a little.
    """
    estimate, n = float(np.mean(after) - np.mean(before)), min(len(before), len(after))
    freedom = len(before) + len(after) - 2
    if freedom < 1:
        return Interval(series.unscaled(estimate), None, None, n, None, "none")
    from scipy.special import stdtrit

    squares = sum(float(((np.asarray(part) - np.mean(part)) ** 2).sum()) for part in (before, after))
    error = math.sqrt(squares / freedom * (1 / len(before) + 1 / len(after)))
    reach = float(stdtrit(freedom, (1 + LEVEL) / 2)) * error
    low, high = series.unscaled(estimate - reach), series.unscaled(estimate + reach)
    return Interval(series.unscaled(estimate), low, high, n, LEVEL, "Student's t")
