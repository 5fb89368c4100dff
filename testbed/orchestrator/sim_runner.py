"""The trials of a run in virtual time: which variants can, and the trials side by side in a few processes.

Trials do not disturb one another here, so their number at a time changes nothing but the waiting. No privileges and no
kernel feature are needed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from typing import Any

from testbed.orchestrator import overrides, sim_trial
from testbed.orchestrator.errors import Interrupted, Unsupported
from testbed.orchestrator.plan import Trial
from testbed.orchestrator.spec import Experiment
from testbed.orchestrator.trial import Outcome
from testbed.record.run_directory import RunDirectory

OnMessage = Callable[[Mapping[str, Any]], None]


def runnable(experiment: Experiment) -> tuple[Experiment, Mapping[str, str]]:
    """The experiment with the variants that can run here, and the others with the reason.

    Raises Unsupported when there is none.
    """
    obstacles = {
        variant.name: obstacle
        for variant in experiment.variants
        if (obstacle := sim_trial.why_not(variant)) is not None
    }
    names = [variant.name for variant in experiment.variants if variant.name not in obstacles]
    if not names:
        reason = next(iter(obstacles.values()))
        raise Unsupported(f"no variant of {experiment.name} can run in the simulator: {reason}")
    return (overrides.only_variants(experiment, names) if obstacles else experiment), obstacles


def carry_out(
    experiment: Experiment, trials: Sequence[Trial], directory: RunDirectory, jobs: int | None, on_message: OnMessage
) -> None:
    """All of ``trials``; each is stored when it has ended. ``jobs`` None: as many at a time as there are processors."""
    at_a_time = min(jobs or len(os.sched_getaffinity(0)), len(trials))
    try:
        if at_a_time == 1:
            for trial in trials:
                _one(experiment, trial, directory, on_message)
        else:
            _several(experiment, trials, directory, at_a_time, on_message)
    except KeyboardInterrupt:
        raise Interrupted("stopped by the user") from None


def _one(experiment: Experiment, trial: Trial, directory: RunDirectory, on_message: OnMessage) -> None:
    on_message({"kind": "trial", "expected_s": experiment.duration_ns / 1e9, **_identity(trial)})

    def progress(phase: str, expected_s: float) -> None:
        on_message({"kind": "phase", "phase": phase, "expected_s": expected_s} if phase else {"kind": "tick"})

    outcome = sim_trial.run_trial(experiment, trial, directory.begin_trial(trial.number), progress)
    _keep(trial, outcome, directory, on_message)


def _several(
    experiment: Experiment, trials: Sequence[Trial], directory: RunDirectory, jobs: int, on_message: OnMessage
) -> None:
    with ProcessPoolExecutor(max_workers=jobs) as pool:
        running: dict[Future[Outcome], Trial] = {}
        try:
            for trial in trials:
                folder = directory.begin_trial(trial.number)
                running[pool.submit(sim_trial.run_trial, experiment, trial, folder, _silent)] = trial
            for future in as_completed(running):
                trial = running[future]
                on_message({"kind": "trial", "expected_s": experiment.duration_ns / 1e9, **_identity(trial)})
                _keep(trial, future.result(), directory, on_message)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _keep(trial: Trial, outcome: Outcome, directory: RunDirectory, on_message: OnMessage) -> None:
    directory.store_trial(outcome.record)
    row = outcome.record.tables["trials"][0]
    on_message(
        {
            "kind": "ended",
            "verdict": outcome.verdict,
            "reason": outcome.reason,
            "goodput_bit_s": row.get("goodput_bit_s"),
            "duration_s": row["duration_ns"] / 1e9,
            **_identity(trial),
        }
    )


def _identity(trial: Trial) -> dict[str, Any]:
    return {"number": trial.number, "variant": trial.variant, "repetition": trial.repetition}


def _silent(_phase: str, _expected_s: float) -> None:
    """Progress is told by the process that started this one."""
