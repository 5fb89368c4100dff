"""The records of one chunk of a capture: where each packet lies in the chunk, and what the file says about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

NO_TIME: Final = -1
"""``time_ns`` of a packet whose time the file does not tell (a simple packet block) or no int64 can hold."""

LONGEST_RECORD: Final = 1 << 20
"""Octets of one packet that are believed. Capture programs cut at 256 KiB; the snaplen of a file header may lie, so it
is not used."""

SLACK: Final = 1024
"""Octets behind the data of a chunk that may be read, though they mean nothing: headers are gathered from the place
where they would be, and what was not captured is told from ``captured``."""


@dataclass(frozen=True, slots=True)
class Interface:
    """An interface that packets were captured at. A pcap file has one."""

    number: int
    """In the file, from 0, over all its sections."""
    section: int
    """Of the file, from 0."""
    index: int
    """In the section: what the packet blocks say."""
    link: int
    """LINKTYPE of its packets."""
    snaplen: int
    """0: no limit. Not to be relied on."""
    name: str
    """As the file says; empty when it does not."""


@dataclass(frozen=True, slots=True)
class Damage:
    """Where reading stopped before the end of the file."""

    octet: int
    """Of the (unpacked) file: everything before it was read."""
    packets: int
    """Whole packets before it."""
    what: str


@dataclass(frozen=True, slots=True)
class Records:
    """The packets of one chunk, in the order of the file; all arrays have the same length, at least 1."""

    buffer: NDArray[np.uint8]
    """The chunk, and at least SLACK octets more. It is used again: valid until the next chunk is asked for."""
    offset: NDArray[np.int64]
    """Of the first captured octet of the packet (its link header) in the buffer."""
    captured: NDArray[np.uint32]
    """Octets of the packet that are in the buffer."""
    wire: NDArray[np.uint32]
    """Octets that the file says the packet had on the wire; some files say less than was captured."""
    time_ns: NDArray[np.int64]
    """Since the epoch; NO_TIME where not known."""
    interface: NDArray[np.uint16]
    """``number`` of the interface in the file's ``interfaces``."""
    link: NDArray[np.uint16]
    """LINKTYPE of that interface."""
    first_frame: int
    """Number of the first packet in the file, from 1."""

    def __len__(self) -> int:
        return len(self.offset)
