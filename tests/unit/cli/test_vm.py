"""``testbed vm``: boots, lists, looks into and ends machines by their ids, and says what is wrong in one line."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import fake_qemu
import pytest
from typer.testing import CliRunner, Result

from testbed.cli.main import app
from testbed.vm import choosing, machine, record
from testbed.vm.cache import RUNS, Cache
from testbed.vm.images import Images
from testbed.vm.qemu import Hardware


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    fake_qemu.install(tmp_path / "bin", "answers")

    def images_of(cache: Cache, word: str, say: object, variant: str) -> Images:
        (cache.root / "vmlinux").touch()
        root = cache.root / f"root-{variant}"
        return Images(name=word, version=f"{word}.0", kernel=cache.root / "vmlinux", root=root)

    monkeypatch.setattr(choosing, "images_of", images_of)
    where = Cache().root / RUNS
    where.mkdir(parents=True)
    yield where
    for each in record.all_in(where):
        record.end(each, where / each.id)


def _vm(*words: str) -> Result:
    return CliRunner().invoke(app, ["vm", *words])


def test_a_machine_is_booted_listed_read_and_stopped(runs: Path) -> None:
    booted = _vm("boot", "6.1", "--shift", "3", "--json")
    assert booted.exit_code == 0, booted.output
    made = json.loads(booted.stdout)
    assert (made["kernel"], made["version"], made["clock"], made["shift"]) == ("6.1", "6.1.0", "virtual", 3)
    (listed,) = json.loads(_vm("list", "--json").stdout)["machines"]
    assert (listed["id"], listed["pid"], listed["runs"]) == (made["id"], made["pid"], True)
    assert made["id"] in _vm("list").stdout
    assert "starts sshd" in _vm("logs", "6.1").stdout
    stopped = _vm("stop", made["id"][:5])
    assert stopped.stdout == f"stopped {made['id']} (6.1)\n"
    assert json.loads(_vm("list", "--json").stdout) == {"machines": []}
    assert "starts sshd" in json.loads(_vm("logs", made["id"], "--json").stdout)["console"]
    assert _vm("stop", "--all").exit_code == 0


@pytest.mark.parametrize(("words", "root"), [((), "root-minimal"), (("--full",), "root-full")])
def test_tools_for_people_are_in_another_root_file_system(runs: Path, words: tuple[str, ...], root: str) -> None:
    assert _vm("boot", "6.1", *words).exit_code == 0
    (started,) = (runs.parents[2] / "bin").glob("start.*")
    assert f"/{root}," in started.read_text()


def test_ssh_becomes_the_client_with_the_machine_s_own_settings_and_quoted_words(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = json.loads(_vm("boot", "6.1", "--json").stdout)
    became: list[list[str]] = []
    monkeypatch.setattr(os, "execvp", lambda program, words: became.append(words))
    _vm("ssh", "6.1", "--", "nstat", "-az", "MPTcpExt*")
    settings = runs / made["id"] / record.SSH_CONFIG
    assert became == [["ssh", "-F", str(settings), "vm", "nstat -az 'MPTcpExt*'"]]
    text = settings.read_text()
    assert "StrictHostKeyChecking yes" in text
    assert f"Port {made['port']}" in text


def test_stop_all_leaves_the_machine_of_a_run_alone(runs: Path, tmp_path: Path) -> None:
    images = Images(name="6.1", version="6.1.0", kernel=tmp_path / "vmlinux", root=tmp_path / "root")
    of_a_run = machine.boot(images, Hardware(), runs)
    try:
        assert json.loads(_vm("stop", "--all", "--json").stdout) == {"stopped": []}
        assert of_a_run.record.runs is True
        assert json.loads(_vm("stop", of_a_run.record.id, "--json").stdout) == {"stopped": [of_a_run.record.id]}
    finally:
        of_a_run.stop()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["boot", "6.1", "--time", "real", "--shift", "1"], 2, "--shift is for virtual time"),
        (["boot", "6.1", "--cpus", "2"], 2, "one processor"),
        (["boot", "6.1", "--memory", "1"], 2, "at least 256 MiB"),
        (["ssh", "6.9"], 2, "no machine is called '6.9'"),
        (["logs", "6.9"], 2, "no machine is called '6.9'"),
        (["stop", "6.9"], 2, "these run now: none"),
        (["stop"], 2, "--all"),
    ],
)
def test_what_is_wrong_is_one_line(runs: Path, words: list[str], code: int, said: str) -> None:
    result = _vm(*words)
    assert result.exit_code == code
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_a_machine_that_does_not_come_up_is_invalid_with_its_last_words(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "bin" / "plan").write_text("panics")
    result = _vm("boot", "6.1")
    assert result.exit_code == 3
    assert "Kernel panic" in result.stderr.splitlines()[-1]


def test_without_busybox_it_is_unsupported_with_the_package(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.shutil, "which", lambda *words, **options: None)
    result = _vm("boot", "6.1")
    assert result.exit_code == 4
    assert "apt install busybox-static" in result.stderr


def test_the_doctor_tells_everything_as_json(runs: Path) -> None:
    result = _vm("doctor", "--json")
    told = json.loads(result.stdout)
    assert result.exit_code == (0 if told["boots"] else 4)
    assert {"qemu-system-x86_64", "mksquashfs", "memory", "acceleration kvm"} <= {
        each["name"] for each in told["checks"]
    }
