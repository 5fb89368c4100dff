"""BLEST: do not let a slow subflow block the send window that a fast one could use.

S. Ferlin, O. Alay, O. Mehani, R. Boreli: "BLEST: Blocking Estimation-based MPTCP Scheduler for Heterogeneous Networks",
IFIP Networking 2016. When only the slow subflow S has room, the fast one F is expected to send, while a segment is on
its way over S,

    X = MSS_F * (CWND_F + (rtts - 1) / 2) * rtts,   rtts = RTT_S / RTT_F          (equation 1, CWND in segments)

and S is left out, to wait for F, when

    X * lambda > |M| - MSS_S * (inflight_S + 1)                                    (equation 2)

with |M| the connection's send window. ``lambda`` corrects the estimate: it grows whenever F was blocked by the window
all the same, and shrinks otherwise (once per RTT of S).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from testbed.mptcp.scheduler.base import Scheduler, candidates
from testbed.mptcp.subflow_view import SubflowView

LAMBDA_START: Final = 1.0
LAMBDA_STEP: Final = 0.01
"""The paper's delta."""
LAMBDA_LEAST: Final = 1.0
LAMBDA_MOST: Final = 1.3
"""Bounds of the authors' implementation for Linux."""


class Blest(Scheduler):
    """Lowest RTT, but waits for the fast subflow when the slow one would block the window."""

    name: ClassVar[str] = "blest"

    def __init__(self) -> None:
        self.scale = LAMBDA_START
        """The paper's lambda."""
        self._was_blocked = False
        self._adapted_at = 0

    def pick(self, subflows: Sequence[SubflowView], now: int, unsent: int, window: int) -> SubflowView | None:
        """See :class:`Scheduler`."""
        usable = candidates(subflows)
        if window <= 0:
            self._was_blocked = unsent > 0 and any(subflow.send_room(now) > 0 for subflow in usable)
            return None
        if unsent <= 0 or not usable:
            return None
        measured = [subflow for subflow in usable if subflow.smoothed_rtt()]
        fast = min(measured, key=_rtt, default=None)
        with_room = [subflow for subflow in usable if subflow.send_room(now) > 0]
        if not with_room:
            return None
        slow = min(with_room, key=lambda subflow: subflow.smoothed_rtt() or 1 << 62)
        if fast is None or slow is fast or not slow.smoothed_rtt():
            return slow
        self._adapt(now, slow.smoothed_rtt())
        in_flight = sum(subflow.outstanding() for subflow in usable)
        send_window = in_flight + window  # |M|: what the window admits in all, from the oldest octet not acknowledged
        if expected_on_fast(fast, slow) * self.scale > send_window - (slow.outstanding() + slow.segment_size()):
            return None
        return slow

    def _adapt(self, now: int, rtt: int) -> None:
        if now - self._adapted_at < rtt:
            return
        self._adapted_at = now
        step = LAMBDA_STEP if self._was_blocked else -LAMBDA_STEP
        self.scale = min(max(self.scale + step, LAMBDA_LEAST), LAMBDA_MOST)
        self._was_blocked = False


def expected_on_fast(fast: SubflowView, slow: SubflowView) -> float:
    """X of equation 1 in octets: what the fast subflow sends in an RTT of the slow one, its window growing by a segment
    per RTT."""
    rtts = slow.smoothed_rtt() / fast.smoothed_rtt()
    size = fast.segment_size()
    return size * (fast.congestion_window() / size + (rtts - 1) / 2) * rtts


def _rtt(subflow: SubflowView) -> int:
    return subflow.smoothed_rtt()
