"""The middleboxes of a link in a row, for both directions. What the last lets go enters the link's model.

From a to b: first those of the link, in their order, then those of the forward profile; from b to a: first those of the
backward profile, in their order, then those of the link from the last to the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from testbed.net.chance import derive_seed
from testbed.net.middlebox.behaviour import BACKWARD, FORWARD, Behaviour, BoxCounters, Output
from testbed.net.middlebox.catalog import BEHAVIOURS
from testbed.wire.segment import Segment
from topologies.middlebox import Middlebox

BOTH: Final = -1

MOST_STEPS: Final = 10_000
"""Middleboxes that the packets of one arrival meet; more is two that answer each other without end."""


class Box:
    """A middlebox in its place."""

    __slots__ = ("behaviour", "number", "only", "value")

    def __init__(self, value: Middlebox, behaviour: Behaviour, only: int, number: int) -> None:
        self.value = value
        self.behaviour = behaviour
        self.only = only
        """The one direction that it sees, or BOTH."""
        self.number = number
        """In its list, from 1."""

    @property
    def place(self) -> str:
        """``link``, ``forward`` or ``backward``: whose list it is in."""
        return "link" if self.only == BOTH else "forward" if self.only == FORWARD else "backward"

    def ways(self) -> tuple[int, ...]:
        """The directions that it sees."""
        return (FORWARD, BACKWARD) if self.only == BOTH else (self.only,)

    def counters(self, way: int) -> BoxCounters:
        """What it did with the packets of a direction."""
        return self.behaviour.counters[way]


class Chain:
    """All middleboxes of one link. Make none for a link that has none: its packets need not come here."""

    __slots__ = ("_out", "_steps", "boxes")

    def __init__(
        self,
        link: Sequence[Middlebox],
        forward: Sequence[Middlebox] = (),
        backward: Sequence[Middlebox] = (),
        seed: int = 0,
    ) -> None:
        """``forward`` and ``backward``: those that see one direction. ``seed`` of the link."""
        self.boxes = [
            *_placed(link, BOTH, seed),
            *_placed(forward, FORWARD, seed),
            *reversed(_placed(backward, BACKWARD, seed)),
        ]
        self._out = Output()
        self._steps = 0

    def arrives(self, segment: Segment, way: int, now: int) -> list[tuple[int, Segment]]:
        """``segment`` comes to the link in direction ``way``: what enters the link's models for it, as (way, segment).

        Timers that are due before have to be handled before. ``now`` must not go backwards.
        """
        left: list[tuple[int, Segment]] = []
        self._steps = 0
        self._walk(segment, way, -1 if way == FORWARD else len(self.boxes), now, left)
        return left

    def next_timeout(self) -> int | None:
        """When :meth:`handle_timeout` is due."""
        least: int | None = None
        for box in self.boxes:
            due_ns = box.behaviour.next_timeout()
            if due_ns is not None and (least is None or due_ns < least):
                least = due_ns
        return least

    def handle_timeout(self, now: int) -> list[tuple[int, Segment]]:
        """What enters the link's models because a timer of a middlebox is due by ``now``."""
        left: list[tuple[int, Segment]] = []
        due: list[tuple[int, int]] = []
        for index, box in enumerate(self.boxes):
            due_ns = box.behaviour.next_timeout()
            if due_ns is not None and due_ns <= now:
                due.append((due_ns, index))
        due.sort()
        self._steps = 0
        for _, index in due:
            behaviour = self.boxes[index].behaviour
            self._out.begin(behaviour.counters, None, FORWARD)
            behaviour.handle_timeout(now, self._out)
            next_ns = behaviour.next_timeout()
            if next_ns is not None and next_ns <= now:
                raise RuntimeError(f"{self.boxes[index].value.text()}: due at {next_ns} ns again, at {now} ns")
            for way, segment in self._out.end():
                self._walk(segment, way, index, now, left)
        return left

    def rows(self) -> list[dict[str, int | str]]:
        """What each did with the packets of each direction: whose list it is in, its number there, its text, counts."""
        rows: list[dict[str, int | str]] = []
        for box in self.boxes:
            for way in box.ways():
                row: dict[str, int | str] = {
                    "place": box.place,
                    "number": box.number,
                    "middlebox": box.value.text(),
                    "direction": "forward" if way == FORWARD else "backward",
                }
                row.update(box.counters(way).as_dict())
                rows.append(row)
        return rows

    def dropped(self, way: int) -> int:
        """Packets of a direction that a middlebox dropped, all of them together."""
        return sum([box.counters(way).dropped for box in self.boxes])

    def changed(self, way: int) -> int:
        """Packets of a direction that a middlebox changed, all of them together."""
        return sum([box.counters(way).changed for box in self.boxes])

    def _walk(self, segment: Segment, way: int, index: int, now: int, left: list[tuple[int, Segment]]) -> None:
        """From behind the ``index``-th middlebox on; what comes out at an end is added to ``left``."""
        boxes, out = self.boxes, self._out
        end = len(boxes)
        while True:
            index += 1 if way == FORWARD else -1
            if index < 0 or index >= end:
                left.append((way, segment))
                return
            box = boxes[index]
            if box.only != BOTH and box.only != way:
                continue
            self._steps += 1
            if self._steps > MOST_STEPS:
                raise RuntimeError(f"{box.value.text()}: middleboxes of this link answer each other without end")
            behaviour = box.behaviour
            out.begin(behaviour.counters, segment, way)
            behaviour.process(segment, way, now, out)
            handed = out.end()
            if len(handed) != 1:
                for next_way, each in handed:
                    self._walk(each, next_way, index, now, left)
                return
            way, segment = handed[0]


def _placed(values: Sequence[Middlebox], only: int, seed: int) -> list[Box]:
    word = "link" if only == BOTH else "forward" if only == FORWARD else "backward"
    boxes = []
    for number, value in enumerate(values, start=1):
        behaviour = BEHAVIOURS[type(value)](value, derive_seed(seed, "middlebox", word, str(number)))
        boxes.append(Box(value, behaviour, only, number))
    return boxes
