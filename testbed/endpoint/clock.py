"""Time as an application sees it: a clock and timers. The event loop of a process is one, the simulator another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

Handler = Callable[[], None]


class Cancellable(Protocol):
    """A call that is due."""

    def cancel(self) -> None:
        """Nothing will be called; harmless when it already was."""


class Clock(ABC):
    """Monotonic time in ns, and calls at a time."""

    @abstractmethod
    def now_ns(self) -> int:
        """The present instant."""

    @abstractmethod
    def at(self, due_ns: int, callback: Handler) -> Cancellable:
        """Call once when :meth:`now_ns` has reached ``due_ns``; soon, when that is past."""

    def cpu_ns(self) -> int:
        """Processor time of whatever this clock drives; 0 where that has no meaning, as in virtual time."""
        return 0
