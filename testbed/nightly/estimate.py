"""How long a night will take: as long as the last ones did on this machine, or a first guess."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from testbed.nightly.steps import Step

START_S: Final = 2.5
"""Of a process beyond its trials: imports, run directory, verdicts."""
SIMULATED_TRIAL_S: Final = 1.0
"""Processor time of a trial of a few seconds at some 20 Mbit/s, compiled (benchmarks/)."""
REAL_TRIAL_S: Final = 2.0
"""Of a trial in real time beyond its traffic: building and checking the network (``runner.OVERHEAD_S``)."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Time that a night takes."""

    seconds: float
    measured: bool
    """Whether earlier nights told; else it is a guess."""

    @property
    def words(self) -> str:
        """``about 12 minutes``."""
        size = f"{self.seconds / 60:.0f} minutes" if self.seconds >= 90 else f"{self.seconds:.0f} seconds"
        return f"about {size}" + ("" if self.measured else " (a guess: no night here yet)")


def estimate(steps: Sequence[Step], manifests: Sequence[Mapping[str, Any]]) -> Estimate:
    """The time of these steps. ``manifests``: of the nights of this campaign on this machine, oldest first."""
    known: dict[str, float] = {}
    for manifest in manifests:
        known |= manifest.get("durations_s", {})
    seconds, guessed = 0.0, False
    for step in steps:
        key = f"{step.entry.name} {step.role}"
        guessed = guessed or key not in known
        seconds += known.get(key, _guess(step))
    return Estimate(seconds, not guessed)


def _guess(step: Step) -> float:
    trials = len(step.variants) * step.repeat
    if step.entry.backend == "sim":
        return START_S + trials * SIMULATED_TRIAL_S / min(trials, len(os.sched_getaffinity(0)))
    return START_S + trials * (step.entry.duration_s + REAL_TRIAL_S)
