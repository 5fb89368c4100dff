"""What is measured: this checkout as the candidate, and the reference build, which is another checkout.

A commit is exported (``git archive``) into the user's cache, once, under its name. Candidate and reference are then run
in the same way: with this Python, in their own directory, which alone is on the path of modules.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tarfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import testbed
from testbed.compilation import BUILDS
from testbed.orchestrator import process
from testbed.orchestrator.errors import TestbedError
from testbed.orchestrator.spec import SpecificationError
from testbed.record.files import space_needed_for

CHECKOUT: Final = Path(testbed.__file__).parents[1]
MEASURING: Final = ("testbed", "topologies", "experiments")
"""Rooms whose sources decide what is measured."""
NEEDED: Final = (*MEASURING, "analysis", "pyproject.toml", "tb", "LICENSE")
"""What a run needs of a commit; its tests, documents and captures stay in git."""
COMPILATION_S: Final = 1800.0
UNUSED_DAYS: Final = 60
"""An exported commit that no night used for so long is removed."""


@dataclass(frozen=True, slots=True)
class Build:
    """A checkout that can be run."""

    root: Path
    commit: str | None
    """None: it is in no repository."""
    dirty: bool | None
    digest: str
    """Of its sources: tells builds apart also where git cannot."""

    @property
    def identity(self) -> str:
        """Text that changes when the build does: the commit where that says all, else the digest of the sources."""
        return self.commit if self.commit and self.dirty is False else self.digest

    @property
    def words(self) -> str:
        """For people: ``1a2b3c4d5e6f``, ``1a2b3c4d5e6f with changes``."""
        if self.commit is None:
            return f"sources {self.digest[:12]}"
        return self.commit[:12] + (" with changes" if self.dirty else "")

    def argv(self, *words: str) -> list[str]:
        """``testbed WORDS`` of this build."""
        return [sys.executable, "-m", "testbed", *words]

    def environment(self, compiled: bool | None) -> Mapping[str, str]:
        """Its sources alone are on the path; ``compiled`` False: and no compiled form of them is used."""
        found = {"PYTHONPATH": str(self.root)}
        return found if compiled is not False else {**found, "TESTBED_COMPILED": "0"}

    def as_json(self) -> dict[str, object]:
        """For the night's state and the manifest."""
        return {"commit": self.commit, "dirty": self.dirty, "digest": self.digest}


def candidate() -> Build:
    """This checkout, as it is."""
    return of_checkout(CHECKOUT)


def of_checkout(root: Path) -> Build:
    """The build in a directory. Raises SpecificationError when there is none."""
    if not (root / "testbed" / "__main__.py").is_file():
        raise SpecificationError(
            f"reference.build: {root} is no checkout of the testbed: it has no testbed/__main__.py; write the path of "
            'one, "accepted" or "git:REVISION"'
        )
    commit = _git(root, "rev-parse", "HEAD") if _is_top(root) else None
    status = _git(root, "status", "--porcelain", "--untracked-files=no") if commit else None
    return Build(root, commit, None if status is None else bool(status), sources_digest(root))


def resolve(text: str, relative_to: Path, accepted: str | None) -> Build:
    """The reference that a campaign names: ``git:REVISION``, ``accepted``, or a path.

    ``accepted`` is the commit of the accepted build, if the history knows one; else that of this checkout is. Raises
    SpecificationError.
    """
    if text == "accepted":
        if accepted is not None:
            return exported(accepted, CHECKOUT)
        commit = _git(CHECKOUT, "rev-parse", "HEAD") if _is_top(CHECKOUT) else None
        if commit is None:
            raise SpecificationError(
                'reference.build "accepted" needs git, which knows nothing of this checkout; name the path of a '
                "checkout to compare with"
            )
        return exported(commit, CHECKOUT)
    if text.startswith("git:"):
        return exported(text.removeprefix("git:"), CHECKOUT)
    return of_checkout((relative_to / Path(text).expanduser()).resolve())


def exported(revision: str, repository: Path) -> Build:
    """The sources of a revision, in the cache. Raises SpecificationError when git does not have it."""
    words = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    commit = _git(repository, *words) if _is_top(repository) else None
    if not commit:
        raise SpecificationError(
            f"reference.build: git knows no revision {revision!r} in {repository}; fetch it (a shallow clone has the "
            "newest alone: git fetch --unshallow), or name another"
        )
    target = cache() / commit
    with space_needed_for("the reference build", cache()):
        if not target.is_dir():
            cache().mkdir(parents=True, exist_ok=True)
            _forget_unused(target)
            _export(repository, commit, target)
        _share_compiled(target)
        os.utime(target)  # used now
    return Build(target, commit, False, sources_digest(target))


def cache() -> Path:
    """Where exported commits are: below ``$XDG_CACHE_HOME``, or ``~/.cache``."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    root = Path(base) if base.startswith("/") else Path.home() / ".cache"
    return root / "mptcp-testbed" / "builds"


def sources_digest(root: Path) -> str:
    """SHA-256 (hex) of the sources that decide what is measured."""
    sha = hashlib.sha256()
    for room in MEASURING:
        for path in sorted((root / room).rglob("*.py")):
            content = path.read_bytes()
            sha.update(f"\0{path.relative_to(root)}\0{len(content)}\0".encode() + content)
    return sha.hexdigest()


def unlike(first: Build, second: Build) -> Iterator[str]:
    """What the two cannot both have, since they share one Python environment."""
    ours, theirs = (build.root / "requirements.lock" for build in (first, second))
    if ours.is_file() and theirs.is_file() and ours.read_bytes() != theirs.read_bytes():
        yield "the reference build locks other libraries; it was run with those of this checkout"


def _export(repository: Path, commit: str, target: Path) -> None:
    """Whole or not at all: unpacked under another name and renamed."""
    staging = target.with_name(f".{target.name}.{os.getpid()}.partial")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        staging.mkdir()
        archive = staging / "archive.tar"
        git = _command(repository)
        there = process.run([*git, "ls-tree", "--name-only", commit], deadline_s=30.0).splitlines()
        wanted = [name for name in there if name in NEEDED or name.startswith("requirements")]
        process.run([*git, "archive", f"--output={archive}", commit, "--", *wanted], deadline_s=120.0)
        with tarfile.open(archive) as packed:
            packed.extractall(staging / "tree", filter="data")
        (staging / "tree" / ".shipped.json").write_text(json.dumps({"commit": commit, "dirty": False}))
        try:
            (staging / "tree").rename(target)
        except OSError:
            if not target.is_dir():  # else another night has exported the same meanwhile
                raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _share_compiled(target: Path) -> None:
    """Of sources that are the same, the compiled form is, too: builds are named by the digest of their sources."""
    if not BUILDS.is_dir():
        return
    _, digest = _form_of(target)
    copy = target / "build" / "compiled" / digest
    if not digest or copy.exists() or not (BUILDS / digest).is_dir():
        return
    partial = copy.with_name(f"staging-{os.getpid()}")
    try:
        shutil.copytree(BUILDS / digest, partial)
        partial.rename(copy)
    except OSError:  # another night did it, or there is no room: then the sources run
        shutil.rmtree(partial, ignore_errors=True)


def _form_of(root: Path) -> tuple[bool, str]:
    """(whether it runs compiled, digest of its protocol rooms); an old build may know nothing of that."""
    code = "from testbed import compilation as c; print(int(c.status.compiled), c.digest())"
    with process.start([sys.executable, "-c", code], cwd=root, environment={"PYTHONPATH": str(root)}) as child:
        try:
            compiled, digest = child.succeed(30.0).split()
        except (TestbedError, ValueError):
            return False, ""
    return compiled == "1", digest


def same_form(candidate: Build, reference: Build) -> bool | None:
    """None: both run as they are, and both are compiled; False: neither may be, or one would be favoured.

    Only real time feels it. A candidate that is compiled has its reference compiled once, if that can be done.
    """
    if not _form_of(candidate.root)[0]:
        return False
    if not _form_of(reference.root)[0] and reference.root.is_relative_to(cache()):
        words = reference.argv("build", "--if-possible")
        with (
            suppress(TestbedError),
            process.start(words, cwd=reference.root, environment=reference.environment(None)) as child,
        ):
            child.wait(COMPILATION_S)
    return None if _form_of(reference.root)[0] else False


def _forget_unused(keep: Path) -> None:
    """Commits that no night asked for lately, and what an export left whose process was killed."""
    for path in cache().iterdir():
        killed = path.suffix == ".partial" and not Path("/proc", path.stem.rpartition(".")[2]).exists()
        if killed or (path != keep and path.stat().st_mtime < time.time() - UNUSED_DAYS * 86400):
            shutil.rmtree(path, ignore_errors=True)


def _is_top(root: Path) -> bool:
    """Whether ``root`` is a checkout itself, not a directory inside of another project's."""
    return (root / ".git").exists()


def _command(root: Path) -> tuple[str, ...]:
    return ("git", "-c", f"safe.directory={root}", "-C", str(root))


def _git(root: Path, *words: str) -> str | None:
    try:
        return process.run([*_command(root), *words], deadline_s=30.0).strip()
    except TestbedError:
        return None
