"""Tests whether two sets of trials differ, with exact null distributions where they can be had, and their floors.

A rank test of n pairs knows 2**n outcomes and no p below 2 / 2**n, whatever the values: 5 pairs never reach 0.05. The
floors are functions of their own, so that who compares hundreds of series can see beforehand that too few pairs can
find nothing, and may take the t test of the log ratios, which has no floor but believes in a shape: under the null
hypothesis a ratio of two trials of the same kind is as likely r as 1/r, its logarithm is symmetric around 0, and with
symmetric heavy tails the t test errs to the safe side [1]_.

References
----------
.. [1] Y. Benjamini, Is the t Test Really Conservative When the Parent Distribution Is Long-Tailed? JASA 78(383), 1983,
   doi:10.1080/01621459.1983.10478006
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from analysis.statistics.intervals import Array, finite

MOST_EXACT_PAIRS = 100
"""Pairs up to which the signed-rank distribution is computed exactly; above, the normal approximation is within 1 %."""
MOST_EXACT_VALUES = 60
"""Values of both groups up to which the rank-sum distribution is computed exactly."""
LEAST_P = 1e-12
"""No p below this: that far out no one knows the shape of a distribution."""


def benjamini_hochberg(p: Sequence[float]) -> list[float]:
    """q values: the smallest false discovery rate at which each hypothesis is rejected.

    Parameters
    ----------
    p : sequence of float
        p values, each in [0, 1]; all hypotheses that were looked at, not a choice of them.

    Returns
    -------
    list of float
        In the order of ``p``. Rejecting all with q <= 0.05 lets at most 5 % of the rejections be false on average.

    Notes
    -----
    Holds for independent tests and for positively dependent ones [2]_, such as the metrics of the same trials.

    References
    ----------
    .. [1] Y. Benjamini, Y. Hochberg, Controlling the False Discovery Rate, JRSS B 57(1), 1995,
       doi:10.1111/j.2517-6161.1995.tb02031.x
    .. [2] Y. Benjamini, D. Yekutieli, The control of the false discovery rate in multiple testing under dependency,
       Annals of Statistics 29(4), 2001, doi:10.1214/aos/1013699998
    """
    data = np.asarray(p, dtype=np.float64)
    if data.size == 0:
        return []
    if not ((data >= 0) & (data <= 1)).all():
        raise ValueError("a p value lies between 0 and 1")
    order = np.argsort(data, kind="stable")
    scaled = data[order] * data.size / np.arange(1, data.size + 1)
    q = np.empty_like(scaled)
    q[order] = np.minimum.accumulate(scaled[::-1])[::-1]
    return [float(value) for value in np.minimum(q, 1.0)]


def signed_rank(differences: Sequence[float]) -> float:
    """Two-sided p of Wilcoxon's signed-rank test that differences scatter symmetrically around 0.

    Parameters
    ----------
    differences : sequence of float
        Differences of 0 are left out (Wilcoxon's way); if there are no others, p is 1.

    Returns
    -------
    float
        Exact up to 100 differences, also with ties: the distribution of the sum of the observed midranks over all
        signs. Above, the normal approximation with corrections for ties and continuity.

    Notes
    -----
    For differences of 1, 0 and -1 (a yes or no in either trial) this is McNemar's exact test.

    References
    ----------
    M. Hollander, D. Wolfe, E. Chicken, Nonparametric Statistical Methods, 2014, section 3.1, doi:10.1002/9781119196037
    """
    data = finite(differences)
    data = data[data != 0]
    n = data.size
    if n == 0:
        return 1.0
    doubled = _doubled_midranks(np.abs(data))
    positive = int(doubled[data > 0].sum())
    total = int(doubled.sum())
    if n <= MOST_EXACT_PAIRS:
        chances = np.zeros(total + 1)
        chances[0] = 1.0
        for rank in doubled.tolist():
            chances[rank:] += chances[: total + 1 - rank].copy()
            chances /= 2
        lower, upper = chances[: positive + 1].sum(), chances[positive:].sum()
        return min(1.0, 2 * float(min(lower, upper)))
    variance = float((doubled.astype(np.float64) ** 2).sum()) / 4
    return _normal_two_sided(abs(positive - total / 2) - 1, variance)


def paired_test(reference: Sequence[float], candidate: Sequence[float]) -> float:
    """Two-sided p that pairs do not differ: the signed-rank test of their log ratios.

    Parameters
    ----------
    reference, candidate : sequence of float
        Values of the same trials in the same order. When one is not above 0, the differences are ranked instead.

    Returns
    -------
    float
        Never below :func:`paired_floor` of the pairs: 0.0625 for 5, so that 5 pairs cannot reach 0.05.
    """
    return signed_rank(log_ratios(reference, candidate).tolist())


def paired_floor(n: int) -> float:
    """The smallest p that the signed-rank test of ``n`` pairs can give: 2 of 2**n outcomes."""
    return min(1.0, 2.0 ** (1 - n))


def smallest_pairs(alpha: float) -> int:
    """How many pairs it takes until the signed-rank test can reach ``alpha`` at all: 6 for 0.05."""
    return next(n for n in range(1, 1100) if paired_floor(n) <= alpha)


def unpaired_test(reference: Sequence[float], candidate: Sequence[float]) -> float:
    """Two-sided p of the Mann-Whitney (rank-sum) test that two groups have the same distribution.

    Parameters
    ----------
    reference, candidate : sequence of float
        At least one each, independent of each other.

    Returns
    -------
    float
        Exact up to 60 values in all, also with ties: over all choices of as many of the observed midranks. Above, the
        normal approximation with corrections for ties and continuity. Never below :func:`unpaired_floor`.

    References
    ----------
    M. Hollander, D. Wolfe, E. Chicken, Nonparametric Statistical Methods, 2014, section 4.1, doi:10.1002/9781119196037
    """
    first, second = finite(reference), finite(candidate)
    together = np.concatenate((first, second))
    doubled = _doubled_midranks(together)
    size = first.size
    observed = int(doubled[:size].sum())
    if together.size <= MOST_EXACT_VALUES:
        lower, upper = _rank_sum_tails(doubled, size, observed)
        return min(1.0, 2 * min(lower, upper))
    n = together.size
    mean = size * (n + 1)
    variance = size * second.size / (n * (n - 1)) * float(((doubled - (n + 1.0)) ** 2).sum())
    return _normal_two_sided(abs(observed - mean) - 1, variance)


def unpaired_floor(n: int, others: int) -> float:
    """The smallest p that the rank-sum test of groups of these sizes can give: 2 of all choices."""
    return min(1.0, 2.0 / math.comb(n + others, n))


def paired_t_test(reference: Sequence[float], candidate: Sequence[float]) -> float:
    """Two-sided p of Student's t test that the log ratios of pairs have the mean 0.

    Parameters
    ----------
    reference, candidate : sequence of float
        At least two pairs, all above 0, in the same order.

    Returns
    -------
    float
        Not below 1e-12, where nobody knows the shape of a tail; also when all ratios are the same but not 1.
    """
    ratios = log_ratios(reference, candidate, positive=True)
    if ratios.size < 2:
        raise ValueError("a t test needs at least two pairs")
    spread = float(ratios.std(ddof=1)) / math.sqrt(ratios.size)
    return _student_two_sided(float(ratios.mean()), spread, ratios.size - 1)


def unpaired_t_test(reference: Sequence[float], candidate: Sequence[float]) -> float:
    """Two-sided p of Welch's t test that the logarithms of two groups have the same mean.

    Parameters
    ----------
    reference, candidate : sequence of float
        At least two each, all above 0.

    Returns
    -------
    float
        Not below 1e-12.

    References
    ----------
    B. L. Welch, The generalization of Student's problem, Biometrika 34, 1947, doi:10.1093/biomet/34.1-2.28
    """
    first, second = (np.log(finite(values)) for values in (reference, candidate))
    if min(first.size, second.size) < 2:
        raise ValueError("a t test needs at least two values in each group")
    parts = first.var(ddof=1) / first.size, second.var(ddof=1) / second.size
    variance = float(sum(parts))
    weights = parts[0] ** 2 / (first.size - 1) + parts[1] ** 2 / (second.size - 1)
    freedom = variance**2 / float(weights) if weights else 1.0
    return _student_two_sided(float(second.mean() - first.mean()), math.sqrt(variance), freedom)


def log_ratios(reference: Sequence[float], candidate: Sequence[float], *, positive: bool = False) -> Array:
    """Logarithm of candidate over reference, pair by pair; differences when a value is not above 0.

    With ``positive`` such a value is an error instead.
    """
    first, second = finite(reference), finite(candidate)
    if first.size != second.size:
        raise ValueError("pairs need as many values of the candidate as of the reference")
    if min(first.min(), second.min()) > 0:
        return np.log(second) - np.log(first)
    if positive:
        raise ValueError("a log ratio needs values above 0")
    return second - first


def _doubled_midranks(values: Array) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Twice the rank of each value, whole also for ties. Values that differ by less than rounding does are ties."""
    scale = float(np.abs(values).max()) or 1.0
    _, index, sizes = np.unique(np.round(values / scale, 12), return_inverse=True, return_counts=True)
    last = np.cumsum(sizes)
    doubled = (last - sizes + 1) + last
    return doubled[index].astype(np.int64)


def _rank_sum_tails(
    doubled: np.ndarray[tuple[int], np.dtype[np.int64]], size: int, observed: int
) -> tuple[float, float]:
    """P(sum <= observed), P(sum >= observed) over all choices of ``size`` ranks."""
    most = int(np.sort(doubled)[-size:].sum())
    ways = np.zeros((size + 1, most + 1))
    ways[0, 0] = 1.0
    for rank in doubled.tolist():
        if rank <= most:
            ways[1:, rank:] += ways[:-1, : most + 1 - rank].copy()
    chosen = ways[size] / math.comb(doubled.size, size)
    return float(chosen[: observed + 1].sum()), float(chosen[observed:].sum())


def _normal_two_sided(distance: float, variance: float) -> float:
    if variance <= 0:
        return 1.0
    return max(LEAST_P, min(1.0, 2 * NormalDist().cdf(-max(distance, 0.0) / math.sqrt(variance))))


def _student_two_sided(mean: float, standard_error: float, freedom: float) -> float:
    if math.isclose(mean, 0.0, abs_tol=1e-12):
        return 1.0
    if standard_error <= 1e-12 * abs(mean):
        return LEAST_P
    from scipy.special import stdtr

    return max(LEAST_P, min(1.0, 2 * float(stdtr(freedom, -abs(mean) / standard_error))))
