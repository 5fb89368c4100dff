"""The modules of a kernel: all of them as one image, and the few that are needed before it can be mounted.

Source: modules.dep(5), depmod(8), modprobe.d(5) (softdep).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from testbed.vm import tools
from testbed.vm.qemu import PAGE_BYTES

FIRST = (
    *("virtio_pci", "virtio_blk", "virtio_net", "virtio_rng"),
    *("virtio_pmem", "nd_pmem"),
    *("ext4", "squashfs", "overlay"),
)
"""By these the machine reaches its disks; a kernel that has one of them built in has no such module."""
DEPMOD_S = 120.0
MKSQUASHFS_S = 600.0
ZSTD_LEVEL = "3"
"""The tool's own 15 took a minute for the modules of Debian's 6.1, this takes seconds, for an image 4 MB larger."""
GZIP_LEVEL = "1"
"""For the same reason."""
_TABLES = ("modules.dep", "modules.builtin", "modules.softdep", "modules.alias")
_SUFFIXES = ("", ".xz", ".zst", ".gz")


def index(root: Path, version: str) -> None:
    """Make modules.dep and its like for ``root``/lib/modules/``version``; packages come without."""
    tools.run("depmod", "-b", root, version, deadline_s=DEPMOD_S)


def keep_first(tree: Path, to: Path, names: Iterable[str] = FIRST) -> list[str]:
    """Copy the modules of these names and all that they need, in the same places; returns their paths."""
    paths = closure(names, _dependencies(tree / "modules.dep"), _soft(tree / "modules.softdep"))
    to.mkdir()
    for table in _TABLES:
        if (tree / table).is_file():
            shutil.copyfile(tree / table, to / table)
    for path in paths:
        (to / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(tree / path, to / path)
    return paths


def names_below(tree: Path) -> frozenset[str]:
    """Of the modules that lie there."""
    return frozenset(name_of(str(path)) for path in tree.rglob("*.ko*"))


def closure(names: Iterable[str], dependencies: Mapping[str, list[str]], soft: Mapping[str, list[str]]) -> list[str]:
    """Paths of these modules and of what they need, in the order in which they can be loaded."""
    by_name = {name_of(path): path for path in dependencies}
    order: list[str] = []
    under_way: set[str] = set()

    def add(path: str) -> None:
        if path in under_way or path not in dependencies:
            return
        under_way.add(path)
        for name in soft.get(name_of(path), []):
            if name in by_name:
                add(by_name[name])
        for needed in reversed(dependencies[path]):  # depmod(8) lists the one to load first at the end
            add(needed)
        order.append(path)

    for name in names:
        if name in by_name:
            add(by_name[name])
    return order


def name_of(path: str) -> str:
    """``kernel/fs/ext4/ext4.ko.xz`` -> ``ext4``; the kernel makes no difference between - and _."""
    name = Path(path).name
    for suffix in _SUFFIXES:
        if name.endswith(f".ko{suffix}"):
            name = name.removesuffix(f".ko{suffix}")
            break
    return name.replace("-", "_")


def squash(tree: Path, image: Path, compressor: str | None) -> None:
    """One image of the tree; the same tree gives the same bytes. ``compressor`` None: nothing is compressed, which an
    emulated processor reads several times as fast."""
    levels = {"zstd": ZSTD_LEVEL, "gzip": GZIP_LEVEL}
    words = ["-comp", compressor or "gzip"]
    words += ["-Xcompression-level", levels[compressor]] if compressor in levels else []
    words += ["-noI", "-noD", "-noF", "-noX"] if compressor is None else []
    words += ["-noappend", "-all-root", "-no-xattrs", "-no-progress", "-quiet", "-all-time", "0", "-mkfs-time", "0"]
    tools.run("mksquashfs", tree, image, *words, deadline_s=MKSQUASHFS_S)
    size = image.stat().st_size
    with image.open("ab") as file:
        file.truncate(size + -size % PAGE_BYTES)  # it may become memory of a machine


def _dependencies(path: Path) -> dict[str, list[str]]:
    rows = (line.partition(":") for line in path.read_text(errors="replace").splitlines() if ":" in line)
    return {module: needed.split() for module, _colon, needed in rows}


def _soft(path: Path) -> dict[str, list[str]]:
    """Module -> the ones to load before it: lines ``softdep NAME pre: A B post: C``."""
    found: dict[str, list[str]] = {}
    if path.is_file():
        for line in path.read_text(errors="replace").splitlines():
            words = line.split()
            if words[:1] == ["softdep"] and "pre:" in words:
                before = words[words.index("pre:") + 1 :]
                before = before[: before.index("post:")] if "post:" in before else before
                found.setdefault(words[1].replace("-", "_"), []).extend(name.replace("-", "_") for name in before)
    return found
