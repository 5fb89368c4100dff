"""Scheduled changes of links as they were carried out, and the outages among them.

A change of one direction is told as ``forward: down``; the kernel's qdiscs are changed one direction after the other,
so that a change of a whole link is two events there, a few milliseconds apart. Here it is one again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

SAME_CHANGE_NS = 100_000_000
"""The same change of both directions within this time is one change of the link."""

_STALL = re.compile(r"stood still for (?P<ms>\d+) ms")
"""As testbed/orchestrator/collectors/jitter.py writes it."""
_DIRECTIONS = ("forward", "backward")


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to a link, or to one direction of it, at a time since the start of the traffic."""

    time_ns: int
    link: str
    direction: str
    """``forward``, ``backward``; empty for both."""
    what: str

    @property
    def text(self) -> str:
        """``"wifi down"``, ``"wifi forward: rate 5mbit"``."""
        return f"{self.link} {self.direction}: {self.what}" if self.direction else f"{self.link} {self.what}"


@dataclass(frozen=True, slots=True)
class Outage:
    """A link, or one direction of it, let nothing through."""

    link: str
    """With the direction if it was only one: ``"wifi"``, ``"wifi forward"``."""
    start_ns: int
    end_ns: int


def changes_of(events: Iterable[Mapping[str, Any]]) -> list[Change]:
    """The changes among rows of ``events``, in order of time; those of both directions of a link as one."""
    found: list[Change] = []
    rows = [event for event in events if event["kind"] == "change"]
    for event in sorted(rows, key=lambda row: int(row["time_ns"])):
        direction, colon, what = str(event["detail"]).partition(": ")
        one_way = bool(colon) and direction in _DIRECTIONS
        change = Change(
            int(event["time_ns"]),
            str(event["subject"]),
            direction if one_way else "",
            what if one_way else event["detail"],
        )
        other = next((earlier for earlier in found if _two_halves(earlier, change)), None)
        if other is None:
            found.append(change)
        else:
            found[found.index(other)] = replace(other, direction="")
    return found


def stalls(events: Iterable[Mapping[str, Any]]) -> list[tuple[int, int]]:
    """(start, end) of each time in which the machine stood still, in order of time; of many the longest are events."""
    found = []
    for event in events:
        if event["kind"] == "stall" and (told := _STALL.fullmatch(str(event["detail"]))):
            end_ns = int(event["time_ns"])
            found.append((end_ns - int(told["ms"]) * 1_000_000, end_ns))
    return sorted(found)


def _two_halves(earlier: Change, later: Change) -> bool:
    same = (earlier.link, earlier.what) == (later.link, later.what)
    close = later.time_ns - earlier.time_ns <= SAME_CHANGE_NS
    return same and close and {earlier.direction, later.direction} == set(_DIRECTIONS)


def outages(changes: Sequence[Change], end_ns: float) -> list[Outage]:
    """Each outage among the changes; one that does not end lasts until ``end_ns``."""
    found: list[Outage] = []
    down: dict[str, set[str]] = {}
    since: dict[str, tuple[int, set[str]]] = {}  # start, directions that were down at any time of the outage

    def over(link: str, at_ns: int) -> None:
        start, directions = since.pop(link)
        found.append(Outage(link if len(directions) > 1 else f"{link} {directions.pop()}", start, at_ns))

    for change in changes:
        words = change.what.split(", ")
        directions = {change.direction} if change.direction else set(_DIRECTIONS)
        now = down.setdefault(change.link, set())
        if "down" in words:
            now |= directions
            since.setdefault(change.link, (change.time_ns, set()))[1].update(directions)
        elif "up" in words and now:
            now -= directions
            if not now:
                over(change.link, change.time_ns)
    for link in [link for link, (start, _) in since.items() if start < end_ns]:
        over(link, int(end_ns))
    return found
