"""What a root file system is made of, and that nothing of the user's stays in it; no machine is made here."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from testbed.orchestrator import environment, process
from testbed.orchestrator.errors import Unsupported
from testbed.vm import apt, modules, rootfs, site_packages, tools
from testbed.vm.apt import Archive
from testbed.vm.cache import ROOTFS, SITES, Cache

LOCK = """\
# made by uv
alpha==1.0 \\
    --hash=sha256:aa \\
    --hash=sha256:ab
    # via mptcp-testbed (pyproject.toml)
beta==2.0 ; sys_platform == 'linux' \\
    --hash=sha256:bb
    # via
    #   alpha
    #   pandas
gamma==3.0 \\
    --hash=sha256:cc
    # via pandas
pandas==4.0 \\
    --hash=sha256:dd
    # via mptcp-testbed (pyproject.toml)
"""
STATUS = """\
Package: iproute2
Status: install ok installed
Architecture: amd64
Version: 6.15.0-1~bpo12+1
Description: networking
 Version: in a text

Package: gone
Status: deinstall ok config-files
Version: 1

Package: from-elsewhere
Status: install ok installed
Architecture: all
Version: 2

"""
KNOWN = f"""\
Package: iproute2
Version: 6.1.0-3
Size: 1
SHA256: {"a" * 64}

Package: iproute2
Version: 6.15.0-1~bpo12+1
Size: 2
SHA256: {"b" * 64}

"""
LOCKED = [
    {"package": "from-elsewhere", "version": "2", "architecture": "all", "sha256": None},
    {"package": "iproute2", "version": "6.15.0-1~bpo12+1", "architecture": "amd64", "sha256": "b" * 64},
]


class FakeMaker:
    """process.start for mmdebstrap, mkfs and pip: they leave what the testbed looks at."""

    def __init__(self, real) -> None:  # type: ignore[no-untyped-def]
        self.started: list[Sequence[str]] = []
        self.fails = ""
        self._real = real

    def __call__(self, argv, **options):  # type: ignore[no-untyped-def]
        words = [str(word) for word in argv]
        self.started.append(words)
        made = ["true"]
        if self.fails and self.fails in " ".join(words):
            made = ["sh", "-c", "echo 'I: working' >&2; echo 'E: no such mirror' >&2; echo ERROR: no wheel >&2; exit 1"]
        elif "mmdebstrap" in words:
            known, status = (word.rsplit(" ", 1)[1] for word in words if "=download" in word)
            made = ["sh", "-c", f"cat >{status} <<'END'\n{STATUS}\nEND\ncat >{known} <<'END'\n{KNOWN}\nEND"]
        elif "mkfs.ext4" in " ".join(words):
            made = ["sh", "-c", f"echo ext4 >{words[-2]}"]
        elif "pip" in words:
            made = ["mkdir", words[words.index("--target") + 1]]
        return self._real(made, **options)


@pytest.fixture
def maker(monkeypatch: pytest.MonkeyPatch) -> FakeMaker:
    fake = FakeMaker(process.start)
    monkeypatch.setattr(process, "start", fake)
    monkeypatch.setattr(apt, "archive", lambda mirror: Archive("http://m/", "http://s/"))
    monkeypatch.setattr(rootfs, "archive", lambda mirror: Archive("http://m/", "http://s/"))
    monkeypatch.setattr(rootfs, "transport", lambda: 'Acquire::http::Proxy "http://user:secret@proxy";\n')
    monkeypatch.setattr(tools, "require", lambda name: name)
    monkeypatch.setattr(tools, "find", lambda name: f"/sbin/{name}")
    monkeypatch.setattr(
        modules, "squash", lambda tree, image, compressor: image.write_text(f"{compressor} of {tree.name}")
    )
    return fake


def _quiet(text: str) -> None:
    """Progress is not what these tests look at."""


def test_it_is_made_once_and_says_what_is_in_it(maker: FakeMaker, tmp_path: Path) -> None:
    made = rootfs.build(Cache(tmp_path), _quiet)
    assert made.image.read_text() == "ext4\n" and made.site.read_text().endswith(" of site")
    assert json.loads(made.lock.read_bytes()) == LOCKED
    assert sorted(path.name for path in made.directory.iterdir()) == ["lock", "packages.lock", "root.ext4"]
    started = len(maker.started)
    assert rootfs.build(Cache(tmp_path), _quiet) == made
    assert len(maker.started) == started == 3
    for entry in (made.directory, made.site_directory):
        assert not any(b"secret" in path.read_bytes() for path in entry.rglob("*") if path.is_file())


@pytest.mark.parametrize("root", [True, False])
def test_without_root_it_is_made_in_a_user_namespace(
    maker: FakeMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: bool
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0 if root else 1000)
    rootfs.build(Cache(tmp_path), _quiet)
    bootstrap, mkfs, _pip = maker.started
    assert f"--mode={'root' if root else 'unshare'}" in bootstrap
    assert ("--map-root-user" in mkfs) != root


@pytest.mark.parametrize(("free_mib", "mounts"), [(rootfs.IN_MEMORY_MIB, True), (rootfs.IN_MEMORY_MIB - 1, False)])
def test_it_is_unpacked_in_memory_where_there_is_room(
    maker: FakeMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_mib: int, mounts: bool
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(tools, "available_mib", lambda: free_mib)
    rootfs.build(Cache(tmp_path), _quiet)
    for words in maker.started[:2]:
        assert words[:2] == ["unshare", "--mount"]  # seen by nobody else
        assert any("mount -t tmpfs" in word for word in words) == mounts


def test_what_people_ask_for_is_another_image_with_the_same_packages_for_runs(maker: FakeMaker, tmp_path: Path) -> None:
    minimal, full = (rootfs.build(Cache(tmp_path), _quiet, variant=variant) for variant in ("minimal", "full"))
    assert minimal.directory != full.directory and minimal.site == full.site
    assert set(rootfs.contents("minimal")) < set(rootfs.contents("full"))
    includes = [word for words in maker.started for word in words if word.startswith("--include")]
    assert ["strace" in word for word in includes] == [False, True]


def test_made_again_it_takes_the_place_of_the_old_one(maker: FakeMaker, tmp_path: Path) -> None:
    old = rootfs.build(Cache(tmp_path), _quiet)
    old.lock.write_text("[]")
    assert json.loads(rootfs.build(Cache(tmp_path), _quiet, again=True).lock.read_bytes()) == LOCKED


def test_the_image_keeps_neither_keys_nor_the_users_way_to_the_archive() -> None:
    words = rootfs.command(rootfs.PACKAGES, Path("s"), Path("c"), Path("d"), Path("k"))
    hooks = " ".join(word for word in words if word.startswith("--customize-hook"))
    for path in ("/etc/apt/apt.conf.d/99mmdebstrap", "/etc/apt/sources.list.d/*", "/etc/ssh/ssh_host_*"):
        assert path in hooks


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("mmdebstrap", "made: E: no such mirror"),
        ("mkfs", "made: E: no"),
        ("pip", "no wheel"),
    ],
)
def test_what_fails_is_told_in_its_words_and_leaves_nothing(
    maker: FakeMaker, tmp_path: Path, program: str, why: str
) -> None:
    maker.fails = program
    with pytest.raises(Unsupported, match=why):
        rootfs.build(Cache(tmp_path), _quiet)
    kind = SITES if program == "pip" else ROOTFS
    assert list((tmp_path / kind).iterdir()) == []


def test_a_missing_program_is_named_before_anything_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(tools, "find", lambda name: None)
    with pytest.raises(Unsupported, match="apt install mmdebstrap"):
        rootfs.build(Cache(tmp_path), _quiet)


def test_the_guest_gets_what_it_needs_and_not_what_only_reports_need() -> None:
    assert site_packages.for_guest(LOCK) == (
        "alpha==1.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:ab\n"
        "beta==2.0 ; sys_platform == 'linux' \\\n    --hash=sha256:bb\n"
    )


def test_compiled_stacks_find_their_library_in_the_guest(maker: FakeMaker, tmp_path: Path) -> None:
    image = site_packages.build(Cache(tmp_path), _quiet, python="3.11")
    wanted = site_packages.read((image.parent / "requirements.txt").read_text())
    assert "librt" in wanted and "mypy" not in wanted


def test_without_a_checkout_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match=r"requirements\.lock: No such file.*of a checkout"):
        site_packages.build(Cache(tmp_path), _quiet, python="3.11", root=tmp_path)


def test_of_our_own_lock_file_nothing_is_lost_that_a_run_imports() -> None:
    text = (environment.ROOT / "requirements.lock").read_text()
    kept = set(site_packages.read(site_packages.for_guest(text)))
    assert {"pydantic", "pydantic-core", "typing-extensions", "pyarrow", "typer", "rich", "mininet"} <= kept
    assert not kept & {"pandas", "scipy", "numpy", "distributed", "dask", "paramiko", "cryptography", "tornado"}
    for name, package in site_packages.read(text).items():
        if name in kept:
            assert any("--hash=sha256:" in line for line in package.lines)
