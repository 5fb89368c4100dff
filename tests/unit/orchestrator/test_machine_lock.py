"""Emulated trials have the machine to themselves: they take turns, say for whom they wait, and let go when killed."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from testbed.orchestrator.errors import Unsupported
from testbed.orchestrator.machine_lock import VARIABLE, Machine
from testbed.orchestrator.readiness import wait_until

ROOT = Path(__file__).parents[3]
RUN = """
import os, sys, threading
from pathlib import Path
from testbed.orchestrator import machine_lock
from testbed.orchestrator.readiness import wait_until

machine_lock.POLL_S = 0.005  # as much shorter than the trials below as the real one is than real trials
folder, rounds, name = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
log = os.open(folder / "log", os.O_WRONLY | os.O_APPEND)
write = lambda word: os.write(log, f"{word} {name}\\n".encode())
machine = machine_lock.Machine(os.getpid(), name, folder / "locks")
write("ready")
wait_until((folder / "go").exists, 30, "the start")
for _ in range(rounds):
    with machine.to_itself(lambda text: None, lambda: None):
        write("begin")
        threading.Event().wait(0.05 if rounds > 1 else None)
        write("end")
"""


@contextmanager
def run(folder: Path, rounds: int, name: str) -> Iterator[subprocess.Popen[bytes]]:
    (folder / "log").touch()
    argv = [sys.executable, "-c", RUN, str(folder), str(rounds), name]
    process = subprocess.Popen(argv, env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def log(folder: Path) -> list[list[str]]:
    return [line.split() for line in (folder / "log").read_text().splitlines()]


def test_two_processes_never_have_it_at_once_and_take_turns(tmp_path: Path) -> None:
    with run(tmp_path, 5, "one") as first, run(tmp_path, 5, "other") as second:
        wait_until(lambda: len(log(tmp_path)) == 2, 20, "both to be there")
        (tmp_path / "go").touch()
        assert first.wait(30) == second.wait(30) == 0

    held = log(tmp_path)[2:]
    for begin, end in zip(held[::2], held[1::2], strict=True):
        assert (begin[0], end[0]) == ("begin", "end")
        assert begin[1] == end[1], "nobody came between"
    turns = [name for word, name in held if word == "begin"]
    changes = sum(one != next_one for one, next_one in itertools.pairwise(turns))
    assert len(turns) == 10
    assert changes >= 6, "first all of one and then all of the other would be 1, turns without exception 9"


def test_who_waits_says_for_whom_and_gets_it_when_that_one_is_killed(tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    with run(tmp_path, 1, "runs/long") as holder:
        wait_until(lambda: ["begin", "runs/long"] in log(tmp_path), 20, "the other to have it")
        said: list[str] = []
        ticks = 0

        def tick() -> None:
            nonlocal ticks
            ticks += 1
            if ticks == 3:
                holder.kill()

        with Machine(os.getpid(), "mine", tmp_path / "locks").to_itself(said.append, tick):
            mine = json.loads((tmp_path / "locks" / "machine").read_text())

    assert said == [
        f"waiting for process {holder.pid} (runs/long): emulated trials have the machine to themselves, one at a time"
    ]
    assert mine == {"pid": os.getpid(), "what": "mine"}
    assert (tmp_path / "locks" / "machine").read_bytes() == b"", "nobody waits for one that is gone"


def test_a_place_that_cannot_be_written_is_told_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with (
        pytest.raises(Unsupported, match=f"take turns by it \\({VARIABLE} names another"),
        Machine(1, "mine", tmp_path / "file").to_itself(print, print),
    ):
        raise AssertionError("not reached")


@pytest.mark.needs_root
@pytest.mark.needs_mptcp
def test_a_run_waits_for_the_machine_and_can_be_stopped_meanwhile(tmp_path: Path) -> None:
    with Machine(os.getpid(), "a long one", tmp_path / "locks").to_itself(print, print):
        words = ("run", "quickstart", "--backend", "mininet", "--variant", "tcp", "--out", str(tmp_path / "runs"))
        waiting = subprocess.Popen(
            [sys.executable, "-m", "testbed", *words],
            env={**os.environ, "PYTHONPATH": str(ROOT), VARIABLE: str(tmp_path / "locks")},
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert waiting.stderr is not None
            said = ""
            while f"waiting for process {os.getpid()} (a long one)" not in said:
                line = waiting.stderr.readline()
                assert line, said
                said += line
            begun_s = time.monotonic()
            waiting.send_signal(signal.SIGTERM)
            _, rest = waiting.communicate(timeout=20)
        finally:
            waiting.kill()
            waiting.wait()

    assert waiting.returncode == 130
    assert "--resume goes on" in rest
    assert time.monotonic() - begun_s < 10
