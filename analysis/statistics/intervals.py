"""Estimates with intervals that say how sure they are, and that say so when they cannot be.

Intervals of fewer than :data:`SMALLEST_BOOTSTRAP` values are ranges with their exact coverage, not bootstraps:
resampling three values pretends to know a tail that it has not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

LEVEL = 0.95
SMALLEST_BOOTSTRAP = 6
"""Below six values no distribution-free interval of the median reaches 95 %: even the whole range covers it with
1 - 2 * 0.5**n, 93.75 % for five."""

RESAMPLES = 4000

Method = Literal[
    "none",
    "range",
    "percentile bootstrap",
    "BCa bootstrap",
    "exact conditional",
    "quasi-Poisson",
    "normal approximation",
    "Student's t",
]


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and where the true value may lie."""

    estimate: float
    low: float | None
    """None: one value tells nothing about the spread."""
    high: float | None
    n: int
    level: float | None
    """Coverage: nominal for a bootstrap, exact for the range around a median; None: of other ranges none is known."""
    method: Method

    def in_words(self) -> str:
        """What the interval is: ``"range of 3 values, covers the median with 75 %"``."""
        match self.method:
            case "none":
                return "one value, no interval" if self.n == 1 else f"{self.n} values, no interval"
            case "range" if self.level is None:
                return f"range of {self.n} values"
            case "range":
                return f"range of {self.n} values; covers the median with {100 * (self.level or 0):.4g} %"
            case _:
                return f"{100 * (self.level or 0):.4g} % interval, {self.method}, n = {self.n}"


def median_interval(values: Sequence[float], seed: int = 1) -> Interval:
    """Median with an interval that is honest for few values.

    Parameters
    ----------
    values : sequence of float
        At least one. Fewer than six give their range with its exact coverage.
    seed : int
        Of the resampling; the same seed gives the same interval.

    Returns
    -------
    Interval
        From six values on a percentile bootstrap: the jackknife that BCa needs is inconsistent for a median [1]_.

    Notes
    -----
    For independent values of a continuous distribution the median lies below all n of them with probability
    0.5**n and above with the same, so the range covers it with 1 - 2 * 0.5**n (the sign test's interval, [2]_).

    References
    ----------
    .. [1] B. Efron, R. Tibshirani, An Introduction to the Bootstrap, 1993, section 11.5, doi:10.1201/9780429246593
    .. [2] M. Hollander, D. Wolfe, E. Chicken, Nonparametric Statistical Methods, 2014, section 3.6,
       doi:10.1002/9781119196037
    """
    data = finite(values)
    estimate = float(np.median(data))
    if data.size == 1:
        return Interval(estimate, None, None, 1, None, "none")
    if data.size < SMALLEST_BOOTSTRAP:
        coverage = 1 - 2 * 0.5**data.size
        return Interval(estimate, float(data.min()), float(data.max()), data.size, coverage, "range")
    lower, upper = _middle_draws(seed, RESAMPLES, data.size)
    ordered = np.sort(data)
    replicates = (ordered[lower] + ordered[upper]) / 2
    low, high = (float(value) for value in np.quantile(replicates, ((1 - LEVEL) / 2, (1 + LEVEL) / 2)))
    return Interval(estimate, low, high, data.size, LEVEL, "percentile bootstrap")


def statistic_interval(values: Sequence[float], statistic: str, seed: int = 1) -> Interval:
    """``median``, ``mean``, ``min`` or ``max`` of the values, with what is known of its spread.

    The median has :func:`median_interval`; the mean from six values on a BCa bootstrap. Of fewer values, and around an
    extreme (of which no resampling knows what it has not seen), stands their range.
    """
    if statistic == "median":
        return median_interval(values, seed)
    data = finite(values)
    if statistic == "mean" and data.size >= SMALLEST_BOOTSTRAP:
        return bootstrap_interval(values, np.mean, seed=seed)
    estimate = float(_STATISTICS[statistic](data))
    if data.size == 1:
        return Interval(estimate, None, None, 1, None, "none")
    return Interval(estimate, float(data.min()), float(data.max()), data.size, None, "range")


def ratio_interval(
    values: Sequence[float], others: Sequence[float], statistic: str, *, paired: bool = False, seed: int = 1
) -> Interval:
    """A statistic of some values over the same of others.

    Parameters
    ----------
    values, others : sequence of float
        At least one each. There is no interval when one of the others is not above 0.
    statistic : str
        ``median``, ``mean``, ``min`` or ``max``.
    paired : bool
        The two have the same trials behind them, in the same order (the same seed loses the same packets): they are
        resampled together, and what both have in common does not widen the interval. Else each by itself.
    seed : int
        Of the resampling.

    Returns
    -------
    Interval
        From six values on a percentile bootstrap; else the range of the ratios, of pairs or of any value over any
        other. ``n`` is the smaller number of values.
    """
    above, below = finite(values), finite(others)
    if paired and above.size != below.size:
        raise ValueError("pairs need as many values as others")
    reduced = _STATISTICS[statistic]
    estimate, n = float(reduced(above) / reduced(below)), int(min(above.size, below.size))
    if above.size == below.size == 1 or below.min() <= 0:
        return Interval(estimate, None, None, n, None, "none")
    if n < SMALLEST_BOOTSTRAP or statistic in ("min", "max"):
        ratios = above / below if paired else np.divide.outer(above, below)
        return Interval(estimate, float(ratios.min()), float(ratios.max()), n, None, "range")
    generator = np.random.default_rng(seed)
    first = generator.integers(0, above.size, (RESAMPLES, above.size))
    second = first if paired else generator.integers(0, below.size, (RESAMPLES, below.size))
    replicates = reduced(above[first], axis=1) / reduced(below[second], axis=1)
    low, high = (float(value) for value in np.quantile(replicates, ((1 - LEVEL) / 2, (1 + LEVEL) / 2)))
    return Interval(estimate, low, high, n, LEVEL, "percentile bootstrap")


_STATISTICS: Mapping[str, Callable[..., Any]] = {"median": np.median, "mean": np.mean, "min": np.min, "max": np.max}


def bootstrap_interval(
    values: Sequence[float],
    statistic: Callable[..., object] = np.mean,
    *,
    seed: int = 1,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    method: Literal["percentile bootstrap", "BCa bootstrap"] = "BCa bootstrap",
) -> Interval:
    """Bootstrap interval of a statistic of independent values.

    Parameters
    ----------
    values : sequence of float
        At least two.
    statistic : callable
        Takes an array and ``axis``, such as :func:`numpy.mean`.
    seed, level, resamples, method
        Seed of the resampling, nominal coverage, number of resamples, percentile or bias-corrected and accelerated.

    Returns
    -------
    Interval

    References
    ----------
    B. Efron, "Better Bootstrap Confidence Intervals", JASA 82(397), 1987, doi:10.1080/01621459.1987.10478410
    """
    data = finite(values)
    if data.size < 2:
        raise ValueError("an interval needs at least two values")
    drawn = data[_draws(seed, resamples, data.size)]
    replicates = np.asarray(statistic(drawn, axis=1), dtype=np.float64)
    estimate = float(np.asarray(statistic(data, axis=0)))
    tails = ((1 - level) / 2, (1 + level) / 2)
    if method == "BCa bootstrap":
        tails = _bca_tails(data, statistic, replicates, estimate, tails)
    low, high = (float(value) for value in np.quantile(replicates, tails))
    return Interval(estimate, low, high, data.size, level, method)


def _bca_tails(
    data: Array,
    statistic: Callable[..., object],
    replicates: Array,
    estimate: float,
    tails: tuple[float, float],
) -> tuple[float, float]:
    """The percentiles that BCa reads instead of ``tails`` (Efron 1987, equations 2.3 and 6.6)."""
    normal = NormalDist()
    below = float(np.mean(replicates < estimate) + np.mean(replicates == estimate) / 2)
    if not 0 < below < 1:
        return tails  # all values equal: nothing to correct
    bias = normal.inv_cdf(below)
    others = ~np.eye(data.size, dtype=bool)
    left_out = np.broadcast_to(data, (data.size, data.size))[others].reshape(data.size, -1)
    jackknife = np.asarray(statistic(left_out, axis=1), dtype=np.float64)
    spread = jackknife.mean() - jackknife
    scale = 6 * float((spread**2).sum()) ** 1.5
    acceleration = float((spread**3).sum()) / scale if scale else 0.0

    def moved(tail: float) -> float:
        z = bias + normal.inv_cdf(tail)
        return normal.cdf(bias + z / (1 - acceleration * z))

    return moved(tails[0]), moved(tails[1])


@lru_cache(maxsize=8)
def _draws(seed: int, resamples: int, size: int) -> npt.NDArray[np.int64]:
    """Which values each resample has; kept, for hundreds of series of as many values are resampled alike."""
    drawn = np.random.default_rng(seed).integers(0, size, (resamples, size))
    drawn.flags.writeable = False
    return drawn


@lru_cache(maxsize=64)
def _middle_draws(seed: int, resamples: int, size: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Ranks of the two middle values of each resample: which of the ordered values its median is the mean of."""
    ordered = np.sort(_draws(seed, resamples, size), axis=1)
    return ordered[:, (size - 1) // 2].copy(), ordered[:, size // 2].copy()


def quantiles(values: Sequence[float], probabilities: Sequence[float]) -> list[float]:
    """Sample quantiles (linear interpolation, Hyndman and Fan's type 7, doi:10.1080/00031305.1996.10473566)."""
    return [float(value) for value in np.quantile(finite(values), list(probabilities))]


def finite(values: Sequence[float]) -> Array:
    """As an array. Raises ValueError when there is none, or one that is not finite."""
    data = np.asarray(values, dtype=np.float64)
    if data.size == 0:
        raise ValueError("a statistic needs at least one value")
    if not np.isfinite(data).all():
        raise ValueError("a statistic needs finite values; what could not be measured is left out before")
    return data
