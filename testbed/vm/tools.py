"""The programs that images are made with: found in PATH or the system directories, and named with their package."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from testbed.orchestrator.errors import Unsupported
from testbed.vm import side_by_side

PACKAGES: Mapping[str, tuple[str, str]] = {
    "qemu-system-x86_64": ("qemu-system-x86", "virtual machines"),
    "dpkg-deb": ("dpkg", "kernels from Debian packages"),
    "apt-get": ("apt", "kernels and a root file system from Debian's archive"),
    "apt-cache": ("apt", "kernels and a root file system from Debian's archive"),
    "apt-config": ("apt", "kernels and a root file system from Debian's archive"),
    "depmod": ("kmod", "modules of a kernel"),
    "mksquashfs": ("squashfs-tools", "images of modules and Python packages"),
    "unsquashfs": ("squashfs-tools", "kernels for Vagrant"),
    "zstd": ("zstd", "uncompressing kernels (Debian's 6.12 and later)"),
    "lz4": ("lz4", "uncompressing kernels (Debian's 6.1)"),
    "mmdebstrap": ("mmdebstrap", "the root file system"),
    "mkfs.ext4": ("e2fsprogs", "the root file system"),
    "unshare": ("util-linux", "the root file system, without root"),
    "newuidmap": ("uidmap", "the root file system, without root"),
}
"""Program -> its package, and what needs it."""


MEMINFO = Path("/proc/meminfo")
_DEBIANS_OWN = frozenset({"apt", "dpkg"})
"""Where they are missing, apt cannot be the remedy."""


def find(name: str) -> str | None:
    """Where a program is."""
    path = os.environ.get("PATH", os.defpath)
    return shutil.which(name, path=f"{path}{os.pathsep}/usr/sbin{os.pathsep}/sbin")


def require(name: str) -> str:
    """Where it is. Raises Unsupported with its package when it is not installed."""
    found = find(name)
    if found is None:
        package, needed_by = PACKAGES[name]
        remedy = (
            f"apt install {package}" if package not in _DEBIANS_OWN else "Debian and Ubuntu have it; else bzimage:FILE"
        )
        raise Unsupported(f"{name} is not installed (needed for {needed_by}): {remedy}")
    return found


def run(
    name: str,
    *words: str | Path,
    deadline_s: float,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run it to its end and return its standard output.

    Raises Unsupported with its package when it is not installed, CommandFailed with its last words, NotReady.
    """
    found = require(name)
    with side_by_side.start([found, *words], cwd=cwd, environment=environment) as tool:
        return tool.succeed(deadline_s)


def available_mib() -> int:
    """Memory that could be used without swapping (proc(5), MemAvailable)."""
    lines = (line.split() for line in MEMINFO.read_text().splitlines())
    return next((int(words[1]) // 1024 for words in lines if words and words[0] == "MemAvailable:"), 0)
