"""How large a difference is, and how large it would have to be to be found."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from analysis.statistics.intervals import finite
from analysis.statistics.significance import log_ratios

POWER = 0.8
"""Chance with which a change of the detectable size is found."""


def paired_effect(reference: Sequence[float], candidate: Sequence[float]) -> float:
    """Matched-pairs rank-biserial correlation of the log ratios (differences, where a value is not above 0).

    Parameters
    ----------
    reference, candidate : sequence of float
        Values of the same trials in the same order.

    Returns
    -------
    float
        (W+ - W-) / (W+ + W-) of the signed-rank test: 1 when every candidate is larger, -1 when every one is smaller,
        0 when the ranks balance or all pairs are equal.

    References
    ----------
    D. Kerby, The Simple Difference Formula, Comprehensive Psychology 3, 2014, doi:10.2466/11.IT.3.1
    """
    changes = log_ratios(reference, candidate)
    changes = changes[changes != 0]
    if changes.size == 0:
        return 0.0
    sizes = np.abs(changes)
    scaled = np.round(sizes / sizes.max(), 12)
    _, index, many = np.unique(scaled, return_inverse=True, return_counts=True)
    last = np.cumsum(many)
    ranks = ((last - many + 1 + last) / 2)[index]
    return float((ranks * np.sign(changes)).sum() / ranks.sum())


def cliffs_delta(reference: Sequence[float], candidate: Sequence[float]) -> float:
    """Cliff's delta: how much more often a value of the candidate is the larger one than the smaller one.

    Parameters
    ----------
    reference, candidate : sequence of float
        At least one each.

    Returns
    -------
    float
        P(candidate > reference) - P(candidate < reference) over all combinations, from -1 to 1.

    References
    ----------
    N. Cliff, Dominance statistics, Psychological Bulletin 114(3), 1993, doi:10.1037/0033-2909.114.3.494
    """
    return float(np.sign(np.subtract.outer(finite(candidate), finite(reference))).mean())


def detectable_ratio(
    spread: float, n: int, *, others: int | None = None, alpha: float = 0.05, power: float = POWER
) -> float:
    """The ratio that a two-sided t test of the logarithms would find with the chance ``power``.

    Parameters
    ----------
    spread : float
        Standard deviation of the log ratios of the pairs; of two groups, that of the logarithms within them.
    n, others, alpha, power
        As of :func:`detectable_shift`.

    Returns
    -------
    float
        At least 1: ``1.03`` for a change of 3 %; infinite when the number is beyond sense.
    """
    exponent = detectable_shift(spread, n, others=others, alpha=alpha, power=power)
    return math.exp(exponent) if exponent < 700 else math.inf


def detectable_shift(
    spread: float, n: int, *, others: int | None = None, alpha: float = 0.05, power: float = POWER
) -> float:
    """The difference of means that a two-sided t test would find with the chance ``power``.

    Parameters
    ----------
    spread : float
        Standard deviation of the differences of the pairs; of two groups, that of the values within them.
    n : int
        Pairs, at least two; or the size of the one group.
    others : int, optional
        Size of the other group, when there are no pairs.
    alpha, power : float
        Threshold of p (0.05 / m for one change among m series), and the chance of finding it.

    Returns
    -------
    float
        In the unit of ``spread``; infinite when it cannot be computed.

    Notes
    -----
    Solves P(t' > t(1 - alpha / 2)) = power for the noncentrality of t' [1]_. The rank tests need up to 5 % more pairs
    for the same where the values are normal, and fewer where they have heavy tails.

    References
    ----------
    .. [1] J. Cohen, Statistical Power Analysis for the Behavioral Sciences, 1988, sections 2.3 and 2.4
    """
    from scipy.special import nctdtrinc, stdtrit

    freedom = n - 1 if others is None else n + others - 2
    if n < 2 or freedom < 1:
        raise ValueError("a detectable size needs at least two pairs, or three values in two groups")
    if spread == 0:
        return 0.0
    threshold = float(stdtrit(freedom, 1 - alpha / 2))
    shift = float(nctdtrinc(freedom, 1 - power, threshold)) * spread
    return shift * math.sqrt(1 / n if others is None else 1 / n + 1 / others) if math.isfinite(shift) else math.inf
