"""Captures: writing pcap with nanoseconds, reading pcap and pcapng as plain records.

Formats: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng. Nothing here opens a file: bytes in, bytes out.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from testbed.wire.errors import DecodeError

LINK_ETHERNET: Final = 1
LINK_RAW: Final = 101
"""The packet begins with its IP header."""

_MAGIC_MICROSECONDS: Final = 0xA1B2C3D4
_MAGIC_NANOSECONDS: Final = 0xA1B23C4D
_SNAPSHOT_OCTETS: Final = 262_144
_SECOND: Final = 1_000_000_000

_FILE_HEADER: Final = struct.Struct("<IHHiIII")
_RECORD_HEADER: Final = struct.Struct("<IIII")

_SECTION_HEADER_BLOCK: Final = 0x0A0D0D0A
_BYTE_ORDER_MAGIC: Final = 0x1A2B3C4D
_INTERFACE_BLOCK: Final = 1
_SIMPLE_PACKET_BLOCK: Final = 3
_ENHANCED_PACKET_BLOCK: Final = 6
_OPTION_TIME_RESOLUTION: Final = 9
_OPTION_TIME_OFFSET: Final = 14


class Record(NamedTuple):
    """One captured packet."""

    time_ns: int
    """Since the epoch of the capture; neither of the formats says which clock."""
    data: bytes
    """As captured, perhaps cut."""
    length: int
    """On the wire."""
    link: int
    """LINKTYPE of its interface."""
    interface: int = 0
    """Index of the interface in its section (pcapng)."""


def file_header(link: int = LINK_RAW) -> bytes:
    """Beginning of a pcap file with nanosecond times."""
    return _FILE_HEADER.pack(_MAGIC_NANOSECONDS, 2, 4, 0, 0, _SNAPSHOT_OCTETS, link)


def record(time_ns: int, data: bytes, length: int | None = None) -> bytes:
    """One packet of a pcap file; ``length`` is its size on the wire when ``data`` is cut."""
    seconds, nanoseconds = divmod(time_ns, _SECOND)
    return _RECORD_HEADER.pack(seconds, nanoseconds, len(data), len(data) if length is None else length) + data


def read(capture: bytes) -> Iterator[Record]:
    """The packets of a pcap or pcapng file.

    Raises DecodeError for what is neither, and at the end of the whole packets of a file that was cut short.
    """
    if len(capture) < 8:
        raise DecodeError(f"{len(capture)} octets are no capture")
    if int.from_bytes(capture[:4], "big") == _SECTION_HEADER_BLOCK:
        yield from _read_pcapng(capture)
    else:
        yield from _read_pcap(capture)


def _read_pcap(capture: bytes) -> Iterator[Record]:
    for order in "<>":
        magic = struct.unpack_from(order + "I", capture)[0]
        if magic in (_MAGIC_MICROSECONDS, _MAGIC_NANOSECONDS):
            break
    else:
        raise DecodeError(f"neither pcap nor pcapng: begins with {capture[:4].hex()}")
    if len(capture) < _FILE_HEADER.size:
        raise DecodeError("pcap file header is cut short")
    unit = 1 if magic == _MAGIC_NANOSECONDS else 1000
    # the upper bits of the link type may tell the length of the frame check sequence
    link = struct.unpack_from(order + "I", capture, 20)[0] & 0xFFFF
    header = struct.Struct(order + "IIII")
    at = _FILE_HEADER.size
    while at < len(capture):
        if at + header.size > len(capture):
            raise DecodeError(f"pcap record header at {at} is cut short")
        seconds, fraction, kept, length = header.unpack_from(capture, at)
        at += header.size
        if at + kept > len(capture):
            raise DecodeError(f"pcap record at {at} is cut short")
        yield Record(seconds * _SECOND + fraction * unit, capture[at : at + kept], length, link)
        at += kept


class _Interface(NamedTuple):
    link: int
    snapshot: int
    ticks_per_second: int
    offset_ns: int


def _read_pcapng(capture: bytes) -> Iterator[Record]:
    at = 0
    order = "<"
    interfaces: list[_Interface] = []
    while at < len(capture):
        if at + 12 > len(capture):
            raise DecodeError(f"pcapng block at {at} is cut short")
        if int.from_bytes(capture[at : at + 4], "big") == _SECTION_HEADER_BLOCK:
            little = struct.unpack_from("<I", capture, at + 8)[0] == _BYTE_ORDER_MAGIC
            order = "<" if little else ">"
            interfaces = []
        kind, size = struct.unpack_from(order + "II", capture, at)
        if size < 12 or size & 3 or at + size > len(capture):
            raise DecodeError(f"pcapng block at {at} claims {size} octets")
        body = capture[at + 8 : at + size - 4]
        try:
            if kind == _INTERFACE_BLOCK:
                interfaces.append(_interface(body, order))
            elif kind == _ENHANCED_PACKET_BLOCK:
                yield _enhanced_packet(body, order, interfaces)
            elif kind == _SIMPLE_PACKET_BLOCK:
                length = struct.unpack_from(order + "I", body)[0]
                first = interfaces[0]
                kept = min(length, first.snapshot or length, len(body) - 4)
                yield Record(0, body[4 : 4 + kept], length, first.link)
        except (struct.error, IndexError) as error:
            raise DecodeError(f"pcapng block at {at}: {error}") from error
        at += size


def _interface(body: bytes, order: str) -> _Interface:
    link, _, snapshot = struct.unpack_from(order + "HHI", body)
    ticks = 1_000_000
    offset_ns = 0
    at = 8
    while at + 4 <= len(body):
        code, length = struct.unpack_from(order + "HH", body, at)
        at += 4
        if code == 0:
            break
        if code == _OPTION_TIME_RESOLUTION and length == 1:
            exponent = body[at]
            ticks = 2 ** (exponent & 0x7F) if exponent & 0x80 else 10**exponent
        elif code == _OPTION_TIME_OFFSET and length == 8:
            offset_ns = struct.unpack_from(order + "q", body, at)[0] * _SECOND
        at += length + (-length & 3)
    return _Interface(link, snapshot, ticks, offset_ns)


def _enhanced_packet(body: bytes, order: str, interfaces: list[_Interface]) -> Record:
    index, high, low, kept, length = struct.unpack_from(order + "IIIII", body)
    interface = interfaces[index]
    if 20 + kept > len(body):
        raise IndexError("packet is longer than its block")
    time_ns = (high << 32 | low) * _SECOND // interface.ticks_per_second + interface.offset_ns
    return Record(time_ns, body[20 : 20 + kept], length, interface.link, index)
