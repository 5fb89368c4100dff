"""32 bits that go round become 64 bits that do not: sequence numbers of a subflow, DSNs and DATA_ACKs of a connection.

A value is taken as the one nearest to the value before it in its stream (RFC 9293 section 3.4: comparison modulo 2^32;
RFC 8684 section 3.3.1: keep 64 bits, promote what comes with 32). What goes out and comes back leaves no trace: a stray
segment shifts nothing behind it. A 64-bit value is exact and sets the stream right.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Int64s = NDArray[np.int64]
Bools = NDArray[np.bool_]


def offsets_of(values: NDArray[Any], base: NDArray[Any]) -> Int64s:
    """Difference modulo 2^64, between -2^63 and 2^63 - 1."""
    return (values.astype(np.uint64) - base.astype(np.uint64)).view(np.int64)


def group_starts(stream: NDArray[Any]) -> Int64s:
    """Where a new stream begins, in a column sorted by stream."""
    if not len(stream):
        return np.empty(0, np.int64)
    return np.flatnonzero(np.concatenate(([True], stream[1:] != stream[:-1])))


class Unwrapper:
    """Offsets from the base of each stream, for columns of 32-bit or mixed values in the order in which they came."""

    __slots__ = ("_last",)

    def __init__(self, streams: int) -> None:
        self._last: Int64s = np.zeros(streams, np.int64)

    def take(self, stream: NDArray[Any], offset: Int64s, exact: Bools | None = None) -> Int64s:
        """``offset``: value - base, of which the low 32 bits count, or all where ``exact``; sorted by stream, stable.

        The first value of a stream is taken as the one nearest to its base.
        """
        if not len(stream):
            return offset
        starts = group_starts(stream)
        before = np.empty(len(offset), np.int64)
        before[1:] = offset[:-1]
        before[starts] = self._last[stream[starts]]
        step = (offset - before).astype(np.uint32).view(np.int32).astype(np.int64)
        if exact is not None:
            return self._mixed(stream, offset, exact, starts, step)
        run = np.cumsum(step)
        sizes = np.diff(np.append(starts, len(offset)))
        result: Int64s = run + np.repeat(before[starts] + step[starts] - run[starts], sizes)
        self._last[stream[starts]] = result[starts + sizes - 1]
        return result

    def _mixed(self, stream: NDArray[Any], offset: Int64s, exact: Bools, starts: Int64s, step: Int64s) -> Int64s:
        run = np.cumsum(step)
        number = np.arange(len(offset))
        opening = np.zeros(len(offset), np.int64)
        opening[starts] = starts
        opening = np.maximum.accumulate(opening)
        # The last anchor: an exact value, or the beginning of the stream in this call.
        anchor = np.maximum.accumulate(np.where(exact, number, opening))
        at_anchor = np.where(exact, offset, self._last[stream] + step)
        result: Int64s = at_anchor[anchor] + run - run[anchor]
        last = np.append(starts[1:], len(offset)) - 1
        self._last[stream[last]] = result[last]
        return result
