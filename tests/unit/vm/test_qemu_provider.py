"""A provider boots once, asks the guest what it can do, pins its key, and leaves nothing running."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import fake_qemu
import pytest

from testbed.orchestrator import process
from testbed.orchestrator.errors import InvalidTrial
from testbed.orchestrator.run_identity import Orchestrator
from testbed.remote.provider import Provider
from testbed.remote.session import Completed
from testbed.remote.target import Target
from testbed.vm import qemu_provider, record
from testbed.vm.cache import Cache
from testbed.vm.images import Images
from testbed.vm.qemu import Hardware
from testbed.vm.qemu_provider import QemuProvider


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return tmp_path


def _images(cache: Cache, word: str, say: object) -> Images:
    return Images(name=word, version="6.0-x", kernel=cache.root / "vmlinux", root=cache.root / "root")


def _provider(here: Path, found: Mapping[str, Any] | Exception) -> QemuProvider:
    def ask(target: Target) -> Mapping[str, Any]:
        if isinstance(found, Exception):
            raise found
        return found

    return QemuProvider("6.0", Hardware(shift=2), _images, cache=Cache(here / "vm"), ask=ask)


def test_its_target_is_on_loopback_with_the_machine_s_own_keys_and_clock(here: Path) -> None:
    fake_qemu.install(here / "bin", "answers")
    provider: Provider = _provider(here, {"kernel": "6.0-x", "netem_seed": None})
    said: list[str] = []
    target = provider.up(said.append)
    try:
        assert (target.name, target.host, target.user, target.clock) == ("vm:6.0", "127.0.0.1", "root", "virtual")
        assert target.key is not None
        assert target.key.read_text().startswith("-----BEGIN OPENSSH PRIVATE KEY-----")
        assert target.host_key is not None
        assert target.host_key.startswith("ssh-ed25519 ")
        assert (target.machine["shift"], target.capabilities["netem_seed"]) == ("2", None)
        assert target.directory.startswith("/tmp/"), "a tmpfs there: who waits for a disk loses virtual hours"
        assert provider.up(said.append) is target, "it runs already"
        assert len(fake_qemu.starts(here / "bin")) == 1
        assert "starts sshd" in provider.logs()
    finally:
        provider.down()
    assert not target.key.exists()
    assert provider.ends_with_the_run
    assert any("6.0-x" in text for text in said)


def test_a_machine_that_ended_by_itself_is_booted_anew(here: Path) -> None:
    fake_qemu.install(here / "bin", "answers")
    provider = _provider(here, {})
    first = provider.up(lambda text: None)
    (each,) = record.all_in(here / "vm" / "runs")
    assert provider.why_gone() is None
    record.end_process(each.identity)
    why = provider.why_gone()
    assert why is not None
    assert f"{each.id}/console.log) ends with: testbed: 0 starts sshd" in why
    try:
        assert provider.up(lambda text: None) != first
    finally:
        provider.down()


def test_a_guest_that_cannot_be_asked_is_ended(here: Path) -> None:
    fake_qemu.install(here / "bin", "answers")
    provider = _provider(here, InvalidTrial("no python3"))
    with pytest.raises(InvalidTrial, match="no python3"):
        provider.up(lambda text: None)
    (each,) = record.all_in(here / "vm" / "runs")
    assert Orchestrator.parse(each.process) is not None
    assert each.runs is False


class _ThisKernel:
    """A session with the machine that the tests run on."""

    def __init__(self, *python: str) -> None:
        self._python = python

    def execute(self, argv: list[str], *, stdin: bytes, deadline_s: float) -> Completed:
        with process.start([*self._python, *argv[1:]], interactive=True) as python:
            with suppress(BrokenPipeError):  # one that ends at once reads nothing
                python.stdin.write(stdin)
            python.stdin.close()
            told = python.stdout_pipe.read()
            return Completed(python.wait(deadline_s), told, python.stderr.encode())


@pytest.mark.needs_mptcp
def test_what_a_kernel_can_do_is_what_it_says_itself() -> None:
    found = qemu_provider.discover(_ThisKernel(sys.executable), "here")
    assert found["kernel"] == os.uname().release
    assert "MPCapableSYNRX" in found["counters"]
    assert found["sysctls"].keys() == {path.name for path in Path("/proc/sys/net/mptcp").iterdir()}
    assert found["mptcp_info_bytes"] >= 48, "Linux 6.1 has 48; those of later kernels begin with the same"
    full = found["mptcp_full_info_bytes"]
    assert full is None or full == 40 + found["mptcp_info_bytes"], "its head, then the same structure"


def test_a_guest_without_an_answer_is_told_with_its_last_words() -> None:
    with pytest.raises(InvalidTrial, match=r"vm:x: what it can do is not known: .*No such file"):
        qemu_provider.discover(_ThisKernel("sh", "/nowhere"), "vm:x")
