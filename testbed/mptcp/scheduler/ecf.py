"""ECF, earliest completion first: use the slow subflow only if that finishes what is left sooner.

Y. Lim, E. Nahum, D. Towsley, R. Gibbens: "ECF: An MPTCP Path Scheduler to Manage Heterogeneous Paths", CoNEXT 2017,
algorithm 1. With k segments unsent, x_f the fast subflow (lowest RTT) without room and x_s the best one with room, in
segments and with delta = max(sigma_f, sigma_s) the deviation of the RTTs:

    n = 1 + k / CWND_f
    if n * RTT_f < (1 + waiting * beta) * (RTT_s + delta):
        if k / CWND_s * RTT_s >= 2 * RTT_f + delta:  waiting = 1, wait for x_f
        else: use x_s
    else: waiting = 0, use x_s
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from testbed.mptcp.scheduler.base import Scheduler, candidates
from testbed.mptcp.subflow_view import SubflowView

BETA: Final = 0.25
"""Hysteresis of the paper, section 3.3."""


class EarliestCompletionFirst(Scheduler):
    """Lowest RTT, but waits for the fast subflow when it would be done before the slow one."""

    name: ClassVar[str] = "ecf"

    def __init__(self) -> None:
        self.is_waiting = False

    def pick(self, subflows: Sequence[SubflowView], now: int, unsent: int, window: int) -> SubflowView | None:
        """See :class:`Scheduler`."""
        if unsent <= 0 or window <= 0:
            return None
        usable = candidates(subflows)
        with_room = [subflow for subflow in usable if subflow.send_room(now) > 0]
        if not with_room:
            return None
        slow = min(with_room, key=lambda subflow: subflow.smoothed_rtt() or 1 << 62)
        fast = min((subflow for subflow in usable if subflow.smoothed_rtt()), key=_rtt, default=None)
        if fast is None or fast is slow or not slow.smoothed_rtt():
            return slow
        if self._should_wait(fast, slow, unsent):
            return None
        return slow

    def _should_wait(self, fast: SubflowView, slow: SubflowView, unsent: int) -> bool:
        rtt_f, rtt_s = fast.smoothed_rtt(), slow.smoothed_rtt()
        delta = max(fast.rtt_deviation(), slow.rtt_deviation())
        rounds = 1 + unsent / fast.congestion_window()
        if rounds * rtt_f < (1 + (BETA if self.is_waiting else 0.0)) * (rtt_s + delta):
            if unsent / slow.congestion_window() * rtt_s >= 2 * rtt_f + delta:
                self.is_waiting = True
                return True
            return False
        self.is_waiting = False
        return False


def _rtt(subflow: SubflowView) -> int:
    return subflow.smoothed_rtt()
