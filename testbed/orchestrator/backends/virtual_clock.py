"""Virtual time as the applications of one host see it."""

from __future__ import annotations

from collections.abc import Callable

from testbed.endpoint.clock import Clock, Handler
from testbed.net.simulator import Event, Simulator


class VirtualClock(Clock):
    """The simulator's clock; after a timer of an application has been called the host is flushed."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self.flush: Callable[[], None] | None = None
        """Sends what the host has to send; set once the host stands."""

    def now_ns(self) -> int:
        """As Clock."""
        return self._simulator.now_ns

    def at(self, due_ns: int, callback: Handler) -> Event:
        """As Clock."""
        return self._simulator.call_at(max(due_ns, self._simulator.now_ns), self._call, callback)

    def _call(self, callback: Handler) -> None:
        callback()
        if self.flush is not None:
            self.flush()
