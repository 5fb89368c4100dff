"""Things made at once: their words, their errors, and that whoever interrupts leaves no program behind."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from testbed.orchestrator.errors import Interrupted, Unsupported
from testbed.vm import side_by_side, tools
from testbed.vm.side_by_side import Say


def _is_gone(pid_file: Path) -> bool:
    return not Path(f"/proc/{pid_file.read_text().strip()}").exists()


def _sleeps(pid_file: Path) -> Callable[[Say], None]:
    def task(say: Say) -> None:
        words = ["sh", "-c", 'echo $$ >"$0.new"; mv "$0.new" "$0"; exec sleep 60', str(pid_file)]
        with side_by_side.start(words) as program:
            while not pid_file.exists() and program.exit_code is None:
                time.sleep(0.001)
            say("it runs")
            program.succeed(60.0)

    return task


def test_tasks_run_at_once_and_speak_in_the_callers_thread() -> None:
    met = threading.Barrier(2, timeout=10)  # passed only when both are there
    heard: list[tuple[str, bool]] = []

    def task(say: Say) -> int:
        met.wait()
        say("here")
        return 7

    made = side_by_side.carry_out(
        {"a": task, "b": task}, lambda text: heard.append((text, threading.current_thread() is threading.main_thread()))
    )
    assert made == {"a": 7, "b": 7}
    assert heard == [("here", True)] * 2


def test_an_error_is_the_result_of_its_task_and_the_others_go_on() -> None:
    def fails(say: Say) -> None:
        raise Unsupported("no such kernel")

    made = side_by_side.carry_out({"bad": fails, "good": lambda say: "made"}, lambda text: None)
    assert str(made["bad"]) == "no such kernel" and made["good"] == "made"


@pytest.mark.parametrize("kind", [KeyboardInterrupt, Interrupted])
def test_who_interrupts_ends_the_programs_first(tmp_path: Path, kind: type[BaseException]) -> None:
    def interrupts(text: str) -> None:
        raise kind("now")

    before = threading.active_count()
    with pytest.raises(kind):
        side_by_side.carry_out({"one": _sleeps(tmp_path / "one"), "two": _sleeps(tmp_path / "two")}, interrupts)
    assert threading.active_count() == before
    ran = [
        path for path in tmp_path.iterdir() if path.suffix != ".new"
    ]  # what is empty was interrupted before it spoke
    assert ran and all(_is_gone(path) for path in ran)


def test_an_interrupted_task_starts_no_further_program(tmp_path: Path) -> None:
    refused: list[bool] = []

    def task(say: Say) -> None:
        try:
            _sleeps(tmp_path / "first")(say)
        finally:
            try:
                tools.run("dpkg-deb", "--version", deadline_s=5)
            except Interrupted:
                refused.append(True)

    def interrupts(text: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        side_by_side.carry_out({"it": task}, interrupts)
    assert refused == [True]


def test_outside_of_a_task_a_program_is_started_as_ever() -> None:
    with side_by_side.start(["sh", "-c", "echo $PPID"]) as program:
        assert int(program.succeed(5.0)) == os.getpid()
