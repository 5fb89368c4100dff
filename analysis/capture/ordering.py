"""Stable orders by small numbers, such as streams: numpy sorts 16-bit integers by radix, many times faster."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Int64s = NDArray[np.int64]

_RADIX: Final = 1 << 16


def stable_order(keys: NDArray[Any], bound: int) -> Int64s:
    """The stable order of ``keys``, all from 0 to ``bound`` - 1."""
    return np.argsort(keys.astype(np.uint16) if bound <= _RADIX else keys, kind="stable")


def added(total: Int64s, key: Int64s, values: NDArray[Any]) -> None:
    """``total[key] += values``, each key as often as it comes."""
    np.add.at(total, key, values if values.dtype == np.int64 else values.astype(np.int64))


def grouped(keys: Int64s, columns: dict[str, Int64s]) -> tuple[Int64s, dict[str, Int64s]]:
    """(the different keys in order, the sums of each column); quick when keys come in long rising runs."""
    if not len(keys):
        return keys, columns
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    begin = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    return ordered[begin], {name: np.add.reduceat(values[order], begin) for name, values in columns.items()}
