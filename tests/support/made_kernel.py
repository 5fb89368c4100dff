"""bzImages, configurations and packages, made up by the bytes."""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
import subprocess
from pathlib import Path

from testbed.vm import kconfig

VERSION = "6.99.0-made-amd64"


def vmlinux(*, pvh: bool = True, config: str | None = None, size: int = 4096) -> bytes:
    """An uncompressed kernel: an ELF header, one note, and a configuration where CONFIG_IKCONFIG puts it."""
    note = struct.pack("<III4sI", 4, 4, 18 if pvh else 5, b"Xen\0", 0x1000)
    header = (
        b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    )
    program = struct.pack("<IIQQQQQQ", 4, 4, 120, 0, 0, len(note), len(note), 4)
    body = header + program + note + b"looks for IKCFG_ST and finds"
    if config is not None:
        body += b"IKCFG_ST" + gzip.compress(config.encode(), mtime=0) + b"IKCFG_ED"
    return body + bytes(max(0, size - len(body)))


def compressed(kind: str, data: bytes) -> bytes:
    """As the kernel's build does it: behind all but gzip stands the size."""
    size = struct.pack("<I", len(data))
    if kind == "gzip":
        return gzip.compress(data, mtime=0)
    if kind == "nothing":
        return data + size
    if kind in {"zstd", "lz4"}:
        words = ["zstd", "-q", "-c"] if kind == "zstd" else ["lz4", "-q", "-l", "-c"]
        return subprocess.run(words, input=data, capture_output=True, check=True).stdout + size
    pack = {"xz": lzma.compress, "bzip2": bz2.compress, "lzma": _alone}[kind]
    return pack(data) + size


def bzimage(payload: bytes, *, version: str = VERSION, protocol: int = 0x020F) -> bytes:
    """A setup header of two sectors, then the payload."""
    data = bytearray(3 * 512)
    data[0x1F1] = 2
    data[0x1FE:0x200] = b"\x55\xaa"
    data[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", data, 0x206, protocol)
    struct.pack_into("<H", data, 0x20E, 0x300)
    data[0x211] = 1
    struct.pack_into("<II", data, 0x248, 16, len(payload))
    described = f"{version} (somebody@somewhere) #1 SMP\0".encode()
    data[0x500 : 0x500 + len(described)] = described
    return bytes(data) + bytes(16) + payload + bytes(64)


def config(**changes: str) -> str:
    """One that has all that is needed, but for ``changes``."""
    values = {need.option: "y" for need in (*kconfig.BOOT, *kconfig.WISHED)} | {"SQUASHFS_ZLIB": "y"} | changes
    lines = [f"CONFIG_{name}={value}" for name, value in values.items() if value != "n"]
    lines += [f"# CONFIG_{name} is not set" for name, value in values.items() if value == "n"]
    return "\n".join(["# made up", *lines, 'CONFIG_LOCALVERSION="-made"', ""])


def deb(path: Path, files: dict[str, bytes]) -> Path:
    """A package of these files."""
    tree = path.with_suffix(".tree")
    for name, content in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(content)
    return deb_of(tree, path)


def deb_of(tree: Path, path: Path) -> Path:
    """A package of this tree."""
    fields = ("Package: made", "Version: 1", "Architecture: amd64", "Maintainer: x <x@example.org>", "Description: -")
    (tree / "DEBIAN").mkdir(parents=True, exist_ok=True)
    (tree / "DEBIAN" / "control").write_text("\n".join([*fields, ""]))
    subprocess.run(["dpkg-deb", "-Znone", "--root-owner-group", "-b", tree, path], check=True, capture_output=True)
    return path


def _alone(data: bytes) -> bytes:
    return lzma.compress(data, format=lzma.FORMAT_ALONE)
