"""Capture files of any form, made octet by octet, and what a reader has to give back for them."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from analysis.capture.files import CaptureFile, open_file

Order = Literal["<", ">"]
SECOND = 1_000_000_000
ETHERNET = 1
NO_TIME = -1


@dataclass(frozen=True)
class Packet:
    """As a reader has to give it back."""

    time_ns: int
    data: bytes
    wire: int
    link: int = ETHERNET
    interface: int = 0


def pcap_header(
    order: Order = "<", nanoseconds: bool = True, link: int = ETHERNET, snaplen: int = 262_144, minor: int = 4
) -> bytes:
    """``link`` may have FCS bits above its sixteen."""
    magic = 0xA1B23C4D if nanoseconds else 0xA1B2C3D4
    return struct.pack(order + "IHHiIII", magic, 2, minor, 0, 0, snaplen, link)


def pcap_record(packet: Packet, order: Order = "<", nanoseconds: bool = True) -> bytes:
    seconds, fraction = divmod(packet.time_ns, SECOND)
    fraction //= 1 if nanoseconds else 1000
    return struct.pack(order + "IIII", seconds, fraction, len(packet.data), packet.wire) + packet.data


def pcap(packets: Sequence[Packet], order: Order = "<", nanoseconds: bool = True, link: int = ETHERNET) -> bytes:
    return pcap_header(order, nanoseconds, link) + b"".join(
        pcap_record(packet, order, nanoseconds) for packet in packets
    )


@dataclass(frozen=True)
class PcapngWriter:
    """Blocks of one section."""

    order: Order = "<"

    def block(self, kind: int, body: bytes, length: int | None = None) -> bytes:
        """``length``: when the block lies about it (at both ends)."""
        body += bytes(-len(body) % 4)
        size = struct.pack(self.order + "I", len(body) + 12 if length is None else length)
        return struct.pack(self.order + "I", kind) + size + body + size

    def section(self, length: int = -1, major: int = 1, options: bytes = b"") -> bytes:
        return self.block(0x0A0D0D0A, struct.pack(self.order + "IHHq", 0x1A2B3C4D, major, 0, length) + options)

    def option(self, code: int, value: bytes) -> bytes:
        return struct.pack(self.order + "HH", code, len(value)) + value + bytes(-len(value) % 4)

    def interface(
        self,
        link: int = ETHERNET,
        snaplen: int = 0,
        resolution: int | None = None,
        offset_s: int | None = None,
        name: str | None = None,
    ) -> bytes:
        options = b""
        if name is not None:
            options += self.option(2, name.encode())
        if resolution is not None:
            options += self.option(9, bytes((resolution,)))
        if offset_s is not None:
            options += self.option(14, struct.pack(self.order + "q", offset_s))
        if options:
            options += self.option(0, b"")
        return self.block(1, struct.pack(self.order + "HHI", link, 0, snaplen) + options)

    def enhanced(self, interface: int, ticks: int, data: bytes, wire: int, options: bytes = b"") -> bytes:
        head = struct.pack(self.order + "IIIII", interface, ticks >> 32, ticks & 0xFFFFFFFF, len(data), wire)
        return self.block(6, head + data + bytes(-len(data) % 4) + options)

    def obsolete(self, interface: int, ticks: int, data: bytes, wire: int, lost: int = 0xFFFF) -> bytes:
        head = struct.pack(self.order + "HHIIII", interface, lost, ticks >> 32, ticks & 0xFFFFFFFF, len(data), wire)
        return self.block(2, head + data)

    def simple(self, data: bytes, wire: int) -> bytes:
        return self.block(3, struct.pack(self.order + "I", wire) + data)


@contextmanager
def in_memory(content: bytes) -> Iterator[Path]:
    """A file with a name that never reaches a disk."""
    descriptor = os.memfd_create("capture")
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        yield Path(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def packets_of(file: CaptureFile, octets: int | None = None) -> list[Packet]:
    """A pass over a capture. What the arrays promise is checked on the way."""
    found: list[Packet] = []
    for chunk in file.chunks(octets):
        assert len(chunk) >= 1
        assert chunk.first_frame == len(found) + 1
        assert len(chunk.buffer) >= int((chunk.offset + chunk.captured).max()) + 1024
        columns = (chunk.offset, chunk.captured, chunk.wire, chunk.time_ns, chunk.interface, chunk.link)
        assert {len(column) for column in columns} == {len(chunk)}
        found += [
            Packet(time_ns, chunk.buffer[offset : offset + captured].tobytes(), wire, link, interface)
            for offset, captured, wire, time_ns, interface, link in zip(
                *(column.tolist() for column in columns), strict=True
            )
        ]
    assert file.packets == len(found)
    return found


def read(content: bytes, octets: int | None = None) -> tuple[list[Packet], list[str]]:
    """The packets of a capture, and the warnings without the name of the file."""
    with in_memory(content) as path, open_file(path) as file:
        packets = packets_of(file, octets)
        assert all(warning.startswith(f"{path}: ") for warning in file.warnings)
        assert (file.damage is None) == (not any(": damaged at " in warning for warning in file.warnings))
        return packets, [warning.removeprefix(f"{path}: ") for warning in file.warnings]


def in_microseconds(packets: Sequence[Packet]) -> list[Packet]:
    """What is left of them in a file of microseconds."""
    return [replace(packet, time_ns=packet.time_ns // 1000 * 1000) for packet in packets]
