"""Compile the protocol rooms with mypyc into the directory where :mod:`testbed.compilation` looks for them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import time
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from testbed.compilation import BUILDS, CHECKOUT, ROOMS, digest, sources

NOT_COMPILED: frozenset[str] = frozenset()
"""Modules (paths below the checkout) that stay as they are, each with its reason behind it."""

KEPT_BUILDS = 3
"""The newest; switching between branches finds its build again."""

LOG = BUILDS / "build.log"

# Level 1: what is compiled spends its time in calls and in Python's own objects, where 2 gains nothing that can be
# measured, and takes two thirds of the time to compile.
_SETUP = """\
import sys
from concurrent.futures import ThreadPoolExecutor

from mypyc.build import mypycify
from setuptools import setup
from setuptools.command.build_ext import build_ext


class Parallel(build_ext):
    def build_extension(self, extension):
        compile_all = self.compiler.compile

        def compile(sources, **options):
            with ThreadPoolExecutor({jobs}) as pool:
                parts = list(pool.map(lambda source: compile_all([source], **options), sources))
            return [path for part in parts for path in part]

        self.compiler.compile = compile
        try:
            super().build_extension(extension)
        finally:
            self.compiler.compile = compile_all


setup(
    name="testbed-compiled",
    packages=[],
    cmdclass={{"build_ext": Parallel}},
    ext_modules=mypycify(
        ["--config-file=", "--python-executable=" + sys.executable, *{modules!r}],
        opt_level="1",
        debug_level="0",
        multi_file=True,
    ),
)
"""


class BuildError(Exception):
    """Why there is no build; one line."""


def why_not() -> str | None:
    """What is missing for a build, or None."""
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None and shutil.which("cc") is None:
        return "no C compiler (apt install gcc)"
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").exists():
        return "no Python.h (apt install python3-dev)"
    try:
        import mypyc.build  # noqa: F401
        from librt import strings  # noqa: F401
    except ImportError as error:
        return f"{error.name or error} is not installed (./tb build installs it)"
    return None


def build(force: bool = False) -> tuple[Path, float]:
    """Build, unless the build of these sources is there. Returns its directory and the seconds it took.

    Raises BuildError; nothing is left behind then but the log.
    """
    target = BUILDS / digest()
    if target.is_dir() and not force:
        return target, 0.0
    if (reason := why_not()) is not None:
        raise BuildError(reason)
    begun = time.monotonic()
    _forget_killed_builds()
    staging = BUILDS / f"staging-{os.getpid()}"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        modules = _copy_sources(staging)
        (staging / "setup.py").write_text(_SETUP.format(jobs=os.cpu_count() or 1, modules=modules))
        _compile(staging)
        _keep_only_compiled(staging)
        shutil.rmtree(target, ignore_errors=True)
        staging.rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    _forget_old_builds(target)
    return target, time.monotonic() - begun


def _copy_sources(staging: Path) -> list[str]:
    """All that the rooms import, and the names of what is to be compiled."""
    for room in ROOMS:
        shutil.copytree(
            CHECKOUT / "testbed" / room,
            staging / "testbed" / room,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    (staging / "testbed" / "__init__.py").touch()
    shutil.copytree(CHECKOUT / "topologies", staging / "topologies", ignore=shutil.ignore_patterns("__pycache__"))
    names = [str(path.relative_to(CHECKOUT)) for path in sources()]
    return [name for name in names if not name.endswith("__init__.py") and name not in NOT_COMPILED]


def _compile(staging: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MYPYPATH")}
    result = subprocess.run(
        [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"],
        cwd=staging,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    LOG.write_text(result.stdout)
    if result.returncode != 0:
        errors = [line for line in result.stdout.splitlines() if "error:" in line]
        raise BuildError(f"{errors[0] if errors else 'the compiler failed'} (all of it: {LOG.relative_to(CHECKOUT)})")


def _keep_only_compiled(staging: Path) -> None:
    suffix = EXTENSION_SUFFIXES[0]
    for top in ("build", "topologies"):
        shutil.rmtree(staging / top)
    for path in sorted(staging.rglob("*"), reverse=True):
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif not path.name.endswith(suffix):
            path.unlink()


def _forget_killed_builds() -> None:
    """What builds left whose process was killed; those that are under way stay."""
    for path in BUILDS.glob("staging-*"):
        pid = path.name.removeprefix("staging-")
        if not (Path("/proc") / pid).exists():
            shutil.rmtree(path, ignore_errors=True)


def _forget_old_builds(newest: Path) -> None:
    builds = [path for path in BUILDS.iterdir() if path.is_dir() and not path.name.startswith("staging-")]
    builds.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in builds[KEPT_BUILDS:]:
        if path != newest:
            shutil.rmtree(path, ignore_errors=True)
