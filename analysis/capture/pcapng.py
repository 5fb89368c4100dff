"""Packets of pcapng files (draft-ietf-opsawg-pcapng), a chunk at a time."""

from __future__ import annotations

import struct
from typing import Final

import numpy as np
from numpy.typing import NDArray

from analysis.capture.chains import Bytes, Places, RecordWalk
from analysis.capture.clocks import Clock
from analysis.capture.errors import CaptureError
from analysis.capture.packet_blocks import (
    ENHANCED_PACKET,
    FIELDS,
    PACKET,
    SIMPLE_FIELDS,
    SIMPLE_PACKET,
    Blocks,
    Described,
    PacketBlocks,
    packet_blocks,
)
from analysis.capture.records import LONGEST_RECORD, NO_TIME, Interface, Records
from analysis.capture.window import Window

BEGINNING: Final = b"\x0a\x0d\x0d\x0a"
"""The type of a section header block: the same in both byte orders."""

_SECTION_HEADER: Final = 0x0A0D0D0A
_INTERFACE: Final = 1
_SMALLEST: Final = {
    _SECTION_HEADER: 28,
    _INTERFACE: 20,
    PACKET: FIELDS,
    SIMPLE_PACKET: SIMPLE_FIELDS,
    ENHANCED_PACKET: FIELDS,
}
"""Octets of a block of each type that has nothing but its fields."""
_BLOCK_OCTETS: Final = 12
"""Of the smallest block: type, length, and the length again."""

_BYTE_ORDER_MAGIC: Final = 0x1A2B3C4D
_BYTE_ORDERS: Final = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
_LONGEST_BLOCK: Final = LONGEST_RECORD + (1 << 16)
"""A longer one is passed over when what is in it does not matter, else not believed."""
_MOST_INTERFACES: Final = 1 << 16

_OPTION_NAME: Final = 2
_OPTION_RESOLUTION: Final = 9
_OPTION_OFFSET: Final = 14


class PcapngReader:
    """Takes packets out of a window, and keeps what the blocks before them said."""

    def __init__(self, name: str, window: Window) -> None:
        """Look at the first section header; raises CaptureError."""
        self.interfaces: list[Interface] = []
        self.packets = 0
        self.untimed = 0
        """Packets without a time so far."""
        self.problem = ""
        """Why nothing more can be taken, if it is not that the file is at its end."""
        self.problem_at: int | None = None
        """In the file, if it is not where the window is."""
        self._order = ""
        self._plain_in = -1
        """Origin of a window in which the byte order changed: no chains there, lest they be begun for each section."""
        self._section = -1
        self._section_first = 0
        """Number of the first interface of the section."""
        self._clocks: dict[Clock, int] = {}
        # of the interfaces, by number
        self._link = np.zeros(_MOST_INTERFACES, np.uint16)
        self._snaplen = np.zeros(_MOST_INTERFACES, np.int64)
        self._clock = np.zeros(_MOST_INTERFACES, np.intp)
        self._passed: tuple[int, int] | None = None
        """Position and length of a long block that was passed over up to its trailer."""
        self._walks = {
            order: RecordWalk(
                order,
                header=_BLOCK_OCTETS,
                field=4,
                added=0,
                multiple=4,
                shortest=_BLOCK_OCTETS,
                longest=_LONGEST_BLOCK,
            )
            for order in "<>"
        }
        if len(window) < _SMALLEST[_SECTION_HEADER]:
            raise CaptureError(f"{name}: is pcapng, but ends within the section header, at octet {len(window)}")
        if self._take_byte_order(window):
            self.problem = self._problem_of_section(window.buffer, window.start)
        if not self.problem and self._word(window.buffer, 4) > _LONGEST_BLOCK:
            self.problem = f"a section header of {self._word(window.buffer, 4)} octets is not believed"
        if self.problem:
            raise CaptureError(f"{name}: is pcapng that cannot be read: {self.problem}")

    def take(self, window: Window) -> Records | None:
        """Packets that are whole in the window; None when more octets are needed, or when there is a ``problem``."""
        records = None
        while (
            records is None
            and self._take_trailer(window)
            and len(window) >= _BLOCK_OCTETS
            and self._take_byte_order(window)
        ):
            buffer = window.buffer
            find = None if self._plain_in == window.origin else self._find
            starts = self._walks[self._order].starts(buffer, window.start, window.end, find)
            if not len(starts):
                if self._passes_over_long_block(window):
                    continue
                break
            blocks = self._well_formed(window, starts)
            records = self._take_blocks(window, blocks) if len(blocks) else None
            if self.problem:
                break
        return records

    def unfinished(self, window: Window) -> str:
        """What is wrong with a file that ends with what is in the window; empty when nothing is."""
        left = len(window)
        if self._passed is not None:
            self.problem_at, length = self._passed
            return f"the file ends within a block of {length} octets"
        if not left:
            return ""
        if left < _BLOCK_OCTETS:
            return f"the file ends within a block, {left} octets are there"
        return f"the file ends within a block, {left} of {self._word(window.buffer, window.start + 4)} octets are there"

    def _word(self, buffer: Bytes, at: int) -> int:
        return int(struct.unpack_from(self._order + "I", buffer.data, at)[0])

    def _words(self, buffer: Bytes) -> NDArray[np.uint32]:
        """The buffer as aligned words: blocks begin at multiples of 4."""
        return buffer[: len(buffer) & ~3].view(self._order + "u4")

    def _take_byte_order(self, window: Window) -> bool:
        """Of a section header, if there is one; whether blocks can be read."""
        start = window.start
        if window.buffer[start : start + 4].tobytes() != BEGINNING:
            return True
        order = _BYTE_ORDERS.get(window.buffer[start + 8 : start + 12].tobytes())
        if order is None:
            self.problem = (
                f"a section header without a byte order ({window.buffer[start + 8 : start + 12].tobytes().hex()})"
            )
            return False
        if self._order and order != self._order:
            self._plain_in = window.origin
        self._order = order
        return True

    def _problem_of_section(self, buffer: Bytes, start: int) -> str:
        major, minor = struct.unpack_from(self._order + "HH", buffer.data, start + 12)
        return "" if major == 1 else f"a section of version {major}.{minor}; only 1 is known"

    def _well_formed(self, window: Window, starts: Places) -> Blocks:
        """The blocks in the byte order of the section, up to the first that cannot be: being first is a problem."""
        words = self._words(window.buffer)
        at = starts >> 2
        blocks = Blocks(starts, words[at], words[at + 1].astype(np.int64))
        trailer = words[at + (blocks.length + 3 >> 2) - 1]
        bad = trailer != blocks.length
        for kind, smallest in _SMALLEST.items():
            bad |= (blocks.kind == kind) & (blocks.length < smallest)
        sections = np.flatnonzero(blocks.kind == _SECTION_HEADER)
        other_order = sections[words[at[sections] + 2] != _BYTE_ORDER_MAGIC]
        most = int(other_order[0]) if len(other_order) else len(starts)
        if bad[:most].any():
            most = int(bad.argmax())
            if not most:
                kind, length = int(blocks.kind[0]), int(blocks.length[0])
                if trailer[0] != length:
                    self.problem = f"a block gives its length as {length} octets and as {int(trailer[0])}"
                else:
                    self.problem = f"a block of type {kind} cannot have {length} octets"
        elif len(other_order):
            self._plain_in = window.origin
        return blocks.before(most)

    def _take_blocks(self, window: Window, blocks: Blocks) -> Records | None:
        """The packets of blocks, up to the first that cannot be; that it is the first is a problem."""
        buffer = window.buffer
        before = len(self.interfaces), self._section, self._section_first
        described, most = self._describe(buffer, blocks)
        blocks = blocks.before(most)
        if not len(blocks):
            return None
        packets = packet_blocks(self._words(buffer), blocks, described, self._snaplen)
        bad = packets.first_bad()
        if bad is not None:
            # what was described behind the bad block does not count
            self._forget(*before)
            most = int(packets.block[bad])
            if most:
                return self._take_blocks(window, blocks.before(most))
            self.problem = packets.problem(bad)
            return None
        window.start = int(blocks.starts[-1]) + (int(blocks.length[-1]) + 3 & ~3)
        return self._records(buffer, packets) if len(packets) else None

    def _records(self, buffer: Bytes, packets: PacketBlocks) -> Records:
        number = packets.first + packets.index
        if len(self._clocks) == 1:
            time_ns = next(iter(self._clocks)).nanoseconds(packets.ticks)
        else:
            time_ns = np.empty(len(packets), np.int64)
            of_packet = self._clock[number]
            clocks = list(self._clocks)
            for each in np.unique(of_packet).tolist():
                rows = of_packet == each
                time_ns[rows] = clocks[each].nanoseconds(packets.ticks[rows])
        time_ns[packets.simple] = NO_TIME
        self.untimed += int(np.count_nonzero(time_ns == NO_TIME))
        first_frame = self.packets + 1
        self.packets += len(packets)
        return Records(
            buffer=buffer,
            offset=packets.offset,
            captured=packets.captured.astype(np.uint32),
            wire=packets.wire,
            time_ns=time_ns,
            interface=number.astype(np.uint16),
            link=self._link[number],
            first_frame=first_frame,
        )

    def _describe(self, buffer: Bytes, blocks: Blocks) -> tuple[Described, int]:
        """Take in what section headers and interface descriptions say; and how many blocks can be taken."""
        first, count = [self._section_first], [len(self.interfaces) - self._section_first]
        where = np.flatnonzero((blocks.kind == _SECTION_HEADER) | (blocks.kind == _INTERFACE)).tolist()
        for step, block in enumerate(where):
            start = int(blocks.starts[block])
            problem = self._describe_one(buffer, start, int(blocks.length[block]))
            if problem:
                if not block:
                    self.problem = problem
                return Described(where[:step], first, count), block
            first.append(self._section_first)
            count.append(len(self.interfaces) - self._section_first)
        return Described(where, first, count), len(blocks)

    def _describe_one(self, buffer: Bytes, start: int, length: int) -> str:
        if buffer[start : start + 4].tobytes() == BEGINNING:
            problem = self._problem_of_section(buffer, start)
            if not problem:
                self._section += 1
                self._section_first = len(self.interfaces)
            return problem
        if len(self.interfaces) == _MOST_INTERFACES:
            return f"more than {_MOST_INTERFACES} interfaces"
        body = buffer[start + 8 : start + length - 4].tobytes()
        link, _, snaplen = struct.unpack_from(self._order + "HHI", body)
        name, clock = _options(body[8:], self._order)
        number = len(self.interfaces)
        self.interfaces.append(Interface(number, self._section, number - self._section_first, link, snaplen, name))
        self._link[number] = link
        self._snaplen[number] = snaplen
        self._clock[number] = self._clocks.setdefault(clock, len(self._clocks))
        return ""

    def _forget(self, interfaces: int, section: int, section_first: int) -> None:
        del self.interfaces[interfaces:]
        self._section, self._section_first = section, section_first

    def _passes_over_long_block(self, window: Window) -> bool:
        """Pass over the block that begins in the window, if it is too long to be held: nothing of it may matter."""
        length = self._word(window.buffer, window.start + 4)
        if _BLOCK_OCTETS <= length <= _LONGEST_BLOCK:
            return False
        kind = self._word(window.buffer, window.start)
        if length < _BLOCK_OCTETS:
            self.problem = f"a block cannot have {length} octets"
        elif kind in _SMALLEST:
            self.problem = f"a block of type {kind} with {length} octets is not believed"
        else:
            self._passed = window.position, length
            window.skip((length + 3 & ~3) - 4)
            return True
        return False

    def _take_trailer(self, window: Window) -> bool:
        """The end of a block that was passed over, if there is one; whether blocks can be read."""
        if self._passed is None:
            return True
        if len(window) < 4:
            return False
        position, length = self._passed
        trailer = self._word(window.buffer, window.start)
        if trailer != length:
            self.problem = f"a block gives its length as {length} octets and as {trailer}"
            self.problem_at = position
            return False
        self._passed = None
        window.start += 4
        return True

    def _find(self, buffer: Bytes, places: Places, width: int, end: int) -> tuple[NDArray[np.intp], Places]:
        """What looks like a block: a small type, and a length that stands at its end as well."""
        words = self._words(buffer)
        wide = width // 4
        apart = int(places[1] - places[0]) if len(places) > 1 else 4
        kinds = np.ndarray((len(places), wide), words.dtype, buffer, int(places[0]), (apart, 4))
        index, within = np.divmod(np.flatnonzero(kinds - np.uint32(1) < ENHANCED_PACKET), wide)
        at = (places[index] >> 2) + within
        length = words[at + 1].astype(np.int64)
        good = (length >= _BLOCK_OCTETS) & (length & 3 == 0) & (length <= end - (at << 2))
        index, at, length = index[good], at[good], length[good]
        good = words[at + (length >> 2) - 1] == length
        return index[good], at[good] << 2


def _options(body: bytes, order: str) -> tuple[str, Clock]:
    """Name and clock from the options of an interface description; what is malformed ends them."""
    name, resolution, offset_s = "", 6, 0
    at = 0
    while at + 4 <= len(body):
        code, length = struct.unpack_from(order + "HH", body, at)
        value = body[at + 4 : at + 4 + length]
        if not code or len(value) < length:
            break
        if code == _OPTION_NAME:
            name = value.rstrip(b"\0").decode("utf-8", "replace")
        elif code == _OPTION_RESOLUTION and length == 1:
            resolution = value[0]
        elif code == _OPTION_OFFSET and length == 8:
            (offset_s,) = struct.unpack(order + "q", value)
        at += 4 + (length + 3 & ~3)
    return name, Clock(resolution, offset_s)
