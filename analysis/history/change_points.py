"""When a level moved: E-divisive with Student's t test in place of permutations, in windows, as Hunter does it.

Three layers, from the papers:

* :func:`best_split`: where two stretches of a series differ most by their energy distance (Matteson and James 2014);
* :func:`divided`: split where it is greatest, test, split the parts again (the same, section 2.3; the permutation test
  is replaced by the t test, Fleming et al. 2023, section 4.1: it is quick, has no chance in it, and can be significant
  with few points);
* :func:`change_points`: that in overlapping windows with a tolerant threshold, which gives *weak* change points; then,
  from the weakest on, those are dropped that do not hold between their neighbours with the strict threshold, or whose
  step is too small (Fleming et al. 2023, section 4.2: windows, so that a later step of another size does not hide an
  earlier one; weak points first, so that a step is tested against its neighbouring stretches and not against a whole
  window with several levels in it).

Pure: numbers in, positions out. Refuses to know what was measured, and when.

References
----------
.. [1] D. S. Matteson, N. A. James, "A Nonparametric Approach for Multiple Change Point Analysis of Multivariate Data",
   JASA 109(505), 2014, doi:10.1080/01621459.2013.849605
.. [2] M. Fleming, P. Kolaczkowski, I. Kumar, S. Das, S. McCarthy, P. Pattabhiraman, H. Ingo, "Hunter: Using Change
   Point Detection to Hunt for Performance Regressions", ICPE 2023, doi:10.1145/3578244.3583719
.. [3] Student, "The probable error of a mean", Biometrika 6(1), 1908, doi:10.1093/biomet/6.1.1
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

WINDOW = 50
"""Points looked at together; the windows overlap by half."""
MAX_P = 0.001
"""Threshold of a change point [2]_."""
WEAK = 10
"""How many times larger the threshold of a weak one is."""


@dataclass(frozen=True, slots=True)
class ChangePoint:
    """A step between two neighbouring points of a series."""

    index: int
    """Of the first point at the new level."""
    p: float
    """Of the t test between the stretches before and after, up to the neighbouring change points."""
    before: float
    after: float
    """Means of those stretches."""


def change_points(
    values: Sequence[float], *, window: int = WINDOW, max_p: float = MAX_P, smallest: float = 0.0
) -> tuple[ChangePoint, ...]:
    """Steps of a series.

    Parameters
    ----------
    values : sequence of float
        In order of time. What was not measured is left out before.
    window : int
        Points looked at together, at least 2.
    max_p : float
        Largest p of a step.
    smallest : float
        Smallest step, in units of ``values`` (of logarithms: a ratio's).

    Returns
    -------
    tuple of ChangePoint
        In order. Each holds between its neighbours: ``p <= max_p`` and ``abs(after - before) >= smallest``.

    Notes
    -----
    The points were chosen where the difference is greatest, so p is not the chance of a false alarm: of 480 series
    without any step two to four have a change point within the last seven nights (``benchmarks/alarms.py``). It ranks,
    and something else has to confirm.

    Examples
    --------
    >>> quiet = [100.1, 99.9, 100.2, 100.0, 99.8, 100.1, 100.0]
    >>> change_points(quiet)
    ()
    >>> [(point.index, round(point.after)) for point in change_points(quiet + [95.1, 94.9])]
    [(7, 95)]

    One point alone is enough when it lies far off, and is withdrawn when the next lies where the others do:

    >>> [point.index for point in change_points(quiet + [95.0])]
    [7]
    >>> change_points(quiet + [95.0, 100.1, 99.9])
    ()
    """
    data = _finite(values)
    weak = weak_points(data, window=window, max_p=min(1.0, WEAK * max_p))
    return _merged(data, weak, max_p, smallest)


def weak_points(data: Array, *, window: int = WINDOW, max_p: float = WEAK * MAX_P) -> list[int]:
    """Indices of the weak change points, in order: those of all windows together."""
    found: set[int] = set()
    start = 0
    while start < data.size:
        end = min(start + window, data.size)
        inside = [start + index for index in divided(data[start:end], max_p)]
        found.update(inside)
        start = max(start + window // 2, max(inside, default=0))
    return sorted(found)


def divided(data: Array, max_p: float) -> list[int]:
    """E-divisive: change points of one window, in order. Ends at the first split that is not significant."""
    ends = [0, data.size]
    sums = _distance_sums(data)
    open_splits = {(0, data.size): best_split(sums, 0, data.size)}
    while True:
        (low, high), (_, index) = max(open_splits.items(), key=lambda item: item[1][0], default=((0, 0), (0.0, 0)))
        if index == 0 or t_test(data[low:index], data[index:high]) > max_p:
            return ends[1:-1]
        ends = sorted([*ends, index])
        del open_splits[low, high]
        open_splits[low, index] = best_split(sums, low, index)
        open_splits[index, high] = best_split(sums, index, high)


def best_split(sums: Array, low: int, high: int) -> tuple[float, int]:
    """Where points ``low`` to ``high`` fall into two stretches that differ most: (scaled energy distance, index).

    With A the points before the split and B those from it up to some end (the end is chosen as well, so that a second
    step does not blur the first), m and n of them, the distance is ``mn / (m + n) * (2 E|a - b| - E|a - a'| -
    E|b - b'|)``, with means over pairs of different points ([1]_, equations 5 and 6, exponent 1). (0, 0): no split.
    """
    if high - low < 2:
        return 0.0, 0
    points = np.arange(low, high + 1)
    split, end = points[1:-1, None], points[None, 2:]
    before, after = split - low, np.maximum(end - split, 0)

    def block(a: npt.NDArray[np.int64] | int, b: npt.NDArray[np.int64], c: npt.NDArray[np.int64] | int) -> Array:
        """Distances between the points a..b and the points c..end."""
        made: Array = sums[b, end] - sums[a, end] - sums[b, c] + sums[a, c]
        return made

    diagonal = np.diagonal(sums)
    within_before = (diagonal[split] - sums[low, split] - sums[split, low] + sums[low, low]) / 2
    within_after = block(split, end, split) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = (
            2 * block(low, split, split) / (before * after)
            - np.where(before > 1, within_before / (before * (before - 1) / 2), 0.0)
            - np.where(after > 1, within_after / (after * (after - 1) / 2), 0.0)
        )
        scaled = np.where(after > 0, before * after / (before + after) * distance, -np.inf)
    best = int(np.argmax(scaled))
    row, column = divmod(best, scaled.shape[1])
    return float(scaled[row, column]), int(split[row, 0])


def t_test(first: Array, second: Array) -> float:
    """p (two-sided) of Student's t test with pooled variance [3]_; 1 where there is no degree of freedom.

    One point on one side is enough: the other side tells the spread.
    """
    m, n = first.size, second.size
    freedom = m + n - 2
    if freedom < 1 or not m or not n:
        return 1.0
    difference = float(second.mean() - first.mean())
    squares = float(((first - first.mean()) ** 2).sum() + ((second - second.mean()) ** 2).sum())
    error = np.sqrt(squares / freedom * (1 / m + 1 / n))
    if error == 0:
        return 0.0 if difference else 1.0
    return float(2 * _stdtr(freedom, -abs(difference) / error))


def _stdtr(freedom: int, t: float) -> float:
    from scipy.special import stdtr

    return float(stdtr(freedom, t))


def _merged(data: Array, weak: Sequence[int], max_p: float, smallest: float) -> tuple[ChangePoint, ...]:
    """Without those that do not hold between their neighbours, the weakest first, then those that are too small."""
    kept = list(weak)
    while kept:
        points = [_point(data, low, index, high) for low, index, high in _between(kept, data.size)]
        worst = max(points, key=lambda point: point.p)
        if worst.p <= max_p:
            worst = min(points, key=lambda point: abs(point.after - point.before))
            if abs(worst.after - worst.before) >= smallest:
                return tuple(points)
        kept.remove(worst.index)
    return ()


def _between(kept: Sequence[int], size: int) -> list[tuple[int, int, int]]:
    ends = [0, *kept, size]
    return [(low, index, high) for (low, index), high in zip(pairwise(ends), ends[2:], strict=False)]


def _point(data: Array, low: int, index: int, high: int) -> ChangePoint:
    before, after = data[low:index], data[index:high]
    return ChangePoint(index, t_test(before, after), float(before.mean()), float(after.mean()))


def _distance_sums(data: Array) -> Array:
    """Sums of the distances between the first i and the first j points, for all i and j."""
    sums = np.zeros((data.size + 1, data.size + 1))
    sums[1:, 1:] = np.abs(data[:, None] - data[None, :]).cumsum(axis=0).cumsum(axis=1)
    return sums


def _finite(values: Sequence[float]) -> Array:
    data = np.asarray(values, dtype=np.float64)
    if not np.isfinite(data).all():
        raise ValueError("change points need finite values; what could not be measured is left out before")
    return data
