"""Running values within groups of rows, all groups at once: sequence numbers without wrapping, running maxima."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Int64s = NDArray[np.int64]
UInt32s = NDArray[np.uint32]

LOWEST = -(1 << 42)
"""Below every number that a running maximum is taken of."""
_SPREAD = 1 << 44
_M32 = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class Groups:
    """Rows sorted by their group: where each begins, which group it is, the place of each row's group."""

    first: Int64s
    """Of each group, its first row."""
    key: Int64s
    """Of each group, its number."""
    place: Int64s
    """Of each row, the index of its group in the two above."""

    @property
    def last(self) -> Int64s:
        """Of each group, its last row."""
        return np.append(self.first[1:], len(self.place))[: len(self.first)] - 1


def groups_of(keys: NDArray[Any]) -> Groups:
    """Of a sorted column."""
    is_first = np.ones(len(keys), dtype=bool)
    is_first[1:] = keys[1:] != keys[:-1]
    first = np.flatnonzero(is_first)
    return Groups(first, keys[first].astype(np.int64), np.cumsum(is_first) - 1)


def unwrapped(wire: UInt32s, groups: Groups, last: Int64s, base: Int64s) -> Int64s:
    """32-bit numbers as offsets from ``base``, which goes on from ``last`` (an offset) in each group.

    Exact while neighbours within a group differ by less than 2^31.
    """
    before = np.empty_like(wire)
    before[1:] = wire[:-1]
    before[groups.first] = ((base + last) & _M32).astype(np.uint32)
    return running_sum((wire - before).view(np.int32).astype(np.int64), groups, last)


def running_sum(values: Int64s, groups: Groups, before: Int64s) -> Int64s:
    """Within each group, from ``before`` on; the row's own value included."""
    sums = np.cumsum(values)
    start = sums[groups.first] - values[groups.first]
    return sums - (start - before)[groups.place]


def highest_before(values: Int64s, groups: Groups, before: Int64s) -> Int64s:
    """The running maximum of the rows before each row of its group, and ``before``."""
    shifted = np.empty_like(values)
    shifted[1:] = values[:-1]
    shifted[groups.first] = before
    spread = groups.place * _SPREAD
    highest: Int64s = np.maximum.accumulate(shifted + spread) - spread
    return highest


def value_before(values: NDArray[Any], groups: Groups, before: NDArray[Any]) -> NDArray[Any]:
    """The value of the row before each row of its group."""
    shifted = np.empty_like(values)
    shifted[1:] = values[:-1]
    shifted[groups.first] = before
    return shifted


def offset_of(wire: UInt32s, near: Int64s, base: Int64s) -> Int64s:
    """32-bit numbers as the offsets from ``base`` that lie nearest to ``near``."""
    return near + (wire - ((base + near) & _M32).astype(np.uint32)).view(np.int32)
