"""Accelerations are believed only when a kernel reached its first program, and what is missing is named."""

from __future__ import annotations

import os
from pathlib import Path

import fake_qemu
import pytest

from testbed.orchestrator.errors import Unsupported
from testbed.vm import accel, doctor
from testbed.vm.accel import Probe
from testbed.vm.cache import Cache


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    (tmp_path / "kvm").touch()
    monkeypatch.setattr(accel, "KVM", tmp_path / "kvm")
    (tmp_path / "vmlinux").touch()
    return tmp_path


def _probed(here: Path) -> tuple[Probe, ...]:
    return accel.probed(here / "cache", here / "vmlinux", here / "bin" / "busybox")


def test_a_kvm_that_is_there_and_aborts_is_no_acceleration(here: Path) -> None:
    fake_qemu.install(here / "bin", "aborts", "init")
    kvm, tcg = _probed(here)
    assert (kvm.acceleration, kvm.works) == ("kvm", False)
    assert "ended with -6" in kvm.detail
    assert tcg.works
    assert accel.best((kvm, tcg)) == "tcg"


def test_an_answer_is_kept_until_something_changes(here: Path) -> None:
    fake_qemu.install(here / "bin", "init")
    first = _probed(here)
    assert accel.best(first) == "kvm"
    assert _probed(here) == first
    assert len(fake_qemu.starts(here / "bin")) == 2
    (here / "vmlinux").write_text("another kernel")
    _probed(here)
    assert len(fake_qemu.starts(here / "bin")) == 4


def test_where_kvm_cannot_be_opened_nothing_is_started_with_it(here: Path) -> None:
    fake_qemu.install(here / "bin", "init")
    (here / "kvm").unlink()
    kvm, _tcg = _probed(here)
    assert "there is no" in kvm.detail
    assert len(fake_qemu.starts(here / "bin")) == 1


def test_a_guest_that_stands_still_is_ended(here: Path) -> None:
    fake_qemu.install(here / "bin", "silent")
    program = here / "bin" / "qemu-system-x86_64"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    found = accel.probe("tcg", here / "vmlinux", here / "bin" / "busybox", deadline_s=0.2)
    assert not found.works
    assert "within 0.2 s" in found.detail
    with pytest.raises(Unsupported, match=r"tcg: .*0\.2 s"):
        accel.best((found,))


def test_the_doctor_names_the_package_of_what_is_missing_and_knows_what_is_vital(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_qemu.install(here / "bin", "init")
    there = doctor.examine(Cache(here / "cache"))
    qemu = next(check for check in there if check.name == "qemu-system-x86_64")
    assert qemu.there
    (here / "bin" / "qemu-system-x86_64").unlink()
    monkeypatch.setenv("PATH", str(here / "bin"))
    monkeypatch.setattr(doctor.tools, "find", lambda name: None)
    checks = doctor.examine(Cache(here / "cache"))
    assert not doctor.boots(checks)
    assert "apt install qemu-system-x86 " in next(check for check in checks if not check.there).remedy
    kvm = next(check for check in checks if check.name == "acceleration kvm")
    assert "not tried" in kvm.seen


def test_too_little_memory_is_told_and_refuses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.tools, "MEMINFO", tmp_path / "meminfo")
    (tmp_path / "meminfo").write_text("MemTotal: 9999999 kB\nMemAvailable: 524288 kB\n")
    check = doctor.memory()
    assert (check.there, check.seen, check.vital) == (False, "512 MiB free", False)
    (tmp_path / "meminfo").write_text("MemAvailable: 4194304 kB\n")
    assert doctor.memory().there


@pytest.mark.usefixtures("slowing_library")
def test_installing_needs_root_and_says_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.tools, "find", lambda name: None if name == "depmod" else f"/bin/{name}")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(Unsupported, match=r"sudo apt-get install -y --no-install-recommends kmod$"):
        doctor.install(print)


@pytest.mark.usefixtures("slowing_library")
def test_with_all_programs_there_nothing_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.tools, "find", lambda name: f"/bin/{name}")
    said: list[str] = []
    doctor.install(said.append)
    assert said == ["no package is missing"]


def test_an_interrupted_installation_ends_with_the_package_that_it_is_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apt = tmp_path / "apt-get"
    finishes = 'sleep 1.2; touch "$0.finished"; exit 1'  # longer than any other program is given
    apt.write_text(f"#!/bin/sh\ntrap '{finishes}' INT\nsleep 60 & wait\n")
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(doctor.tools, "find", lambda name: None if name == "depmod" else f"/bin/{name}")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(doctor, "INSTALL_S", 0.5)
    with pytest.raises(Unsupported, match="still runs after"):
        doctor.install(lambda text: None)
    assert (tmp_path / "apt-get.finished").exists()
