"""``--scheduler``: a real Dask scheduler and its workers as processes of their own, on loopback.

The trials are the same to the byte as with ``--jobs 1``, whichever worker makes them and whoever is lost on the way.
"""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from command_line import testbed as _testbed
from same_run import differing

from experiments.catalog import build
from testbed.orchestrator import cluster, cluster_worker, environment, sim_trial
from testbed.orchestrator.errors import Interrupted, InvalidTrial, Unsupported
from testbed.orchestrator.overrides import apply, only_variants
from testbed.orchestrator.readiness import wait_until
from testbed.orchestrator.runner import RunRequest, run
from testbed.orchestrator.spec import Experiment
from testbed.record.run_directory import RunDirectory

ROOT = Path(__file__).parents[2]
LOOPBACK = ("--host", "127.0.0.1", "--no-dashboard", "--dashboard-address", "127.0.0.1:0")
WORKERS = 3


def experiment() -> Experiment:
    chosen = only_variants(build("quickstart", {}), ["userspace-tcp", "userspace/userspace"])
    return apply(chosen, ["traffic.size=30KiB", "repetitions=4", "capture=true"])


def unheard(_message: Mapping[str, Any]) -> None:
    """Nobody listens."""


class Dask:
    """A scheduler and workers, told apart by their pids."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self.address = ""

    def begin(self) -> None:
        contact = self._folder / "scheduler.json"
        # it ends by itself, and its workers with it, if this process is killed
        self._start("dask_scheduler", "--port", "0", "--scheduler-file", str(contact), "--idle-timeout", "180s")
        for number in range(WORKERS):
            # a worker waits for the file of its scheduler, so all of them start at once
            words = ("--nthreads", "1", "--no-nanny", "--local-directory", str(self._folder / f"worker{number}"))
            self._start("dask_worker", "--scheduler-file", str(contact), "--death-timeout", "60", *words)

        def address() -> str:
            try:
                return str(json.loads(contact.read_text())["address"])
            except (FileNotFoundError, ValueError):  # not there, or half written
                return ""

        self.address = wait_until(address, 60, "the scheduler to say where it is")

    def _start(self, program: str, *words: str) -> None:
        argv = [sys.executable, "-m", f"distributed.cli.{program}", *LOOPBACK, *words]
        with (self._folder / "log.txt").open("ab") as log:
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            self._processes.append(subprocess.Popen(argv, cwd=self._folder, env=environment, stdout=log, stderr=log))

    def kill(self, pid: int) -> None:
        """A worker, as the kernel does for want of memory."""
        (process,) = (each for each in self._processes[1:] if each.pid == pid)
        process.kill()
        process.wait()

    def end(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()


@pytest.fixture(scope="module", autouse=True)
def described_once() -> Iterator[None]:
    """What this machine and checkout are does not change while a test runs, and takes time to find out."""
    surroundings = environment.describe()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(environment, "describe", lambda: surroundings)
        yield


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dask]:
    started = Dask(tmp_path_factory.mktemp("dask"))
    try:
        started.begin()
        yield started
    finally:
        started.end()


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run with ``--jobs 1``."""
    return run(RunRequest(experiment(), tmp_path_factory.mktemp("alone"), backend="sim", jobs=1), unheard).path


def on(dask: Dask, parent: Path, **other: Any) -> RunRequest:
    return RunRequest(experiment(), parent, backend="sim", scheduler=dask.address, **other)


def test_trials_in_processes_are_the_same_as_one_after_the_other(alone: Path, tmp_path: Path) -> None:
    several = run(RunRequest(experiment(), tmp_path, backend="sim", jobs=2), unheard).path

    assert differing(alone, several) == []


def test_a_run_that_is_stopped_keeps_what_has_arrived_and_goes_on_with_the_rest(
    dask: Dask, alone: Path, tmp_path: Path
) -> None:
    def stop_after_the_first(message: Mapping[str, Any]) -> None:
        if message["kind"] == "ended":
            raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        run(on(dask, tmp_path), stop_after_the_first)

    (path,) = tmp_path.glob("*/*/")
    kept = len(RunDirectory.open(path).completed_trials())
    assert 0 < kept < len(RunDirectory.open(path).planned_trials())
    said: list[Mapping[str, Any]] = []
    resumed = run(on(dask, tmp_path, resume=True), said.append)
    assert resumed.path == path
    assert differing(alone, path) == []
    assert sum(message["kind"] == "ended" for message in said) == len(resumed.planned_trials()) - kept
    (note,) = resumed.document["notes"]
    assert note == f"The trials were carried out by {WORKERS} workers on 1 machine of {dask.address}."


def test_a_worker_of_other_sources_is_named_and_nothing_is_begun(
    dask: Dask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = {**cluster_worker.facts(), "sources": "0123456789abcdef", "commit": "0123456"}
    monkeypatch.setattr(cluster_worker, "_facts", lambda: ours)  # here alone: a worker asks its own

    with pytest.raises(
        Unsupported, match=r"worker tcp://127\.0\.0\.1:\d+ on .* has other sources .* here it is 0123456"
    ):
        run(on(dask, tmp_path), unheard)

    assert list(tmp_path.iterdir()) == []


def test_a_lost_worker_loses_no_trial(dask: Dask, alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marker = tmp_path / "worker"

    def carry_out_but_wait_the_first_time(task: bytes, ours: Mapping[str, str]) -> bytes:
        import pickle
        import threading

        from testbed.orchestrator import cluster_worker

        _, trial = pickle.loads(task)
        if trial.number == 3 and not marker.exists():
            marker.write_text(str(os.getpid()))
            threading.Event().wait()  # for its end
        return cluster_worker.carry_out(task, ours)

    monkeypatch.setattr(cluster_worker, "carry_out", carry_out_but_wait_the_first_time)  # goes there by value
    ended: list[int] = []

    def kill_the_worker_that_waits(message: Mapping[str, Any]) -> None:
        if message["kind"] == "ended":
            ended.append(message["number"])
            if len(ended) == 7:
                dask.kill(int(marker.read_text()))

    path = run(on(dask, tmp_path / "runs"), kill_the_worker_that_waits).path

    assert sorted(ended) == list(range(8)), "each once"
    assert ended[-1] == 3
    assert differing(alone, path) == []


def test_a_trial_that_takes_its_worker_with_it_is_named_and_the_others_are_kept(
    dask: Dask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deadly = 5

    def deadly_carry_out(task: bytes, ours: Mapping[str, str]) -> bytes:
        import pickle

        from testbed.orchestrator import cluster_worker

        _, trial = pickle.loads(task)
        if trial.number == deadly:
            os._exit(1)
        return cluster_worker.carry_out(task, ours)

    monkeypatch.setattr(cluster_worker, "carry_out", deadly_carry_out)
    monkeypatch.setattr(cluster, "AHEAD", 1)  # no other trial waits on the worker that is lost
    from distributed import Client

    with Client(dask.address, set_as_default=False) as client:  # here one lost worker is one too many
        client.run_on_scheduler(lambda dask_scheduler: setattr(dask_scheduler, "allowed_failures", 0))

    with pytest.raises(InvalidTrial, match=f"trial {deadly} took 1 worker with it.*--resume goes on"):
        run(on(dask, tmp_path), unheard)

    (path,) = tmp_path.glob("*/*/")
    assert RunDirectory.open(path).remaining_trials() == (deadly,)


@pytest.mark.parametrize("listening", [False, True], ids=["refused", "silent"])
def test_a_scheduler_that_does_not_answer_is_one_line_and_leaves_nothing(
    listening: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "CONNECT_S", 0.3)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        if listening:  # and never says a word
            taken.listen()
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        words = ("run", "quickstart", "--scheduler", address, "--out", str(tmp_path))
        begun_s = time.monotonic()
        result = _testbed(*words)

    assert result.returncode == 4
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("testbed:")]
    assert line.startswith(f"testbed: UNSUPPORTED: --scheduler {address}: no Dask scheduler answers there within 0.3 s")
    assert time.monotonic() - begun_s < 10
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--scheduler", "localhost"), "write tcp://HOST:PORT"),
        (("--scheduler", "tcp://h:1", "--backend", "mininet"), "is for --backend sim"),
        (("--scheduler", "tcp://h:1", "--jobs", "2"), "choose one"),
    ],
)
def test_a_scheduler_that_cannot_be_meant_is_a_usage_error(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    result = _testbed("run", "quickstart", *words, "--out", str(tmp_path))

    assert result.returncode == 2
    assert said in result.stderr


def test_a_worker_makes_the_same_of_a_trial_that_travelled(tmp_path: Path) -> None:
    """Its experiment is reduced to one variant: of a plan of thousands, no task carries the rest."""
    from testbed.orchestrator.plan import trials

    whole = build("option_contention", {})
    trial = next(each for each in trials(whole) if sim_trial.why_not(whole.variant(each.variant)) is None)

    task = cluster_worker.packed(whole, trial)

    assert len(whole.variants) > 100
    assert len(task) < 10_000
    short = dataclasses.replace(whole, duration_ns=100_000_000)
    outcome, _ = cluster_worker.unpacked(
        cluster_worker.carry_out(cluster_worker.packed(short, trial), cluster_worker.facts())
    )
    for kind in ("captures", "logs"):
        (tmp_path / kind).mkdir()
    here = sim_trial.run_trial(short, trial, tmp_path, lambda _phase, _expected_s: None)
    assert outcome.verdict == here.verdict
    assert outcome.record.tables["ledger_sums"] == here.record.tables["ledger_sums"]
