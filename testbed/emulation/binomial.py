"""Exact interval for a probability from a count (Clopper and Pearson 1934), in plain Python."""

from __future__ import annotations

import math
from collections.abc import Callable


def _at_most(k: int, n: int, p: float) -> float:
    """P(X <= k) for X ~ Binomial(n, p), 0 < p < 1."""
    log_p, log_q = math.log(p), math.log1p(-p)
    log_n = math.lgamma(n + 1)
    return math.fsum(
        math.exp(log_n - math.lgamma(i + 1) - math.lgamma(n - i + 1) + i * log_p + (n - i) * log_q)
        for i in range(k + 1)
    )


def binomial_interval(k: int, n: int, confidence: float) -> tuple[float, float]:
    """The interval that contains the probability behind ``k`` events in ``n`` trials with at least ``confidence``.

    Raises ValueError unless 0 <= k <= n and n > 0.
    """
    if not 0 <= k <= n or n == 0:
        raise ValueError(f"{k} events in {n} trials")
    tail = (1 - confidence) / 2
    low = 0.0 if k == 0 else _bisect(lambda p: 1 - _at_most(k - 1, n, p) >= tail)
    high = 1.0 if k == n else _bisect(lambda p: _at_most(k, n, p) <= tail)
    return low, high


def _bisect(reached: Callable[[float], bool]) -> float:
    """The smallest p in (0, 1) for which ``reached``, a monotone predicate, holds."""
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        if reached(middle):
            high = middle
        else:
            low = middle
    return (low + high) / 2
