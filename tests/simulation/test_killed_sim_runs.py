"""Runs in virtual time that are killed, or lose a process: nothing of them stays, and each is completed by --resume."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from experiments.catalog import build
from testbed.orchestrator import runner, sim_trial
from testbed.orchestrator.errors import InvalidTrial
from testbed.orchestrator.overrides import apply, only_variants
from testbed.orchestrator.plan import Trial
from testbed.orchestrator.readiness import wait_until
from testbed.orchestrator.run_identity import start_ticks
from testbed.orchestrator.spec import Experiment
from testbed.orchestrator.trial import Outcome
from testbed.record.run_directory import RunDirectory

ROOT = Path(__file__).parents[2]
LONG = "300s"
"""Simulated; no trial ends by itself while a test looks."""


def start(parent: Path, duration: str, *words: str, jobs: int = 2) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "testbed", "run", "quickstart", "--set", f"duration={duration}"]
    return subprocess.Popen(
        [*argv, "--jobs", str(jobs), "-q", "--out", str(parent), *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    process = start(tmp_path, LONG)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def workers(run: subprocess.Popen[str]) -> dict[int, int | None]:
    """Pid -> when it was started, of the processes at work on a trial."""

    def both_busy() -> bool:
        try:
            ticks = [sum(map(int, Path(f"/proc/{pid}/stat").read_text().split()[13:15])) for pid in children(run.pid)]
        except (FileNotFoundError, ProcessLookupError):
            return False  # one of those that look at the machine, as before every run
        return len(ticks) == 2 and min(ticks) > 10

    wait_until(both_busy, 30, "two trials to be under way")
    return {pid: start_ticks(pid) for pid in children(run.pid)}


def wait_for_the_end_of(started: dict[int, int | None]) -> None:
    def gone() -> bool:
        return not any(ticks is not None and start_ticks(pid) == ticks for pid, ticks in started.items())

    wait_until(gone, 10, "the processes of the run to end")


def test_the_processes_of_a_run_that_is_killed_end_with_it(run: subprocess.Popen[str]) -> None:
    started = workers(run)
    run.kill()
    run.wait()
    wait_for_the_end_of(started)


def test_sigterm_stops_a_run_at_once_and_in_order(run: subprocess.Popen[str]) -> None:
    started = workers(run)
    run.terminate()
    _, said = run.communicate(timeout=10)
    assert run.returncode == 130
    assert said.splitlines() == [said.strip()], "one line, no traceback"
    assert "--resume goes on" in said
    wait_for_the_end_of(started)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_run_of_a_trial_at_a_time_is_stopped_in_the_middle_of_a_trial(tmp_path: Path, how: signal.Signals) -> None:
    begun = start(tmp_path, LONG, jobs=1)
    try:
        wait_until(lambda: [*tmp_path.glob("*/*/trials/*")], 30, "a trial to be under way")
        begun.send_signal(how)
        _, said = begun.communicate(timeout=10)
    finally:
        begun.kill()
        begun.communicate()
    assert begun.returncode == 130
    assert said.splitlines() == [said.strip()], "one line, no traceback"
    assert "--resume goes on" in said
    (path,) = tmp_path.glob("*/*/")
    assert RunDirectory.open(path).completed_trials() == ()


def test_a_run_that_loses_its_processes_says_so_and_can_be_resumed(tmp_path: Path, run: subprocess.Popen[str]) -> None:
    started: dict[int, int | None] = {}
    while run.poll() is None:
        for pid in children(run.pid):
            started[pid] = start_ticks(pid)
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    _, said = run.communicate(timeout=10)
    assert run.returncode == 3
    assert said.splitlines() == [said.strip()], "one line, no traceback"
    assert "processes died, as for want of memory, with trial" in said
    wait_for_the_end_of(started)
    (path,) = tmp_path.glob("*/*/")
    assert not RunDirectory.open(path).is_complete


def test_a_defect_of_ours_is_named_and_does_not_pass_for_want_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = sim_trial.run_trial

    def broken(experiment: Experiment, trial: Trial, *rest: Any) -> Outcome:
        if trial.repetition == 1:
            raise OverflowError("too large\nfor a column")
        return whole(experiment, trial, *rest)

    monkeypatch.setattr(sim_trial, "run_trial", broken)
    experiment = apply(only_variants(build("quickstart", {}), ["userspace-tcp"]), ["duration=100ms", "repetitions=3"])

    with pytest.raises(InvalidTrial, match=r"^trial 1 ended with OverflowError: too large; what was done is kept"):
        runner.run(runner.RunRequest(experiment, tmp_path, backend="sim", jobs=2), lambda message: None)

    (path,) = tmp_path.glob("*/*/")
    assert RunDirectory.open(path).completed_trials() == (0, 2)


def test_a_process_that_dies_takes_no_other_trial_with_it(tmp_path: Path) -> None:
    """Killed at the busiest moment: as a trial has just ended, and the next has begun beside another."""
    begun = start(tmp_path, "2s", "--repeat", "2")
    try:
        (path,) = (
            each.parent for each in wait_until(lambda: [*tmp_path.glob("*/*/run.json")], 20, "the run directory")
        )
        known = set(wait_until(lambda: children(begun.pid), 10, "a process"))
        wait_until(lambda: bool(RunDirectory.open(path).completed_trials()), 60, "a trial to be stored")
        known |= set(children(begun.pid))
        # one that has just been started: any other may have told its outcome already
        fresh = wait_until(lambda: set(children(begun.pid)) - known, 60, "the next process")
        os.kill(fresh.pop(), signal.SIGKILL)
        begun.communicate(timeout=60)
        assert begun.returncode == 3
    finally:
        begun.kill()
        begun.communicate()
    assert len(RunDirectory.open(path).remaining_trials()) == 1
    resumed = start(tmp_path, "2s", "--repeat", "2", "--resume")
    resumed.communicate(timeout=60)
    record = RunDirectory.open(path)
    assert record.is_complete
    assert record.altered_files() == ()
