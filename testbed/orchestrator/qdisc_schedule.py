"""Scheduled changes of links that the kernel's qdiscs realise: the relay carries out its own, these are ours to do.

Each is carried out when it is due, by the loop that hears the endpoints, and is noted with the time at which the
kernel had taken it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from testbed.orchestrator import netem, network_commands
from testbed.orchestrator.network_plan import NetworkPlan


@dataclass(frozen=True, slots=True, order=True)
class DueChange:
    """Commands that belong to one time."""

    at_ns: int
    link: str
    what: str
    commands: tuple[tuple[str, ...], ...]


@dataclass(slots=True)
class QdiscSchedule:
    """What is still to be done, in order."""

    run: Callable[[Sequence[str]], object]
    """Carries out one command in the emulator node."""
    due: list[DueChange] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    """Rows of ``events``, without the trial's number."""

    def carry_out(self, epoch_ns: int) -> float:
        """Do what is due by now. Returns the seconds until the next one (a tenth at the most)."""
        while self.due and time.monotonic_ns() - epoch_ns >= self.due[0].at_ns:
            change = self.due.pop(0)
            for argv in change.commands:
                self.run(argv)
            taken_ns = time.monotonic_ns() - epoch_ns
            self.events.append({"time_ns": taken_ns, "kind": "change", "subject": change.link, "detail": change.what})
        if not self.due:
            return 0.1
        return min(0.1, max(0.0, (self.due[0].at_ns - (time.monotonic_ns() - epoch_ns)) / 1e9))


def schedule_of(plan: NetworkPlan, seed: int) -> list[DueChange]:
    """Every scheduled change of the links that the kernel realises."""
    due: list[DueChange] = []
    for shaped in plan.shaped:
        if shaped.realisation != "qdisc":
            continue
        for direction, profile, side in (
            ("forward", shaped.link.forward, shaped.b_side),
            ("backward", shaped.link.backward, shaped.a_side),
        ):
            changes = netem.for_direction(shaped.link.changes, "forward" if direction == "forward" else "backward")
            chance = network_commands.qdisc_seed(shaped, seed, direction)
            timed = netem.change_commands(side.name, profile, changes, seed=chance)
            words = [change.describe() for change in sorted(changes, key=lambda each: each.at_ns)]
            for (at_ns, commands), what in zip(timed, words, strict=True):
                due.append(DueChange(at_ns, shaped.link.name, f"{direction}: {what}", commands))
    return sorted(due)
