"""Scheduled changes of links that the kernel's qdiscs realise: the relay carries out its own, these are ours to do.

Each is carried out when it is due, by the loop that hears the endpoints, and is noted with the time at which the
kernel had taken it. One that the kernel took too late is a problem of the trial: meanwhile it was another network. So
what carries it out, a ``tc -batch -``, is started before: in an emulated machine a start takes 25 ms.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from testbed.orchestrator import netem, network_commands
from testbed.orchestrator.errors import CommandFailed
from testbed.orchestrator.network_plan import EMULATOR, NetworkPlan
from testbed.orchestrator.process import Partner
from topologies.link_text import describe_change

LATEST_NS = 20_000_000
"""How late the kernel may take a change."""
AHEAD_NS = 400_000_000
"""So long before a change its tc is started."""
BATCH = ("tc", "-batch", "-")
TC_S = 10.0


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

    start: Callable[[], Partner]
    """Starts :data:`BATCH` in the emulator node."""
    note: Callable[[Sequence[str]], None]
    """Hears of each command that was carried out."""
    due: list[DueChange] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    """Rows of ``events``, without the trial's number."""
    problems: list[str] = field(default_factory=list)
    """Changes that the kernel took too late."""
    done: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(link, direction) -> changes that were carried out."""
    _waiting: Partner | None = None
    """The tc of the next change."""

    def prepare(self) -> None:
        """Before the epoch: what a change at its very beginning needs."""
        if self.due and self.due[0].at_ns <= AHEAD_NS:
            self._waiting = self.start()

    def carry_out(self, epoch_ns: int) -> float:
        """Do what is due by now. Returns the seconds until it is to be called again (a tenth at the most).

        Raises CommandFailed when the kernel refuses a change.
        """
        while self.due:
            left_ns = self.due[0].at_ns - (time.monotonic_ns() - epoch_ns)
            if self._waiting is None and left_ns <= AHEAD_NS:
                self._waiting = self.start()
            elif left_ns > 0:
                return min(0.1, left_ns / 1e9)
            else:
                self._do(epoch_ns)
        return 0.1

    def _do(self, epoch_ns: int) -> None:
        """What belongs to one time, at once."""
        tc, self._waiting = self._waiting, None
        assert tc is not None
        together = [change for change in self.due if change.at_ns == self.due[0].at_ns]
        del self.due[: len(together)]
        commands = [argv for change in together for argv in change.commands]
        try:
            tc.stdin.write("".join(f"{' '.join(argv[1:])}\n" for argv in commands).encode())
            tc.stdin.close()
        except BrokenPipeError:  # its exit code and its last words say why
            pass
        if code := tc.wait(TC_S):
            raise CommandFailed(BATCH, code, tc.stderr, EMULATOR)
        taken_ns = time.monotonic_ns() - epoch_ns
        for argv in commands:
            self.note(argv)
        for change in together:
            self._done(change, taken_ns)

    def _done(self, change: DueChange, taken_ns: int) -> None:
        self.done[change.link, change.direction] += 1
        detail = f"{change.direction}: {change.what}"
        self.events.append({"time_ns": taken_ns, "kind": "change", "subject": change.link, "detail": detail})
        if taken_ns - change.at_ns > LATEST_NS:
            self.problems.append(
                f"{change.link} {change.direction}: {change.what} of {change.at_ns / 1e9:g} s was in force "
                f"{(taken_ns - change.at_ns) / 1e6:.1f} ms late, bound {LATEST_NS / 1e6:g} ms"
            )


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
