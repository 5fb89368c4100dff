"""Reports of runs and of captures: each shape of a page that the others do not have."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import guest_run
import hand_made_analysis
import synthetic_run

from analysis.report import write_report
from analysis.report.capture_write import write_capture_report
from experiments.claims import CLAIMS
from experiments.option_contention import option_contention
from experiments.quickstart import quickstart
from testbed.orchestrator import overrides, runner
from testbed.orchestrator.spec import Experiment

INVALID = {4: ("INVALID", "path1: calibrated 18.1 Mbit/s, expected 20 Mbit/s within 2 %")}


def _interrupted(folder: Path) -> Path:
    """Trials that are missing, one that could not be measured, and a machine that stood still and holds no seed."""
    asked = synthetic_run.aggregation()
    stalled = {0: 134, 2: 1534}
    return _report(guest_run.make(folder, experiment=asked, stalled=stalled, verdicts=INVALID, stop_after=7))


def _failed(folder: Path) -> Path:
    experiment = synthetic_run.handover(repetitions=1)
    strict = dataclasses.replace(experiment.expectations[0], at_most=1e6)
    run = dataclasses.replace(experiment, expectations=(strict, *experiment.expectations[1:]))
    return _report(synthetic_run.make_run(folder, run, verdicts={2: ("UNSUPPORTED", "this kernel has no redundant")}))


def _sweep(folder: Path) -> Path:
    return _report(synthetic_run.make_run(folder, synthetic_run.loss_sweep(points=3, repetitions=1)))


def _nothing(folder: Path) -> Path:
    return _report(synthetic_run.make_run(folder, synthetic_run.aggregation(), stop_after=0))


def _simulated(folder: Path) -> Path:
    """With ledger and captures: byte budget, displacement, what-if, sequence."""
    return _simulate(folder, quickstart(), [], "duration=200ms", "repetitions=1", "capture=true")


def _matrix(folder: Path) -> Path:
    experiment = option_contention("quick")
    names = [variant.name for variant in experiment.variants if variant.name.endswith("-2w-ts-loss2-v4")]
    chosen = [name for name in names if name.split("/")[0] in ("linux", "dense-32", "thin-maps", "late-map")]
    return _simulate(folder, experiment, chosen, "duration=100ms", "sample_interval=100ms", "repetitions=1")


def _grid(folder: Path) -> Path:
    run = synthetic_run.make_run(
        folder, synthetic_run.grid(), alter=synthetic_run.ended, verdicts={1: ("INVALID", "path1: too late")}
    )
    return _report(run)


def _claims(folder: Path) -> Path:
    experiment = synthetic_run.aggregation(repetitions=1)
    evidence = [("S28", "for", 1.8), ("S28", "for", 3.0), ("N14", "against", 1.8), ("N2", "for", 9.0)]
    expectations = tuple(
        dataclasses.replace(experiment.expectations[0], at_least=bound, claim=claim, speaks=speaks)
        for claim, speaks, bound in evidence
    )
    claims = tuple(CLAIMS[name] for name in ("S28", "N14", "N2"))
    return _report(
        synthetic_run.make_run(
            folder, dataclasses.replace(experiment, expectations=expectations, claims=claims, any_outcome=True)
        )
    )


def _simulate(folder: Path, experiment: Experiment, variants: Sequence[str], *changes: str) -> Path:
    chosen = overrides.only_variants(experiment, variants) if variants else experiment
    request = runner.RunRequest(experiment=overrides.apply(chosen, list(changes)), parent=folder, backend="sim")
    return _report(runner.run(request, lambda _: None).path)


def _capture(folder: Path) -> Path:
    return write_capture_report(hand_made_analysis.make(folder / "made.analysis", warnings=["made.pcap: damaged"]))


def _report(run: Path) -> Path:
    return next(path for path in write_report(run) if path.name == "report.html")


PAGES: list[tuple[str, Callable[[Path], Path]]] = [
    ("report of an interrupted run", _interrupted),
    ("report of a failure", _failed),
    ("report of a sweep", _sweep),
    ("report of nothing", _nothing),
    ("report with a ledger", _simulated),
    ("report of a matrix", _matrix),
    ("report of a grid", _grid),
    ("report of claims", _claims),
    ("capture", _capture),
]
