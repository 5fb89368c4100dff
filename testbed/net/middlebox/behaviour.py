"""What a middlebox is to the drivers: packets in, packets out, timers, counts.

One instance stands on one link in one trial and sees both directions. It has no clock and no chance of its own: ``now``
is the time since the start of the traffic in ns, chance comes from the seed. A packet that it does not touch it hands
on as the same object: identity is how the live driver passes it byte for byte.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import mypyc_attr

from testbed.net import match
from testbed.net.chance import derive_seed
from testbed.wire.segment import Segment

FORWARD: Final = match.FORWARD
BACKWARD: Final = match.BACKWARD


class BoxCounters:
    """What one middlebox did with the packets of one direction.

    A packet that came was handed on as it was, or is counted in one of changed, dropped and delayed.
    """

    __slots__ = ("changed", "delayed", "dropped", "made", "matched", "seen")

    def __init__(self) -> None:
        self.seen = 0
        """Packets that came."""
        self.matched = 0
        """Packets that it was about."""
        self.changed = 0
        """Packets in whose place another one left."""
        self.dropped = 0
        """Packets in whose place none left."""
        self.made = 0
        """Packets that left beside those that came: copies, pieces, answers; by the direction in which they left."""
        self.delayed = 0
        """Packets that it kept, to let them go later."""

    def as_dict(self) -> dict[str, int]:
        """Name -> count."""
        return {
            "seen": self.seen,
            "matched": self.matched,
            "changed": self.changed,
            "dropped": self.dropped,
            "made": self.made,
            "delayed": self.delayed,
        }


class Output:
    """Where a middlebox hands what leaves it; it counts by what it is given."""

    __slots__ = ("_changed", "_counters", "_handed", "_kept", "_passed", "_segment", "_way")

    def __init__(self) -> None:
        self._handed: list[tuple[int, Segment]] = []
        self._counters = (BoxCounters(), BoxCounters())
        self._segment: Segment | None = None
        self._way = FORWARD
        self._passed = False
        self._changed = False
        self._kept = False

    def pass_on(self, segment: Segment, way: int) -> None:
        """``segment`` leaves in direction ``way``, which may be the opposite one; the order of calls is kept.

        The packet that came, handed on itself, has passed; otherwise the first packet handed on in its direction counts
        as what it became, and all others as made.
        """
        self._handed.append((way, segment))
        if way == self._way and self._segment is not None:
            if segment is self._segment and not self._passed:
                self._passed = True
                return
            if not self._changed:
                self._changed = True
                return
        self._counters[way].made += 1

    def keep(self) -> None:
        """The packet that came stays for now and is not dropped; :meth:`release` lets it go."""
        self._kept = True

    def release(self, segment: Segment, way: int) -> None:
        """A packet that was kept leaves, itself or what became of it: nothing that was made."""
        self._handed.append((way, segment))

    # --- for the chain ---

    def begin(self, counters: tuple[BoxCounters, BoxCounters], segment: Segment | None, way: int) -> None:
        """The middlebox with these counters is about to be asked; ``segment`` is None when it is for a timer."""
        self._handed = []
        self._counters = counters
        self._segment = segment
        self._way = way
        self._passed = self._changed = self._kept = False

    def end(self) -> list[tuple[int, Segment]]:
        """What it has handed on, as (way, segment)."""
        if self._segment is not None:
            counters = self._counters[self._way]
            counters.seen += 1
            if self._passed or self._kept:
                counters.delayed += not self._passed
                counters.made += self._changed
            elif self._changed:
                counters.changed += 1
            else:
                counters.dropped += 1
        return self._handed


@mypyc_attr(allow_interpreted_subclasses=True)
class Behaviour:
    """A middlebox at work."""

    __slots__ = ("counters",)

    def __init__(self) -> None:
        self.counters = (BoxCounters(), BoxCounters())
        """By direction. ``matched`` is for the middlebox itself to count, the others follow from its output."""

    def process(self, segment: Segment, way: int, now: int, out: Output) -> None:
        """``segment`` comes in direction ``way``; what is handed to ``out`` leaves. Nothing handed on: dropped."""
        raise NotImplementedError

    def next_timeout(self) -> int | None:
        """When :meth:`handle_timeout` is due; None: not at all. May change with each call of the others."""
        return None

    def handle_timeout(self, now: int, out: Output) -> None:
        """All that is due by ``now`` is done: afterwards :meth:`next_timeout` is later."""


class Matching(Behaviour):
    """A middlebox that is about the packets that match one expression."""

    __slots__ = ("_matcher",)

    def __init__(self, expression: str, seed: int) -> None:
        """``expression`` empty: about every packet."""
        super().__init__()
        self._matcher = match.matcher(expression or "any", derive_seed(seed, "match"))

    def matches(self, segment: Segment, way: int, now: int) -> bool:
        """Whether it is about this packet, which is counted then; to be asked once for every packet."""
        if self._matcher.matches(segment, way, now):
            self.counters[way].matched += 1
            return True
        return False
