"""Nights without processes: every step leaves a run directory with made numbers, so that dozens of nights take seconds.

The numbers are those of a deterministic stack: the same seed and build give the same goodput, and a build has a speed.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from experiments import catalog
from testbed.nightly import builds, measuring, preparation
from testbed.nightly.builds import Build
from testbed.nightly.preparation import Prepared, Request, prepare
from testbed.nightly.steps import Step
from testbed.orchestrator import overrides, plan
from testbed.orchestrator.spec import digest, to_json
from testbed.record import RunDirectory, TrialRecord

CAMPAIGN = """
name = "tiny"
summary = "One flow, made up"
repetitions = {repetitions}
reference = {{ {reference} }}
confirmation_pairs = {pairs}

[[series]]
experiment = "aggregation"
variants = ["userspace"]
metrics = ["goodput_bit_s"]
"""

SURROUNDINGS: Mapping[str, Any] = {
    "source": {"commit": "0" * 40, "dirty": False},
    "versions": {"python": "3.11"},
    "machine": {"processor": "made", "cores": 2, "architecture": "x", "virtualised": False, "clock_source": "tsc"},
    "kernel": {"release": "6.1", "version": "#1"},
    "sysctls": {"machine": {}},
}


@dataclass
class Stack:
    """What the made builds do: speed of a build by its commit, and what goes wrong."""

    speed: dict[str, float] = field(default_factory=dict)
    """Commit -> factor of its goodput."""
    candidate: str = "a" * 40
    state: Callable[[Step], tuple[str, str]] = lambda step: ("measured", "")
    broken: Callable[[Step, int], bool] = lambda step, repetition: False
    noise: float = 0.0
    """Spread of the goodput that is not the seed's: what real time adds."""
    steps: list[tuple[str, str]] = field(default_factory=list)
    """(commit, name of the step) of every process that would have been started."""
    shelf: Path | None = None
    """Where runs are kept, to be copied when the same is asked for again."""

    def build(self, commit: str) -> Build:
        return Build(Path("/nowhere") / commit, commit, False, f"digest of {commit}")

    def carry_out(self, step: Step, build: Build, folder: Path, **_: Any) -> tuple[Any, Path | None, str]:
        assert build.commit is not None
        done = sorted(folder.glob("*/*/run.json"))
        if done:
            return "measured", done[0].parent, ""
        self.steps.append((build.commit, step.name))
        state, reason = self.state(step)
        if state != "measured":
            return state, None, reason
        if self.shelf is None:
            return "measured", self._run(step, build.commit, folder), ""
        speed = self.speed.get(build.commit, 1.0)
        kept = self.shelf / f"{step.seed} {speed} {step.repeat} {' '.join(step.variants)}"
        path = next(kept.glob("*/*"), None) or self._run(step, build.commit, kept)
        shutil.copytree(kept, folder, copy_function=os.link, dirs_exist_ok=True)  # runs never change
        return "measured", folder / path.relative_to(kept), ""

    def _run(self, step: Step, commit: str, folder: Path) -> Path:
        experiment = overrides.only_variants(catalog.build(step.entry.experiment), step.variants)
        experiment = replace(experiment, repetitions=step.repeat, seed=step.seed)
        trials = plan.trials(experiment)
        document = {
            "experiment": to_json(experiment),
            "plan": [trial.as_row() for trial in trials],
            "seed": step.seed,
            "backend": "sim",
            "command": [],
            "overrides": {},
            **SURROUNDINGS,
        }
        run = RunDirectory.create(folder, experiment.name, digest(experiment), document)
        for trial in trials:
            chance = random.Random(f"{trial.seed} {trial.variant}")
            goodput = 20e6 * self.speed.get(commit, 1.0) * chance.uniform(0.9, 1.1)
            if self.noise:
                goodput *= random.Random(f"{step.name} {commit} {trial.seed}").gauss(1, self.noise)
            run.store_trial(TrialRecord(trial.number, self._tables(step, trial, goodput)))
        run.complete()
        return run.path

    def _tables(self, step: Step, trial: plan.Trial, goodput: float) -> dict[str, list[dict[str, Any]]]:
        broke = self.broken(step, trial.repetition)
        row = {"trial": trial.number, "experiment": step.entry.experiment, **trial.as_row(), "verdict": "VALID"}
        row |= {"reason": "", "backend": "sim", "realisation": "sim", "started_utc": "2026-01-01T00:00:00.000Z"}
        row |= {"duration_ns": 1, "goodput_bit_s": goodput}
        flow = {"trial": trial.number, "flow": "main", "implementation": "userspace", "application": "bulk"}
        flow |= {"direction": "upload", "client_host": "client", "server_host": "server", "family": 4}
        flow |= {"goodput_bit_s": goodput, "integrity": "mismatch" if broke else "ok"}
        return {"trials": [row], "flows": [flow]}


def write_campaign(
    folder: Path, *, reference: str = 'build = "accepted"', repetitions: int = 6, pairs: int = 20
) -> Path:
    path = folder / "tiny.toml"
    path.write_text(CAMPAIGN.format(reference=reference, repetitions=repetitions, pairs=pairs))
    return path


def install(patch: pytest.MonkeyPatch, stack: Stack) -> None:
    """No process, no git: builds are names of commits."""
    patch.setattr(measuring, "carry_out", stack.carry_out)
    patch.setattr(preparation.environment, "describe", lambda: dict(SURROUNDINGS))
    patch.setattr(preparation, "reach", _all_of_them)
    patch.setattr(measuring, "reach", _all_of_them)
    patch.setattr(measuring, "knows_messages", lambda candidate, reference: True)
    patch.setattr(builds, "candidate", lambda: stack.build(stack.candidate))
    patch.setattr(builds, "exported", lambda revision, repository: stack.build(revision))
    patch.setattr(builds, "_git", lambda root, *words: stack.candidate)
    patch.setattr(builds, "_is_top", lambda root: True)


def prepared(folder: Path, campaign: Path, date: str | None, **changes: Any) -> Prepared:
    return prepare(
        Request(
            campaign=str(campaign),
            history=folder / "history",
            site=folder / "site",
            out=folder / "nights",
            date=date,
            **changes,
        )
    )


def _all_of_them(night: Prepared, _tell: object) -> tuple[dict[str, tuple[str, ...]], dict[tuple[str, str], str]]:
    return {entry.name: entry.variants for entry in night.entries}, {}
