"""``testbed adapter check`` without its transfers, and the commands of the howto as they stand there."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest
from command_line import testbed

from experiments.interop import MEASUREMENTS, TESTS
from testbed.orchestrator import runner
from testbed.orchestrator.adapters import ask, load_adapter

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs/howto/add-an-implementation.md"
SAMPLES = ROOT / "docs/examples/adapters"


def commands() -> list[list[str]]:
    """The words after ``./tb`` of every command on the page."""
    lines = re.findall(r"^sudo ./tb (.+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return [shlex.split(line) for line in lines]


def test_the_page_begins_with_commands_that_work_as_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "why_not_here", lambda: "not asked by this test")
    check, by_file, by_command, matrix = commands()

    told = testbed(*check, cwd=ROOT)
    assert told.returncode == 0, told.stderr
    assert "right        unknown test, server  exits with 127" in told.stdout
    assert "not asked: transfers (not asked by this test)" in told.stdout

    for run, name in (
        (by_file, '"adapter":"netcat"'),
        (by_command, '"adapter":"mine","command":["./mine.sh","--quiet"]'),
    ):
        planned = testbed(*run, "--dry-run", cwd=ROOT)
        assert planned.returncode == 0, planned.stderr
        assert name in planned.stdout

    known = {test.name for test in (*TESTS, *MEASUREMENTS)}
    assert matrix[0] == "matrix"
    assert set(matrix[matrix.index("--tests") + 1].split(",")) <= known
    assert load_adapter(str(ROOT / matrix[matrix.index("--adapter") + 1])).name == "netcat"


def test_an_adapter_that_is_wrong_is_told_so_and_ends_with_1() -> None:
    told = testbed("adapter", "check", f"mine={sys.executable} -S -c pass")
    assert told.returncode == 1
    assert told.stdout.count("WRONG        unknown test, ") == 2
    assert "exits with 0; it has to exit with 127" in told.stdout
    assert "transfers" not in told.stdout


def test_a_mistake_in_the_description_ends_with_2_and_one_line(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('name = "mine"')
    told = testbed("adapter", "check", str(tmp_path / "mine.toml"))
    assert told.returncode == 2
    assert told.stderr == f"testbed: {tmp_path / 'mine.toml'}: command: it has to be there\n"


def test_the_samples_know_the_names_of_the_matrix() -> None:
    shell = (SAMPLES / "userspace.sh").read_text(encoding="utf-8")
    python = (SAMPLES / "netcat.py").read_text(encoding="utf-8")
    for test in (*TESTS, *MEASUREMENTS):
        assert f'"{test.name}"' in python
        assert re.search(rf"[(| ]{test.name}[ )]", shell), test.name


def test_a_wish_that_the_shell_sample_cannot_fulfil_is_refused() -> None:
    sample = load_adapter(str(SAMPLES / "userspace.toml"))
    answer = ask(sample.endpoint(nodelay=True), "server", "transfer")
    assert (answer.exit_code, answer.said) == (127, "the tool has no way to say NODELAY")
