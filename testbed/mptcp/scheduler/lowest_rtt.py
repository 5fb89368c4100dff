"""The lowest smoothed RTT among the subflows whose congestion window has room.

What Linux aims at (``mptcp_subflow_get_send``, net/mptcp/protocol.c): its default scheduler takes the smallest time
that a subflow needs for what is queued in it. Here chunks wait in the connection until a window has room, so nothing is
queued in a subflow, and what remains is the time of one way: the RTT. A subflow without a sample comes last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from testbed.mptcp.scheduler.base import Scheduler
from testbed.mptcp.subflow_view import SubflowView

_UNMEASURED: Final = 1 << 62


class LowestRtt(Scheduler):
    """Lowest smoothed RTT among those whose congestion window has room; backups only when nothing else is usable."""

    name: ClassVar[str] = "lowest-rtt"

    def pick(self, subflows: Sequence[SubflowView], now: int, unsent: int, window: int) -> SubflowView | None:
        """See :class:`Scheduler`."""
        if unsent <= 0 or window <= 0:
            return None
        best: SubflowView | None = None
        best_rtt = 0
        may_use_backup = True
        for subflow in subflows:  # candidates() without its lists: asked for every chunk
            if not subflow.usable():
                continue
            if subflow.backup:
                if not may_use_backup:
                    continue
            elif may_use_backup:
                may_use_backup = False
                best = None
            if subflow.send_room(now) <= 0:
                continue
            rtt = subflow.smoothed_rtt() or _UNMEASURED
            if best is None or rtt < best_rtt:
                best, best_rtt = subflow, rtt
        return best
