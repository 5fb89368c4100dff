"""What fits into 40 octets beside each form of the DSS: the arithmetic of the option space as a table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from testbed.mptcp.packing import AREA, MOST_SACK_BLOCKS, TIMESTAMPS_SIZE, padded, sack_blocks_that_fit
from testbed.wire.options import AddAddr, Dss


class Room(NamedTuple):
    """What is left beside timestamps and DSS."""

    octets: int
    sack_blocks: int


class Line(NamedTuple):
    """One form of the DSS and what it leaves, aligned and dense, with and without timestamps."""

    dss: str
    size: int
    aligned_size: int
    aligned_with_timestamps: Room
    aligned: Room
    dense_with_timestamps: Room
    dense: Room


def lines() -> Iterator[Line]:
    """All forms of the DSS, the smallest first."""
    yield line("none", 0)
    forms = [(ack, dsn, checksum) for ack in (0, 4, 8) for dsn in (0, 4, 8) for checksum in (False, True)]
    made = []
    for ack, dsn, checksum in forms:
        if not dsn and (checksum or not ack):
            continue
        option = Dss(1 if ack else None, ack or 8, 1 if dsn else None, dsn or 8, 1, 1, 0 if checksum else None)
        words = [f"DATA_ACK {8 * ack}"] * (ack > 0) + [f"DSN {8 * dsn}"] * (dsn > 0) + ["checksum"] * checksum
        made.append((dsn > 0, option.size, " + ".join(words)))
    for _, size, words_of_it in sorted(made, key=lambda each: (each[0], each[1])):
        yield line(words_of_it, size)


def line(name: str, size: int) -> Line:
    """What an option of that size leaves."""

    return Line(
        name,
        size,
        padded(size),
        room(size, True, True),
        room(size, False, True),
        room(size, True, False),
        room(size, False, False),
    )


def room(size: int, timestamps: bool, aligned: bool) -> Room:
    """Octets and SACK blocks beside one option of that size."""
    used = padded(size) if aligned else size
    if timestamps:
        used += padded(TIMESTAMPS_SIZE) if aligned else TIMESTAMPS_SIZE
    return Room(AREA - used, sack_blocks_that_fit(AREA - used, MOST_SACK_BLOCKS, aligned))


class AddAddrLine(NamedTuple):
    """One form of ADD_ADDR and whether it fits on an ACK beside the timestamps."""

    form: str
    size: int
    aligned_size: int
    fits_aligned: bool
    fits_dense: bool


def add_addr_lines() -> Iterator[AddAddrLine]:
    """The eight forms of ADD_ADDR."""
    for octets, family in ((4, "IPv4"), (16, "IPv6")):
        for port in (None, 5001):
            for hmac in (bytes(8), None):
                size = AddAddr(1, bytes(octets), port, hmac).size
                name = f"{family}{' with port' if port else ''}{'' if hmac else ', echo'}"
                yield AddAddrLine(
                    name,
                    size,
                    padded(size),
                    padded(TIMESTAMPS_SIZE) + padded(size) <= AREA,
                    TIMESTAMPS_SIZE + size <= AREA,
                )
