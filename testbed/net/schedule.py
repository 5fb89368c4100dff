"""What holds from when on: a link's scheduled changes as one step function per property.

A schedule is known before the traffic starts, so the model can look ahead: the end of a packet's serialisation is
computed once, exactly, at its arrival, even when the rate changes while it waits. A trace is known beforehand as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Generic, Literal, TypeVar

from topologies.link_profile import Change, LinkProfile, Loss
from topologies.traces import Opportunities, Trace

T = TypeVar("T")

NEVER_NS: Final = 1 << 62
"""Later than any time that a run reaches (146 years)."""

Side = Literal["forward", "backward"]


class Timeline(Generic[T]):
    """A step function of time with a cursor that only moves forward."""

    __slots__ = ("_index", "_steps", "next_ns", "value")

    def __init__(self, initial: T, steps: Iterable[tuple[int, T]] = ()) -> None:
        """``steps`` are (from_ns, value); among equal times the last one holds."""
        self._steps: Sequence[tuple[int, T]] = sorted(steps, key=lambda step: step[0])
        self._index = 0
        self.value = initial
        """What holds at the cursor."""
        self.next_ns = self._steps[0][0] if self._steps else NEVER_NS
        """When that ends."""

    def advance(self, now_ns: int) -> T:
        """Move the cursor to ``now_ns`` and return what holds there."""
        while now_ns >= self.next_ns:
            self.value = self._steps[self._index][1]
            self._index += 1
            self.next_ns = self._steps[self._index][0] if self._index < len(self._steps) else NEVER_NS
        return self.value

    def ahead(self) -> Iterator[tuple[int, T]]:
        """The steps after the cursor."""
        for index in range(self._index, len(self._steps)):
            yield self._steps[index]

    def values(self) -> list[T]:
        """What holds at the cursor and everything after it."""
        return [self.value, *(value for _, value in self._steps[self._index :])]


class Rounds(Timeline[T]):
    """A step function that begins anew after ``period_ns``, for ever."""

    __slots__ = ("_begin_ns", "_period_ns")

    def __init__(self, steps: Sequence[tuple[int, T]], period_ns: int) -> None:
        """``steps`` of one round, the first at 0."""
        super().__init__(steps[0][1], steps)
        self._period_ns = period_ns
        self._begin_ns = 0
        """Of the round of the next step."""
        self.advance(0)

    def advance(self, now_ns: int) -> T:
        """Move the cursor to ``now_ns`` and return what holds there."""
        if now_ns >= self.next_ns + self._period_ns:  # whole rounds without a look
            rounds = (now_ns - self.next_ns) // self._period_ns
            self._begin_ns += rounds * self._period_ns
            self.next_ns += rounds * self._period_ns
        while now_ns >= self.next_ns:
            self.value = self._steps[self._index][1]
            self._index += 1
            if self._index == len(self._steps):
                self._index = 0
                self._begin_ns += self._period_ns
            self.next_ns = self._begin_ns + self._steps[self._index][0]
        return self.value

    def ahead(self) -> Iterator[tuple[int, T]]:
        """The steps after the cursor; there is no end of them."""
        begin_ns, index = self._begin_ns, self._index
        while True:
            at_ns, value = self._steps[index]
            yield begin_ns + at_ns, value
            index += 1
            if index == len(self._steps):
                index = 0
                begin_ns += self._period_ns

    def values(self) -> list[T]:
        """What holds at some time."""
        return [value for _, value in self._steps]


def changes_for(side: Side, changes: Iterable[Change]) -> tuple[Change, ...]:
    """The changes that concern one direction, in the order of their times."""
    concerned = [change for change in changes if change.direction in ("both", side)]
    return tuple(sorted(concerned, key=lambda change: change.at_ns))


def _replayed(steps: Sequence[tuple[int, T]], period_ns: int, trace: Trace) -> Timeline[T]:
    if trace.at_end == "hold" or len(steps) == 1:
        return Timeline(steps[0][1], steps[1:])
    return Rounds(steps, period_ns)


class Schedule:
    """One direction's timelines. Raises ProfileError when a change does not fit the profile."""

    __slots__ = ("delay_ns", "down", "loss", "loss_probability", "opportunities", "rate_bit_s")

    def __init__(self, profile: LinkProfile, changes: Sequence[Change] = ()) -> None:
        current = profile
        for change in changes:
            current = change.applied_to(current)  # validates the combination
        self.down: Timeline[bool] = Timeline(False, [(c.at_ns, c.down) for c in changes if c.down is not None])
        self.rate_bit_s: Timeline[int | None] = Timeline(
            profile.rate_bit_s, [(c.at_ns, c.rate_bit_s) for c in changes if c.rate_bit_s is not None]
        )
        self.delay_ns: Timeline[int] = Timeline(
            profile.delay_ns, [(c.at_ns, c.delay_ns) for c in changes if c.delay_ns is not None]
        )
        self.loss: Timeline[Loss] = Timeline(profile.loss, [(c.at_ns, c.loss) for c in changes if c.loss is not None])
        self.loss_probability: Timeline[float] | None = None
        """Of a trace: in the place of ``loss``."""
        self.opportunities: Opportunities | None = None
        """Of a trace: in the place of ``rate_bit_s``."""
        if profile.trace is not None:
            self._replay(profile.trace)

    def _replay(self, trace: Trace) -> None:
        """What the trace tells, from the start of the traffic on."""
        shape = trace.shape()
        if isinstance(shape, Opportunities):
            self.opportunities = shape
            return
        if shape.rate_bit_s is not None:
            rates: list[tuple[int, int | None]] = [*shape.rate_bit_s]
            self.rate_bit_s = _replayed(rates, shape.period_ns, trace)
        if shape.delay_ns is not None:
            self.delay_ns = _replayed(shape.delay_ns, shape.period_ns, trace)
        if shape.loss is not None:
            self.loss_probability = _replayed(shape.loss, shape.period_ns, trace)
