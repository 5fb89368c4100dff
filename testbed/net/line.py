"""The queue and the rate limiter: a drop-tail waiting room in front of a line that sends one frame after the other.

A frame waits until the line is free, then occupies it for its size / rate. The limit counts the frames (or bytes) that
wait; the one on the line has left the waiting room. Times are integers, yet nothing drifts: the part of a nanosecond
that a division leaves over is carried to the next frame of the same busy period.

A change of rate holds from its instant on for whatever is not yet sent, the frame on the line included: the line simply
goes on at the new rate with the bits that remain.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from testbed.net.schedule import Timeline
from topologies.link_profile import ProfileError, QueueLimit

OVERFLOW: Final = -1
"""What :meth:`Line.admit` says when the waiting room is full."""

_BIT_NS_PER_BYTE: Final = 8 * 10**9


class Line:
    """One direction's queue and rate. Times must not go backwards."""

    __slots__ = (
        "_carry",
        "_limit_bytes",
        "_limit_packets",
        "_rates",
        "_waiting",
        "busy_since_ns",
        "free_ns",
        "max_bytes",
        "max_packets",
        "waiting_bytes",
    )

    def __init__(self, rates: Timeline[int | None], limit: QueueLimit | None) -> None:
        """``rates`` in bit/s, None for no limit. Raises ProfileError for a rate without a queue limit."""
        if limit is None and any(rate is not None for rate in rates.values()):
            raise ProfileError("queue has no limit: call LinkProfile.resolved() or set one, such as '100packets'")
        unlimited = 1 << 62
        self._rates = rates
        self._limit_packets = limit.packets if limit and limit.packets is not None else unlimited
        self._limit_bytes = limit.size_bytes if limit and limit.size_bytes is not None else unlimited
        self._waiting: deque[tuple[int, int]] = deque()
        self._carry = 0
        self.free_ns = 0
        """When the line has sent all that it was given."""
        self.busy_since_ns = 0
        """When the busy period that ends at ``free_ns`` began."""
        self.waiting_bytes = 0
        self.max_packets = 0
        """Most frames that ever waited."""
        self.max_bytes = 0
        """Most bytes that ever waited."""

    def admit(self, size_bytes: int, now_ns: int) -> int:
        """A frame arrives: the time at which its last bit has been sent, or OVERFLOW."""
        waiting = self._waiting
        while waiting and waiting[0][0] <= now_ns:
            self.waiting_bytes -= waiting.popleft()[1]
        begin_ns = self.free_ns
        if begin_ns > now_ns:
            waiting_bytes = self.waiting_bytes + size_bytes
            if len(waiting) >= self._limit_packets or waiting_bytes > self._limit_bytes:
                return OVERFLOW
            waiting.append((begin_ns, size_bytes))
            self.waiting_bytes = waiting_bytes
            if waiting_bytes > self.max_bytes:
                self.max_bytes = waiting_bytes
            if len(waiting) > self.max_packets:
                self.max_packets = len(waiting)
        elif begin_ns < now_ns:
            self._carry = 0
            self.busy_since_ns = begin_ns = now_ns
        rates = self._rates
        if begin_ns >= rates.next_ns:
            rates.advance(begin_ns)
        rate = rates.value
        if rate:  # a limit, and no dead phase of a trace
            end_ns = begin_ns + (size_bytes * _BIT_NS_PER_BYTE + self._carry) // rate
            if end_ns < rates.next_ns:
                self._carry = (size_bytes * _BIT_NS_PER_BYTE + self._carry) % rate
                self.free_ns = end_ns
                return end_ns
        return self._across_steps(size_bytes, begin_ns)

    def waiting_packets(self, now_ns: int) -> int:
        """Frames that wait at ``now_ns`` (after the latest arrival)."""
        return sum(begin_ns > now_ns for begin_ns, _ in self._waiting)

    def rate_at_cursor(self) -> int | None:
        """The rate at the beginning of the latest frame, bit/s."""
        return self._rates.value

    def _across_steps(self, size_bytes: int, begin_ns: int) -> int:
        """Integrate the rate over the steps that the frame meets."""
        work = size_bytes * _BIT_NS_PER_BYTE + self._carry
        at_ns, rate = begin_ns, self._rates.value
        for step_ns, next_rate in self._rates.ahead():
            if work == 0 or rate is None or (rate and at_ns + work // rate < step_ns):
                break
            work -= (step_ns - at_ns) * rate
            at_ns, rate = step_ns, next_rate
        if work == 0 or rate is None:  # all of it was sent by the end of a step
            self._carry, self.free_ns = 0, at_ns
        else:
            sent_ns, self._carry = divmod(work, rate)
            self.free_ns = at_ns + sent_ns
        return self.free_ns
