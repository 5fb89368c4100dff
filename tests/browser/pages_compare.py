"""The page of a comparison that has every kind of row: slower, more, fewer, a lost trial, something never measured."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compared_runs import experiment, make

from analysis.comparison.runs import compare_runs
from analysis.report.compare_write import write_comparison
from analysis.runs import load


def numbers(factor: float, seeds_differ: int) -> Any:
    def found(variant: str, repetition: int, seed: int) -> Mapping[str, Any]:
        rng = random.Random(seed + seeds_differ)
        slower = factor if variant == "mptcp-with-a-rather-long-name" else 1.0
        return {
            "goodput_bit_s": 1e7 * slower * rng.uniform(0.99, 1.01),
            "completion_time_ns": int(5e9 / slower * rng.uniform(0.99, 1.01)),
            "longest_stall_ns": 0 if repetition % 3 else int(4e8 * rng.random()),
            "retransmits": round(40 / slower**4 * rng.uniform(0.8, 1.2)),
            "latency_p99_ns": int(30e6 * rng.lognormvariate(0, 0.9)),
            "counters": {("client", "MPTcpExtMPFailRx"): 0 if factor == 1 else 3, ("server", "MPTcpExtRmAddr"): 2},
            **({"block_delay_p50_ns": 7_000_000} if factor == 1 else {}),
        }

    return found


def page(directory: Path) -> Path:
    asked = experiment(("mptcp-with-a-rather-long-name", "tcp"), repetitions=8)
    runs = [
        load(make(directory / name, numbers(factor, seed), asked, verdicts=verdicts))
        for name, factor, seed, verdicts in (
            ("reference", 1.0, 0, {}),
            (
                "candidate",
                0.9,
                1,
                {3: ("INVALID", "the link was 12 % slower than asked for: 8.8 instead of 10 Mbit/s")},
            ),
        )
    ]
    command = [
        "testbed",
        "compare",
        "runs/compared/20260101T120000Z-01234567",
        "runs/compared/20260102T120000Z-01234567",
    ]
    return write_comparison(compare_runs(*runs), directory / "out", command)[0]


PAGES = [("compare", page)]
