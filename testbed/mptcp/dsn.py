"""Data sequence numbers: 64 bits that may travel as 32 (RFC 8684 §3.3.1).

Inside the stack a DSN is an unbounded integer, IDSN + n, that never wraps; only an option on the wire does.
"""

from __future__ import annotations

from typing import Final

from testbed.wire.serial import widen, widen_64

_MASK_32: Final = 0xFFFFFFFF
_MASK_64: Final = 0xFFFFFFFFFFFFFFFF
_MARK_OCTETS: Final = 1 << 29
"""Granularity in which :class:`WrapGuard` remembers when how much had been sent."""


def expand(value: int, octets: int, reference: int) -> int:
    """The DSN or DATA_ACK meant by ``value`` (``octets`` wide on the wire): the one nearest to ``reference``.

    RFC 8684 §3.3.1 (D11): 32 bits are promoted to 64, and a wrap is believed only where the stream really has come to
    one. What stays implausible lies outside the receive window (or beyond what was sent), where the caller drops it.
    """
    return widen_64(value, reference) if octets == 8 else widen(value, reference)


def on_wire(dsn: int, octets: int) -> int:
    """``dsn`` as an option of 4 or 8 octets carries it."""
    return dsn & _MASK_64 if octets == 8 else dsn & _MASK_32


class WrapGuard:
    """Says when DSNs must be sent 64 bits wide: 2^32 octets could pass within one MSL (RFC 8684 §3.3.1, D12)."""

    __slots__ = ("_marks", "_msl_ns", "_next_mark", "needs_wide")

    def __init__(self, idsn: int, msl_ns: int) -> None:
        self._msl_ns = msl_ns
        self._marks: list[tuple[int, int]] = []
        self._next_mark = idsn
        self.needs_wide = False

    def sent_up_to(self, dsn: int, now: int) -> bool:
        """New data up to ``dsn`` leaves. True: it is now that DSNs become wide (for good).

        Judged in steps of 2^29 octets, and from half of 2^32 on: in time.
        """
        if dsn < self._next_mark or self.needs_wide:
            return False
        self._marks.append((now, dsn))
        self._next_mark = dsn + _MARK_OCTETS
        while self._marks[0][0] < now - self._msl_ns:
            del self._marks[0]
        self.needs_wide = dsn - self._marks[0][1] >= 1 << 31
        return self.needs_wide
