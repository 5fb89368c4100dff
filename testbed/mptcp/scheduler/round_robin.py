"""One subflow after the other, a chunk each, as long as its congestion window has room."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from testbed.mptcp.scheduler.base import Scheduler, candidates
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
        usable = candidates(subflows)
        start = 0
        for place, subflow in enumerate(usable):
            if subflow is self._last:
                start = place + 1
        for offset in range(len(usable)):
            subflow = usable[(start + offset) % len(usable)]
            if subflow.send_room(now) > 0:
                self._last = subflow
                return subflow
        return None
