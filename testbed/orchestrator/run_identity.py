"""What marks a process as ours: the run it belongs to and the orchestrator that answers for it.

Every child carries both in its environment. The orchestrator is named by its pid, its start time (a pid alone is
reused) and the PID namespace in which that number is valid, so that two runs on one machine can tell their own things
from the other's, and what has an owner from what has lost it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

RUN_ID_VARIABLE = "TESTBED_RUN_ID"
ORCHESTRATOR_VARIABLE = "TESTBED_ORCHESTRATOR"

_WORD = re.compile(r"(\d+)@(\d+)@(\d+)")


@dataclass(frozen=True, slots=True)
class Orchestrator:
    """A process of this machine, told apart from all others before and after it."""

    pid: int
    start_ticks: int
    """Field 22 of /proc/PID/stat: clock ticks after boot."""
    pid_namespace: int
    """Inode number of its PID namespace."""

    def __str__(self) -> str:
        return f"{self.pid}@{self.start_ticks}@{self.pid_namespace}"

    @classmethod
    def parse(cls, text: str) -> Orchestrator | None:
        """What :meth:`__str__` wrote; None for anything else."""
        match = _WORD.fullmatch(text)
        return cls(int(match[1]), int(match[2]), int(match[3])) if match else None

    @classmethod
    def this_process(cls) -> Orchestrator:
        """The calling process."""
        pid = os.getpid()
        ticks = start_ticks(pid)
        assert ticks is not None
        return cls(pid, ticks, pid_namespace())

    def is_alive(self) -> bool | None:
        """Whether it still runs; None: it lives in a PID namespace that cannot be judged from here."""
        if self.pid_namespace != pid_namespace():
            return None
        return start_ticks(self.pid) == self.start_ticks


def new_run_id() -> str:
    """A name that no other run has: random, eight hexadecimal digits."""
    return os.urandom(4).hex()


def environment(run_id: str) -> Mapping[str, str]:
    """The variables that every child of the run gets. An orchestrator set further out (``isolation``) stays."""
    owner = os.environ.get(ORCHESTRATOR_VARIABLE) or str(Orchestrator.this_process())
    return {RUN_ID_VARIABLE: run_id, ORCHESTRATOR_VARIABLE: owner}


def pid_namespace() -> int:
    """The inode number of the calling process's PID namespace."""
    return Path("/proc/self/ns/pid").stat().st_ino


def start_ticks(pid: int) -> int | None:
    """When a process was started; None: there is none of that number, or it is a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat[stat.rindex(b")") + 2 :].split()
    return None if fields[0] in (b"Z", b"X") else int(fields[19])
