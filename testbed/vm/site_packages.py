"""The Python packages that the testbed needs inside a machine, as one image for the guest's Python.

Reports are made on the host, so what only they need (pandas, scipy) stays out. The versions and digests are those of
``requirements.lock`` and, for what compiled stacks import when they run, ``requirements-build.lock``; they are had from
where this machine's pip gets packages.

Source: pip's documentation (``pip install --platform --python-version --only-binary``), PEP 600 (manylinux).
"""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from testbed.orchestrator import environment
from testbed.orchestrator.errors import CommandFailed, NotReady, Unsupported
from testbed.vm import bytecode, modules, side_by_side
from testbed.vm.cache import SITES, Cache
from testbed.vm.kernels import Say

PROJECT = "mptcp-testbed"
HOST_ONLY = frozenset({"cryptography", "distributed", "jinja2", "numpy", "pandas", "paramiko", "scipy"})
"""Of the project's own requirements, those of the reports and of other machines."""
COMPILED = frozenset({"librt"})
"""What compiled stacks import (mypyc's own library); locked with the compiler."""
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
"""Wheels for the C library of Debian 10 and later; pip takes no order among them, so all are named."""
UNUSED = ("pyarrow/tests", "pyarrow/include", "pyarrow/src", "pyarrow/libarrow_flight*", "pyarrow/libarrow_s3*")
"""Of the packages, what nothing of ours loads: 60 MB."""
MOUNTED = "/opt/testbed-site"
"""Where the guest's init mounts the image (guest/init)."""
MAKER = "3"
PIP_S = 900.0
_NAMED = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==")
_VIA = re.compile(r"\s+#\s+(?:via\s+)?(?P<by>[A-Za-z0-9][A-Za-z0-9._-]*)")


@dataclass(frozen=True, slots=True)
class Locked:
    """One package of a lock file."""

    name: str
    lines: tuple[str, ...]
    """As they stand there: version, marker, digests."""
    wanted_by: frozenset[str]


def build(cache: Cache, say: Say, *, python: str, root: Path = environment.ROOT) -> Path:
    """The image for a guest with this Python (3.11); at once when it is there.

    Raises Unsupported when pip cannot get the packages, with its words.
    """
    try:
        wanted = for_guest((root / "requirements.lock").read_text())
        wanted += only((root / "requirements-build.lock").read_text(), COMPILED)
    except OSError as error:
        raise Unsupported(
            f"{error.filename}: {error.strerror}; the packages of machines are those of a checkout"
        ) from None

    def make(directory: Path) -> None:
        say(f"Python packages for machines (Python {python})")
        (directory / "requirements.txt").write_text(wanted)
        with tempfile.TemporaryDirectory(dir=directory, prefix=".site-") as folder:
            site = Path(folder) / "site"
            _pip(directory / "requirements.txt", site, python)
            for pattern in UNUSED:
                for path in site.glob(pattern):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            bytecode.compile_tree(site, seen_at=MOUNTED, python=python)
            modules.squash(site, directory / "site.sqfs", None)

    return cache.made(SITES, _digest(wanted, python), make) / "site.sqfs"


def for_guest(lock: str) -> str:
    """The part of a lock file that the guest needs: what it asks for, and what that asks for."""
    packages = read(lock)
    kept: set[str] = {
        name for name, package in packages.items() if PROJECT in package.wanted_by and name not in HOST_ONLY
    }
    while more := {name for name, package in packages.items() if package.wanted_by & kept} - kept:
        kept |= more
    return only(lock, kept)


def only(lock: str, names: Collection[str]) -> str:
    """The part of a lock file that is about these packages."""
    packages = read(lock)
    return "".join(f"{line}\n" for name in sorted(names) for line in packages[name].lines)


def read(lock: str) -> Mapping[str, Locked]:
    """A lock file as ``uv pip compile --generate-hashes`` writes it, where comments say who wants a package."""
    lines: dict[str, list[str]] = {}
    wanted: dict[str, set[str]] = {}
    name = ""
    for line in lock.splitlines():
        if match := _NAMED.match(line):
            name = match["name"]
        if name and not line.lstrip().startswith("#"):
            lines.setdefault(name, []).append(line)
        elif name and (via := _VIA.match(line)) and line.strip() != "# via":
            wanted.setdefault(name, set()).add(via["by"])
    return {name: Locked(name, tuple(lines[name]), frozenset(wanted.get(name, ()))) for name in lines}


def _pip(requirements: Path, to: Path, python: str) -> None:
    words = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--quiet"]
    words += ["--require-hashes", "--no-deps", "--only-binary=:all:", "--no-compile", "--root-user-action=ignore"]
    words += ["--implementation", "cp", "--python-version", python]
    words += [f"--platform={platform}" for platform in PLATFORMS]
    with side_by_side.start([*words, "--target", str(to), "-r", str(requirements)]) as pip:
        try:
            pip.succeed(PIP_S)
        except CommandFailed as error:
            lines = [line for line in error.stderr.splitlines() if line.startswith("ERROR")]
            raise Unsupported(f"pip cannot get the packages of machines: {lines[0] if lines else error}") from None
        except NotReady as error:
            raise Unsupported(f"pip cannot get the packages of machines: {error}") from None


def _digest(wanted: str, python: str) -> str:
    words = [MAKER, python, *PLATFORMS, *UNUSED, str(bytecode.fits(python)), wanted]
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:32]
