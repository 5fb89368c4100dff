"""Reports of runs and of captures: each shape of a page that the others do not have."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import hand_made_analysis
import synthetic_run

from analysis.report import write_report
from analysis.report.capture_write import write_capture_report

INVALID = {4: ("INVALID", "path1: calibrated 18.1 Mbit/s, expected 20 Mbit/s within 2 %")}


def _aggregation(folder: Path) -> Path:
    return _report(synthetic_run.make_run(folder, synthetic_run.aggregation(), verdicts=INVALID))


def _failed(folder: Path) -> Path:
    experiment = synthetic_run.handover(repetitions=1)
    strict = dataclasses.replace(experiment.expectations[0], at_most=1e6)
    run = dataclasses.replace(experiment, expectations=(strict, *experiment.expectations[1:]))
    return _report(synthetic_run.make_run(folder, run, verdicts={2: ("UNSUPPORTED", "this kernel has no redundant")}))


def _sweep(folder: Path) -> Path:
    return _report(synthetic_run.make_run(folder, synthetic_run.loss_sweep(points=4, repetitions=2)))


def _nothing(folder: Path) -> Path:
    return _report(synthetic_run.make_run(folder, synthetic_run.aggregation(), stop_after=0))


def _interrupted(folder: Path) -> Path:
    return _report(synthetic_run.make_run(folder, synthetic_run.aggregation(), stop_after=4))


def _capture(folder: Path) -> Path:
    return write_capture_report(hand_made_analysis.make(folder / "made.analysis", warnings=["made.pcap: damaged"]))


def _report(run: Path) -> Path:
    return next(path for path in write_report(run) if path.name == "report.html")


PAGES: list[tuple[str, Callable[[Path], Path]]] = [
    ("report", _aggregation),
    ("report of a failure", _failed),
    ("report of a sweep", _sweep),
    ("report of nothing", _nothing),
    ("report of an interrupted run", _interrupted),
    ("capture", _capture),
]
