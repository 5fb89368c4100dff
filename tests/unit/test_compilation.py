"""Compiled modules are used when they are those of the sources, and never otherwise."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from testbed import compilation
from testbed.compilation import build

STATUS = "from testbed import compilation; print(compilation.status.compiled, compilation.status.detail)"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what is compiled and what looks for it."""
    (tmp_path / "testbed").mkdir()
    shutil.copy(compilation.CHECKOUT / "testbed" / "__init__.py", tmp_path / "testbed")
    for room in (*compilation.ROOMS, "compilation"):
        source = compilation.CHECKOUT / "testbed" / room
        shutil.copytree(source, tmp_path / "testbed" / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(compilation.CHECKOUT / "topologies", tmp_path / "topologies")
    return tmp_path


def run(checkout: Path, code: str, wanted: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TESTBED_COMPILED": wanted}
    argv = [sys.executable, "-c", code]
    return subprocess.run(argv, cwd=checkout, env=environment, capture_output=True, text=True, check=False)


def pretend_to_build(checkout: Path) -> Path:
    """A directory under the name of the sources as they are, with an extension module that is none."""
    name = run(checkout, "from testbed import compilation; print(compilation.digest())").stdout.strip()
    directory = checkout / "build" / "compiled" / name
    directory.mkdir(parents=True)
    (directory / f"0123__mypyc{EXTENSION_SUFFIXES[0]}").write_bytes(b"no ELF")
    return directory


def test_without_a_build_the_sources_run(checkout: Path) -> None:
    assert run(checkout, STATUS).stdout.startswith("False not built")


def test_a_build_that_cannot_be_loaded_is_left_alone(checkout: Path) -> None:
    pretend_to_build(checkout)

    result = run(checkout, STATUS + "; import testbed.wire.segment as s; print(s.__file__)")

    assert "False the build cannot be loaded" in result.stdout
    assert result.stdout.rstrip().endswith("segment.py")


@pytest.mark.parametrize("changed", ["testbed/tcp/seam.py", "testbed/mptcp/scheduler/new.py", "topologies/quantity.py"])
def test_an_edit_makes_a_build_stale(checkout: Path, changed: str) -> None:
    pretend_to_build(checkout)
    with (checkout / changed).open("a") as source:
        source.write("\n# edited\n")

    assert "False the sources have changed" in run(checkout, STATUS).stdout


def test_it_can_be_switched_off_and_insisted_on(checkout: Path) -> None:
    assert run(checkout, STATUS, "0").stdout.startswith("False switched off")
    insisting = run(checkout, STATUS, "1")
    assert insisting.returncode != 0
    assert "TESTBED_COMPILED=1, but not built" in insisting.stderr


def test_only_the_newest_builds_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "BUILDS", tmp_path)
    for age in range(6):
        (tmp_path / f"build{age}").mkdir()
        os.utime(tmp_path / f"build{age}", (1000 - age, 1000 - age))

    build._forget_old_builds(tmp_path / "build5")

    assert sorted(path.name for path in tmp_path.iterdir()) == ["build0", "build1", "build2", "build5"]


CHECKED = ("tests/unit/wire", "tests/conformance")
"""Over both forms: the codec, and every row of the checklist."""


def is_part_of(items: list[pytest.Item]) -> bool:
    """Whether a run of these tests has those of every file in ``CHECKED``."""
    files = {path for folder in CHECKED for path in (compilation.CHECKOUT / folder).rglob("test_*.py")}
    return bool(files) and files <= {item.path for item in items}


@pytest.mark.slow
def test_what_is_compiled_passes_the_tests_of_the_sources(request: pytest.FixtureRequest) -> None:
    """The codec and the conformance tests, over compiled modules; built first where that is possible."""
    if compilation.status.compiled and is_part_of(request.session.items):
        pytest.skip("these tests are part of this run, which is over compiled modules as it is")
    if (reason := build.why_not()) is not None:
        pytest.skip(f"cannot compile here: {reason}")
    if not (build.BUILDS / compilation.digest()).is_dir() and not os.environ.get("CI"):
        pytest.skip("not built: ./tb build")
    build.build()
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *CHECKED]

    result = subprocess.run(
        argv,
        cwd=compilation.CHECKOUT,
        env={**os.environ, "TESTBED_COMPILED": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stdout[-3000:]


def test_a_run_of_some_of_those_tests_is_none_of_all(request: pytest.FixtureRequest) -> None:
    files = [path for folder in CHECKED for path in (compilation.CHECKOUT / folder).rglob("test_*.py")]
    items = [pytest.Module.from_parent(request.session, path=path) for path in files]
    assert is_part_of(items)  # type: ignore[arg-type]
    assert not is_part_of(items[1:])  # type: ignore[arg-type]


def test_what_a_killed_build_left_goes_with_the_next_and_one_under_way_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    dead, alive = (tmp_path / f"staging-{pid}" for pid in (ended.pid, os.getppid()))
    for path in (dead, alive):
        path.mkdir()
        (path / "half.c").touch()
    monkeypatch.setattr(build, "BUILDS", tmp_path)
    monkeypatch.setattr(build, "why_not", lambda: None)

    def fails(_staging: Path) -> list[str]:
        raise build.BuildError("enough")

    monkeypatch.setattr(build, "_copy_sources", fails)
    with pytest.raises(build.BuildError, match="enough"):
        build.build()
    assert list(tmp_path.iterdir()) == [alive]
