"""The steps of a night, carried out one after the other; each is stored when it has ended."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from testbed.nightly.builds import Build, same_form, unlike
from testbed.nightly.night import Night
from testbed.nightly.preparation import Prepared, Tell, knows_messages, reach
from testbed.nightly.steps import Done, Step, carry_out

Results = Mapping[tuple[str, int, str], tuple[Step, Done]]
"""(entry, repetition, role) -> step and what became of it."""


class Machinery:
    """How steps are run tonight: in which form, and with which words that both builds know."""

    def __init__(self, prepared: Prepared, night: Night, tell: Tell) -> None:
        self._prepared, self._night, self._tell = prepared, night, tell
        self._quick: dict[str, bool] = {}
        self._compiled: dict[str, bool | None] = {}
        self._unsupported: dict[tuple[str, str, str], str] = {}

    def notes(self) -> Iterator[str]:
        """What a reader has to know of how candidate and reference are run."""
        reference = self._prepared.reference
        if reference is None:
            return
        yield from unlike(self._prepared.candidate, reference)
        if any(entry.backend != "sim" for entry in self._prepared.entries) and self._form(reference) is False:
            yield "both builds ran their sources, not compiled: the two could not have been in the same form"

    def run(self, step: Step, build: Build, against: Build | None, total: int, number: int) -> Done:
        """A step to its end, unless it has ended before. ``against``: the build whose runs it is compared with, if that
        is not the candidate."""
        before = self._night.done(step)
        key = step.entry.name, step.role, build.identity
        if before is not None:
            if before.state == "unsupported":
                self._unsupported[key] = before.reason
            return before
        if key in self._unsupported:  # told once; it will not be otherwise in the next repetition
            done = Done("unsupported", "", self._unsupported[key], 0.0)
            self._night.store(step, done)
            return done
        identity = {"entry": step.entry.name, "role": step.role, "repetition": step.repetition, "repeat": step.repeat}
        self._tell({"kind": "step", "number": number, "total": total, **identity})
        began = time.monotonic()
        state, run, reason = carry_out(
            step,
            build,
            self._night.runs(step),
            compiled=None if step.entry.backend == "sim" else self._form(against),
            quick=self._knows_messages(against),
            deadline_s=self._prepared.campaign.step_deadline_s,
        )
        path = str(run.relative_to(self._night.folder)) if run is not None else ""
        done = Done(state, path, reason, time.monotonic() - began)
        self._night.store(step, done)
        if state == "unsupported":
            self._unsupported[key] = reason
            self._tell({"kind": "note", "text": f"UNSUPPORTED: {step.entry.name} ({step.role}): {reason}"})
        self._tell({"kind": "ended", "number": number, "total": total, "state": state, "reason": reason, **identity})
        return done

    def _form(self, against: Build | None) -> bool | None:
        """In which form candidate and that build run; None: as they are."""
        if against is None:
            return None
        if against.identity not in self._compiled:
            self._compiled[against.identity] = same_form(self._prepared.candidate, against)
        return self._compiled[against.identity]

    def _knows_messages(self, against: Build | None) -> bool:
        key = against.identity if against else ""
        if key not in self._quick:
            self._quick[key] = knows_messages(self._prepared.candidate, against)
        return self._quick[key]

    def build_of(self, step: Step) -> Build:
        """Which build runs a step of the measuring."""
        reference = self._prepared.reference
        return reference if step.by_reference_build and reference is not None else self._prepared.candidate


def measure(prepared: Prepared, night: Night, machinery: Machinery, tell: Tell) -> Mapping[str, Any]:
    """Everything of the night that has not been measured yet; the facts of the phase ``measured``."""
    if (before := night.read("measured")) is not None:
        return before
    notes = list(machinery.notes())
    for text in notes:
        tell({"kind": "note", "text": text})
    reachable, lacking = reach(prepared, tell)
    steps = prepared.steps(reachable)
    tell({"kind": "night", "total": len(steps), "done": night.ended(), "path": str(night.folder)})
    for number, step in enumerate(steps):
        machinery.run(step, machinery.build_of(step), prepared.reference, len(steps), number)
    facts = {
        "notes": notes,
        "reachable": {name: list(variants) for name, variants in reachable.items()},
        "lacking": [[*key, why] for key, why in lacking.items()],
    }
    night.write("measured", facts)
    return facts


def results_of(steps: Sequence[Step], night: Night) -> Results:
    """What became of the steps."""
    found = {}
    for step in steps:
        done = night.done(step)
        if done is not None:
            found[step.entry.name, step.repetition, step.role] = step, done
    return found


def durations_s(results: Results) -> dict[str, float]:
    """``"ENTRY ROLE"`` -> mean duration of its runs: what the next night's estimate is made of."""
    found: dict[str, list[float]] = {}
    for (entry, _, role), (_, done) in results.items():
        if done.state == "measured":
            found.setdefault(f"{entry} {role}", []).append(done.duration_s)
    return {key: round(sum(values) / len(values), 3) for key, values in found.items()}


def run_path(night: Night, done: Done) -> Path | None:
    """Where a step's run directory is; None: it left none."""
    return night.folder / done.run if done.run else None
