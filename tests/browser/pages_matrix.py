"""The page of a matrix with each kind of cell; small, for every element is looked at a dozen times."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from matrix_run import Outcomes, make_matrix_run

import analysis
from analysis.report.interop_write import render_matrix
from experiments.interop import build, chosen_tests, implementation

ENDS = ("linux", "userspace:rfc8684", "linux@6.12")
ASKED = ("handshake", "join", "fallback_payload", "goodput")
OUTCOMES: Outcomes = {
    "handshake/linux/linux": ("pass", "reset"),
    "join/linux/userspace.rfc8684": "INVALID",
    "fallback_payload/linux/linux": "mptcp",
    "join/userspace.rfc8684/linux": "unmet",
    "goodput/userspace.rfc8684/linux": "UNSUPPORTED",
}


def page(directory: Path) -> Path:
    ends = [implementation(name) for name in ENDS]
    ends[-1] = dataclasses.replace(ends[-1], obstacle=f"{ENDS[-1]}: it did not boot")
    experiment = build(ends, tests=chosen_tests(ASKED), repetitions=2)
    path = make_matrix_run(directory, experiment, OUTCOMES)
    run = analysis.load(path)
    for name, text in render_matrix(run).items():
        run.directory.write_file(name, text)
    run.directory.write_file("report.html", "<!DOCTYPE html><title>report</title>")
    return path / "matrix.html"


PAGES = [("matrix", page)]
