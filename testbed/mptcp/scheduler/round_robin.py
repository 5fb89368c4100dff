"""One subflow after the other, a chunk each, as long as its congestion window has room."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from testbed.mptcp.scheduler.base import Scheduler
from testbed.mptcp.subflow_view import SubflowView


class RoundRobin(Scheduler):
    """Takes turns in order of creation; one without room loses its turn."""

    name: ClassVar[str] = "round-robin"

    def __init__(self) -> None:
        self._last: SubflowView | None = None

    def pick(self, subflows: Sequence[SubflowView], now: int, unsent: int, window: int) -> SubflowView | None:
        """See :class:`Scheduler`."""
        if unsent <= 0 or window <= 0:
            return None
        last = self._last
        passed_last = False
        following: SubflowView | None = None
        first: SubflowView | None = None
        may_use_backup = True
        for subflow in subflows:  # candidates() without its lists: asked for every chunk
            is_last = subflow is last
            if subflow.usable():
                if not subflow.backup and may_use_backup:
                    may_use_backup = False
                    following = first = None
                if (not subflow.backup or may_use_backup) and subflow.send_room(now) > 0:
                    if passed_last:
                        if following is None:
                            following = subflow
                    elif first is None:
                        first = subflow
            if is_last:
                passed_last = True
        picked = first if following is None else following
        if picked is not None:
            self._last = picked
        return picked
