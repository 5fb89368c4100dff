"""A run as of a virtual machine on real time: two clocks, a stall, seeds that the kernel may hold, what it can do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import synthetic_run

from testbed.orchestrator.spec import Experiment

SECOND, MS = 10**9, 10**6
CAPABILITIES: Mapping[str, Any] = {
    "kernel": "6.1.0-56-cloud-amd64",
    "architecture": "x86_64",
    "counters": ["MPCapableSYNRX", "AddAddr"],
    "sysctls": {"enabled": "1", "pm_type": "0"},
    "mptcp_info_bytes": 48,
    "mptcp_full_info_bytes": None,
    "netem_seed": False,
}


def ran_on(clock: str = "real", capabilities: Mapping[str, Any] | None = CAPABILITIES) -> dict[str, str]:
    told = {"backend": "vm:6.1", "host": "root@127.0.0.1:40022", "clock": clock, "kernel": "6.1", "cpus": "2"}
    return told | ({"capabilities": json.dumps(capabilities)} if capabilities is not None else {})


def make(
    parent: Path,
    *,
    clock: str = "real",
    held: int | None = None,
    stalled: Mapping[int, int] | None = None,
    unheard: tuple[int, ...] = (),
    experiment: Experiment | None = None,
    **more: Any,
) -> Path:
    """``held``: the seed that netem holds where it was given 7; ``stalled``: trial -> ms that the machine stood still;
    ``unheard``: trials of which the host heard late."""
    stalls = stalled or {}

    def alter(trial: int, tables: synthetic_run.Rows) -> None:
        (row,) = tables["trials"]
        row |= {"clock": clock, "duration_ns": 12 * SECOND}
        if trial not in unheard:
            row |= {"host_started_utc": "2026-01-01T12:00:00.000+00:00", "host_duration_ns": 31 * SECOND}
        if clock == "real" and row["verdict"] == "VALID":
            longest = stalls.get(trial, 4) * MS
            row |= {"stall_max_ns": longest, "stall_p99_ns": MS, "disturbed": trial in stalls}
            if trial in stalls:
                told = {"kind": "stall", "subject": "machine", "detail": f"stood still for {stalls[trial]} ms"}
                tables["events"].append({"trial": trial, "time_ns": 4 * SECOND, **told})
        for link in tables.get("links", ()):
            link |= {"realisation": "qdisc"}
            if link["direction"] == "forward":
                link |= {"seed_asked": 7, "seed_effective": held}

    document = {"ran_on": ran_on(clock), **more.pop("document", {})}
    asked = experiment or synthetic_run.aggregation(2)
    return synthetic_run.make_run(parent, asked, alter=alter, document=document, **more)
