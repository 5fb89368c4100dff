"""A whole run: the run directory, who carries out the trials, and what is said meanwhile.

In virtual time (backend ``sim``) that is this process and a few of its like (``sim_runner.py``). On real kernels
(``mininet``) it is an isolated worker, and one trial at a time on the machine, whoever's (``machine_lock.py``).

The worker (``isolation.py``) stores each trial as soon as it has ended, so whatever kills whom, what is done is kept
and ``resume`` goes on with the rest. The parent only listens. Nothing of the analysis is known here.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from testbed.orchestrator import environment, features, namespaces, overrides, spec
from testbed.orchestrator import plan as planning
from testbed.orchestrator.away import machine as away_machine
from testbed.orchestrator.away.exchange import AwayNode
from testbed.orchestrator.away.machine import AwayMachine
from testbed.orchestrator.collectors import jitter
from testbed.orchestrator.errors import Interrupted, Unsupported
from testbed.orchestrator.isolation import Messages, run_isolated
from testbed.orchestrator.machine_lock import Machine
from testbed.orchestrator.netem import QdiscFeatures
from testbed.orchestrator.plan import Trial
from testbed.orchestrator.run_identity import new_run_id
from testbed.orchestrator.spec import Experiment
from testbed.orchestrator.trial import run_trial
from testbed.record.errors import RecordError
from testbed.record.run_directory import RunDirectory, drawing_stem, unfinished_run
from topologies import drawing

OVERHEAD_S = 2.0
"""Of a trial beyond its traffic, for the first estimate of the time left."""


@dataclass(slots=True)
class RunRequest:
    """What the user asked for."""

    experiment: Experiment
    parent: Path
    """Where run directories are: ``parent/<experiment>/<time>-<digest>``."""
    command: Sequence[str] = ()
    """The words that the user typed, for run.json."""
    overrides: Mapping[str, str] = field(default_factory=dict)
    resume: bool = False
    backend: Literal["sim", "mininet"] = "mininet"
    jobs: int | None = None
    """Trials at a time in the simulator; None: one per processor. On real kernels it is always one."""
    scheduler: str | None = None
    """A Dask scheduler (``tcp://HOST:PORT``) whose workers carry out the simulator's trials."""
    ran_on: Mapping[str, str] | None = None
    """Run for another machine: what that one calls this one, for run.json."""
    away: AwayNode | None = None
    """A node that lives on another machine (real kernels only)."""


OnMessage = Callable[[Mapping[str, Any]], None]
"""Gets ``note``, ``run`` (path, trials), ``trial`` (begins; with ``over``: it ran beside others and has ended already),
``phase``, ``tick``, ``retry`` and ``ended`` messages."""


def why_not_here() -> str | None:
    """Why nothing can run on this machine; None: it can."""
    for feature in (features.root(), features.network_namespaces()):
        if not feature.available:
            return f"{feature.name}: {feature.detail}; needed by {feature.needed_by}: {feature.remedy}"
    return None


def for_real_time(experiment: Experiment) -> Experiment:
    """``experiment`` without the variants that are for the simulator alone. Raises Unsupported when none is left."""
    names = [variant.name for variant in experiment.variants if variant.only_on != "sim"]
    if not names:
        raise Unsupported(f"every variant of {experiment.name} is for --backend sim")
    return experiment if len(names) == len(experiment.variants) else overrides.only_variants(experiment, names)


def run(request: RunRequest, on_message: OnMessage) -> RunDirectory:
    """Carry out an experiment and return its complete run directory.

    Raises Unsupported when nothing can run here, Interrupted when the user stopped it (the path is in the message
    ``run``), RecordError when the directory cannot be written. INVALID trials are results, not errors.
    """
    if request.backend == "sim":
        from testbed.orchestrator import sim_runner  # here and below: real kernels need nothing of it

        experiment, obstacles = sim_runner.runnable(request.experiment)
        for name, obstacle in obstacles.items():
            on_message({"kind": "note", "text": f"variant {name} is left out: {obstacle}"})
        for key, why in sim_runner.without_effect(experiment).items():
            on_message({"kind": "note", "text": f"{key}={getattr(experiment, key)} has no effect: {why}"})
        request = dataclasses.replace(request, experiment=experiment)
    elif reason := why_not_here():
        raise Unsupported(reason)
    else:
        request = dataclasses.replace(request, experiment=for_real_time(request.experiment))
    for variant in request.experiment.variants:  # a specification error ends it before anything is made
        planning.network_settings(request.experiment, variant)
        for flow in variant.flows:
            planning.flow_links(variant.topology, flow)
    with ExitStack() as stack:
        away = stack.enter_context(_connected(request.away)) if request.away is not None else None
        workers = None
        if request.scheduler is not None:
            from testbed.orchestrator import cluster  # late: its library takes most of a second

            workers = stack.enter_context(cluster.connected(request.scheduler, on_message))
        directory = stack.enter_context(_open(request, on_message, away.about if away is not None else None))
        trials = {trial.number: trial for trial in planning.trials(request.experiment)}
        remaining = [trials[number] for number in directory.remaining_trials()]
        on_message({"kind": "run", "path": str(directory.path), "planned": len(trials), "remaining": len(remaining)})
        if remaining and workers is not None:
            note = f"The trials were carried out by {workers.words}."
            directory.update({"notes": [*dict.fromkeys([*directory.document.get("notes", []), note])]})
            workers.carry_out(request.experiment, remaining, directory, on_message)
        elif remaining and request.backend == "sim":
            from testbed.orchestrator import sim_runner

            sim_runner.carry_out(request.experiment, remaining, directory, request.jobs, on_message)
        elif remaining:
            run_id = new_run_id()
            qdiscs = features.qdiscs()
            machine = Machine(os.getpid(), str(directory.path.absolute()))

            def work(messages: Messages) -> None:
                for trial in remaining:
                    with machine.to_itself(
                        lambda text: messages.send("note", text=text), lambda: messages.send("tick")
                    ):
                        _carry_out(request.experiment, trial, directory, run_id, qdiscs, messages, away)

            run_isolated(work, run_id=run_id, on_message=on_message)
        if directory.remaining_trials():
            raise Interrupted("not all trials were carried out")
        directory.complete()
    return directory


@contextmanager
def _connected(where: AwayNode) -> Iterator[AwayMachine]:
    """One connection for the run; the worker inherits it, and where the private link is. Raises AwayLost."""
    home_fd = os.open(namespaces.CURRENT_NET, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with away_machine.connected(where, home_fd) as away:
            yield away
    finally:
        os.close(home_fd)


def _open(request: RunRequest, on_message: OnMessage, away: Mapping[str, Any] | None) -> RunDirectory:
    experiment = request.experiment
    digest = spec.digest(experiment)
    surroundings = environment.describe()
    if request.resume:
        path = unfinished_run(request.parent, experiment.name, digest)
        if path is not None:
            return _reopened(path, surroundings, away)
        on_message({"kind": "note", "text": f"no unfinished run of exactly this {experiment.name}: a new one begins"})
    document = {
        "experiment": spec.to_json(experiment),
        "plan": [trial.as_row() for trial in planning.trials(experiment)],
        "seed": experiment.seed,
        "backend": request.backend,
        "command": list(request.command),
        "overrides": dict(request.overrides),
        **surroundings,
    }
    if away is not None:
        document["away"] = dict(away)
    if request.ran_on is not None:
        document["ran_on"] = dict(request.ran_on)
    if notes := _notes(request):
        document["notes"] = notes
    directory = RunDirectory.create(request.parent, experiment.name, digest, document)
    first_of = {variant.topology: number for number, variant in reversed(list(enumerate(experiment.variants)))}
    for topology_of, number in sorted(first_of.items(), key=lambda item: item[1]):  # one drawing for each network
        variant, topology = experiment.variants[number], topology_of.resolved()
        stem = drawing_stem(variant.name)
        directory.write_file(f"{stem}.svg", drawing.as_svg(topology, id_prefix=f"network{number}"))
        directory.write_file(f"{stem}.txt", drawing.as_text(topology))
    return directory


def _notes(request: RunRequest) -> list[str]:
    """What a reader of the report has to know of this machine."""
    experiment = request.experiment
    if request.backend == "sim" or not experiment.ledger:
        return []
    if not any(planning.kernel_hosts(variant) for variant in experiment.variants):
        return []
    feature = features.kernel_ledger()
    return [] if feature.available else [f"The option ledger has no rows of the kernel's ends: {feature.detail}"]


def _reopened(path: Path, surroundings: Mapping[str, Any], away: Mapping[str, Any] | None) -> RunDirectory:
    """An unfinished run, to go on with. Raises RecordError when a machine or the testbed is not the same any more."""
    directory = RunDirectory.open(path, writable=True)
    pairs = [("", directory.document, surroundings), ("away ", directory.document.get("away") or {}, away or {})]
    for which, then, today in pairs:
        for key in ("source", "kernel", "versions", "machine"):
            before, now = then.get(key, {}), today.get(key, {})
            for name in sorted(before.keys() | now.keys()):
                if before.get(name) != now.get(name):
                    directory.close()
                    was = (
                        f"{path} was begun with {which}{key} {name} = {before.get(name)}, and now it is {now.get(name)}"
                    )
                    raise RecordError(f"{was}: its trials would not be comparable; run without --resume")
    directory.discard_partial()
    return directory


def _carry_out(
    experiment: Experiment,
    trial: Trial,
    directory: RunDirectory,
    run_id: str,
    qdiscs: QdiscFeatures,
    messages: Messages,
    away: AwayMachine | None,
) -> None:
    identity = {"number": trial.number, "variant": trial.variant, "repetition": trial.repetition}
    messages.send(
        "trial",
        expected_s=experiment.duration_ns / 1e9 + OVERHEAD_S,
        **identity,
    )

    def progress(phase: str, expected_s: float) -> None:
        if phase:
            messages.send("phase", phase=phase, expected_s=expected_s)
        else:
            messages.send("tick")

    earlier: list[str] = []
    while True:
        folder = directory.begin_trial(trial.number)
        outcome = run_trial(
            experiment,
            trial,
            run_id=run_id,
            directory=folder,
            qdiscs=qdiscs,
            progress=progress,
            watch_stalls=jitter.is_wanted(directory.document),
            away=away,
        )
        if not outcome.disturbed or len(earlier) == experiment.retries:
            break
        earlier.append(outcome.reason)
        messages.send("retry", reason=outcome.reason, **identity)
    directory.store_trial(outcome.with_earlier_attempts(earlier))
    row = outcome.record.tables["trials"][0]
    messages.send(
        "ended",
        verdict=outcome.verdict,
        reason=outcome.reason,
        goodput_bit_s=row.get("goodput_bit_s"),
        duration_s=row["duration_ns"] / 1e9,
        **identity,
    )
