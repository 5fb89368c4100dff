"""run.json of runs in virtual machines, each with a kernel and what it can do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

MACHINE = {"architecture": "x86_64", "processor": "QEMU TCG CPU version 2.5+", "cores": 1, "clock_source": "tsc"}
COUNTERS = ["MPCapableSYNRX", "MPJoinSynRx"]


def in_machine(word: str, release: str, more: Mapping[str, Any]) -> dict[str, Any]:
    """run.json of a run in a machine with that kernel."""
    capabilities = {
        "kernel": release,
        "counters": COUNTERS,
        "sysctls": {"enabled": "1", "stale_loss_cnt": "4"},
        "mptcp_info_bytes": 48,
        "netem_seed": False,
        **more,
    }
    booted = {"shift": "0", "acceleration": "tcg", "cpus": "1", "memory_mib": "1536", "boot_s": "6.5"}
    told = {"backend": f"vm:{word}", "host": "root@127.0.0.1:4022", "clock": "virtual", "kernel": word, **booted}
    return {
        "backend": "mininet",
        "machine": MACHINE,
        "kernel": {"release": release, "version": f"#1 SMP PREEMPT_DYNAMIC Debian {release} (2026-11-01)"},
        "ran_on": {**told, "capabilities": json.dumps(capabilities)},
    }
