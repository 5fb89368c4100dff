"""Option areas walked option by option, all packets at the same time: exact for any octets, and bounded.

The rules are those of :mod:`testbed.wire.option_codec`, and of RFC 6824 (MPTCP v0) beside: what comes before a length
that cannot be stands, a known kind of a length that it cannot have is passed over, nothing is guessed behind a cut.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from analysis.capture.batch import (
    BAD_OPTION,
    CUT_OPTIONS,
    DSS_CHECKSUM,
    DSS_DATA_FIN,
    DSS_PRESENT,
    DSS_REPEATED,
    MALFORMED_OPTIONS,
    Layout,
)
from testbed.wire.options import (
    KIND_EOL,
    KIND_FAST_OPEN,
    KIND_MPTCP,
    KIND_MSS,
    KIND_NAMES,
    KIND_NOP,
    KIND_SACK,
    KIND_SACK_PERMITTED,
    KIND_TIMESTAMPS,
    KIND_WINDOW_SCALE,
    SUBTYPE_ADD_ADDR,
    SUBTYPE_DSS,
    SUBTYPE_MP_CAPABLE,
    SUBTYPE_MP_FAIL,
    SUBTYPE_MP_FASTCLOSE,
    SUBTYPE_MP_JOIN,
    SUBTYPE_MP_PRIO,
    SUBTYPE_MP_TCPRST,
    SUBTYPE_NAMES,
    SUBTYPE_REMOVE_ADDR,
)

AREA: Final = 40
"""Octets: a data offset of 15 words less the fixed header (RFC 9293 section 3.1)."""
MOST_OPTIONS: Final = 20
"""Of two octets each."""
NO_SUBTYPE: Final = 255

_DSS_ACK: Final = 0x01
_DSS_ACK_8: Final = 0x02
_DSS_MAPPING: Final = 0x04
_DSS_DSN_8: Final = 0x08
_DSS_FLAGS: Final = 0x1F

_SIZES: Final = {
    KIND_MSS: (4,),
    KIND_WINDOW_SCALE: (3,),
    KIND_SACK_PERMITTED: (2,),
    KIND_SACK: (10, 18, 26, 34),
    KIND_TIMESTAMPS: (10,),
    KIND_FAST_OPEN: (2, 6, 8, 10, 12, 14, 16, 18),
}
_SUBTYPE_SIZES: Final = {
    SUBTYPE_MP_CAPABLE: (4, 12, 20, 22, 24),
    SUBTYPE_MP_JOIN: (12, 16, 24),
    SUBTYPE_REMOVE_ADDR: tuple(range(4, AREA + 1)),
    SUBTYPE_MP_PRIO: (3, 4),  # v0 may name an address (RFC 6824 section 3.3.8)
    SUBTYPE_MP_FAIL: (12,),
    SUBTYPE_MP_FASTCLOSE: (12,),
    SUBTYPE_MP_TCPRST: (4,),
}
_ADD_ADDR_SIZES: Final = {4: (8, 10, 16, 18, 28, 30), 6: (20, 22, 16, 18, 28, 30)}
"""By the lower half of the third octet, where that may be v0's IP version; else v1's echo flag is the lowest bit."""
_ADD_ADDR_V1: Final = ((16, 18, 28, 30), (8, 10, 20, 22))


def _sizes_allowed() -> NDArray[np.bool_]:
    """[kind, size]."""
    allowed = np.ones((256, AREA + 1), dtype=np.bool_)
    for kind, sizes in _SIZES.items():
        allowed[kind] = False
        allowed[kind, list(sizes)] = True
    return allowed


def _mptcp_sizes_allowed() -> NDArray[np.bool_]:
    """[third octet, size]; DSS is looked at with its flags."""
    allowed = np.ones((256, AREA + 1), dtype=np.bool_)
    allowed[:, :3] = False
    for octet in range(256):
        subtype, low = octet >> 4, octet & 0x0F
        sizes = _SUBTYPE_SIZES.get(subtype)
        if subtype == SUBTYPE_ADD_ADDR:
            sizes = _ADD_ADDR_SIZES.get(low) or _ADD_ADDR_V1[low & 1]
        if sizes is not None:
            allowed[octet] = False
            allowed[octet, list(sizes)] = True
    return allowed


def _dss_forms() -> tuple[NDArray[np.bool_], NDArray[np.uint8], NDArray[np.uint8]]:
    """[A, a, M, m; size] allowed; octets of the DATA_ACK, and of the DSN, by flags. a and m mean nothing alone."""
    allowed = np.zeros((16, AREA + 1), dtype=np.bool_)
    ack = np.zeros(16, dtype=np.uint8)
    dsn = np.zeros(16, dtype=np.uint8)
    for flags in range(16):
        if flags & _DSS_ACK:
            ack[flags] = 8 if flags & _DSS_ACK_8 else 4
        if flags & _DSS_MAPPING:
            dsn[flags] = 8 if flags & _DSS_DSN_8 else 4
        size = 4 + int(ack[flags]) + int(dsn[flags])
        allowed[flags, [size + 6, size + 8] if flags & _DSS_MAPPING else size] = True
    return allowed, ack, dsn


_ALLOWED: Final = _sizes_allowed()
_MPTCP_ALLOWED: Final = _mptcp_sizes_allowed()
_DSS_ALLOWED, _DSS_ACK_OCTETS, _DSS_DSN_OCTETS = _dss_forms()


@dataclass(slots=True)
class Walked:
    """What is in each area; the names are those of :class:`analysis.capture.layouts.Options`."""

    octets: NDArray[np.uint8]
    known: NDArray[np.uint8]
    image: NDArray[np.uint8]
    """(packets, 40): the area without its values."""
    mask: NDArray[np.uint8]
    """Bits of the area that make the image."""
    padding: NDArray[np.uint8]
    status: NDArray[np.uint8]
    timestamps_at: NDArray[np.int8]
    sack_at: NDArray[np.int8]
    sack_count: NDArray[np.uint8]
    dss_bits: NDArray[np.uint8]
    data_ack_at: NDArray[np.int8]
    data_ack_octets: NDArray[np.uint8]
    dsn_at: NDArray[np.int8]
    dsn_octets: NDArray[np.uint8]
    rare_count: NDArray[np.uint8]
    rare_row: NDArray[np.int64]
    rare_at: NDArray[np.int8]
    item_row: NDArray[np.int64]
    """Of each item (option, NOP, or the octets from an EOL on), in the order of packets and of the wire."""
    item_at: NDArray[np.int64]
    item_size: NDArray[np.int64]
    item_bad: NDArray[np.bool_]

    def layout(self, row: int) -> Layout:
        """For people, of one packet."""
        first, last = self.item_row.searchsorted((row, row + 1))
        image = self.image[row].tobytes()
        items = []
        words = []
        for at, size, bad in zip(
            self.item_at[first:last].tolist(),
            self.item_size[first:last].tolist(),
            self.item_bad[first:last].tolist(),
            strict=True,
        ):
            mptcp = image[at] == KIND_MPTCP and size >= 3
            subtype = image[at + 2] >> 4 if mptcp else NO_SUBTYPE
            flags = image[at + 3] if subtype == SUBTYPE_DSS and size >= 4 else 0
            item, word = _in_words(image[at], subtype, flags, size, bad)
            items.append(item)
            words.append(word)
        if self.status[row] & CUT_OPTIONS:
            words.append("cut")
        if self.status[row] & MALFORMED_OPTIONS:
            words.append("malformed")
        return Layout(tuple(items), int(self.octets[row]), int(self.padding[row]), " ".join(words))

    def rare_places(self, row: int) -> NDArray[np.int8]:
        """Of the rare options of one packet."""
        first, last = self.rare_row.searchsorted((row, row + 1))
        return self.rare_at[first:last]


@functools.cache
def _in_words(kind: int, subtype: int, flags: int, size: int, bad: bool) -> tuple[tuple[str, int], str]:
    """(name, octets) of an item, and the word for it in the text of a layout."""
    if kind == KIND_EOL:
        name = "eol"
    elif kind == KIND_NOP:
        name = "nop"
    elif subtype != NO_SUBTYPE:
        name = SUBTYPE_NAMES.get(subtype, f"mptcp-{subtype}")
    else:
        name = KIND_NAMES.get(kind, f"kind-{kind}")
    word = name if size == 1 else f"{name}:{size}"
    if subtype == SUBTYPE_DSS and size >= 4:
        word += f"({_dss_members(flags, size)})"
    return (name, size), word + ("(bad)" if bad else "")


def _dss_members(flags: int, size: int) -> str:
    low = flags & 0x0F
    members = ""
    if flags & _DSS_ACK:
        members += "A8" if flags & _DSS_ACK_8 else "A4"
    if flags & _DSS_MAPPING:
        members += "M8" if flags & _DSS_DSN_8 else "M4"
        if size == 4 + int(_DSS_ACK_OCTETS[low]) + int(_DSS_DSN_OCTETS[low]) + 8:
            members += "C"
    if flags & DSS_DATA_FIN:
        members += "F"
    return members


def in_words(octets: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """40 octets as they are in memory."""
    return np.ascontiguousarray(octets).view(np.uint64)


def walk(words: NDArray[np.uint64], octets: NDArray[np.uint8], known: NDArray[np.uint8]) -> Walked:
    """Walk areas of ``octets``, of which the first ``known`` were captured; the rest is never looked at."""
    count = len(words)
    area = np.ascontiguousarray(words).view(np.uint8).reshape(count, AREA)
    mask = np.zeros((count, AREA), dtype=np.uint8)
    status = np.where(known < octets, CUT_OPTIONS, 0).astype(np.uint8)
    rows, at, size = _items(area, octets.astype(np.int64), known.astype(np.int64), mask, status)
    return _classified(area, octets, known, mask, status, rows, at, size)


def _items(
    area: NDArray[np.uint8],
    octets: NDArray[np.int64],
    known: NDArray[np.int64],
    mask: NDArray[np.uint8],
    status: NDArray[np.uint8],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """(row, place, size) of every item. Marks the octets that were looked at, and what is malformed."""
    found: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]] = []
    rows = np.flatnonzero(known > 0)
    at = np.zeros(len(rows), dtype=np.int64)
    while len(rows):
        kind = area[rows, at]
        mask[rows, at] = 0xFF
        end = known[rows]
        size = np.ones(len(rows), dtype=np.int64)
        last = kind == KIND_EOL
        size[last] = (end - at)[last]
        option = kind > KIND_NOP
        with_length = option & (at + 1 < end)
        there = np.flatnonzero(with_length)
        size[there] = area[rows[there], at[there] + 1]
        mask[rows[there], at[there] + 1] = 0xFF
        # a length that was not captured is cut off, unless the area itself has no room for it
        beyond = option & (at + 1 >= octets[rows]) | with_length & ((size < 2) | (at + size > octets[rows]))
        status[rows[beyond]] |= MALFORMED_OPTIONS
        whole = ~beyond & (at + size <= end) & (with_length | ~option)
        rows, at, size = rows[whole], at[whole], size[whole]
        found.append((rows, at, size))
        more = at + size < known[rows]
        rows, at = rows[more], (at + size)[more]
    if not found:
        empty = np.empty(0, dtype=np.int64)
        return empty, empty, empty
    row, place, size = (np.concatenate(part) for part in zip(*found, strict=True))
    order = np.argsort(row * AREA + place, kind="stable")
    return row[order], place[order], size[order]


def _classified(
    area: NDArray[np.uint8],
    octets: NDArray[np.uint8],
    known: NDArray[np.uint8],
    mask: NDArray[np.uint8],
    status: NDArray[np.uint8],
    row: NDArray[np.int64],
    at: NDArray[np.int64],
    size: NDArray[np.int64],
) -> Walked:
    count = len(area)
    kind = area[row, at]
    padded = kind <= KIND_NOP
    mptcp = (kind == KIND_MPTCP) & (size >= 3)
    third = np.where(mptcp, area[row, np.minimum(at + 2, AREA - 1)], 0)
    subtype = third >> 4
    of_subtype = np.flatnonzero(mptcp)
    mask[row[of_subtype], at[of_subtype] + 2] = np.where(subtype[of_subtype] == SUBTYPE_ADD_ADDR, 0xFF, 0xF0)
    dss = mptcp & (subtype == SUBTYPE_DSS)
    with_flags = np.flatnonzero(dss & (size >= 4))
    flags = np.zeros(len(row), dtype=np.uint8)
    flags[with_flags] = area[row[with_flags], at[with_flags] + 3] & _DSS_FLAGS
    mask[row[with_flags], at[with_flags] + 3] = _DSS_FLAGS

    bad = ~padded & ~_ALLOWED[kind, size] | (kind == KIND_MPTCP) & (size < 3)
    bad |= mptcp & ~dss & ~_MPTCP_ALLOWED[third, size]
    bad |= dss & ~_DSS_ALLOWED[flags & 0x0F, size]
    np.bitwise_or.at(status, row[bad], BAD_OPTION)

    timestamps = _first(row, (kind == KIND_TIMESTAMPS) & ~bad)
    sack = _first(row, (kind == KIND_SACK) & ~bad)
    valid_dss = dss & ~bad
    mapping = _first(row, valid_dss)
    rare = ~padded
    for columns in (timestamps, sack, mapping):
        rare[columns] = False

    def placed(items: NDArray[np.int64], values: NDArray[np.int64]) -> NDArray[np.int8]:
        column = np.full(count, -1, dtype=np.int8)
        column[row[items]] = values
        return column

    def counted(items: NDArray[np.int64], values: NDArray[np.int64] | NDArray[np.uint8]) -> NDArray[np.uint8]:
        column = np.zeros(count, dtype=np.uint8)
        column[row[items]] = values
        return column

    low = flags[mapping] & 0x0F
    ack_octets, dsn_octets = _DSS_ACK_OCTETS[low], _DSS_DSN_OCTETS[low]
    checksum = (dsn_octets > 0) & (size[mapping] == 12 + ack_octets.astype(np.int64) + dsn_octets)
    repeated = np.bincount(row[valid_dss], minlength=count)[row[mapping]] > 1
    bits = DSS_PRESENT | flags[mapping] | np.where(checksum, DSS_CHECKSUM, 0) | np.where(repeated, DSS_REPEATED, 0)
    with_ack, with_dsn = mapping[ack_octets > 0], mapping[dsn_octets > 0]
    padding = np.bincount(row[padded], weights=size[padded], minlength=count).astype(np.uint8)
    return Walked(
        octets=octets,
        known=known,
        image=area & mask,
        mask=mask,
        padding=padding,
        status=status,
        timestamps_at=placed(timestamps, at[timestamps] + 2),
        sack_at=placed(sack, at[sack] + 2),
        sack_count=counted(sack, size[sack] >> 3),
        dss_bits=counted(mapping, bits.astype(np.uint8)),
        data_ack_at=placed(with_ack, at[with_ack] + 4),
        data_ack_octets=counted(mapping, ack_octets),
        dsn_at=placed(with_dsn, at[with_dsn] + 4 + ack_octets[dsn_octets > 0]),
        dsn_octets=counted(mapping, dsn_octets),
        rare_count=np.bincount(row[rare], minlength=count).astype(np.uint8),
        rare_row=row[rare],
        rare_at=at[rare].astype(np.int8),
        item_row=row,
        item_at=at,
        item_size=size,
        item_bad=bad,
    )


def _first(row: NDArray[np.int64], wanted: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Of the wanted items the first of each row."""
    items = np.flatnonzero(wanted)
    if not len(items):
        return items
    return items[np.concatenate(((True,), row[items[1:]] != row[items[:-1]]))]
