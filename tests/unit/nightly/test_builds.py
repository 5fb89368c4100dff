"""Two builds side by side: exported by commit, run in their own directory, told apart, and what becomes of a run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from testbed.nightly import builds, preparation, steps
from testbed.nightly.builds import Build
from testbed.nightly.campaign import Reference
from testbed.nightly.entries import Entry
from testbed.nightly.steps import Step
from testbed.orchestrator.spec import SpecificationError
from testbed.record import RecordError

PROGRAM = """
import json, os, sys
from pathlib import Path
import testbed
out = Path(sys.argv[sys.argv.index("--out") + 1]) if "--out" in sys.argv else None
{body}
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with two commits of a program that says who it is."""
    root = tmp_path_factory.mktemp("repository")
    git(root, "init", "-q")
    for word in ("first", "second"):
        write_program(root, f"print({word!r}, os.getcwd(), testbed.__file__)")
        git(root, "add", ".")
        git(root, "-c", "user.name=T", "-c", "user.email=t@example.org", "commit", "-qm", word)
    return root


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def git(root: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", str(root), *words], check=True, capture_output=True, text=True).stdout.strip()


def write_program(root: Path, body: str) -> Build:
    """A checkout that does as little as that."""
    (root / "testbed").mkdir(exist_ok=True)
    (root / "testbed" / "__init__.py").touch()
    (root / "testbed" / "__main__.py").write_text(PROGRAM.format(body=body))
    return builds.of_checkout(root)


def step() -> Step:
    entry = Entry("aggregation", "aggregation", "sim", ("duration=1s",), ("a", "b"), Reference(build="x"), (), 1.0)
    return Step("0000", entry, "candidate", ("a", "b"), 0, 7, 3)


def carry_out(build: Build, folder: Path, deadline_s: float = 30.0) -> tuple[Any, Path | None, str]:
    return steps.carry_out(step(), build, folder, compiled=None, quick=False, deadline_s=deadline_s)


def test_a_commit_is_exported_once_whole_and_runs_from_its_own_directory(repository: Path, tmp_path: Path) -> None:
    first = builds.exported("HEAD~1", repository)
    again = builds.exported(git(repository, "rev-parse", "HEAD~1"), repository)

    assert first == again
    assert first.commit == git(repository, "rev-parse", "HEAD~1")
    assert first.identity == first.commit
    assert [path.name for path in builds.cache().iterdir()] == [first.commit], "nothing half-unpacked stays"
    state, _, _ = carry_out(first, tmp_path / "run")
    assert state == "invalid", "it made no run directory"
    word, cwd, package = (tmp_path / "run" / "stdout.log").read_text().split()
    assert (word, cwd) == ("first", str(first.root))
    assert Path(package).is_relative_to(first.root)


def test_the_cache_forgets_what_nobody_used_and_what_a_killed_export_left(repository: Path) -> None:
    kept = builds.exported("HEAD~1", repository)
    old, killed, fresh = (
        builds.cache() / name for name in ("old", ".abc.99999999.partial", f".abc.{os.getpid()}.partial")
    )
    for path in (old, killed, fresh):
        path.mkdir()
    os.utime(old, (0, 0))

    newest = builds.exported("HEAD", repository)

    assert sorted(builds.cache().iterdir()) == sorted([kept.root, newest.root, fresh])


def test_a_revision_that_git_does_not_have_is_told_with_the_fix(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecificationError, match=r"knows no revision 'v9'.*git fetch --unshallow"):
        builds.resolve("git:v9", tmp_path, None)
    with pytest.raises(SpecificationError, match=r"reference\.build: .*elsewhere is no checkout of the testbed.*write"):
        builds.resolve("elsewhere", tmp_path, None)
    with pytest.raises(SpecificationError, match="knows no revision"):
        builds.exported("--output=x", repository)


def test_a_path_is_taken_from_the_campaigns_directory(tmp_path: Path) -> None:
    made = tmp_path / "other"
    made.mkdir()
    write_program(made, "pass")

    found = builds.resolve("../other", tmp_path / "campaigns", None)

    assert found.root == made
    assert found.commit is None
    assert found.words == f"sources {found.digest[:12]}"


def test_a_changed_source_is_another_build(repository: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(repository, copy)
    clean = builds.of_checkout(copy)

    (copy / "testbed" / "__main__.py").write_text("pass")
    changed = builds.of_checkout(copy)

    assert clean.identity == clean.commit == changed.commit
    assert (clean.dirty, changed.dirty) == (False, True)
    assert changed.identity == changed.digest != clean.digest
    assert changed.words.endswith("with changes")


def test_both_builds_are_started_in_the_same_way(tmp_path: Path) -> None:
    told = "print(json.dumps([sys.argv[1:], os.environ['PYTHONPATH'], sys.executable]))"
    found = []
    for name in ("candidate", "reference"):
        (tmp_path / name).mkdir()
        build = write_program(tmp_path / name, told)
        carry_out(build, tmp_path / "runs" / name)
        words, path, python = json.loads((tmp_path / "runs" / name / "stdout.log").read_text())
        found.append([word.replace(str(tmp_path / "runs" / name), "OUT") for word in words])
        assert (path, python) == (str(build.root), sys.executable)

    assert found[0] == found[1]
    assert found[0][-6:] == ["--variant", "a", "--variant", "b", "--set", "duration=1s"]


@pytest.mark.parametrize(
    ("body", "state", "said"),
    [
        ("print('testbed: there is no experiment', file=sys.stderr); sys.exit(2)", "unsupported", "there is no exp"),
        ("print('testbed: UNSUPPORTED: needs root', file=sys.stderr); sys.exit(4)", "unsupported", "needs root"),
        ("raise RuntimeError('a defect')", "invalid", "the run ended with exit code 1: RuntimeError: a defect"),
        ("os.kill(os.getpid(), 9)", "invalid", "the run was killed by signal 9: no message"),
        ("import time; time.sleep(60)", "invalid", "it did not end within 0.3 s"),
    ],
)
def test_what_did_not_measure_says_why(tmp_path: Path, body: str, state: str, said: str) -> None:
    build = write_program(tmp_path, body)

    found, run, reason = carry_out(build, tmp_path / "run", 0.3 if "sleep" in body else 30.0)

    assert (found, run) == (state, None)
    assert reason.startswith(said)


def test_a_relative_place_is_relative_to_who_called_not_to_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "build").mkdir()
    build = write_program(tmp_path / "build", "print(os.path.abspath(sys.argv[sys.argv.index('--out') + 1]))")
    monkeypatch.chdir(tmp_path)

    carry_out(build, Path("nights/run"))

    assert Path((tmp_path / "nights" / "run" / "stdout.log").read_text().strip()) == tmp_path / "nights" / "run"


def test_a_full_disk_ends_the_night_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = write_program(tmp_path, "print('testbed: no space left for trial 3', file=sys.stderr); sys.exit(3)")
    with pytest.raises(RecordError, match=r"no space left .* is kept; make room and call testbed nightly again"):
        carry_out(full, tmp_path / "run")

    other = write_program(tmp_path, "sys.exit(1)")
    monkeypatch.setattr(steps.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(RecordError, match="no space left"):
        carry_out(other, tmp_path / "run")


def test_a_reference_says_itself_which_variants_it_has(tmp_path: Path) -> None:
    plan = "print(json.dumps({'plan': [{'variant': 'a'}]}))"
    build = write_program(tmp_path, plan)
    assert preparation._asked(step().entry, build) == (frozenset({"a"}), "it has no such variant")

    build = write_program(tmp_path, "print('testbed: there is no experiment', file=sys.stderr); sys.exit(2)")
    assert preparation._asked(step().entry, build) == (frozenset(), "there is no experiment")

    build = write_program(tmp_path, "print('of another kind')")
    assert "does not say what it would run" in preparation._asked(step().entry, build)[1]


def test_no_build_is_favoured_by_being_compiled(tmp_path: Path) -> None:
    compilation = "from types import SimpleNamespace\nstatus = SimpleNamespace(compiled={})\ndef digest(): return 'd'\n"
    found = {}
    for name, compiled in (("yes", True), ("no", False)):
        (tmp_path / name).mkdir()
        found[name] = write_program(tmp_path / name, "pass")
        (tmp_path / name / "testbed" / "compilation.py").write_text(compilation.format(compiled))

    assert builds.same_form(found["yes"], found["yes"]) is None
    assert builds.same_form(found["yes"], found["no"]) is False
    assert builds.same_form(found["no"], found["yes"]) is False
    assert found["yes"].environment(False)["TESTBED_COMPILED"] == "0"
    assert "TESTBED_COMPILED" not in found["yes"].environment(None)


def test_other_locked_libraries_are_told(tmp_path: Path) -> None:
    for name, text in (("one", "numpy==1"), ("two", "numpy==2")):
        (tmp_path / name).mkdir()
        write_program(tmp_path / name, "pass")
        (tmp_path / name / "requirements.lock").write_text(text)
    one, two = (builds.of_checkout(tmp_path / name) for name in ("one", "two"))

    assert list(builds.unlike(one, one)) == []
    assert "locks other libraries" in next(builds.unlike(one, two))
