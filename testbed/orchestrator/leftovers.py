"""Processes that an earlier run left on this machine, found by their mark and removed by their number.

Normally there are none: namespaces have no names, workers die with their orchestrator. What can remain after a hard
kill outside of isolation is a daemonised child (and the namespaces that it holds open). A process counts as left over
when its environment carries our mark (``run_identity``) *and* the orchestrator that the mark names is gone; what
belongs to a run that is still going on is never touched. Interfaces are not looked for: ours exist only in namespaces
without a name, and go with the last process that holds them. Nothing is ever found or removed by what it is called.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from testbed.orchestrator.readiness import wait_until
from testbed.orchestrator.run_identity import ORCHESTRATOR_VARIABLE, RUN_ID_VARIABLE, Orchestrator, start_ticks

REMOVAL_DEADLINE_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """One process without an owner."""

    pid: int
    start_ticks: int
    """Tells it apart from a later one with the same number."""
    run_id: str
    command: str
    net_namespace: int
    """Inode number of the network namespace that it is in, and so keeps."""

    def __str__(self) -> str:
        holds = f"holds network namespace {self.net_namespace}"
        return f"process {self.pid} of run {self.run_id or '?'}: {self.command}, {holds}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What was found, and how much of the machine could not be looked at."""

    found: tuple[Leftover, ...]
    unreadable: int
    """Processes (the kernel's own threads aside) whose environment is not ours to read: some without root."""

    def __str__(self) -> str:
        """One line for people; it says nothing about what was not looked at."""
        remedy = "" if os.geteuid() == 0 else ": that needs root"
        unread = f"; processes that could not be looked at: {self.unreadable}{remedy}"
        return f"{len(self.found) or 'nothing'} left over{unread if self.unreadable else ''}"


def search(proc: Path = Path("/proc")) -> Search:
    """Every process of ours on this machine whose orchestrator is gone, as far as we may look."""
    found: list[Leftover] = []
    unreadable = 0
    for directory in proc.iterdir():
        if not directory.name.isdigit() or int(directory.name) == os.getpid():
            continue
        try:
            leftover = _look_at(directory)
        except PermissionError:
            unreadable += _is_program(directory)
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
        else:
            found += [leftover] if leftover is not None else []
    return Search(found=tuple(found), unreadable=unreadable)


def find_leftovers(proc: Path = Path("/proc")) -> list[Leftover]:
    """What :func:`search` found; only with root it is everything."""
    return list(search(proc).found)


def remove(leftover: Leftover) -> None:
    """End the process (SIGKILL) and wait until it is gone. Gone already is fine."""
    try:
        pidfd = os.pidfd_open(leftover.pid)
    except ProcessLookupError:
        return
    try:
        if start_ticks(leftover.pid) != leftover.start_ticks:  # looked at after the pidfd: it is of this very process
            return
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    finally:
        os.close(pidfd)
    wait_until(
        lambda: start_ticks(leftover.pid) != leftover.start_ticks,
        REMOVAL_DEADLINE_S,
        f"process {leftover.pid} to end",
    )


def _look_at(directory: Path) -> Leftover | None:
    """None: not ours, or its owner lives or cannot be judged. Raises OSError when it may not be read, or is gone."""
    environment = _environment(directory)
    owner = Orchestrator.parse(environment.get(ORCHESTRATOR_VARIABLE, ""))
    if owner is None or owner.is_alive() is not False:
        return None
    ticks = start_ticks(int(directory.name))
    if ticks is None:
        return None
    command = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    return Leftover(
        pid=int(directory.name),
        start_ticks=ticks,
        run_id=environment.get(RUN_ID_VARIABLE, ""),
        command=command,
        net_namespace=(directory / "ns" / "net").stat().st_ino,
    )


def _is_program(directory: Path) -> bool:
    """Kernel threads and zombies have no command line, which everybody may read."""
    try:
        return bool((directory / "cmdline").read_bytes())
    except (FileNotFoundError, ProcessLookupError):
        return False


def _environment(directory: Path) -> dict[str, str]:
    words = (directory / "environ").read_bytes().split(b"\0")
    pairs = (word.decode(errors="replace").partition("=") for word in words if word)
    return {name: value for name, _, value in pairs}
