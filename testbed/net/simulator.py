"""Virtual time: an event queue in the deterministic order (time, sequence).

No clock and no chance of its own: the same calls give the same order of events. An event at the present instant runs
after those already due at it.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any, Final


class Event:
    """A call that is due; :meth:`cancel` makes it a no-op."""

    __slots__ = ("arguments", "callback", "time_ns")

    def __init__(self, time_ns: int, callback: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        self.time_ns = time_ns
        self.callback: Callable[..., object] | None = callback
        self.arguments = arguments

    def cancel(self) -> None:
        """Do not run it. Harmless after it ran."""
        self.callback = None


def _fire(event: Event) -> None:
    """Run one that could be cancelled."""
    if event.callback is not None:
        event.callback(*event.arguments)


_FIRE: Final = _fire
"""The callback of those in the queue."""


class Simulator:
    """The event loop of one simulation."""

    __slots__ = ("_queue", "_sequence", "now_ns")

    def __init__(self) -> None:
        self.now_ns = 0
        """The present instant."""
        self._queue: list[tuple[int, int, Callable[..., object], tuple[Any, ...]]] = []
        self._sequence = 0

    def call_at(self, time_ns: int, callback: Callable[..., object], *arguments: Any) -> Event:
        """Run ``callback`` at ``time_ns``. Raises ValueError for a time that is past."""
        if time_ns < self.now_ns:
            raise ValueError(f"cannot schedule at {time_ns} ns: the simulation is already at {self.now_ns} ns")
        event = Event(time_ns, callback, arguments)
        self._sequence += 1
        heapq.heappush(self._queue, (time_ns, self._sequence, _FIRE, (event,)))
        return event

    def post(self, time_ns: int, callback: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        """As :meth:`call_at`, for what is never cancelled and known not to be past: every packet."""
        self._sequence += 1
        heapq.heappush(self._queue, (time_ns, self._sequence, callback, arguments))

    def next_event_ns(self) -> int | None:
        """When the next live event is due; None: the queue is empty."""
        queue = self._queue
        while queue and queue[0][2] is _FIRE and queue[0][3][0].callback is None:
            heapq.heappop(queue)
        return queue[0][0] if queue else None

    def run(self, until_ns: int | None = None) -> None:
        """Run events until none is left, or all up to and including ``until_ns``; then it is ``until_ns``."""
        queue = self._queue
        while queue and (until_ns is None or queue[0][0] <= until_ns):
            self.now_ns, _, callback, arguments = heapq.heappop(queue)
            callback(*arguments)
        if until_ns is not None:
            self.now_ns = max(self.now_ns, until_ns)
