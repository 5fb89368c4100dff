"""The checkout as a disk of a guest: what carries out runs, its bytecode, and compiled stacks when the guest can load
them. Sending it over SSH into an emulated machine takes ten seconds, a disk none.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from testbed import compilation
from testbed.orchestrator import environment
from testbed.remote.checkout import Checkout
from testbed.remote.trees import Entry
from testbed.vm import bytecode, modules
from testbed.vm.cache import CHECKOUTS, Cache, held
from testbed.vm.rootfs import PYTHON

NEEDED = ("testbed/", "topologies/", "experiments/", environment.SHIPPED)
"""Of a checkout. Reports are made on the host."""
MOUNTED = "/opt/testbed"
"""Where the guest's init mounts it (guest/init)."""
MAKER = "2"
IMAGE = "checkout.sqfs"
KEPT = 8
"""Each change of a file makes another one, of 18 MB."""


def build(cache: Cache, checkout: Checkout, say: Callable[[str], None]) -> Path:
    """The image; at once when it is there."""
    compiled = build_here()
    if compiled is None:
        say("no compiled stacks that a machine can load: it runs the sources, several times as slow ('./tb build')")
    words = [MAKER, checkout.digest, compiled.name if compiled else "", str(bytecode.fits(PYTHON))]
    digest = hashlib.sha256("\0".join(words).encode()).hexdigest()[:32]

    def make(directory: Path) -> None:
        with tempfile.TemporaryDirectory(dir=directory, prefix=".tree-") as folder:
            tree = Path(folder) / "checkout"
            for entry in checkout.entries:
                if entry.name.startswith(NEEDED):
                    _write(entry, tree / entry.name)
            bytecode.compile_tree(tree, seen_at=MOUNTED, python=PYTHON)
            if compiled is not None:
                shutil.copytree(compiled, tree / "build" / "compiled" / compiled.name)
            modules.squash(tree, directory / IMAGE, None)

    path = cache.made(CHECKOUTS, digest, make)
    with held(path):  # from now on it is the one that was used last
        pass
    cache.prune(CHECKOUTS, KEPT)
    return path / IMAGE


def _write(entry: Entry, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if entry.link is not None:
        path.symlink_to(entry.link)
    elif isinstance(entry.content, bytes):
        path.write_bytes(entry.content)
        path.chmod(0o755 if entry.executable else 0o644)


def build_here() -> Path | None:
    """The compiled stacks that this process runs, when the guest's Python can load them: they are for one version."""
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    return compilation.BUILDS / compilation.digest() if compilation.status.compiled and here == PYTHON else None
