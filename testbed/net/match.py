"""Match expressions on segments: evaluated packet for packet, with what has to be remembered of the past.

Every part of an expression that counts or draws sees every packet that comes to it, whatever the rest of the
expression says: ``port 80 and (data nth 3)`` is the third data packet of all, if it is of port 80. Chance has a stream
for each direction, so that the n-th packet of a direction meets the n-th draw however the directions interleave.
Memory is bounded (:mod:`connections`).
"""

from __future__ import annotations

from testbed.net.connections import Connections
from testbed.net.match_parts import (
    BACKWARD,
    FORWARD,
    Chance,
    Class,
    Counted,
    Joined,
    Not,
    Part,
    Repeated,
    Sight,
    Subflow,
    is_of,
    of_value,
    of_word,
)
from testbed.wire.segment import Segment
from topologies import match as values

__all__ = ["BACKWARD", "FORWARD", "Connections", "Matcher", "is_of", "matcher"]


class Matcher:
    """An expression at one place, with its memory; to be asked once for every packet that comes there."""

    __slots__ = ("_chances", "_connections", "_seed", "_sees_repeats", "_whole")

    def __init__(self, match: values.Match, seed: int = 0) -> None:
        self._seed = seed
        self._chances = 0
        self._connections: Connections | None = None
        self._sees_repeats = False
        self._whole = self._part(match)

    def matches(self, segment: Segment, way: int, now: int) -> bool:
        """Whether this packet matches, which comes now."""
        sight = Sight(segment, way, now)
        connections = self._connections
        if connections is not None:
            half = connections.half_of(segment)
            sight.connection = half.connection
            sight.kind = connections.class_of(half, segment)
            if self._sees_repeats and (length := segment.seq_length):
                sight.repeated = half.repeats(segment.seq, length)
        return self._whole.holds(sight)

    def _part(self, value: values.Match) -> Part:
        if isinstance(value, values.Word):
            return self._word(value.word)
        if isinstance(value, values.Counted):
            return Counted(self._part(value.operand), value.count, value.numbers)
        if isinstance(value, values.Not):
            return Not(self._part(value.operand))
        if isinstance(value, values.All):
            return Joined([self._part(each) for each in value.operands], False)
        if isinstance(value, values.AnyOf):
            return Joined([self._part(each) for each in value.operands], True)
        if isinstance(value, values.Subflow):
            self._see_connections()
            return Subflow(value.number)
        if isinstance(value, values.Chance):
            self._chances += 1
            return Chance(value.probability, self._seed, self._chances)
        return of_value(value)

    def _word(self, word: str) -> Part:
        if word in values.CLASSES:
            self._see_connections()
            return Class(word)
        if word == "retransmission":
            self._see_connections()
            self._sees_repeats = True
            return Repeated()
        return of_word(word)

    def _see_connections(self) -> None:
        if self._connections is None:
            self._connections = Connections()


def matcher(text: str, seed: int = 0) -> Matcher:
    """The matcher of an expression's text."""
    return Matcher(values.parse(text), seed)
