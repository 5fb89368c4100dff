"""What an earlier run left on this machine, found by its marks and removed by its numbers.

Normally nothing: namespaces have no names, workers die with their orchestrator. What can remain after a hard kill
outside of isolation is a daemonised child (and the namespaces that it holds open). A thing counts as left over when
it carries our mark *and* the orchestrator that the mark names is gone; what belongs to a run that is still going on
is never touched.

Marks: the environment of a process (``run_identity``), the alias ``testbed PID@START@PIDNS`` of an interface in the
namespace of the caller. Nothing is ever found or removed by what it is called.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from testbed.orchestrator import rtnetlink
from testbed.orchestrator.netlink import Netlink
from testbed.orchestrator.readiness import wait_until
from testbed.orchestrator.run_identity import ORCHESTRATOR_VARIABLE, RUN_ID_VARIABLE, Orchestrator, start_ticks

ALIAS_PREFIX = "testbed "
REMOVAL_DEADLINE_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """One thing without an owner."""

    kind: Literal["process", "interface"]
    number: int
    """pid or interface index."""
    start_ticks: int | None
    """Of a process: told apart from a later one with the same number."""
    run_id: str
    text: str
    """For people: the command line, or the interface's name."""
    net_namespace: int | None = None
    """Inode number of the network namespace that a process holds open."""

    def __str__(self) -> str:
        holds = f", holds network namespace {self.net_namespace}" if self.net_namespace is not None else ""
        return f"{self.kind} {self.number} of run {self.run_id or '?'}: {self.text}{holds}"


def find_leftovers(proc: Path = Path("/proc")) -> list[Leftover]:
    """Everything of ours on this machine whose orchestrator is gone; needs root to look into other users' processes."""
    return [*_processes(proc), *_interfaces()]


def remove(leftover: Leftover) -> None:
    """End the process (SIGKILL) or delete the interface, and wait until it is gone. Gone already is fine."""
    if leftover.kind == "interface":
        with Netlink() as connection:
            connection.send([rtnetlink.delete_link(leftover.number, f"ip link delete {leftover.text}")])
        return
    try:
        pidfd = os.pidfd_open(leftover.number)
    except ProcessLookupError:
        return
    try:
        if (
            start_ticks(leftover.number) != leftover.start_ticks
        ):  # looked at after the pidfd: it is of this very process
            return
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    finally:
        os.close(pidfd)
    wait_until(
        lambda: start_ticks(leftover.number) != leftover.start_ticks,
        REMOVAL_DEADLINE_S,
        f"process {leftover.number} to end",
    )


def _processes(proc: Path) -> Iterator[Leftover]:
    for directory in proc.iterdir():
        if not directory.name.isdigit() or int(directory.name) == os.getpid():
            continue
        try:
            environment = _environment(directory)
            owner = Orchestrator.parse(environment.get(ORCHESTRATOR_VARIABLE, ""))
            if owner is None or owner.is_alive() is not False:  # not ours, or its owner lives or cannot be judged
                continue
            ticks = start_ticks(int(directory.name))
            if ticks is None:
                continue
            command = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            yield Leftover(
                kind="process",
                number=int(directory.name),
                start_ticks=ticks,
                run_id=environment.get(RUN_ID_VARIABLE, ""),
                text=command,
                net_namespace=(directory / "ns" / "net").stat().st_ino,
            )
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # it ended meanwhile, or it is another user's and so not ours


def _environment(directory: Path) -> dict[str, str]:
    words = (directory / "environ").read_bytes().split(b"\0")
    pairs = (word.decode(errors="replace").partition("=") for word in words if word)
    return {name: value for name, _, value in pairs}


def _interfaces() -> Iterator[Leftover]:
    with Netlink() as connection:
        for interface in rtnetlink.interfaces(connection):
            if not interface.alias.startswith(ALIAS_PREFIX):
                continue
            owner = Orchestrator.parse(interface.alias.removeprefix(ALIAS_PREFIX))
            if owner is not None and owner.is_alive() is False:
                yield Leftover(
                    kind="interface", number=interface.index, start_ticks=None, run_id="", text=interface.name
                )
