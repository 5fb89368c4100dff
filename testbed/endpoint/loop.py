"""One thread, file descriptors and timers: what drives an endpoint process.

A single thread keeps samples and byte counts consistent without locks, and an application that is busy with a 256 KiB
read delays a sample by some 100 us. epoll waits in whole milliseconds, too coarse for a block that is due now, so for
the last stretch the epoll descriptor itself is waited for with select(2), whose timeout is in microseconds.
"""

from __future__ import annotations

import heapq
import itertools
import resource
import select
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from testbed.endpoint.clock import Clock, Handler

COARSE_NS = 2_000_000
"""Timers that are further away than this can be waited for in whole milliseconds."""


@dataclass(order=True, slots=True)
class Timer:
    """A call that is due; :meth:`cancel` makes it void."""

    due_ns: int
    order: int
    callback: Handler | None = field(compare=False)

    def cancel(self) -> None:
        """Nothing will be called; harmless when it already was."""
        self.callback = None


class Loop(Clock):
    """Calls handlers of descriptors that are ready and timers that are due, in this thread, until told to stop."""

    def __init__(self, monotonic_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._monotonic_ns = monotonic_ns
        self._epoll = select.epoll()
        self._handlers: dict[int, tuple[Handler | None, Handler | None]] = {}
        self._timers: list[Timer] = []
        self._order = itertools.count()

    def now_ns(self) -> int:
        """CLOCK_MONOTONIC, which all network namespaces of a machine share."""
        return self._monotonic_ns()

    def cpu_ns(self) -> int:
        """Of this process, and of the programs that it ran."""
        own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
        return round(1e9 * (own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime))

    def watch(self, descriptor: int, readable: Handler | None = None, writable: Handler | None = None) -> None:
        """Replace what is called for ``descriptor``; without any handler it is forgotten (do so before closing it)."""
        wanted = (select.EPOLLIN if readable else 0) | (select.EPOLLOUT if writable else 0)
        known = descriptor in self._handlers
        if not wanted:
            if known:
                del self._handlers[descriptor]
                self._epoll.unregister(descriptor)
            return
        self._handlers[descriptor] = (readable, writable)
        if known:
            self._epoll.modify(descriptor, wanted)
        else:
            self._epoll.register(descriptor, wanted)

    def at(self, due_ns: int, callback: Handler) -> Timer:
        """Call once when CLOCK_MONOTONIC has reached ``due_ns``."""
        timer = Timer(due_ns, next(self._order), callback)
        heapq.heappush(self._timers, timer)
        return timer

    def run(self, done: Callable[[], bool]) -> None:
        """Until ``done()``, which is asked after each round."""
        while not done():
            for descriptor, events in self._wait():
                self._dispatch(descriptor, events)
            self._fire()

    def close(self) -> None:
        """Give the epoll descriptor back."""
        self._epoll.close()

    def _wait(self) -> list[tuple[int, int]]:
        """What is ready, at the latest when the next timer is due."""
        while self._timers and self._timers[0].callback is None:
            heapq.heappop(self._timers)
        if not self._timers:
            return self._epoll.poll()
        left_ns = self._timers[0].due_ns - self.now_ns()
        if left_ns >= COARSE_NS:
            return self._epoll.poll((left_ns - COARSE_NS) / 1e9)
        select.select([self._epoll], [], [], max(0, left_ns) / 1e9)
        return self._epoll.poll(0)

    def _dispatch(self, descriptor: int, events: int) -> None:
        # A hang-up or an error goes to whoever is there: the next system call on the descriptor tells which it is.
        trouble = events & (select.EPOLLHUP | select.EPOLLERR)
        readable, _ = self._handlers.get(descriptor, (None, None))
        if readable and (events & select.EPOLLIN or trouble):
            readable()
        _, writable = self._handlers.get(descriptor, (None, None))
        if writable and (events & select.EPOLLOUT or trouble):
            writable()

    def _fire(self) -> None:
        now_ns = self.now_ns()
        while self._timers and self._timers[0].due_ns <= now_ns:
            callback = heapq.heappop(self._timers).callback
            if callback is not None:
                callback()
