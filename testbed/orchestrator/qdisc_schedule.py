"""Scheduled changes of links that the kernel's qdiscs realise: the relay carries out its own, these are ours to do.

Each is carried out when it is due, by the loop that hears the endpoints, and is noted with the time at which the
kernel had taken it. One that the kernel took too late is a problem of the trial: meanwhile it was another network.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from testbed.orchestrator import netem, network_commands
from testbed.orchestrator.network_plan import NetworkPlan
from topologies.link_text import describe_change

LATEST_NS = 20_000_000
"""How late the kernel may take a change; a tc takes 2 to 5 ms to start."""


@dataclass(frozen=True, slots=True, order=True)
class DueChange:
    """Commands that belong to one time."""

    at_ns: int
    link: str
    direction: str
    what: str
    """In words, without the direction."""
    commands: tuple[tuple[str, ...], ...]


@dataclass(slots=True)
class QdiscSchedule:
    """What is still to be done, in order."""

    run: Callable[[Sequence[str]], object]
    """Carries out one command in the emulator node."""
    due: list[DueChange] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    """Rows of ``events``, without the trial's number."""
    problems: list[str] = field(default_factory=list)
    """Changes that the kernel took too late."""
    done: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(link, direction) -> changes that were carried out."""

    def carry_out(self, epoch_ns: int) -> float:
        """Do what is due by now. Returns the seconds until the next one (a tenth at the most)."""
        while self.due and time.monotonic_ns() - epoch_ns >= self.due[0].at_ns:
            change = self.due.pop(0)
            for argv in change.commands:
                self.run(argv)
            taken_ns = time.monotonic_ns() - epoch_ns
            self.done[change.link, change.direction] += 1
            detail = f"{change.direction}: {change.what}"
            self.events.append({"time_ns": taken_ns, "kind": "change", "subject": change.link, "detail": detail})
            if taken_ns - change.at_ns > LATEST_NS:
                self.problems.append(
                    f"{change.link} {change.direction}: {change.what} of {change.at_ns / 1e9:g} s was in force "
                    f"{(taken_ns - change.at_ns) / 1e6:.1f} ms late, bound {LATEST_NS / 1e6:g} ms"
                )
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
            seeds = None
            if chance is not None:
                seeds = [network_commands.derived_seed(chance, f"change {index}") for index in range(len(changes))]
            timed = netem.change_commands(side.name, profile, changes, seeds=seeds)
            words = [describe_change(change) for change in sorted(changes, key=lambda each: each.at_ns)]
            for (at_ns, commands), what in zip(timed, words, strict=True):
                due.append(DueChange(at_ns, shaped.link.name, direction, what, commands))
    return sorted(due)
