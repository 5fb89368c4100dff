"""Compiled modules of the protocol rooms, imported in place of their sources when, and only when, they fit them.

``testbed build`` compiles the rooms with mypyc into ``build/compiled/<digest>``, where the digest covers every
source that had a part in it and the interpreter. At start-up the digest of the checkout is computed (a few ms) and a
directory of that name is looked for. Edit a source and its compiled form is no longer found, so that what runs is what
stands in the checkout.

``TESTBED_COMPILED=0`` runs the sources; ``TESTBED_COMPILED=1`` refuses to start without compiled modules.
``TESTBED_BUILD=DIGEST`` takes that build unseen: for a machine whose checkout cannot change, where reading all sources
at every start takes longer than the rest of it.
"""

from __future__ import annotations

import hashlib
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

CHECKOUT = Path(__file__).parents[2]
BUILDS = CHECKOUT / "build" / "compiled"
ROOMS = ("net", "tcp", "mptcp", "wire")
VARIABLE = "TESTBED_COMPILED"
BUILD_VARIABLE = "TESTBED_BUILD"


class Status(NamedTuple):
    """Which form of the protocol rooms is in force in this process."""

    compiled: bool
    detail: str


status = Status(False, "not asked yet")


def sources() -> list[Path]:
    """The sources of the rooms, in a fixed order."""
    return sorted(path for room in ROOMS for path in (CHECKOUT / "testbed" / room).rglob("*.py"))


def digest() -> str:
    """Names a build: of these sources, in this way, for this interpreter."""
    sha = hashlib.sha256(importlib.machinery.EXTENSION_SUFFIXES[0].encode())
    # every start pays for this, so: no Path for each of more than a hundred files
    for top in (*(f"testbed/{room}" for room in (*ROOMS, "compilation")), "topologies"):
        for name in _files_below(os.path.join(CHECKOUT, top)):  # noqa: PTH118
            with open(name, "rb") as source:  # noqa: PTH123
                content = source.read()
            sha.update(f"\0{name[len(str(CHECKOUT)) :]}\0{len(content)}\0".encode())
            sha.update(content)
    return sha.hexdigest()[:20]


def _files_below(directory: str) -> list[str]:
    """The Python files, in a fixed order."""
    found: list[str] = []
    for entry in sorted(os.scandir(directory), key=lambda entry: entry.name):
        if entry.name.endswith(".py"):
            found.append(entry.path)
        elif entry.name != "__pycache__" and entry.is_dir():
            found += _files_below(entry.path)
    return found


class _Finder:
    """Finds the modules of one build; put before the finders of sources."""

    def __init__(self, directory: Path) -> None:
        suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
        self._paths = {
            ".".join(path.relative_to(directory).parts).removesuffix(suffix): str(path)
            for path in sorted(directory.rglob("*" + suffix))
        }

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The compiled module of that name, or None."""
        found = self._paths.get(name)
        if found is None:
            return None
        loader = importlib.machinery.ExtensionFileLoader(name, found)
        return importlib.util.spec_from_file_location(name, found, loader=loader)

    def shared_libraries(self) -> list[str]:
        """The modules that hold the code; the others only point into them."""
        return [name for name in self._paths if name.endswith("__mypyc")]


def activate() -> None:
    """Let imports of the rooms find the compiled modules, if there are some that fit; sets :data:`status`."""
    global status
    wanted = os.environ.get(VARIABLE, "")
    if wanted == "0":
        status = Status(False, f"switched off by {VARIABLE}=0")
        return
    status = _activate()
    if wanted == "1" and not status.compiled:
        raise ImportError(f"{VARIABLE}=1, but {status.detail}")


def _activate() -> Status:
    if not BUILDS.is_dir():
        return Status(False, "not built (./tb build)")
    directory = BUILDS / (os.environ.get(BUILD_VARIABLE) or digest())
    if not directory.is_dir():
        return Status(False, "the sources have changed since the last build (./tb build)")
    finder = _Finder(directory)
    sys.meta_path.insert(0, finder)
    try:
        for name in finder.shared_libraries():
            importlib.import_module(name)
    except ImportError as error:  # librt is missing, or another than it was built with
        sys.meta_path.remove(finder)
        return Status(False, f"the build cannot be loaded: {error} (./tb build)")
    return Status(True, f"{len(finder.shared_libraries())} rooms, build {directory.name}")
