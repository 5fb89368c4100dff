"""A million packets as a few hundred pixels: of each column of a figure the lowest and the highest position sent.

An :class:`Outline` is one direction of one connection. It is told packets in pieces, and keeps a fixed number of
columns for each subflow; what it drops cannot be seen.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

COLUMNS = 360
"""Steps of time over the width of a figure: more could hardly be told apart."""
MARK_COLUMNS, MARK_ROWS = 72, 30
"""Steps of time and height within which marks of one kind and subflow share a place, or they would hide the lines."""
MOST_MARKS = 150
"""Of one kind and subflow in a figure."""

Int64s = NDArray[np.int64]
Bools = NDArray[np.bool_]
KINDS = ("retransmission", "reinjection")
_LEAST, _MOST = np.iinfo(np.int64).min, np.iinfo(np.int64).max


@dataclass(slots=True)
class Lane:
    """What one subflow sent."""

    low: Int64s = field(default_factory=lambda: np.full(COLUMNS, _MOST))
    high: Int64s = field(default_factory=lambda: np.full(COLUMNS, _LEAST))

    def runs(self) -> list[tuple[int, int]]:
        """Stretches of columns with something in them, as [first, end)."""
        there = np.flatnonzero(self.high > _LEAST)
        if not there.size:
            return []
        cuts = np.flatnonzero(np.diff(there) > 1) + 1
        return [(int(part[0]), int(part[-1]) + 1) for part in np.split(there, cuts)]


class Outline:
    """One direction of one connection between two times."""

    def __init__(self, first_ns: int, last_ns: int) -> None:
        self.first_ns = first_ns
        self.span_ns = max(1, last_ns - first_ns)
        self.lanes: dict[int, Lane] = {}
        self.acknowledged = np.full(COLUMNS, _LEAST)
        self.marks: dict[tuple[str, int], list[tuple[int, int]]] = {}
        """(kind, subflow) -> (time, position), as they came; thinned by :meth:`thinned`."""
        self.counts: dict[str, int] = dict.fromkeys(KINDS, 0)
        self.top = 0
        """Highest end sent."""

    def take(self, subflow: int, time_ns: Int64s, start: Int64s, end: Int64s) -> None:
        """Data of one subflow: positions relative to the first octet of the connection."""
        if not time_ns.size:
            return
        lane = self.lanes.setdefault(subflow, Lane())
        columns = self._columns(time_ns)
        np.minimum.at(lane.low, columns, start)
        np.maximum.at(lane.high, columns, end)
        self.top = max(self.top, int(end.max()))

    def acks(self, time_ns: Int64s, position: Int64s) -> None:
        """DATA_ACKs (of plain TCP acknowledgments) that came back."""
        if time_ns.size:
            np.maximum.at(self.acknowledged, self._columns(time_ns), position)

    def repeated(self, kind: str, subflow: int, time_ns: Int64s, start: Int64s) -> None:
        """Segments sent again."""
        self.counts[kind] += int(time_ns.size)
        marks = self.marks.setdefault((kind, subflow), [])
        if len(marks) < 50 * MOST_MARKS and time_ns.size:
            marks += zip(time_ns.tolist(), start.tolist(), strict=True)

    def thinned(self) -> list[tuple[str, int, float, float]]:
        """(kind, subflow, share of the width, share of the height) of marks that can be told apart."""
        found: list[tuple[str, int, float, float]] = []
        for (kind, subflow), marks in sorted(self.marks.items()):
            taken: set[tuple[int, int]] = set()
            for time_ns, position in marks:
                x, y = self.share(time_ns), position / max(1, self.top)
                cell = (int(x * MARK_COLUMNS), int(y * MARK_ROWS))
                if 0 <= y <= 1 and cell not in taken and len(taken) < MOST_MARKS:
                    taken.add(cell)
                    found.append((kind, subflow, x, y))
        return found

    def ack_steps(self) -> list[tuple[int, int]]:
        """(column, position) wherever the acknowledged position rises."""
        highest = np.maximum.accumulate(self.acknowledged)
        rises = np.flatnonzero(np.diff(highest, prepend=_LEAST) != 0)
        return [(int(column), int(highest[column])) for column in rises]

    def share(self, time_ns: int) -> float:
        """Share of the width."""
        return min(1.0, max(0.0, (time_ns - self.first_ns) / self.span_ns))

    def _columns(self, time_ns: Int64s) -> Int64s:
        return np.clip((time_ns - self.first_ns) * COLUMNS // self.span_ns, 0, COLUMNS - 1)
