"""The page of a matrix with each kind of cell, of two kernels whose runs were joined (that of one run has the same
parts and fewer); small, for every element is looked at a dozen times."""

from __future__ import annotations

from pathlib import Path

from matrix_run import Outcomes, make_matrix_run

import analysis
from analysis.interop import Absent, joined
from analysis.report.interop_write import render_matrix, write_result
from experiments.interop import build, chosen_tests, implementation

ENDS = ("linux@6.1", "userspace:rfc8684")
ASKED = ("handshake", "join", "fallback_payload", "goodput")
OUTCOMES: Outcomes = {
    "handshake/linux-6.1/linux-6.1": ("pass", "reset"),
    "join/linux-6.1/userspace.rfc8684": "INVALID",
    "fallback_payload/linux-6.1/linux-6.1": "mptcp",
    "join/userspace.rfc8684/linux-6.1": "unmet",
    "goodput/userspace.rfc8684/linux-6.1": "UNSUPPORTED",
}


def page(directory: Path) -> Path:
    runs = []
    for kernel, names, tests, outcomes in (("6.1", ENDS, ASKED, OUTCOMES), ("6.12", ("linux@6.12",), ("join",), {})):
        asked = build([implementation(name) for name in names], tests=chosen_tests(tests), repetitions=2)
        there = {"backend": f"vm:{kernel}", "host": "root@127.0.0.1:1", "clock": "virtual"}
        document = {"kernel": {"release": f"{kernel}.9+deb13-cloud-amd64", "version": ""}, "ran_on": there}
        run = analysis.load(make_matrix_run(directory / "runs", asked, outcomes, document=document))
        for name, text in render_matrix(run).items():
            run.directory.write_file(name, text)
        run.directory.write_file("report.html", "<!DOCTYPE html><title>report</title>")
        runs.append(run)
    absent = {("linux@6.1", "linux@6.12"): Absent("invalid", "vm:6.1+6.12: no answer in 180 s")}
    command = ["testbed", "matrix", "--kernels", "6.1,6.12"]
    matrix = joined(runs, directory / "joined", absent=absent, command=command)
    return write_result(matrix, directory / "joined")[0]


PAGES = [("matrix", page)]
