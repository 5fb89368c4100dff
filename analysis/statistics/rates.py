"""Ratios of event rates: counts are compared as counts, and believed to be Poisson only as far as they look it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from analysis.statistics.intervals import LEVEL, Interval, finite
from analysis.statistics.significance import LEAST_P


@dataclass(frozen=True, slots=True)
class RateRatio:
    """Rate of the candidate over that of the reference."""

    interval: Interval | None
    """None when the reference counted nothing: then the ratio is not finite. ``low`` is None only beside that."""
    p: float
    """Two-sided, that the rates are equal."""
    dispersion: float
    """Variance over what Poisson counts have: 1 when not looked at."""

    @property
    def overdispersed(self) -> bool:
        """Whether the counts scatter more than Poisson counts, and the interval was widened for it."""
        return self.dispersion > 1


def rate_ratio_interval(
    count_a: float, exposure_a: float, count_b: float, exposure_b: float, *, level: float = LEVEL
) -> RateRatio:
    """Rate ratio of two Poisson counts, b over a, by the exact conditional method.

    Parameters
    ----------
    count_a, exposure_a : float
        Events of the reference, and in how much (trials, seconds, segments) they were counted.
    count_b, exposure_b : float
        The same of the candidate.
    level : float
        Coverage of the interval, at least.

    Returns
    -------
    RateRatio
        The interval from Clopper and Pearson's [2]_ and twice the smaller binomial tail as p. The interval is None
        when ``count_a`` is 0.

    Notes
    -----
    Given the sum of both, the count of b is binomial with the share that the rate ratio and the exposures fix [1]_.

    References
    ----------
    .. [1] J. Przyborowski, H. Wilenski, Homogeneity of results in testing samples from Poisson series, Biometrika 31,
       1940, doi:10.1093/biomet/31.3-4.313
    .. [2] C. Clopper, E. Pearson, The use of confidence or fiducial limits, Biometrika 26, 1934,
       doi:10.1093/biomet/26.4.404
    """
    if min(count_a, count_b) < 0 or min(exposure_a, exposure_b) <= 0:
        raise ValueError("a rate needs a count of at least 0 and an exposure above 0")
    return _exact(count_a, exposure_a, count_b, exposure_b, level, 1.0, 2)


def dispersion(reference: Sequence[float], candidate: Sequence[float], *, paired: bool) -> float:
    """Pearson's chi-squared over its degrees of freedom: 1 for Poisson counts, more when they scatter more.

    Parameters
    ----------
    reference, candidate : sequence of float
        Counts of the trials, at least 0.
    paired : bool
        In the same order of trials: then only the scatter of the shares within the pairs counts, and what makes a
        pair of trials richer in events than another (its seed) does not.

    Returns
    -------
    float
        1 when there are too few trials, or too few events, to tell.
    """
    first, second = finite(reference), finite(candidate)
    if paired:
        seen = first + second > 0
        totals = (first + second)[seen]
        share = float(second.sum() / totals.sum()) if totals.size else 0.0
        if totals.size > 1 and 0 < share < 1:
            expected = totals * share
            return float(((second[seen] - expected) ** 2 / (expected * (1 - share))).sum()) / (totals.size - 1)
    parts = [group for group in (first, second) if group.size > 1 and group.sum() > 0]
    freedom = sum(group.size - 1 for group in parts)
    return sum(float(((group - group.mean()) ** 2).sum() / group.mean()) for group in parts) / freedom if parts else 1.0


def rate_ratio_of_trials(reference: Sequence[float], candidate: Sequence[float], *, paired: bool) -> RateRatio:
    """Rate ratio of the counts of trials, candidate over reference, widened when they are not as even as Poisson's.

    Parameters
    ----------
    reference, candidate : sequence of float
        Counts of the trials, at least 0; one trial is one exposure.
    paired : bool
        In the same order of trials, see :func:`dispersion`.

    Returns
    -------
    RateRatio
        Exact conditional when the dispersion is at most 1. Else quasi-Poisson [1]_: the standard error of the log
        ratio times the root of the dispersion, with Student's t of its degrees of freedom; never narrower than the
        exact one. Of a total of 0, the exact one of the counts divided by the dispersion.

    References
    ----------
    .. [1] P. McCullagh, J. Nelder, Generalized Linear Models, 1989, section 6.2.3, doi:10.1007/978-1-4899-3242-6
    """
    first, second = finite(reference), finite(candidate)
    if paired and first.size != second.size:
        raise ValueError("pairs need as many counts of the candidate as of the reference")
    n = int(min(first.size, second.size))
    scatter = max(1.0, dispersion(reference, candidate, paired=paired))
    a, b = float(first.sum()), float(second.sum())
    exact = _exact(a, float(first.size), b, float(second.size), LEVEL, 1.0, n)
    freedom = n - 1 if paired else first.size + second.size - 2
    if scatter == 1 or freedom < 1:
        return exact
    if a == 0 or b == 0 or exact.interval is None:
        return _exact(a, float(first.size), b, float(second.size), LEVEL, scatter, n)
    from scipy.special import stdtr, stdtrit

    ratio = exact.interval.estimate
    error = math.sqrt(scatter * (1 / a + 1 / b))
    reach = float(stdtrit(freedom, (1 + LEVEL) / 2)) * error
    p = max(exact.p, LEAST_P, 2 * float(stdtr(freedom, -abs(math.log(ratio)) / error)))
    low, high = ratio * math.exp(-reach), ratio * math.exp(min(reach, 700.0))
    assert exact.interval.low is not None and exact.interval.high is not None
    interval = Interval(ratio, min(low, exact.interval.low), max(high, exact.interval.high), n, LEVEL, "quasi-Poisson")
    return RateRatio(interval, min(1.0, p), scatter)


def _exact(
    count_a: float, exposure_a: float, count_b: float, exposure_b: float, level: float, scatter: float, n: int
) -> RateRatio:
    """The conditional interval and p of the counts divided by ``scatter`` (whole or not: beta instead of binomial)."""
    from scipy.special import betainc, betaincinv

    a, b = count_a / scatter, count_b / scatter
    if a + b == 0:
        return RateRatio(None, 1.0, scatter)
    share = exposure_b / (exposure_a + exposure_b)
    at_least = float(betainc(b, a + 1, share)) if b > 0 else 1.0  # P(B >= b | a + b events)
    at_most = 1 - float(betainc(b + 1, a, share)) if a > 0 else 1.0
    p = max(LEAST_P, min(1.0, 2 * min(at_least, at_most)))
    if a == 0:
        return RateRatio(None, p, scatter)
    tail = (1 - level) / 2
    low = float(betaincinv(b, a + 1, tail)) if b > 0 else 0.0
    high = min(float(betaincinv(b + 1, a, 1 - tail)), 1 - 1e-12)  # of less than one event: no bound, but a number
    scale = exposure_a / exposure_b
    ends = (scale * low / (1 - low), scale * high / (1 - high))
    method = "exact conditional" if scatter == 1 else "quasi-Poisson"
    interval = Interval(scale * b / a, ends[0], ends[1], n, level, method)  # type: ignore[arg-type]
    return RateRatio(interval, p, scatter)
