"""The page of several kernels: a change, a hole, an expectation that one of them misses, one that has no run."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compared_runs import experiment, make
from kernel_runs import COUNTERS, in_machine

from analysis.comparison.kernels import compare_kernels
from analysis.report.compare_kernels_write import write_kernels_comparison
from analysis.runs import load
from testbed.orchestrator.spec import Expectation

NEWER = {
    "counters": [*COUNTERS, "MPJoinSynTx", "MPJoinSynTxCreatSkErr"],
    "sysctls": {"enabled": "1", "stale_loss_cnt": "4", "scheduler": "default"},
    "mptcp_info_bytes": 96,
    "mptcp_full_info_bytes": 48,
    "netem_seed": True,
}
KERNELS = [
    ("6.1", "6.1.0-56-cloud-amd64", {"mptcp_full_info_bytes": None}, 1.0),
    ("6.12", "6.12.117+deb13-cloud-amd64", NEWER, 1.06),
    ("bzimage:/home/somebody/linux-with-a-long-name/arch/x86/boot/bzImage", "5.4.302-mptcp", {"counters": None}, 0.9),
]


def numbers(factor: float, has_blocks: bool) -> Any:
    def found(variant: str, repetition: int, seed: int) -> Mapping[str, Any]:
        rng = random.Random(seed)
        of_kernel = factor if variant == "mptcp-with-a-rather-long-name" else 1.0
        return {
            "goodput_bit_s": 1e7 * of_kernel * rng.uniform(0.999, 1.001),
            "completion_time_ns": int(5e9 / of_kernel * rng.uniform(0.999, 1.001)),
            "retransmits": round(40 * rng.uniform(0.8, 1.2)),
            "counters": {("client", "MPTcpExtMPFailRx"): 0, ("server", "MPTcpExtRmAddr"): 2 if factor == 1 else 9},
            **({"block_delay_p50_ns": 7_000_000} if has_blocks else {}),
        }

    return found


def page(directory: Path) -> Path:
    bound = Expectation(variant="mptcp-with-a-rather-long-name", metric="goodput_bit_s", at_least=9.5e6, because="x")
    asked = dataclasses.replace(
        experiment(("mptcp-with-a-rather-long-name", "tcp"), repetitions=8), expectations=(bound,)
    )
    runs = [
        load(
            make(
                directory / str(index),
                numbers(factor, has_blocks=index != 2),
                asked,
                document=in_machine(word, release, more),
                verdicts={3: ("INVALID", "path1: calibrated 18.1 Mbit/s")} if index == 1 else {},
            )
        )
        for index, (word, release, more, factor) in enumerate(KERNELS)
    ]
    absent = [
        ("7.3", "QEMU ended with 0 before the guest was up; its console (vm/runs/x/console.log) ends with: panic")
    ]
    command = ["testbed", "vm", "run", "compared", "--kernels", "6.1,6.12,bz:/home/somebody/bzImage,7.3"]
    return write_kernels_comparison(compare_kernels(runs, absent), directory / "out", command)[0]


PAGES = [("kernels", page)]
