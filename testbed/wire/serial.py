"""Serial number arithmetic (RFC 1982, RFC 9293 §3.4): the numbers of the wire wrap, those inside the stacks do not.

A stack keeps unbounded integers; what arrives is widened to the integer nearest to one that it expects.
"""

from __future__ import annotations

from typing import Final

_MASK_32: Final = 0xFFFFFFFF
_HALF_32: Final = 0x80000000
_MASK_64: Final = 0xFFFFFFFFFFFFFFFF
_HALF_64: Final = 0x8000000000000000
_NEAR: Final = 1 << 40


def widen(number: int, reference: int) -> int:
    """The unbounded integer that 32 bits of the wire stand for: the one in ``[reference - 2^31, reference + 2^31)``."""
    return reference + ((number - reference + _HALF_32) & _MASK_32) - _HALF_32


def widen_64(number: int, reference: int) -> int:
    """The same for 64 bits (DSN, DATA_ACK)."""
    if 0 <= number - reference < _NEAR:
        return number  # nothing has wrapped: as good as always
    return reference + ((number - reference + _HALF_64) & _MASK_64) - _HALF_64


def distance(first: int, second: int) -> int:
    """``second - first`` of two 32-bit numbers, in ``[-2^31, 2^31)``."""
    return ((second - first + _HALF_32) & _MASK_32) - _HALF_32


def is_before(first: int, second: int) -> bool:
    """Whether the 32-bit ``first`` is less than ``second``; two that are 2^31 apart are each before the other."""
    return (first - second) & _HALF_32 != 0
