"""Streams of chance: one independent generator per impairment, derived from one seed.

Each impairment has a stream of its own and takes a fixed number of draws per arriving packet, whether or not they
decide anything. So switching one impairment on does not shift the draws of another, and the n-th packet gets the n-th
draw of each stream whatever its timing.

Only :meth:`random.Random.random` is used: the library promises that its sequence for an integer seed does not change
between Python versions (library reference, "random", Notes on Reproducibility).
"""

from __future__ import annotations

import hashlib
import random
from typing import Final

SEED_BITS: Final = 64


def derive_seed(seed: int, *labels: str) -> int:
    """A 64-bit seed for the part of a model that ``labels`` name: SHA-256 of seed and labels, first 8 bytes."""
    text = "/".join((str(seed), *labels))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[: SEED_BITS // 8], "big")


def stream(seed: int, *labels: str) -> random.Random:
    """The generator of the part that ``labels`` name."""
    return random.Random(derive_seed(seed, *labels))


class Autocorrelated:
    """netem's correlated chance (sch_netem.c, get_crandom): each value is drawn toward the one before it.

    x_n = (1 - rho) u_n + rho x_(n-1). As under netem the marginal distribution is *not* uniform any more: it gathers
    around 1/2, so an event of probability p < 1/2 becomes rarer than p. For bursts with a known mean rate use
    Gilbert-Elliott.
    """

    __slots__ = ("_last", "_rho")

    def __init__(self, rho: float, first: float) -> None:
        self._rho = rho
        self._last = first

    def next(self, uniform: float) -> float:
        """The value for this packet from its uniform draw in [0, 1)."""
        self._last = value = uniform + self._rho * (self._last - uniform)
        return value
