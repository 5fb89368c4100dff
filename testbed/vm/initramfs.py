"""The first file system of a machine: a few megabytes in memory that find the real one, written as newc cpio.

Two archives are concatenated, and the kernel unpacks one after the other: what depends on the kernel alone (busybox,
the modules that reach the disks, the programs of the guest's start) and what is one run's secret (the host key, who
may log in). The root file system so stays the same for every kernel, and no image that is kept holds a key.

Sources: Documentation/driver-api/early-userspace/buffer-format.rst (format, padding, several archives in a row);
init/initramfs.c (a directory exists before what is in it; a later directory replaces an earlier symbolic link, hence
everything of ours lies in directories of its own); modules.dep(5), which names dependencies in the order of removal.
"""

from __future__ import annotations

import gzip
import lzma
import re
import stat
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path, PurePosixPath

from testbed.orchestrator.errors import Unsupported

MAGIC = b"070701"
TRAILER = "TRAILER!!!"
WANTED = ("virtio_pci", "virtio_blk", "virtio_net", "ext4", "squashfs")
"""Without these there is no disk and no network in the guest; each is a module or part of the kernel."""
MEMORY_DISKS = ("virtio_pmem", "nd_pmem")
"""Disks that are memory of the machine (images.py)."""
WELCOME = ("virtio_rng", "crc32c_generic", "overlay", *MEMORY_DISKS)
"""Taken when there: randomness from the host, the checksum that ext4 asks the crypto API for."""
BUSYBOX = "bin/busybox"
GUEST = "testbed"
"""Where the guest's own start lies: moved to /run/testbed before the root is switched."""
PROGRAMS = ("rc", "inittab", "sshd_config")
SECRETS = f"{GUEST}/secret"

_ALIGNMENT = 4
_BLOCK = 512
_LARGEST = 0xFFFF_FFFF
_FIELDS = 13
_NAME_LIMIT = 4096
"""PATH_MAX with its NUL: longer names are skipped without a word (init/initramfs.c)."""
_INSTALL_BUSYBOX = "apt install busybox-static"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file of an archive; what it is stands in its mode, as in stat(2). The owner is root."""

    name: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)
    """Major and minor number of a device node."""


def directory(name: str, permissions: int = 0o755) -> Entry:
    """A directory."""
    return Entry(name=name, mode=stat.S_IFDIR | permissions)


def regular(name: str, data: bytes, permissions: int = 0o644) -> Entry:
    """A file."""
    return Entry(name=name, mode=stat.S_IFREG | permissions, data=data)


def link(name: str, target: str) -> Entry:
    """A symbolic link."""
    return Entry(name=name, mode=stat.S_IFLNK | 0o777, data=target.encode())


def character_device(name: str, major: int, minor: int, permissions: int = 0o600) -> Entry:
    """A node of a character device."""
    return Entry(name=name, mode=stat.S_IFCHR | permissions, device=(major, minor))


def archive(entries: Iterable[Entry]) -> bytes:
    """All of them as one archive; the same entries give the same bytes. Missing parents are made before their children.

    Raises ValueError for a name that is not relative, plain and unique.
    """
    parts: list[bytes] = []
    seen: set[str] = set()
    for entry in entries:
        path = PurePosixPath(entry.name)
        plain = str(path) == entry.name and not path.is_absolute() and ".." not in path.parts and entry.name != "."
        if not plain or "\0" in entry.name or len(entry.name.encode()) >= _NAME_LIMIT or entry.name == TRAILER:
            raise ValueError(f"{entry.name!r} is no name for an archive")
        if entry.name in seen:
            raise ValueError(f"{entry.name!r} is twice in the archive")
        missing = [parent for parent in reversed(path.parents) if str(parent) != "." and str(parent) not in seen]
        for made in (*(directory(str(parent)) for parent in missing), entry):
            seen.add(made.name)
            parts.append(_packed(made, len(seen)))
    parts.append(_packed(Entry(name=TRAILER, mode=0), 0))
    whole = b"".join(parts)
    return whole + bytes(-len(whole) % _BLOCK)


def read_archive(data: bytes) -> list[Entry]:
    """What is in one or several concatenated archives. Raises ValueError where they are broken."""
    entries: list[Entry] = []
    at = 0
    while at < len(data):
        if data[at] == 0:  # between archives
            at += 1
            continue
        header = data[at : at + len(MAGIC) + 8 * _FIELDS]
        if not header.startswith(MAGIC) or len(header) < len(MAGIC) + 8 * _FIELDS:
            raise ValueError(f"no header of a newc archive at byte {at}")
        numbers = [int(header[start : start + 8], 16) for start in range(len(MAGIC), len(header), 8)]
        size, name_size = numbers[6], numbers[11]
        name = data[at + len(header) : at + len(header) + name_size - 1].decode()
        start = _aligned(at + len(header) + name_size)
        if start + size > len(data):
            raise ValueError(f"{name!r} ends beyond the archive")
        at = _aligned(start + size)
        if name != TRAILER:
            content = data[start : start + size]
            entries.append(Entry(name=name, mode=numbers[1], data=content, device=(numbers[9], numbers[10])))
    return entries


# --- what is in it ---


def base(modules: Path | None, busybox: Path) -> bytes:
    """The archive that depends on the kernel alone. ``modules``: a directory with modules.dep, or all is built in.

    Raises Unsupported when a needed module is neither there nor built in.
    """
    try:
        program = busybox.read_bytes()
    except OSError as error:
        raise Unsupported(f"{busybox} cannot be read ({error.strerror}): {_INSTALL_BUSYBOX}") from None
    if not _is_static(program):
        raise Unsupported(f"{busybox} is no program without shared libraries for x86-64: {_INSTALL_BUSYBOX}")
    return archive(_base_entries(modules, program))


def probe(busybox: Path) -> bytes:
    """An archive whose init only says that it was reached, and ends the machine: the probe of an acceleration."""
    script = (resources.files(__package__) / "guest" / "probe").read_bytes()
    entries = [character_device("dev/console", 5, 1), regular(BUSYBOX, busybox.read_bytes(), 0o755)]
    return archive([*entries, regular("init", script, 0o755)])


def secrets(host_key: str, authorized_key: str, settings: Mapping[str, str]) -> bytes:
    """The archive of one run: the guest's private host key (OpenSSH format), whose key may log in, plain settings.

    A setting is a shell variable of the guest's start. Raises ValueError for one that is no plain word.
    """
    for name, value in settings.items():
        if not re.fullmatch(r"[A-Z][A-Z0-9_]*", name) or not re.fullmatch(r"[A-Za-z0-9_.:/=-]*", value):
            raise ValueError(f"{name}={value!r} is no plain setting")
    lines = "".join(f"{name}={value}\n" for name, value in sorted(settings.items()))
    return archive(
        [
            directory(GUEST),
            directory(SECRETS, 0o700),
            regular(f"{SECRETS}/ssh_host_ed25519_key", host_key.encode(), 0o600),
            regular(f"{SECRETS}/authorized_keys", authorized_key.strip().encode() + b"\n", 0o600),
            regular(f"{SECRETS}/settings", lines.encode(), 0o600),
        ]
    )


def load_order(modules: Path, wanted: Sequence[str] = WANTED, welcome: Sequence[str] = WELCOME) -> list[Path]:
    """The files of these modules and of all that they need, each after what it needs; what is built in needs none.

    Raises Unsupported for a wanted one that is nowhere.
    """
    try:
        dependencies = _dependencies(modules / "modules.dep")
    except FileNotFoundError:
        raise Unsupported(f"{modules} has no modules.dep: run 'depmod -b' on it") from None
    files = {_module_name(path): path for path in dependencies}
    builtin_file = modules / "modules.builtin"
    builtin = {_module_name(line) for line in builtin_file.read_text().split()} if builtin_file.is_file() else set()
    order: dict[str, None] = {}
    for name in (*wanted, *welcome):
        if name in files:
            paths = (*reversed(dependencies[files[name]]), files[name])
            if name in wanted or all((modules / path).is_file() for path in paths):  # kept before we asked for it?
                order.update(dict.fromkeys(path for path in paths if path not in order))
        elif name in wanted and name not in builtin:
            raise Unsupported(f"the kernel of {modules} has no {name}, neither as a module nor built in")
    return [modules / path for path in order]


def module_content(path: Path) -> bytes:
    """A module as insmod of busybox takes it: without the compression of the distribution."""
    data = path.read_bytes()
    if path.suffix == ".xz":
        return lzma.decompress(data)
    if path.suffix == ".gz":
        return gzip.decompress(data)
    if path.suffix == ".zst":
        import pyarrow

        return bytes(pyarrow.CompressedInputStream(pyarrow.BufferReader(data), "zstd").read())
    return data


# --- inside ---


def _base_entries(modules: Path | None, busybox: bytes) -> list[Entry]:
    guest = resources.files(__package__) / "guest"
    entries = [
        character_device("dev/console", 5, 1),  # the kernel opens it before init can mount devtmpfs
        *(directory(name) for name in ("proc", "sys", "sysroot", "modules")),
        regular(BUSYBOX, busybox, 0o755),
        regular("init", (guest / "init").read_bytes(), 0o755),
        *(regular(f"{GUEST}/{name}", (guest / name).read_bytes(), 0o755) for name in PROGRAMS),
    ]
    names = []
    for number, path in enumerate(load_order(modules) if modules is not None else ()):
        names.append(f"modules/{number:02d}-{_module_name(str(path))}.ko")
        entries.append(regular(names[-1], module_content(path)))
    return [*entries, regular("modules/order", "".join(f"/{name}\n" for name in names).encode())]


def _is_static(program: bytes) -> bool:
    """Whether an ELF file of 64 bits names no interpreter (elf(5): e_phoff, e_phentsize, e_phnum, PT_INTERP = 3)."""
    try:
        table, size, number = *struct.unpack_from("<Q", program, 32), *struct.unpack_from("<HH", program, 54)
        kinds = {struct.unpack_from("<I", program, table + size * index)[0] for index in range(number)}
    except struct.error:
        return False
    return program[:5] == b"\x7fELF\x02" and 3 not in kinds


def _packed(entry: Entry, inode: int) -> bytes:
    if len(entry.data) > _LARGEST:
        raise ValueError(f"{entry.name!r} does not fit a newc archive")
    name = entry.name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    numbers = (inode, entry.mode, 0, 0, links, 0, len(entry.data), 0, 0, *entry.device, len(name), 0)
    header = MAGIC + b"".join(b"%08X" % number for number in numbers) + name
    return header + bytes(-len(header) % _ALIGNMENT) + entry.data + bytes(-len(entry.data) % _ALIGNMENT)


def _aligned(at: int) -> int:
    return at + -at % _ALIGNMENT


def _dependencies(path: Path) -> dict[str, list[str]]:
    """modules.dep: file -> the files that it needs, nearest first."""
    lines = (line.partition(":") for line in path.read_text().splitlines() if ":" in line)
    return {name: rest.split() for name, _, rest in lines}


def _module_name(path: str) -> str:
    """What the kernel calls it: file names may have dashes (modprobe(8))."""
    return PurePosixPath(path).name.split(".ko")[0].replace("-", "_")
