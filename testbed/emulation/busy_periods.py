"""The realised rate of a line, against the model's: judged over the line's busy periods.

While the line is busy the model's releases are exactly as far apart as the rate demands. So over a busy period, the
time from the first to the last release on the clock, against the same by the model, is the error of the realised rate.
It says what the receiver can see; capacity that a late reader would lose is not in it, which is why arrivals are
stamped by the kernel (see :mod:`relay`).
"""

from __future__ import annotations

SHORTEST_NS = 50_000_000
"""Shorter periods are left out: there the lateness of two wake-ups would be taken for an error of the rate."""


class BusyPeriods:
    """Sums over the busy periods of one direction."""

    __slots__ = ("_clock_ns", "_first_at_ns", "_first_due_ns", "_last_at_ns", "_last_due_ns", "_model_ns", "_since_ns")

    def __init__(self) -> None:
        self._since_ns = -1
        self._first_due_ns = self._first_at_ns = self._last_due_ns = self._last_at_ns = 0
        self._model_ns = self._clock_ns = 0

    def released(self, busy_since_ns: int, due_ns: int, at_ns: int) -> None:
        """A frame of the busy period that began at ``busy_since_ns`` was due and was released."""
        if busy_since_ns != self._since_ns:
            self._close()
            self._since_ns = busy_since_ns
            self._first_due_ns, self._first_at_ns = due_ns, at_ns
        self._last_due_ns, self._last_at_ns = due_ns, at_ns

    def rate_error(self) -> tuple[int, float | None]:
        """(ns of busy time, realised rate / rate - 1), the period under way included; None: no period was long
        enough."""
        self._close()
        self._first_due_ns, self._first_at_ns = self._last_due_ns, self._last_at_ns
        if self._clock_ns == 0:
            return 0, None
        return self._model_ns, self._model_ns / self._clock_ns - 1.0

    def _close(self) -> None:
        model_ns = self._last_due_ns - self._first_due_ns
        if model_ns >= SHORTEST_NS:
            self._model_ns += model_ns
            self._clock_ns += self._last_at_ns - self._first_at_ns
