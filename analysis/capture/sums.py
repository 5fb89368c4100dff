"""Sums and distributions by key, with memory for the keys alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Int64s = NDArray[np.int64]

_STEP_BITS: Final = 8
"""Steps in each doubling: 256, so that a quantile is exact to 0.2 %."""
_BUCKETS: Final = 64 << _STEP_BITS


class KeyedSums:
    """Columns of int64 sums by an int64 key."""

    __slots__ = ("keys", "sums")

    def __init__(self, names: tuple[str, ...]) -> None:
        self.keys: Int64s = np.empty(0, np.int64)
        self.sums: dict[str, Int64s] = {name: np.empty(0, np.int64) for name in names}

    def take(self, keys: Int64s, values: Mapping[str, NDArray[Any] | int]) -> None:
        """Add one row for each key; columns that are not named get nothing."""
        if not len(keys):
            return
        merged, where = np.unique(np.concatenate((self.keys, keys)), return_inverse=True)
        old, new = where[: len(self.keys)], where[len(self.keys) :]
        for name, column in self.sums.items():
            fresh = np.zeros(len(merged), np.int64)
            fresh[old] = column
            if name in values:
                np.add.at(fresh, new, values[name])
            self.sums[name] = fresh
        self.keys = merged


class Distributions:
    """A distribution of times (ns, not negative) for each stream: quantiles to 0.2 %, the rest exact."""

    __slots__ = ("_buckets", "count", "high", "low", "total")

    def __init__(self, streams: int) -> None:
        self._buckets = KeyedSums(("weight",))
        self.count: Int64s = np.zeros(streams, np.int64)
        self.low: Int64s = np.full(streams, np.iinfo(np.int64).max)
        self.high: Int64s = np.full(streams, -1, np.int64)
        self.total: list[int] = [0] * streams

    def take(self, stream: NDArray[Any], value: Int64s, weight: Int64s | None = None) -> None:
        """``weight``: how often each value counts; once if None."""
        if not len(stream):
            return
        weight = np.ones(len(stream), np.int64) if weight is None else weight
        np.add.at(self.count, stream, weight)
        np.minimum.at(self.low, stream, value)
        np.maximum.at(self.high, stream, value)
        for name in np.unique(stream).tolist():
            mine = stream == name
            # Python's integers: octets times nanoseconds leave 64 bits soon.
            whole, rest = np.divmod(value[mine], 1 << 20)
            self.total[name] += (int(whole @ weight[mine]) << 20) + int(rest @ weight[mine])
        self._buckets.take(stream.astype(np.int64) * _BUCKETS + _bucket(value), {"weight": weight})

    def mean(self, stream: int) -> int | None:
        """Rounded down; None without values."""
        count = int(self.count[stream])
        return self.total[stream] // count if count else None

    def least(self, stream: int) -> int | None:
        """None without values."""
        return int(self.low[stream]) if self.count[stream] else None

    def greatest(self, stream: int) -> int | None:
        """None without values."""
        return int(self.high[stream]) if self.count[stream] else None

    def quantile(self, stream: int, share: float) -> int | None:
        """The smallest value that at least ``share`` of the weight does not exceed; None without values."""
        count = int(self.count[stream])
        if not count:
            return None
        first, last = np.searchsorted(self._buckets.keys, (stream * _BUCKETS, (stream + 1) * _BUCKETS))
        reached = np.cumsum(self._buckets.sums["weight"][first:last])
        index = int(np.searchsorted(reached, max(1, int(np.ceil(share * count)))))
        bucket = int(self._buckets.keys[first + min(index, len(reached) - 1)]) - stream * _BUCKETS
        return min(max(_middle(bucket), int(self.low[stream])), int(self.high[stream]))


def _bucket(value: Int64s) -> Int64s:
    """Values below 512 have a bucket each; above, 256 buckets for each doubling."""
    value = np.maximum(value, 0)
    # frexp of what float64 holds exactly enough: the exponent of values up to 2^53 is exact, above by at most one step.
    exponent = np.frexp(value.astype(np.float64))[1].astype(np.int64)
    shift = np.maximum(exponent - 1 - _STEP_BITS, 0)
    return (shift << _STEP_BITS) + (value >> shift)


def _middle(bucket: int) -> int:
    shift = max((bucket >> _STEP_BITS) - 1, 0)
    low = (bucket - (shift << _STEP_BITS)) << shift
    return low + ((1 << shift) >> 1)
