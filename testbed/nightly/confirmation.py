"""Before anyone is told: old against new once more, in pairs of their own, and the verdict on these pairs.

*New* is the candidate. *Old* is the build of the last night at the old level, where git still has it; else the
reference, with the level that the series had there. Nothing of the night that raised the alarm enters the verdict.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from analysis.history.judging import Confirmation, confirm
from analysis.history.states import SeriesState
from analysis.measured import Measurements
from analysis.runs import Run, load
from testbed.nightly.builds import Build
from testbed.nightly.campaign import Campaign
from testbed.nightly.entries import Entry, Number
from testbed.nightly.rows import broken_flows
from testbed.nightly.steps import Step, night_seed

SMALLEST_PAIRS: Final = 6
"""Fewer valid pairs decide nothing (analysis.comparison)."""


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A series that is to be measured again."""

    entry: Entry
    number: Number
    state: SeriesState | None
    """None: no number changed, but a flow of the variant broke."""
    level: float = 1.0
    """What new over old is if nothing has changed; of differences, new less old."""


@dataclass(frozen=True, slots=True)
class Rerun:
    """Suspicions that are measured again by the same two builds, or by two variants of one."""

    name: str
    entry: Entry
    new: Build
    old: Build | None
    """None: old is the reference variant, in the same process."""
    suspicions: tuple[Suspicion, ...]

    @property
    def variants(self) -> tuple[str, ...]:
        """The candidates' variants."""
        wanted = {suspicion.number.variant for suspicion in self.suspicions}
        return tuple(name for name in self.entry.variants if name in wanted)

    def steps(self, campaign: str, date: str, pairs: int) -> Iterator[tuple[Step, Build]]:
        """In virtual time nothing drifts: all pairs in one process of each side. In real time pair by pair, the sides
        in turns."""
        simulated = self.entry.backend == "sim"
        rounds, repeat = (1, pairs) if simulated else (pairs, 1)
        for number in range(rounds):
            seed = night_seed(f"confirmation {campaign}", date, number)
            sides = self._sides()
            for side, variants, build in sides if number % 2 == 0 else sides[::-1]:
                name = f"{self.name}-{number:02d}-{side}"
                yield Step(name, self.entry, side, variants, number, seed, repeat), build

    def captures(self, campaign: str, date: str) -> Iterator[tuple[Step, Build]]:
        """The first pair once more, with packets to look at."""
        seed = night_seed(f"confirmation {campaign}", date, 0)
        for side, variants, build in self._sides():
            yield Step(f"{self.name}-captures-{side}", self.entry, side, variants, 0, seed, 1, True), build

    def _sides(self) -> list[tuple[str, tuple[str, ...], Build]]:
        reference = self.entry.reference.variant
        if self.old is None:
            assert reference is not None
            return [("pair", (*self.variants, reference), self.new)]
        return [("old", self.variants, self.old), ("new", self.variants, self.new)]


@dataclass(frozen=True, slots=True)
class Finding:
    """What the re-run says of a suspicion."""

    suspicion: Suspicion
    rerun: Rerun
    verdict: Confirmation | None
    """On the numbers; None of flows that broke."""
    pairs: int
    broken_new: int = 0
    """Of the pairs, those in which the flow broke with the new build; with the old one."""
    broken_old: int = 0

    @property
    def measured(self) -> bool:
        """Whether there are pairs enough to say anything."""
        return self.pairs >= SMALLEST_PAIRS

    @property
    def confirmed(self) -> bool:
        """Whether the re-run bears the alarm out."""
        if self.verdict is not None:
            return self.measured and self.verdict.confirmed
        return self.measured and self.broken_new > self.broken_old


def reruns(suspicions: Sequence[tuple[Suspicion, Build | None]], new: Build) -> list[Rerun]:
    """Grouped, so that each entry and old build is run once."""
    groups: dict[tuple[str, str], tuple[Build | None, list[Suspicion]]] = {}
    for suspicion, old in suspicions:
        key = suspicion.entry.name, old.identity if old else ""
        groups.setdefault(key, (old, []))[1].append(suspicion)
    return [
        Rerun(f"{number:02d}-{name}", members[0].entry, new, old, tuple(members))
        for number, ((name, _), (old, members)) in enumerate(sorted(groups.items()))
    ]


def findings(
    done: Mapping[str, Sequence[tuple[Step, Path | None]]], groups: Sequence[Rerun], campaign: Campaign
) -> list[Finding]:
    """Verdicts on every suspicion, all judged together. ``done``: name of the re-run -> its steps and their runs."""
    made: list[Finding] = []
    pairs: dict[str, tuple[list[float], list[float]]] = {}
    states: list[SeriesState] = []
    for rerun in groups:
        sides = _Sides(rerun, done[rerun.name])
        for suspicion in rerun.suspicions:
            if suspicion.state is None:
                made.append(sides.of_broken(suspicion))
                continue
            pairs[suspicion.number.name] = old, new = sides.pairs(suspicion, suspicion.state)
            states.append(suspicion.state)
            made.append(Finding(suspicion, rerun, None, min(len(old), len(new))))
    judged = confirm(states, pairs, smallest=campaign.thresholds.smallest_share)
    verdicts = {verdict.series: verdict for verdict in judged}
    return [
        replace(one, verdict=verdicts[one.suspicion.number.name]) if one.suspicion.state is not None else one
        for one in made
    ]


class _Sides:
    """The runs of both sides of a re-run."""

    def __init__(self, rerun: Rerun, steps: Sequence[tuple[Step, Path | None]]) -> None:
        self._rerun = rerun
        self._runs: dict[str, list[Run]] = {"old": [], "new": [], "pair": []}
        for step, path in steps:
            if path is not None and not step.capture:
                self._runs[step.role].append(load(path))
        self._measurements = {run.path: Measurements(run) for runs in self._runs.values() for run in runs}

    def pairs(self, suspicion: Suspicion, state: SeriesState) -> tuple[list[float], list[float]]:
        """Old and new values, seed by seed; old ones moved by the level that is expected between the two."""
        number, level = suspicion.number, suspicion.level
        reference = self._rerun.entry.reference.variant
        if self._rerun.old is None and reference is not None:
            new, old = self._values("pair", number, number.variant), self._values("pair", number, reference)
        else:
            new, old = (self._values(side, number, number.variant) for side in ("new", "old"))
        seeds = sorted(new.keys() & old.keys())
        moved = [old[seed] + level if state.kind == "difference" else old[seed] * level for seed in seeds]
        return moved, [new[seed] for seed in seeds]

    def _values(self, side: str, number: Number, variant: str) -> dict[int, float]:
        """Seed -> value, of all runs of a side."""
        found: dict[int, float] = {}
        for run in self._runs[side]:
            seeds = {row["trial"]: row["seed"] for row in run.directory.read_table("trials").to_pylist()}
            values = self._measurements[run.path].of(number.metric, variant, number.flow).values
            found |= {seeds[trial]: value for trial, value in values.items()}
        return found

    def of_broken(self, suspicion: Suspicion) -> Finding:
        number = suspicion.number
        counts = {}
        for side in ("new", "old"):
            counts[side] = [0, 0]
            for run in self._runs[side]:
                rows: list[dict[str, Any]] = run.directory.read_table("trials").to_pylist()
                counts[side][0] += sum(row["variant"] == number.variant and row["verdict"] == "VALID" for row in rows)
                counts[side][1] += broken_flows(run).get((number.variant, number.flow), (0, ""))[0]
        pairs = min(counts["new"][0], counts["old"][0])
        return Finding(suspicion, self._rerun, None, pairs, counts["new"][1], counts["old"][1])
