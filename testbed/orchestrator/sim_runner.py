"""The trials of a run in virtual time: which variants can, and the trials side by side in a few processes.

Trials do not disturb one another here, so their number at a time changes nothing but the waiting. No privileges and no
kernel feature are needed.

A trial at a time has a process and a pipe of its own, so one that dies takes no other trial with it (the queues of a
pool can then stay locked, or half a message in them). None outlives this process: they are killed when it stops early,
and by PR_SET_PDEATHSIG when it is killed itself; the signal is set first and the parent looked at second, so dying in
between is noticed, too (prctl(2)).
"""

from __future__ import annotations

import ctypes
import dataclasses
import gc
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

from testbed.endpoint import interrupts
from testbed.orchestrator import overrides, sim_trial
from testbed.orchestrator.errors import Interrupted, InvalidTrial, Unsupported
from testbed.orchestrator.plan import Trial
from testbed.orchestrator.process import PR_SET_PDEATHSIG
from testbed.orchestrator.spec import Experiment
from testbed.orchestrator.trial import Outcome
from testbed.record.run_directory import RunDirectory

_libc = ctypes.CDLL(None, use_errno=True)

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


def without_effect(experiment: Experiment) -> Mapping[str, str]:
    """Keys that were set and mean nothing here -> why."""
    reasons = {
        "offloads": "segments have no offloads in virtual time",
        "realisation": "links are the model itself in virtual time",
        "retries": "no trial is disturbed in virtual time, so none is tried again",
    }
    defaults = {field.name: field.default for field in dataclasses.fields(Experiment)}
    return {key: why for key, why in reasons.items() if getattr(experiment, key) != defaults[key]}


def carry_out(
    experiment: Experiment, trials: Sequence[Trial], directory: RunDirectory, jobs: int | None, on_message: OnMessage
) -> None:
    """All of ``trials``; each is stored when it has ended. ``jobs`` None: as many at a time as there are processors.

    Raises Interrupted after Ctrl-C or SIGTERM, and InvalidTrial when a process died; what is stored by then stays.
    """
    at_a_time = min(jobs or len(os.sched_getaffinity(0)), len(trials))
    try:
        with interrupts.sigterm_like_ctrl_c(), _heap_left_alone():
            if at_a_time == 1:
                _one_by_one(experiment, trials, directory, on_message)
            else:
                _several(experiment, trials, directory, at_a_time, on_message)
    except KeyboardInterrupt:
        raise Interrupted("stopped by the user") from None


@contextmanager
def _heap_left_alone() -> Iterator[None]:
    """What is there by now (libraries, a matrix of thousands of variants) is no garbage of a trial: each trial would
    look at all of it (0.26 s of 0.68 s with 4,032 variants), and a forked process copy it by looking."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _one_by_one(
    experiment: Experiment, trials: Sequence[Trial], directory: RunDirectory, on_message: OnMessage
) -> None:
    with interrupts.noted() as stop_if_asked:

        def progress(phase: str, expected_s: float) -> None:
            stop_if_asked()
            on_message({"kind": "phase", "phase": phase, "expected_s": expected_s} if phase else {"kind": "tick"})

        for trial in trials:
            stop_if_asked()
            on_message({"kind": "trial", "expected_s": experiment.duration_ns / 1e9, **identity(trial)})
            outcome = sim_trial.run_trial(experiment, trial, directory.begin_trial(trial.number), progress)
            keep(trial, outcome, directory, on_message)


def _several(
    experiment: Experiment, trials: Sequence[Trial], directory: RunDirectory, jobs: int, on_message: OnMessage
) -> None:
    waiting = deque(trials)
    running: dict[Connection, tuple[ForkProcess, Trial]] = {}
    lost: dict[int, str] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                trial = waiting.popleft()
                reader, process = _started(experiment, trial, directory.begin_trial(trial.number))
                running[reader] = process, trial
            for reader in [each for each in wait(list(running)) if isinstance(each, Connection)]:
                process, trial = running.pop(reader)
                outcome = _received(reader)
                process.join()
                if isinstance(outcome, str):
                    lost[trial.number] = outcome
                    continue
                expected_s = experiment.duration_ns / 1e9
                on_message({"kind": "trial", "expected_s": expected_s, "over": True, **identity(trial)})
                keep(trial, outcome, directory, on_message)
    finally:
        for process, _ in running.values():
            process.kill()
            process.join()
    if lost:
        numbers = ", ".join(map(str, sorted(lost)))
        if said := next(filter(None, lost.values()), ""):
            raise InvalidTrial(
                f"trial {numbers} ended with {said}; what was done is kept and --resume goes on (--jobs 1 shows where)"
            )
        raise InvalidTrial(
            f"processes died, as for want of memory, with trial {numbers}; what was done is kept and --resume goes on "
            "(--jobs 1 needs the least memory)"
        )


def _started(experiment: Experiment, trial: Trial, folder: Path) -> tuple[Connection, ForkProcess]:
    """A process at work on a trial, and where its outcome will come from; the end of file says that it died."""
    reader, writer = multiprocessing.Pipe(duplex=False)
    arguments = (os.getpid(), writer, experiment, trial, folder)
    process = multiprocessing.get_context("fork").Process(target=_work, args=arguments, daemon=True)
    process.start()
    writer.close()  # the next process must not inherit it
    return reader, process


def _work(parent: int, writer: Connection, experiment: Experiment, trial: Trial, folder: Path) -> None:
    try:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
        if os.getppid() == parent:
            writer.send(sim_trial.run_trial(experiment, trial, folder, _silent))
    except Exception as error:  # a defect of ours: without its name it would pass for want of memory
        writer.send(f"{type(error).__name__}: {(str(error).splitlines() or ['no more is said'])[0]}")
    finally:
        os._exit(0)  # what is buffered for the terminal is the parent's to write


def _received(reader: Connection) -> Outcome | str:
    """A text: how the process failed; empty when it died before, or while, it told."""
    with reader:
        try:
            outcome: Outcome | str = reader.recv()
        except (EOFError, OSError):
            return ""
        return outcome


def keep(trial: Trial, outcome: Outcome, directory: RunDirectory, on_message: OnMessage) -> None:
    """Store a trial and say how it ended."""
    directory.store_trial(outcome.record)
    row = outcome.record.tables["trials"][0]
    on_message(
        {
            "kind": "ended",
            "verdict": outcome.verdict,
            "reason": outcome.reason,
            "goodput_bit_s": row.get("goodput_bit_s"),
            "duration_s": row["duration_ns"] / 1e9,
            **identity(trial),
        }
    )


def identity(trial: Trial) -> dict[str, Any]:
    """What every message on a trial says of it."""
    return {"number": trial.number, "variant": trial.variant, "repetition": trial.repetition}


def _silent(_phase: str, _expected_s: float) -> None:
    """Progress is told by the process that started this one."""
