"""What the packet blocks of a pcapng file say, many at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from analysis.capture.chains import Places
from analysis.capture.records import LONGEST_RECORD

PACKET: Final = 2
"""Obsolete; an enhanced packet block whose interface has 16 bits."""
SIMPLE_PACKET: Final = 3
ENHANCED_PACKET: Final = 6

FIELDS: Final = 32
"""Octets of an enhanced packet block without packet and options; of the obsolete block too."""
SIMPLE_FIELDS: Final = 16

_TRAILER: Final = 4

Words = NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Blocks:
    """Whole blocks that follow each other in a buffer."""

    starts: Places
    kind: Words
    length: NDArray[np.int64]
    """As stated, not rounded."""

    def before(self, index: int) -> Blocks:
        """The first of them."""
        return Blocks(self.starts[:index], self.kind[:index], self.length[:index])

    def __len__(self) -> int:
        return len(self.starts)


@dataclass(frozen=True, slots=True)
class Described:
    """Which interfaces a packet block may name: that changes with section headers and interface descriptions."""

    blocks: list[int]
    """Index of each of those among the blocks."""
    first: list[int]
    """Number of the first interface of the section: before any of those blocks, then after each."""
    count: list[int]
    """Of interfaces in the section, likewise."""

    def at(self, block: NDArray[np.intp]) -> tuple[Places, Places]:
        """First and count for some blocks."""
        step = np.searchsorted(self.blocks, block) if self.blocks else np.zeros(len(block), np.intp)
        return np.array(self.first, np.int64)[step], np.array(self.count, np.int64)[step]


@dataclass(frozen=True, slots=True)
class PacketBlocks:
    """The fields of packet blocks; nothing is checked but the sizes of the blocks."""

    block: NDArray[np.intp]
    """Index among the blocks."""
    offset: Places
    """Of the packet in the buffer."""
    index: Places
    """Of the interface in the section."""
    first: Places
    """Number of the first interface of the section."""
    count: Places
    """Of interfaces in the section so far."""
    captured: NDArray[np.int64]
    wire: Words
    ticks: NDArray[np.uint64]
    simple: NDArray[np.intp]
    """Which of them are simple packet blocks: they have no time."""
    room: NDArray[np.int64]
    """Octets that the block has for the packet and what comes after it."""

    def __len__(self) -> int:
        return len(self.block)

    def first_bad(self) -> int | None:
        """The first that cannot be."""
        bad = (self.index >= self.count) | (self.captured > self.room) | (self.captured > LONGEST_RECORD)
        return int(bad.argmax()) if bad.any() else None

    def problem(self, row: int) -> str:
        """What is wrong with one that cannot be."""
        index, count = int(self.index[row]), int(self.count[row])
        captured, room = int(self.captured[row]), int(self.room[row])
        if index >= count:
            return f"a packet of interface {index}, of which there is no description"
        if captured > room:
            return f"a packet of {captured} octets in a block with room for {room}"
        return f"a packet of {captured} octets is not believed (the limit is {LONGEST_RECORD})"


def packet_blocks(words: Words, blocks: Blocks, described: Described, snaplens: NDArray[np.int64]) -> PacketBlocks:
    """Pick the packets out of blocks in a buffer of words; ``snaplens`` by number of the interface."""
    enhanced = blocks.kind == ENHANCED_PACKET
    if enhanced.all():
        block = np.arange(len(blocks))
        starts, kind, length = blocks.starts, blocks.kind, blocks.length
    else:
        block = np.flatnonzero(enhanced | (blocks.kind == SIMPLE_PACKET) | (blocks.kind == PACKET))
        starts, kind, length = blocks.starts[block], blocks.kind[block], blocks.length[block]
    at = starts >> 2
    first, count = described.at(block)
    index = words[at + 2].astype(np.int64)
    ticks = words[at + 3].astype(np.uint64)
    ticks <<= np.uint64(32)
    ticks |= words[at + 4]
    captured = words[at + 5].astype(np.int64)
    wire = words[at + 6].astype(np.uint32)
    room = length - FIELDS
    offset = starts + (FIELDS - _TRAILER)
    obsolete = np.flatnonzero(kind == PACKET)
    if len(obsolete):
        # 16 bits of interface, then 16 of packets lost
        big = words.dtype.str.startswith(">")
        index[obsolete] = index[obsolete] >> 16 if big else index[obsolete] & 0xFFFF
    simple = np.flatnonzero(kind == SIMPLE_PACKET)
    if len(simple):
        wire[simple] = words[at[simple] + 2]
        room[simple] = length[simple] - SIMPLE_FIELDS
        offset[simple] = starts[simple] + (SIMPLE_FIELDS - _TRAILER)
        index[simple] = 0
        ticks[simple] = 0
        captured[simple] = np.minimum(wire[simple], room[simple])
        known = simple[count[simple] > 0]
        snaplen = snaplens[first[known]]
        captured[known] = np.where(snaplen > 0, np.minimum(captured[known], snaplen), captured[known])
    return PacketBlocks(block, offset, index, first, count, captured, wire, ticks, simple, room)
