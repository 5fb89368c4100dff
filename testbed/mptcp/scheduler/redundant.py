"""Everything on every subflow: the first copy to arrive counts (D4); throughput of the best path, latency of the best.

Each subflow goes through the send queue at its own pace and skips what has been DATA_ACKed meanwhile, so that a slow
one never holds the others back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from testbed.mptcp.scheduler.base import Scheduler, candidates
from testbed.mptcp.subflow_view import SubflowView


class Redundant(Scheduler):
    """Any subflow with room that has not carried everything; the lowest RTT first, so that new data leaves there."""

    name: ClassVar[str] = "redundant"
    redundant: ClassVar[bool] = True

    def pick(self, subflows: Sequence[SubflowView], now: int, unsent: int, window: int) -> SubflowView | None:
        """See :class:`Scheduler`. Copies of what was sent before need no window: it counts once (W2)."""
        best: SubflowView | None = None
        best_rtt = 0
        for subflow in candidates(subflows):
            waiting = subflow.uncarried()
            if window <= 0:
                waiting -= unsent
            if waiting <= 0 or subflow.send_room(now) <= 0:
                continue
            rtt = subflow.smoothed_rtt()
            if best is None or rtt < best_rtt:
                best, best_rtt = subflow, rtt
        return best
