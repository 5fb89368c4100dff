"""Booting and ending: what answers is a machine, what fails is tried once more, and nothing outlives its owner."""

from __future__ import annotations

import os
import signal
import stat
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import fake_qemu
import pytest

from testbed.orchestrator import process, run_identity
from testbed.orchestrator.readiness import wait_until
from testbed.orchestrator.run_identity import Orchestrator
from testbed.orchestrator.spec import SpecificationError
from testbed.vm import cache, machine, record
from testbed.vm.images import Images
from testbed.vm.machine import BootFailed, Machine
from testbed.vm.qemu import Hardware

PLENTY_S = 60.0


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    (tmp_path / "entry").mkdir()
    return tmp_path


def _images(here: Path) -> Images:
    return Images(name="k", version="0", kernel=here / "vmlinux", root=here / "root", entries=(here / "entry",))


def _boot(here: Path, **wishes: object) -> Machine:
    runs = cache.Cache(here / "vm").runs
    return machine.boot(_images(here), Hardware(), runs, deadline_s=PLENTY_S, **wishes)  # type: ignore[arg-type]


def test_a_machine_that_answers_is_recorded_and_leaves_its_console_but_no_key(here: Path) -> None:
    fake_qemu.install(here / "bin", "answers")
    booted = _boot(here)
    try:
        assert record.read(booted.directory) == booted.record
        assert booted.record.runs is True
        for name in record.SECRETS:
            assert stat.S_IMODE((booted.directory / name).stat().st_mode) == 0o600, name
        assert stat.S_IMODE(booted.directory.stat().st_mode) == 0o700
        assert record.find(booted.directory.parent, booted.record.id[:4]) == booted.record
    finally:
        booted.stop()
    assert booted.record.runs is False
    assert sorted(path.name for path in booted.directory.iterdir()) == ["console.log", "lock", "machine.json"]
    assert "starts sshd" in booted.console()


def test_its_images_are_held_for_as_long_as_it_runs(here: Path) -> None:
    fake_qemu.install(here / "bin", "answers")
    kernels = cache.Cache(here / "vm")
    entry = kernels.made(cache.KERNELS, "one", lambda directory: None)
    booted = machine.boot(
        Images(name="k", version="0", kernel=here / "v", root=here / "r", entries=(entry,)), Hardware(), kernels.runs
    )
    try:
        assert kernels.prune(cache.KERNELS, 0) == []
        assert kernels.prune(cache.RUNS, 0) == []
    finally:
        booted.stop()
    assert [each.path for each in kernels.prune(cache.KERNELS, 0)] == [entry]


def test_a_start_that_fails_is_tried_once_more_and_both_consoles_are_kept(here: Path) -> None:
    fake_qemu.install(here / "bin", "panics", "answers")
    said: list[str] = []
    booted = _boot(here, say=said.append)
    try:
        assert len(said) == 1
        assert "Kernel panic" in said[0]
        assert "Kernel panic" in (booted.directory / record.FIRST_CONSOLE).read_text()
        assert booted.console().index("panic") < booted.console().index("starts sshd")
        first, second = fake_qemu.starts(here / "bin")
        assert first[first.index("-initrd") + 1] == second[second.index("-initrd") + 1]
    finally:
        booted.stop()


@pytest.mark.parametrize(
    ("plan", "stays", "said"),
    [("panics", False, "Kernel panic"), ("panics", True, "Kernel panic"), ("refuses", True, "no such")],
)
def test_two_failed_starts_are_an_error_with_the_last_words_and_no_key_left(
    here: Path, plan: str, stays: bool, said: str
) -> None:
    fake_qemu.install(here / "bin", plan)
    with pytest.raises(BootFailed, match=said):
        _boot(here, stays=stays)
    assert len(fake_qemu.starts(here / "bin")) == 2
    (directory,) = (here / "vm" / "runs").iterdir()
    assert not {path.name for path in directory.iterdir()} & set(record.SECRETS)


def test_a_guest_that_never_says_a_word_is_ended_at_the_deadline(here: Path) -> None:
    fake_qemu.install(here / "bin", "silent")
    with pytest.raises(BootFailed, match="first words"):
        machine.boot(_images(here), Hardware(), cache.Cache(here / "vm").runs, deadline_s=0.3)
    (entry,) = cache.Cache(here / "vm").entries(cache.RUNS)
    assert not entry.in_use, "QEMU would still hold the lock"


def test_one_that_is_booted_to_stay_is_found_and_ended_by_its_number(here: Path) -> None:
    fake_qemu.install(here / "bin", "answers")
    booted = _boot(here, stays=True)
    runs = booted.directory.parent
    try:
        (words,) = fake_qemu.starts(here / "bin")
        assert "-daemonize" in words
        environ = Path(f"/proc/{booted.record.pid}/environ").read_bytes().split(b"\0")
        assert f"{run_identity.ORCHESTRATOR_VARIABLE}=".encode() in environ, "'testbed clean' leaves it alone"
        assert record.find(runs, "k").id == booted.record.id
    finally:
        record.end(booted.record, booted.directory)
    wait_until(lambda: booted.record.runs is False, PLENTY_S, "QEMU to end")
    with pytest.raises(SpecificationError, match="these run now: none"):
        record.find(runs, "k")
    assert record.find(runs, "k", running=False) == booted.record


def test_of_machines_that_have_ended_the_last_one_is_meant_by_its_kernel(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_qemu.install(here / "bin", "answers")
    booted = [_boot(here) for _ in range(2)]
    runs = booted[0].directory.parent
    try:
        with pytest.raises(SpecificationError, match="several machines are called 'k'"):
            record.find(runs, "k")
    finally:
        booted[1].stop()
        assert record.find(runs, "k", running=False) == booted[0].record, "the one that runs"
        booted[0].stop()
    assert record.find(runs, "k", running=False) == record.all_in(runs)[-1]


def test_keys_of_a_machine_that_begins_while_another_one_sweeps_are_left_alone(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = cache.Cache(here / "vm").runs
    left, begins = runs / "left", runs / "begins"
    for directory in (left, begins):
        directory.mkdir()
        (directory / record.KEY).touch()
    listed = cache.Cache.entries
    with ExitStack() as stack:

        def entries(self: cache.Cache, kind: str) -> list[cache.Entry]:
            found = listed(self, kind)
            stack.enter_context(cache.held(begins))  # after it was looked at
            return found

        monkeypatch.setattr(cache.Cache, "entries", entries)
        machine._sweep(runs)
    assert (begins / record.KEY).exists()
    assert not (left / record.KEY).exists()


def test_a_number_that_is_somebody_else_s_by_now_is_left_alone() -> None:
    with process.start(["sleep", "60"]) as other:
        ticks = run_identity.start_ticks(other.pid)
        assert ticks is not None
        record.end_process(Orchestrator(other.pid, ticks - 1, run_identity.pid_namespace()))
        assert other.exit_code is None


_BOOTS = """
import sys
from pathlib import Path
from testbed.vm import cache, machine
from testbed.vm.images import Images
from testbed.vm.qemu import Hardware
here = Path(sys.argv[1])
images = Images(name="k", version="0", kernel=here / "vmlinux", root=here / "root")
machine.boot(images, Hardware(), cache.Cache(here / "vm").runs, stays=True)
"""


def test_one_that_was_to_stay_is_found_and_ended_when_its_boot_was_killed(here: Path) -> None:
    fake_qemu.install(here / "bin", "silent")
    runs = cache.Cache(here / "vm").runs
    argv = [sys.executable, "-c", _BOOTS, str(here)]
    with process.start(argv, environment={"PYTHONPATH": os.pathsep.join(sys.path)}) as owner:
        wait_until(lambda: record.all_in(runs), PLENTY_S, "QEMU to start")
        owner.kill()
    try:
        assert record.find(runs, "k").boot_s is None
    finally:
        (each,) = record.all_in(runs)
        record.end(each, runs / each.id)
    wait_until(lambda: each.runs is False, PLENTY_S, "QEMU to end")


_OWNER = """
import os, sys, threading
from pathlib import Path
from testbed.vm import cache, machine
from testbed.vm.images import Images
from testbed.vm.qemu import Hardware
here = Path(sys.argv[1])
def boot():
    images = Images(name="k", version="0", kernel=here / "vmlinux", root=here / "root")
    print(machine.boot(images, Hardware(), cache.Cache(here / "vm").runs).record.process, flush=True)
if sys.argv[2] == "main":
    boot()
else:
    thread = threading.Thread(target=boot)
    thread.start()
    thread.join()
sys.stdin.read()
"""


@pytest.mark.parametrize("thread", ["main", "another"])
def test_a_machine_ends_with_its_owner_whichever_thread_booted_it(here: Path, thread: str) -> None:
    fake_qemu.install(here / "bin", "answers")
    argv = [sys.executable, "-c", _OWNER, str(here), thread]
    with process.start(argv, interactive=True, environment={"PYTHONPATH": os.pathsep.join(sys.path)}) as owner:
        qemu = Orchestrator.parse(owner.stdout_pipe.readline().decode().strip())
        assert qemu is not None, owner.stderr
        assert qemu.is_alive()
        owner.send_signal(signal.SIGKILL)
        owner.wait(PLENTY_S)
        wait_until(lambda: qemu.is_alive() is False, PLENTY_S, "QEMU to end with its owner")
    (directory,) = (here / "vm" / "runs").iterdir()
    assert (directory / record.KEY).exists()
    _boot(here).stop()
    assert not (directory / record.KEY).exists(), "the next one removes what a killed owner could not"


def test_a_machine_that_a_thread_booted_outlives_the_thread(here: Path) -> None:
    fake_qemu.install(here / "bin", "answers")
    booted: list[Machine] = []
    thread = threading.Thread(target=lambda: booted.append(_boot(here)))
    thread.start()
    thread.join()
    try:
        assert booted[0].record.runs is True
    finally:
        booted[0].stop()
    assert booted[0].record.runs is False
