"""Small facts about processes that only the kernel knows: dying with a parent, who comes from whom, who listens."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_TCP_LISTEN = "0A"

_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent: int) -> Callable[[], None]:
    """What a child calls between fork and exec to get SIGKILL when process ``parent`` ends (prctl(2))."""

    def set_up() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before the call
            os._exit(1)

    return set_up


def is_listening(port: int) -> bool:
    """Whether anybody in this network namespace listens on a TCP port (an MPTCP listener is one, too)."""
    for name in ("tcp", "tcp6"):
        table = Path("/proc/self/net") / name
        if not table.exists():
            continue
        for line in table.read_text().splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            if state == _TCP_LISTEN and int(local.rpartition(":")[2], 16) == port:
                return True
    return False


def adopt_orphans() -> None:
    """From now on, what a child of ours leaves behind becomes our child (PR_SET_CHILD_SUBREAPER, prctl(2))."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)


def descendants(ancestor: int) -> list[int]:
    """Every process that came from ``ancestor`` and runs in this PID namespace, the nearest first."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            stat = (entry / "stat").read_text()
        except OSError:  # it ended meanwhile
            continue
        state, parent = stat.rpartition(")")[2].split()[:2]  # proc_pid_stat(5): the name may hold anything
        if state != "Z":
            parents.setdefault(int(parent), []).append(int(entry.name))
    found = [ancestor]
    for pid in found:
        found += parents.get(pid, [])
    return found[1:]
