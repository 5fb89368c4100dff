"""The runs of a night, in order, and one of them as a process of its own build.

In real time each repetition runs candidate, reference and control (the reference again) of every entry with one seed,
and who begins moves on from repetition to repetition and from entry to entry, so that a machine that grows warmer
favours none. In virtual time nothing drifts: there each of them runs all its repetitions in one process.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from testbed.nightly.builds import Build
from testbed.nightly.entries import Entry
from testbed.orchestrator import process
from testbed.orchestrator.errors import NotReady
from testbed.record import RecordError
from testbed.record.run_directory import RunDirectory

State = Literal["measured", "invalid", "unsupported"]

STOP_S: Final = 20.0
"""For a run that is stopped to take down its network."""
_USAGE, _NOTHING_RAN = 2, 4
"""Exit codes of ``testbed run`` (testbed/cli/main.py): what it was asked for does not exist there, or cannot run."""
_FULL: Final = "no space left"
_RESERVE_BYTES: Final = 2**20
"""Less free space than this, and a run that failed is taken to have failed for that."""


@dataclass(frozen=True, slots=True)
class Step:
    """One process: an entry's variants, ``repeat`` times each, with one build."""

    name: str
    entry: Entry
    role: str
    """``candidate``, ``reference``, ``control``; ``pair``: candidates and reference variant together."""
    variants: tuple[str, ...]
    repetition: int
    """Of the night, from 0; with ``repeat`` the first of them."""
    seed: int
    repeat: int = 1
    capture: bool = False
    """Packets, too: to look at, never to compare with a run without."""

    @property
    def by_reference_build(self) -> bool:
        """Whether the reference build runs it. Against another variant everything is run by the candidate build."""
        return self.entry.reference.variant is None and self.role in ("reference", "control")

    def words(self, out: Path, *, quick: bool) -> list[str]:
        """``run ...``; ``quick``: without the report, which nobody reads (builds that know ``--messages``)."""
        words = ["run", self.entry.experiment, "--backend", self.entry.backend, "--repeat", str(self.repeat)]
        words += ["--seed", str(self.seed), "--out", str(out), "--messages" if quick else "-q"]
        words += ["--pcap"] if self.capture else []
        for variant in self.variants:
            words += ["--variant", variant]
        for assignment in self.entry.assignments:
            words += ["--set", assignment]
        return words


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a step."""

    state: State
    run: str
    """Its run directory, relative to the night's; empty: it left none."""
    reason: str
    duration_s: float

    def as_json(self) -> dict[str, Any]:
        """For the night's state."""
        return {"state": self.state, "run": self.run, "reason": self.reason, "duration_s": round(self.duration_s, 3)}


def night_seed(campaign: str, date: str, repetition: int) -> int:
    """63 bits that change with the night: what one seed cannot show, another night's does."""
    text = f"night {campaign} {date} {repetition}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def planned(
    entries: Sequence[Entry], repetitions: int, seeds: Sequence[int], reachable: Mapping[str, tuple[str, ...]]
) -> Iterator[Step]:
    """Every step in order. ``reachable``: entry -> its variants that the reference can run, too; without, none runs."""
    number = 0
    for repetition in range(repetitions):
        for place, entry in enumerate(entries):
            variants = reachable.get(entry.name, ())
            simulated = entry.backend == "sim"
            if not variants or (simulated and repetition):
                continue
            first = (repetition + place) % len(entry.processes)
            for role in (*entry.processes[first:], *entry.processes[:first]):
                name = f"{number:04d}-r{repetition}-{entry.name}-{role}"
                run = entry.variants_of(role)
                chosen = tuple(each for each in run if each in variants or each == entry.reference.variant)
                repeat = repetitions if simulated else 1
                yield Step(name, entry, role, chosen, repetition, seeds[repetition], repeat)
                number += 1


def carry_out(
    step: Step, build: Build, folder: Path, *, compiled: bool | None, quick: bool, deadline_s: float
) -> tuple[State, Path | None, str]:
    """Run a step to its end in ``folder``: what came of it, its run directory, and why it did not measure.

    What an earlier try that was killed left there is gone on with. Raises RecordError when the disk is full.
    """
    if (before := _complete_run(folder)) is not None:
        return "measured", before, ""
    resumed = folder.is_dir() and any(folder.glob("*/*/run.json"))
    folder.mkdir(parents=True, exist_ok=True)
    # it runs in a directory of its own, where a relative path would be another
    words = build.argv(*step.words(folder.absolute(), quick=quick), *(["--resume"] if resumed else []))
    child = process.start(
        words,
        cwd=build.root,
        environment=build.environment(compiled),
        stdout=folder / "stdout.log",
        stderr=folder / "stderr.log",
    )
    try:
        code = child.wait(deadline_s)
    except NotReady:
        return "invalid", None, f"it did not end within {deadline_s:g} s"
    finally:
        child.stop(STOP_S)
    run = _complete_run(folder)
    if run is not None:
        return "measured", run, ""
    said = _last_line(folder / "stderr.log")
    if _FULL in said or shutil.disk_usage(folder).free < _RESERVE_BYTES:
        raise RecordError(
            f"no space left in {folder.parent}: what was measured is kept; make room and call testbed nightly again, "
            "which goes on from there"
        )
    if code in (_USAGE, _NOTHING_RAN):
        return "unsupported", None, said.removeprefix("UNSUPPORTED: ")
    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    return "invalid", None, f"the run {how}: {said or 'no message'}"


def _complete_run(folder: Path) -> Path | None:
    for document in sorted(folder.glob("*/*/run.json"), reverse=True):
        try:
            if RunDirectory.open(document.parent).is_complete:
                return document.parent
        except RecordError:
            continue
    return None


def _last_line(path: Path) -> str:
    try:
        lines = path.read_text(errors="replace").split("\n")
    except OSError:
        return ""
    said = [line.strip() for line in lines if line.strip()]
    return said[-1].removeprefix("testbed: ") if said else ""
