"""Whole runs that are killed with SIGKILL, or go on side by side: nothing of them stays, and each is completed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from testbed.orchestrator import rtnetlink
from testbed.orchestrator.leftovers import find_leftovers
from testbed.orchestrator.machine_lock import VARIABLE
from testbed.orchestrator.netlink import Netlink
from testbed.orchestrator.readiness import wait_until
from testbed.orchestrator.run_identity import ORCHESTRATOR_VARIABLE, Orchestrator, pid_namespace, start_ticks
from testbed.record.run_directory import RunDirectory

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_mptcp, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
DONE = (0, 1, 3)
"""Met, missed or INVALID: what a second on a busy machine gives is not what is tested here."""


def start_run(parent: Path, duration: str, *words: str, locks: Path | None = None) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "testbed", "run", "quickstart", "--set", f"duration={duration}", "--repeat", "1"]
    argv += ["--backend", "mininet", "--variant", "tcp", "--variant", "linux/linux"]
    return subprocess.Popen(
        [*argv, "--out", str(parent), *words],
        env={**os.environ, "PYTHONPATH": str(ROOT), **({VARIABLE: str(locks)} if locks is not None else {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def processes() -> dict[int, int]:
    """pid -> its parent's."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            found[int(entry.name)] = int(stat[stat.rindex(")") + 2 :].split()[1])
    return found


def descendants(pid: int) -> set[int]:
    """All processes below this one: the isolated worker's own are seen from outside, too."""
    parents, found, grown = processes(), {pid}, True
    while grown:
        more = {child for child, parent in parents.items() if parent in found} - found
        found |= more
        grown = bool(more)
    return found - {pid}


def marked(owner: str) -> list[int]:
    """Processes that carry this orchestrator in their environment."""
    needle, found = f"{ORCHESTRATOR_VARIABLE}={owner}\0".encode(), []
    for pid in processes():
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if needle in environment:
            found.append(pid)
    return found


def namespaces_of(pids: set[int]) -> set[int]:
    """Inode numbers of the network namespaces that these processes are in or hold open."""
    found = set()
    for pid in pids:
        try:
            found.add(Path(f"/proc/{pid}/ns/net").stat().st_ino)
            for fd in Path(f"/proc/{pid}/fd").iterdir():
                target = str(fd.readlink())
                if target.startswith("net:["):
                    found.add(int(target[5:-1]))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return found


def interfaces() -> set[str]:
    with Netlink() as connection:
        return {each.name for each in rtnetlink.interfaces(connection)}


def only_run(parent: Path) -> RunDirectory:
    (path,) = parent.glob("*/*/")
    return RunDirectory.open(path)


def test_nothing_of_a_killed_run_stays_and_resume_completes_it(tmp_path: Path) -> None:
    """Six moments from the start of Python to the last trial, in one run that is resumed again and again; more, and
    later ones, on a machine so busy that six hit nothing."""
    chance = random.Random(35)
    interfaces_before = interfaces()
    seen_processes, seen_marks = 0, 0
    begun = False
    for number in range(24):
        if number >= 6 and begun and seen_processes >= 6 and seen_marks >= 3:
            break
        run = start_run(tmp_path, "1s", "--pcap", "-q", *(["--resume"] if begun else []))
        time.sleep(chance.uniform(0.3 + 0.3 * number, 0.8 + 0.3 * number))  # the moment is what is tested
        below = descendants(run.pid)
        ticks = {pid: start_ticks(pid) for pid in below}
        held = namespaces_of(below) - namespaces_of({os.getpid()})
        owner = str(Orchestrator(run.pid, start_ticks(run.pid) or 0, pid_namespace()))
        seen_processes, seen_marks = max(seen_processes, len(below)), max(seen_marks, len(marked(owner)))
        os.kill(run.pid, signal.SIGKILL)
        run.communicate()

        def alive(ticks: dict[int, int | None] = ticks) -> list[int]:
            return [pid for pid, at in ticks.items() if at is not None and start_ticks(pid) == at]

        wait_until(lambda a=alive: not a(), 20, "its processes to end", seen=alive)  # type: ignore[misc]
        wait_until(lambda o=owner: not marked(o), 20, "what carries its mark to end")  # type: ignore[misc]
        wait_until(lambda h=held: not h & namespaces_of(set(processes())), 20, "its namespaces to go")  # type: ignore[misc]
        assert interfaces() == interfaces_before
        begun = begun or any(tmp_path.glob("*/*/"))
    assert begun, "the kills hit only the beginning"
    assert seen_processes >= 6, "no kill hit a lab"
    assert seen_marks >= 3, "no kill hit a process with a mark"

    run = start_run(tmp_path, "1s", "--pcap", "--resume", "-q")
    _, said = run.communicate(timeout=120)

    assert run.returncode in DONE, said
    record = only_run(tmp_path)
    assert record.is_complete
    assert record.altered_files() == ()
    assert len(record.completed_trials()) == 2


def taken_for_left_over(pids: set[int]) -> list[str]:
    """What counts as left over although it is below one of these processes."""
    mine = set().union(*(descendants(pid) for pid in pids))
    return [str(each) for each in find_leftovers() if each.pid in mine]


def test_two_runs_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    before = interfaces()
    # without the lock that would let one wait for the other: runs in containers do not see each other's either
    runs = [start_run(tmp_path / "runs", "2s", "--json", locks=tmp_path / f"locks{number}") for number in range(2)]
    pids = {run.pid for run in runs}
    wait_until(
        lambda: all(len(descendants(pid)) >= 5 for pid in pids) or any(run.poll() is not None for run in runs),
        60,
        "both to have a lab",
    )
    assert all(run.poll() is None for run in runs), "one ended before the other began"
    assert taken_for_left_over(pids) == []
    said = [run.communicate(timeout=120) for run in runs]

    assert all(run.returncode in DONE for run in runs), [errors for _, errors in said]
    records = [RunDirectory.open(Path(json.loads(output)["path"])) for output, _ in said]
    assert len({record.path for record in records}) == 2
    for record in records:
        assert record.is_complete
        assert record.altered_files() == ()
        assert len(record.completed_trials()) == 2
        assert {row["integrity"] for row in record.read_table("flows").to_pylist()} <= {"ok"}
    assert interfaces() == before
