"""What the machine was: everything about it that has ever changed somebody's results, for run.json.

Read, never guessed: what cannot be read is null.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import testbed
from testbed.orchestrator import process
from testbed.orchestrator.errors import TestbedError

ROOT = Path(testbed.__file__).parents[1]
LIBRARIES = ("mininet", "numpy", "pandas", "pyarrow", "pydantic", "scipy")
SHIPPED = ".shipped.json"
"""In the root of a checkout that another machine sent (``testbed.remote``): its ``source``; git is not sent."""
TOOLS: Mapping[str, Sequence[str]] = {
    "ip": ("ip", "-V"),
    "tcpdump": ("tcpdump", "--version"),
    "ethtool": ("ethtool", "--version"),
    "iperf3": ("iperf3", "--version"),
}
SYSCTLS = (
    "net.ipv4.tcp_congestion_control",
    "net.ipv4.tcp_available_congestion_control",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
    "net.ipv4.tcp_timestamps",
    "net.ipv4.tcp_sack",
    "net.core.rmem_max",
    "net.core.wmem_max",
    "net.core.default_qdisc",
    "net.mptcp.enabled",
    "net.mptcp.checksum_enabled",
    "net.mptcp.scheduler",
    "net.mptcp.available_schedulers",
    "net.mptcp.path_manager",
    "net.mptcp.pm_type",
    "net.mptcp.stale_loss_cnt",
    "net.mptcp.allow_join_initial_addr_port",
    "net.mptcp.add_addr_timeout",
    "net.mptcp.add_addr_v6_port_drop_ts",
)


def describe() -> dict[str, Any]:
    """The keys ``source``, ``versions``, ``machine``, ``kernel`` and ``sysctls`` of run.json."""
    return {
        "source": source(),
        "versions": versions(),
        "machine": machine(),
        "kernel": kernel(),
        "sysctls": {"machine": sysctls(SYSCTLS)},
    }


def source(root: Path = ROOT) -> dict[str, Any]:
    """Commit of the testbed, and whether files differ from it."""
    if (shipped := root / SHIPPED).exists():  # first: the home directory it lies in may be a repository itself
        sent: dict[str, Any] = json.loads(shipped.read_bytes())
        return sent
    git = ("git", "-c", f"safe.directory={root}", "-C", str(root))  # root reads a checkout that a user owns
    commit = _output(*git, "rev-parse", "HEAD")
    status = _output(*git, "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit or None, "dirty": None if status is None else bool(status)}


def versions() -> dict[str, str | None]:
    """Of the testbed, Python, the libraries and the tools."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    for name, argv in TOOLS.items():
        said = re.search(r"\d+(\.\d+)+", _output(*argv) or "")
        found[name] = said[0] if said else None
    return found


def machine() -> dict[str, Any]:
    """Processor, cores, memory, virtualisation, clock source."""
    cpu = _field("/proc/cpuinfo", "model name")
    memory = _field("/proc/meminfo", "MemTotal")
    return {
        "architecture": platform.machine(),
        "processor": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": int(memory.split()[0]) * 1024 if memory else None,
        "virtualised": "hypervisor" in (_field("/proc/cpuinfo", "flags") or "").split(),
        "clock_source": _text("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        "distribution": platform.freedesktop_os_release().get("PRETTY_NAME") if _has_os_release() else None,
    }


def kernel() -> dict[str, Any]:
    """Release and build, as uname(2) tells."""
    name = os.uname()
    return {"release": name.release, "version": name.version}


def sysctls(names: Sequence[str]) -> dict[str, str | None]:
    """Name -> value in the network namespace of the calling thread; null: this kernel has no such setting."""
    return {name: _text(f"/proc/sys/{name.replace('.', '/')}") for name in names}


def _has_os_release() -> bool:
    return Path("/etc/os-release").exists() or Path("/usr/lib/os-release").exists()


def _text(path: str) -> str | None:
    try:
        return Path(path).read_text().strip().replace("\t", " ")
    except OSError:
        return None


def _field(path: str, name: str) -> str | None:
    for line in (_text(path) or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None


def _output(*argv: str) -> str | None:
    try:
        return process.run(argv, deadline_s=10.0).strip()
    except TestbedError:
        return None
