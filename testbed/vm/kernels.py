"""Kernels that machines are booted with: from Debian packages, or a bzImage that somebody built.

An entry holds ``bzImage``, ``vmlinux`` where QEMU can enter it, ``config``, ``modules.sqfs``, ``early/`` and
``meta.json``. Names that users type (6.12, newest) point to entries by files in ``names/``.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from testbed.orchestrator.errors import CommandFailed, InvalidTrial, Unsupported
from testbed.orchestrator.spec import SpecificationError
from testbed.record import files
from testbed.vm import kconfig, modules, tools, vmlinux
from testbed.vm.cache import KERNELS, Cache

Say = Callable[[str], None]

MAKER = "2"
"""Of the way entries are made: another one makes them anew."""
UNPACK_S = 120.0
LARGEST_IMAGE_BYTES = 256 << 20
_IMAGES = ("boot/vmlinuz-*", "usr/lib/modules/*/vmlinuz", "lib/modules/*/vmlinuz")
"""Debian up to 6.12; since 7.x in linux-binary-*."""
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+~_-]*$")
_BUILD_TREES = ("build", "source", "vmlinuz", "config", "System.map")
"""Beside the modules in /lib/modules/VERSION, and of no use in the machine; the first two point out of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """A kernel that can be booted."""

    name: str
    """What the user called it."""
    version: str
    """As uname -r says it."""
    directory: Path
    """Its entry of the cache: hold it (cache.held) as long as its files are used."""
    image: Path
    """For QEMU's -kernel: uncompressed where QEMU can enter that, else the bzImage."""
    bzimage: Path
    modules: Path | None
    """squashfs whose root is what belongs in /lib/modules/VERSION; None: all is built in."""
    early: Path | None
    """The modules that are needed to reach the disks, laid out as in /lib/modules/VERSION."""
    config: kconfig.Config | None
    meta: Mapping[str, Any]
    """meta.json: what it was made from, and what it lacks."""

    @property
    def takes_memory_disks(self) -> bool:
        """Whether its disks can be memory of the machine: it has the drivers, and those that are modules come early."""
        if self.config is None:
            return False
        early = modules.names_below(self.early) if self.early is not None else frozenset[str]()
        pairs = (("VIRTIO_PMEM", "virtio_pmem"), ("BLK_DEV_PMEM", "nd_pmem"))
        return all(self.config.get(option) == "y" or name in early for option, name in pairs)

    @property
    def lacks(self) -> list[str]:
        """Options that something needs, those without which nothing runs first."""
        return [str(found) for found in self._findings]

    @property
    def fatal(self) -> list[str]:
        """Those without which nothing runs."""
        return [str(found) for found in self._findings if found.fatal]

    @property
    def _findings(self) -> list[kconfig.Finding]:
        return [kconfig.Finding(**found) for found in self.meta["findings"]]


def from_debs(cache: Cache, debs: Sequence[Path], name: str | None, source: Mapping[str, Any], say: Say) -> Kernel:
    """Make an entry from packages, called by its version when it has no ``name``; at once when it is there.

    Raises SpecificationError that names the file.
    """
    inputs = [_input(path) for path in debs]

    def make(directory: Path) -> None:
        say(f"unpacking {', '.join(path.name for path in debs)}")
        with tempfile.TemporaryDirectory(dir=directory, prefix=".unpacked-") as folder:
            root = Path(folder)
            for path in debs:
                _unpack(path, root)
            image = _only_image(root, debs)
            made = _read_image(image)
            beside = (image.with_name("config"), root / "boot" / f"config-{made.version}")
            config = _read_config(next((path for path in beside if _is_inside(path, root)), None))
            shutil.copyfile(image, directory / "bzImage")
            tree = _placed_modules(root, made.version)
            _assemble(
                directory, made, config, tree, {"name": name or made.version, "source": source, "inputs": inputs}, say
            )

    return named(cache, name, cache.made(KERNELS, _digest(inputs), make).name)


def from_bzimage(
    cache: Cache,
    image: Path,
    name: str | None,
    say: Say,
    *,
    module_tree: Path | None = None,
    config: Path | None = None,
) -> Kernel:
    """Make an entry from a bzImage; ``module_tree`` is what ``make modules_install`` filled, or its lib/modules/V."""
    made = _read_image(image)
    tree = _found_modules(module_tree, made.version) if module_tree is not None else None
    inputs = [_input(path) for path in (image, config) if path is not None]
    if tree is not None:
        inputs.append({"file": str(module_tree), "sha256": _tree_digest(tree), "bytes": None})

    def make(directory: Path) -> None:
        with tempfile.TemporaryDirectory(dir=directory, prefix=".unpacked-") as folder:
            copy = None
            if tree is not None:
                copy = Path(folder) / "lib" / "modules" / made.version
                shutil.copytree(tree, copy, symlinks=True, ignore=shutil.ignore_patterns(*_BUILD_TREES))
            meta = {"name": name or made.version, "source": {"kind": "bzimage", "file": str(image)}, "inputs": inputs}
            shutil.copyfile(image, directory / "bzImage")
            _assemble(directory, made, _read_config(config), copy, meta, say)

    return named(cache, name, cache.made(KERNELS, _digest(inputs), make).name)


def find(cache: Cache, word: str) -> Kernel:
    """A fetched kernel by its name, version, or the beginning of its digest. Raises SpecificationError."""
    name = word.removeprefix("debian:")
    pointer = cache.root / "names" / _file_name(name)
    if pointer.is_file() and (path := cache.find(KERNELS, pointer.read_text().strip())) is not None:
        return load(path, name)
    fetched = [load(entry.path) for entry in cache.entries(KERNELS)]
    for kernel in fetched:
        if kernel.version == name or (len(name) >= 6 and kernel.directory.name.startswith(name)):
            return kernel
    known = ", ".join(sorted({f"{kernel.name} ({kernel.version})" for kernel in fetched})) or "none yet"
    raise SpecificationError(f"no kernel {word!r} is here (there is: {known}); 'testbed vm fetch-kernel' gets one")


def named(cache: Cache, name: str | None, digest: str) -> Kernel:
    """The kernel of an entry, which has this name from now on; None: the one it was made with."""
    if name is None:
        return load(cache.path(KERNELS, digest))
    files.write_atomically(cache.scratch("names") / _file_name(name), f"{digest}\n".encode())
    return load(cache.path(KERNELS, digest), name)


def load(path: Path, name: str | None = None) -> Kernel:
    """The kernel of an entry. Raises InvalidTrial when the entry was damaged."""
    try:
        meta = json.loads((path / "meta.json").read_bytes())
        config = path / "config"
        kernel = Kernel(
            name=name or meta["name"],
            version=meta["version"],
            directory=path,
            image=path / meta["image"],
            bzimage=path / "bzImage",
            modules=path / "modules.sqfs" if meta["modules"] else None,
            early=path / "early" if meta["modules"] else None,
            config=kconfig.parse(config.read_text()) if config.is_file() else None,
            meta=meta,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidTrial(f"{path} is damaged ({error}); remove it and fetch the kernel again") from None
    missing = [file.name for file in (kernel.image, kernel.modules, kernel.early) if file and not file.exists()]
    if missing:
        raise InvalidTrial(f"{path} is damaged ({missing[0]} is missing); remove it and fetch the kernel again")
    return kernel


def entry_digest(sha256s: Sequence[str]) -> str:
    """The name of the entry that is made from inputs with these digests, in any order."""
    return hashlib.sha256("\n".join([MAKER, *sorted(sha256s)]).encode()).hexdigest()[:32]


# --- inside ---


def _assemble(
    directory: Path,
    made: vmlinux.BzImage,
    config: str | None,
    tree: Path | None,
    meta: dict[str, Any],
    say: Say,
) -> None:
    """Fill the entry, where the bzImage is already. ``tree`` is ours to change."""
    uncompressed, why = _uncompressed(made)
    config_from = "file"
    if config is None and uncompressed is not None:
        config, config_from = kconfig.in_image(uncompressed), "image"
    parsed = None if config is None else kconfig.parse(config)
    findings = [] if parsed is None else kconfig.preflight(parsed, modules=tree is not None)
    if config is not None:
        (directory / "config").write_text(config)
    if uncompressed is not None and why is None:
        (directory / "vmlinux").write_bytes(uncompressed)
    compressor = kconfig.squashfs_compressor(parsed)
    if tree is not None:
        say(f"modules of {made.version}")
        modules.index(tree.parents[2], made.version)
        early = modules.keep_first(tree, directory / "early")
        modules.squash(tree, directory / "modules.sqfs", compressor)
    meta |= {
        "format": 1,
        "version": made.version,
        "described": made.described,
        "image": "bzImage" if why else "vmlinux",
        "why_compressed": why,
        "config": None if config is None else config_from,
        "findings": [asdict(found) for found in findings],
        "modules": None if tree is None else {"compressor": compressor, "early": early},
        "made_utc": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    (directory / "meta.json").write_text(json.dumps(meta, indent=1) + "\n")


def _uncompressed(made: vmlinux.BzImage) -> tuple[bytes | None, str | None]:
    """The kernel itself, and why QEMU has to start the bzImage instead (None: it has not)."""
    try:
        data = vmlinux.decompress(made)
    except Unsupported as error:
        return None, str(error)
    return data, None if vmlinux.has_pvh_entry(data) else "it has no PVH entry (CONFIG_PVH)"


def _read_image(path: Path) -> vmlinux.BzImage:
    try:
        if path.stat().st_size > LARGEST_IMAGE_BYTES:
            raise SpecificationError(f"{path}: no kernel is that large")
        made = vmlinux.read_bzimage(path.read_bytes())
    except OSError as error:
        raise SpecificationError(f"{path}: {error.strerror}") from None
    except vmlinux.NoKernel as error:
        raise SpecificationError(f"{path}: {error}") from None
    if not _VERSION.match(made.version):
        raise SpecificationError(f"{path}: its version {made.version!r} cannot be the name of a directory")
    return made


def _read_config(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        text = path.read_text(errors="replace")
        kconfig.parse(text)
    except OSError as error:
        raise SpecificationError(f"{path}: {error.strerror}") from None
    except SpecificationError as error:
        raise SpecificationError(f"{path}: {error}") from None
    return text


def _input(path: Path) -> dict[str, Any]:
    try:
        return {"file": path.name, "sha256": files.sha256_of(path), "bytes": path.stat().st_size}
    except OSError as error:
        raise SpecificationError(f"{path}: {error.strerror}") from None


def _digest(inputs: Sequence[Mapping[str, Any]]) -> str:
    return entry_digest([str(given["sha256"]) for given in inputs])


def _tree_digest(tree: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(tree.rglob("*")):
        if path.is_file() and not path.is_symlink():
            digest.update(f"{path.relative_to(tree)}\0{files.sha256_of(path)}\n".encode())
    return digest.hexdigest()


def _unpack(deb: Path, root: Path) -> None:
    try:
        tools.run("dpkg-deb", "-x", deb, root, deadline_s=UNPACK_S)
    except CommandFailed as error:
        said = error.stderr.strip().splitlines()
        raise SpecificationError(f"{deb}: is no Debian package: {said[-1] if said else error}") from None


def _only_image(root: Path, debs: Sequence[Path]) -> Path:
    found = {path.resolve() for pattern in _IMAGES for path in root.glob(pattern) if _is_inside(path, root)}
    if len(found) != 1:
        packages = ", ".join(path.name for path in debs)
        raise SpecificationError(
            f"{packages}: {len(found)} kernels in there instead of one; give linux-image-VERSION alone, and for "
            "Debian's 7.x linux-binary-VERSION, linux-modules-VERSION and linux-base-VERSION with it"
        )
    return found.pop()


def _is_inside(path: Path, root: Path) -> bool:
    """A file of the package itself: a link in it may point anywhere."""
    return path.is_file() and path.resolve().is_relative_to(root.resolve())


def _placed_modules(root: Path, version: str) -> Path | None:
    """The modules, where depmod looks for them: lib/modules below the root."""
    tree = root / "lib" / "modules" / version
    other = root / "usr" / "lib" / "modules" / version
    if not tree.is_dir() and other.is_dir() and _is_plain(other, root):
        tree.parent.mkdir(parents=True, exist_ok=True)
        other.rename(tree)
    if not tree.is_dir() or not _is_plain(tree, root) or not any(tree.rglob("*.ko*")):
        return None
    for name in _BUILD_TREES:
        (tree / name).unlink(missing_ok=True)
    return tree


def _is_plain(tree: Path, root: Path) -> bool:
    return tree.resolve().is_relative_to(root.resolve())


def _found_modules(given: Path, version: str) -> Path:
    """The lib/modules/VERSION that is meant. Raises SpecificationError with what there is instead."""
    for tree in (given / "lib" / "modules" / version, given / version, given):
        if tree.is_dir() and any(tree.rglob("*.ko*")) and (tree.name == version or tree == given):
            if tree == given and (given / "lib").is_dir():
                break
            return tree
    there = sorted(path.name for path in given.glob("lib/modules/*")) if given.is_dir() else []
    has = f"it has those of {', '.join(there)}" if there else "it has no lib/modules/VERSION with .ko files"
    raise SpecificationError(f"{given}: no modules of {version}, the kernel's version: {has}")


def _file_name(name: str) -> str:
    """A name as users type it may be a path."""
    return name if _VERSION.match(name) else hashlib.sha256(name.encode()).hexdigest()
