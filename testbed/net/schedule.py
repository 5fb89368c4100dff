"""What holds from when on: a link's scheduled changes as one step function per property.

A schedule is known before the traffic starts, so the model can look ahead: the end of a packet's serialisation is
computed once, exactly, at its arrival, even when the rate changes while it waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Generic, Literal, TypeVar

from topologies.link_profile import Change, LinkProfile, Loss

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

    def ahead(self) -> Sequence[tuple[int, T]]:
        """The steps after the cursor."""
        return self._steps[self._index :]

    def values(self) -> list[T]:
        """What holds at the cursor and everything after it."""
        return [self.value, *(value for _, value in self.ahead())]


def changes_for(side: Side, changes: Iterable[Change]) -> tuple[Change, ...]:
    """The changes that concern one direction, in the order of their times."""
    concerned = [change for change in changes if change.direction in ("both", side)]
    return tuple(sorted(concerned, key=lambda change: change.at_ns))


class Schedule:
    """One direction's timelines. Raises ProfileError when a change does not fit the profile."""

    __slots__ = ("delay_ns", "down", "loss", "rate_bit_s")

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
