"""How late things happened: a histogram of nanoseconds with fixed memory and a cheap update."""

from __future__ import annotations

from dataclasses import dataclass

BIN_NS = 2_000
BINS = 10_000
"""2 us to 20 ms; what is later is in one last bin, and the maximum is exact."""


@dataclass(frozen=True, slots=True)
class LatenessSummary:
    """Upper bounds of the histogram's bins, in ns; ``max_ns`` is exact."""

    count: int
    p50_ns: int
    p99_ns: int
    p999_ns: int
    max_ns: int


class LatenessHistogram:
    """Weighted counts of lateness."""

    __slots__ = ("_bins", "_max_ns")

    def __init__(self) -> None:
        self._bins = [0] * (BINS + 1)
        self._max_ns = 0

    def add(self, late_ns: int, weight: int = 1) -> None:
        """Count ``weight`` packets that were ``late_ns`` late (>= 0)."""
        index = late_ns // BIN_NS
        self._bins[index if index < BINS else BINS] += weight
        if late_ns > self._max_ns:
            self._max_ns = late_ns

    def summary(self) -> LatenessSummary:
        """Count, percentiles and maximum."""
        count = sum(self._bins)
        return LatenessSummary(count, self._at(count, 500), self._at(count, 990), self._at(count, 999), self._max_ns)

    def _at(self, count: int, per_mille: int) -> int:
        """The smallest bin bound that at least ``per_mille`` of the packets do not exceed."""
        wanted = -(-count * per_mille // 1000)
        seen = 0
        for index, in_bin in enumerate(self._bins[:BINS]):
            seen += in_bin
            if seen >= wanted:
                return min((index + 1) * BIN_NS, self._max_ns)
        return self._max_ns
