"""Old packets that come again: what a normaliser takes away (checklist L2), and an attacker sends."""

from __future__ import annotations

from collections import deque

from testbed.net.middlebox.actions import Waiting
from testbed.net.middlebox.behaviour import Matching, Output
from testbed.wire.segment import Segment
from topologies.middlebox.replay import Replay


class Replayer(Matching):
    """Sends a copy of what matches, a fixed time later."""

    __slots__ = ("_after_ns", "_waiting")

    def __init__(self, value: Replay, seed: int) -> None:
        super().__init__(value.match, seed)
        self._after_ns = value.after_ns
        self._waiting: deque[Waiting] = deque()
        """In the order of their times."""

    def process(self, segment: Segment, way: int, now: int, out: Output) -> None:
        """As Behaviour."""
        if self.matches(segment, way, now):
            self._waiting.append(Waiting(segment, way, now + self._after_ns))
        out.pass_on(segment, way)

    def next_timeout(self) -> int | None:
        """As Behaviour."""
        return self._waiting[0].due_ns if self._waiting else None

    def handle_timeout(self, now: int, out: Output) -> None:
        """As Behaviour."""
        waiting = self._waiting
        while waiting and waiting[0].due_ns <= now:
            one = waiting.popleft()
            out.pass_on(one.segment, one.way)
