"""The clock of a pcapng interface: ticks to nanoseconds, exactly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from analysis.capture.records import NO_TIME

_SECOND: Final = 1_000_000_000
_NANO_EXPONENT: Final = 9
_LARGEST_POWER_OF_TEN: Final = 19
"""That a uint64 holds."""


@dataclass(frozen=True, slots=True)
class Clock:
    """As an interface description block gives it; without options it counts microseconds of the epoch."""

    resolution: int = 6
    """if_tsresol: ticks are 10^-n s, or 2^-n s when the upper bit is set."""
    offset_s: int = 0
    """if_tsoffset: to be added."""

    def nanoseconds(self, ticks: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Since the epoch, rounded down; NO_TIME where an int64 cannot hold it (from the year 2262)."""
        exponent = self.resolution & 0x7F
        binary = bool(self.resolution & 0x80)
        whole = _of_binary(ticks, exponent) if binary else _of_decimal(ticks, exponent)
        whole += np.uint64(self.offset_s * _SECOND % 2**64)  # what is too large is found below
        time_ns = whole.view(np.int64)
        per_second = 2**exponent if binary else 10**exponent
        most = ((2**63 - self.offset_s * _SECOND) * per_second - 1) // _SECOND
        least = -((2**63 + self.offset_s * _SECOND) * per_second // _SECOND)
        if most < 2**64 - 1:
            time_ns[ticks > np.uint64(max(most, 0))] = NO_TIME
        if least > 0:
            time_ns[ticks < np.uint64(min(least, 2**64 - 1))] = NO_TIME
        if most < 0 or least >= 2**64:
            time_ns[:] = NO_TIME
        return time_ns


def _of_decimal(ticks: NDArray[np.uint64], exponent: int) -> NDArray[np.uint64]:
    power = abs(exponent - _NANO_EXPONENT)
    if exponent <= _NANO_EXPONENT:
        return ticks * np.uint64(10**power)
    if power > _LARGEST_POWER_OF_TEN:
        return np.zeros_like(ticks)
    return ticks // np.uint64(10**power)


def _of_binary(ticks: NDArray[np.uint64], exponent: int) -> NDArray[np.uint64]:
    second = np.uint64(_SECOND)
    if exponent < 64:
        seconds = ticks >> np.uint64(exponent)
        fraction = ticks & np.uint64(2**exponent - 1)
    else:
        seconds = np.zeros_like(ticks)
        fraction = ticks
    if exponent <= 32:
        return seconds * second + (fraction * second >> np.uint64(exponent))
    if exponent >= 96:
        return seconds
    # fraction * second may have more than 64 bits: its upper part, rounded down, is what counts
    upper = (fraction >> np.uint64(32)) * second
    upper += (fraction & np.uint64(0xFFFF_FFFF)) * second >> np.uint64(32)
    return seconds * second + (upper >> np.uint64(exponent - 32))
