"""What changed between kernels: a counter that one lacks, a verdict that changed, a grid, numbers apart, long words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compared_runs import experiment, make

import analysis
from analysis.report.kernels_write import write_kernels
from experiments.claims import CLAIMS
from testbed.orchestrator.grid import Grid, GridCell, GridColumn, GridRow
from testbed.orchestrator.spec import Expectation

VARIANTS = ("announces-ipv6-with-a-port-and-timestamps", "falls-back")
KERNELS = ("6.1", "6.12", "7.3")


def page(directory: Path) -> Path:
    bounds = (
        ("goodput_bit_s", 0, 1e6, None, "two narrow paths carry it"),
        ("counter:MPTcpExtAddAddrTxDrop@server", 0, 1, "N12", "12 + 30 octets are more than the 40 that TCP has"),
        ("counter:MPTcpExtDssFallback@server", 1, 1, "N11", "a counter of newer kernels"),
        ("retransmits", 1, 0, None, "the same everywhere"),
    )
    cell = GridCell(variant=VARIANTS[1], row="box", column=GridColumn(pair="linux/linux", role="to"), fates=("mptcp",))
    asked = experiment(
        VARIANTS,
        repetitions=2,
        claims=(CLAIMS["N12"], CLAIMS["N11"]),
        expectations=tuple(
            Expectation(
                variant=VARIANTS[number], metric=metric, at_least=bound, statistic="min", because=because, claim=claim
            )
            for metric, number, bound, claim, because in bounds
        ),
        grid=Grid(heading="box", rows=(GridRow(name="box", text="a box", because="it may"),), cells=(cell,)),
    )
    runs = []
    for age, kernel in enumerate(KERNELS):

        def numbers(_variant: str, repetition: int, _seed: int, age: int = age) -> Mapping[str, Any]:
            counters = {("server", "MPTcpExtAddAddrTxDrop"): 0 if age == 2 else 1}
            counters["server", "MPTcpExtDssFallback"] = 4 if age else None
            numbers = {"goodput_bit_s": 2e6 * (1 + age) + repetition, "retransmits": 3, "counters": counters}
            return {**numbers, "fallback": age == 0, "in_force": "linux"}

        there = {"backend": f"vm:{kernel}", "host": "root@127.0.0.1:1", "clock": "virtual"}
        document = {"kernel": {"release": f"{kernel}.9+deb13-cloud-amd64", "version": ""}, "ran_on": there}
        path = make(directory / "runs", numbers, asked, document=document)
        (path / "report.html").write_text("<!DOCTYPE html><title>report</title>")
        runs.append(analysis.load(path))
    return write_kernels(runs, directory / "kernels", ["testbed", "matrix", "--kernels", ",".join(KERNELS)])[0]


PAGES = [("kernels", page)]
