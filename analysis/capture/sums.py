"""Sums and distributions by key, with memory for the keys alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from analysis.capture.ordering import grouped, stable_order
from analysis.capture.widening import group_starts

Int64s = NDArray[np.int64]

_STEP_BITS: Final = 8
"""Steps in each doubling: 256, so that a quantile is exact to 0.2 %."""
_BUCKETS: Final = 64 << _STEP_BITS
_DENSE: Final = 32


class KeyedSums:
    """Columns of int64 sums by an int64 key."""

    __slots__ = ("keys", "sums")

    def __init__(self, names: tuple[str, ...]) -> None:
        self.keys: Int64s = np.empty(0, np.int64)
        self.sums: dict[str, Int64s] = {name: np.empty(0, np.int64) for name in names}

    def take(self, keys: Int64s, values: Mapping[str, NDArray[Any] | int]) -> None:
        """Add a row for each key, all different; columns that are not named get nothing."""
        if not len(keys):
            return
        place = np.searchsorted(self.keys, keys)
        missing = np.ones(len(keys), bool)
        inside = place < len(self.keys)
        missing[inside] = self.keys[place[inside]] != keys[inside]
        if not missing.any():
            for name, column in values.items():
                np.add.at(self.sums[name], place, column)
            return
        merged = np.sort(np.concatenate((self.keys, keys[missing])), kind="stable")
        old, new = np.searchsorted(merged, self.keys), np.searchsorted(merged, keys)
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
        order = stable_order(stream, len(self.count))
        stream, value, weight = stream[order], value[order], weight[order]
        begin = group_starts(stream)
        names = stream[begin]
        self.count[names] += np.add.reduceat(weight, begin)
        self.low[names] = np.minimum(self.low[names], np.minimum.reduceat(value, begin))
        self.high[names] = np.maximum(self.high[names], np.maximum.reduceat(value, begin))
        # Python's integers: octets times nanoseconds leave 64 bits soon.
        whole = np.add.reduceat((value >> 20) * weight, begin).tolist()
        rest = np.add.reduceat((value & ((1 << 20) - 1)) * weight, begin).tolist()
        for name, high, low in zip(names.tolist(), whole, rest, strict=True):
            self.total[name] += (high << 20) + low
        bucket = _bucket(value)
        if len(begin) > _DENSE:
            self._buckets.take(*grouped(stream * _BUCKETS + bucket, {"weight": weight}))
            return
        # Few streams: a place for each of their buckets, which saves sorting.
        local = np.repeat(np.arange(len(begin)), np.diff(np.append(begin, len(stream))))
        dense = np.zeros(len(begin) * _BUCKETS, np.int64)
        np.add.at(dense, local * _BUCKETS + bucket, weight)
        used = np.flatnonzero(dense)
        self._buckets.take(names[used // _BUCKETS] * _BUCKETS + used % _BUCKETS, {"weight": dense[used]})

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
