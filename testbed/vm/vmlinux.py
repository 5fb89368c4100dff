"""The kernel inside a bzImage: what its header says, and the uncompressed image that a virtual machine starts faster.

Source: Documentation/arch/x86/boot.rst (offsets of the setup header), scripts/extract-vmlinux (magic numbers of the
compressors), include/xen/interface/elfnote.h (the note by which QEMU enters an uncompressed kernel: PVH).
"""

from __future__ import annotations

import bz2
import lzma
import struct
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from testbed.orchestrator import process
from testbed.orchestrator.errors import Unsupported
from testbed.orchestrator.spec import SpecificationError

BOOT_FLAG_OFFSET, BOOT_FLAG = 0x1FE, b"\x55\xaa"
HEADER_MAGIC_OFFSET, HEADER_MAGIC = 0x202, b"HdrS"
PROTOCOL_OFFSET = 0x206
KERNEL_VERSION_OFFSET = 0x20E
LOADFLAGS_OFFSET, LOADED_HIGH = 0x211, 0x01
PAYLOAD_OFFSET = 0x248
"""And the four bytes behind: its length."""
PROTOCOL_WITH_PAYLOAD = 0x0208
SECTOR = 512
SETUP_SECTS_OFFSET, SETUP_SECTS_DEFAULT = 0x1F1, 4
"""boot.rst: for backwards compatibility 0 means 4."""
LARGEST_BYTES = 1 << 30
"""No kernel is larger uncompressed (a distribution's is 30 to 80 MB); what claims to be is damaged."""
TOOL_S = 60.0
XEN_ELFNOTE_PHYS32_ENTRY = 18
ELF64_LITTLE = b"\x7fELF\x02\x01"
PT_NOTE = 4

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x1f\x8b", "gzip"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"BZh", "bzip2"),
    (b"\x5d\x00\x00", "lzma"),
    (b"\x89LZO", "lzo"),
    (b"\x02\x21\x4c\x18", "lz4"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (ELF64_LITTLE, "nothing"),
)
_TOOLS = {"zstd": "apt install zstd", "lz4": "apt install lz4"}


class NoKernel(SpecificationError):
    """These bytes are no kernel that can be read; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BzImage:
    """What the setup header says."""

    protocol: int
    """0x020f: 2.15."""
    version: str
    """Of the kernel, as ``uname -r`` says it."""
    described: str
    """The whole line: who built it, and when."""
    payload: bytes
    """The compressed kernel, and behind it the four bytes of its size."""

    @property
    def compression(self) -> str:
        """By what it is compressed: the name of the compressor, ``nothing`` or ``unknown``."""
        return next((name for magic, name in _MAGIC if self.payload.startswith(magic)), "unknown")

    @property
    def uncompressed_bytes(self) -> int:
        """Its size, which the build appends to the payload (gzip's own trailer is the same)."""
        return int.from_bytes(self.payload[-4:], "little")


def read_bzimage(data: bytes) -> BzImage:
    """Read the header. Raises NoKernel."""
    if data.startswith(b"\x7fELF"):
        raise NoKernel("it is an ELF file, an uncompressed vmlinux; give the bzImage (arch/x86/boot/bzImage)")
    if data[HEADER_MAGIC_OFFSET : HEADER_MAGIC_OFFSET + 4] != HEADER_MAGIC:
        raise NoKernel("it is no x86 bzImage: the magic HdrS is not at 0x202")
    if data[BOOT_FLAG_OFFSET : BOOT_FLAG_OFFSET + 2] != BOOT_FLAG:
        raise NoKernel("it is no x86 bzImage: no boot flag 0xaa55 at 0x1fe")
    if len(data) < PAYLOAD_OFFSET + 8:
        raise NoKernel("it ends within its setup header")
    (protocol,) = struct.unpack_from("<H", data, PROTOCOL_OFFSET)
    if protocol < PROTOCOL_WITH_PAYLOAD:
        raise NoKernel(f"its boot protocol {protocol >> 8}.{protocol & 0xFF} is older than 2.8 (Linux 2.6.26)")
    if not data[LOADFLAGS_OFFSET] & LOADED_HIGH:
        raise NoKernel("it is a zImage, not a bzImage")
    start = ((data[SETUP_SECTS_OFFSET] or SETUP_SECTS_DEFAULT) + 1) * SECTOR
    offset, length = struct.unpack_from("<II", data, PAYLOAD_OFFSET)
    payload = data[start + offset : start + offset + length]
    if len(payload) != length or length <= 4:
        raise NoKernel(f"its payload of {length} bytes is not all there: the file is cut off or damaged")
    described = _described(data)
    version = described.split(maxsplit=1)
    if not version or not version[0].isprintable() or "/" in version[0]:
        raise NoKernel("its header names no kernel version")
    return BzImage(protocol=protocol, version=version[0], described=described, payload=payload)


def decompress(image: BzImage) -> bytes:
    """The uncompressed kernel.

    Raises Unsupported when the compressor is not here or not known, NoKernel when the payload is damaged.
    """
    size = image.uncompressed_bytes
    if not 0 < size <= LARGEST_BYTES:
        raise NoKernel(f"its payload is damaged: it claims {size} bytes uncompressed")
    kind = image.compression
    body = image.payload if kind in {"gzip", "unknown", "lzo"} else image.payload[:-4]
    if kind in _LIBRARIES:
        try:
            data = _LIBRARIES[kind](body, size + 1)
        except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError) as error:
            raise NoKernel(f"its payload is damaged: {kind}: {error}") from None
    elif kind in _TOOLS:
        data = _by_tool(kind, body, size + 1)
    else:
        raise Unsupported(f"its payload is compressed by {kind}, which cannot be undone here")
    if len(data) != size:
        raise NoKernel(f"its payload is damaged: {kind} gave {len(data)} bytes or more instead of {size}")
    return data


def has_pvh_entry(vmlinux: bytes) -> bool:
    """Whether QEMU can enter this uncompressed kernel (CONFIG_PVH): it looks for the note with the 32-bit entry."""
    if len(vmlinux) < 64 or not vmlinux.startswith(ELF64_LITTLE):
        return False
    (table,) = struct.unpack_from("<Q", vmlinux, 0x20)  # e_phoff
    size, count = struct.unpack_from("<HH", vmlinux, 0x36)  # e_phentsize, e_phnum
    for index in range(count):
        at = table + index * size
        if size < 56 or at + 56 > len(vmlinux):
            return False
        kind, _flags, offset, _virtual, _physical, length = struct.unpack_from("<IIQQQQ", vmlinux, at)
        if kind == PT_NOTE and _has_note(vmlinux[offset : offset + min(length, 1 << 20)]):
            return True
    return False


def _has_note(notes: bytes) -> bool:
    """Notes are (name size, content size, type, name, content), the last two filled up to four bytes (elf(5))."""
    at = 0
    while at + 12 <= len(notes):
        name_bytes, content_bytes, kind = struct.unpack_from("<III", notes, at)
        name = notes[at + 12 : at + 12 + name_bytes].rstrip(b"\0")
        if name == b"Xen" and kind == XEN_ELFNOTE_PHYS32_ENTRY:
            return True
        at += 12 + (name_bytes + 3 & ~3) + (content_bytes + 3 & ~3)
    return False


def _described(data: bytes) -> str:
    (pointer,) = struct.unpack_from("<H", data, KERNEL_VERSION_OFFSET)
    at = pointer + SECTOR  # boot.rst: less 0x200, and 0 when there is none
    text = data[at : at + 256].split(b"\0", 1)[0] if pointer else b""
    return text.decode("ascii", errors="replace")


def _gzip(body: bytes, limit: int) -> bytes:
    return zlib.decompressobj(wbits=16 + zlib.MAX_WBITS).decompress(body, limit)


def _xz(body: bytes, limit: int) -> bytes:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(body, limit)


def _lzma(body: bytes, limit: int) -> bytes:
    return lzma.LZMADecompressor(lzma.FORMAT_ALONE).decompress(body, limit)


def _bzip2(body: bytes, limit: int) -> bytes:
    return bz2.BZ2Decompressor().decompress(body, limit)


def _nothing(body: bytes, limit: int) -> bytes:
    return body[:limit]


_LIBRARIES: dict[str, Callable[[bytes, int], bytes]] = {
    "gzip": _gzip,
    "xz": _xz,
    "lzma": _lzma,
    "bzip2": _bzip2,
    "nothing": _nothing,
}


def _by_tool(kind: str, body: bytes, limit: int) -> bytes:
    """What the program makes of it, read no further than ``limit``, so that a damaged payload fills no disk."""
    with tempfile.TemporaryDirectory() as folder:
        packed = Path(folder) / "payload"
        packed.write_bytes(body)
        try:
            tool = process.start([kind, "-q", "-d", "-c", packed], interactive=True)
        except Unsupported:
            raise Unsupported(f"{kind} is not installed (the kernel is compressed by it): {_TOOLS[kind]}") from None
        with tool:
            data = _read_upto(tool, limit)
            if len(data) < limit and tool.wait(TOOL_S):
                said = tool.stderr.strip().splitlines()
                raise NoKernel(f"its payload is damaged: {said[-1] if said else f'{kind} gives up'}")
    return data


def _read_upto(tool: process.Process, limit: int) -> bytes:
    parts, length = [], 0
    while length < limit and (part := tool.stdout_pipe.read(min(1 << 20, limit - length))):
        parts.append(part)
        length += len(part)
    return b"".join(parts)
