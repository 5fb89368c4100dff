"""Python's bytecode made here for a guest: an emulated processor takes twenty times as long, and would at every start,
since its disks are only read.

Source: PEP 552 (bytecode that is not checked against its source), PEP 3147 (where it lies).
"""

from __future__ import annotations

import compileall
import py_compile
import sys
from pathlib import Path


def fits(python: str) -> bool:
    """Whether bytecode of this interpreter is that of the guest (3.11): its form changes with each minor version."""
    return sys.implementation.name == "cpython" and python == f"{sys.version_info.major}.{sys.version_info.minor}"


def compile_tree(tree: Path, *, seen_at: str, python: str) -> None:
    """Put bytecode beside the sources below ``tree``, which the guest sees at ``seen_at``; nothing when it is not its.

    A file that is no Python of this version (packages carry such as data) is left as it is.
    """
    if fits(python):
        mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
        compileall.compile_dir(tree, maxlevels=64, ddir=seen_at, quiet=2, workers=1, invalidation_mode=mode)
