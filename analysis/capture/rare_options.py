"""The options that few packets have: as octets, one row for each, and decoded to values one by one.

What this module decodes is what :mod:`testbed.wire` knows (RFC 8684 and TCP's own), and MPTCP v0 (RFC 6824) where that
is another form: ADD_ADDR with an IP version, MP_PRIO for another address.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from analysis.capture.batch import RareOptions
from analysis.capture.layouts import Options
from analysis.capture.octets import Octets, Places
from analysis.capture.option_walk import AREA, NO_SUBTYPE
from testbed.wire.option_codec import decode_option
from testbed.wire.options import KIND_MPTCP, SUBTYPE_ADD_ADDR, SUBTYPE_MP_PRIO, Option
from testbed.wire.options_v0 import AddAddrV0, MpPrioV0

_AREA: Final[np.dtype[Any]] = np.dtype(("u1", (AREA,)))
_RAW_AREA: Final[np.dtype[Any]] = np.dtype((np.void, AREA))
_PLACES: Final = np.arange(AREA)
_CLEARED_AT_ONCE: Final = 1 << 15
"""Rows; a capture may be made so that a chunk has a million."""
_V0_ADDRESS_OCTETS: Final = {4: 4, 6: 16}


def rare_options(octets: Octets, area_at: Places, options: Options) -> RareOptions:
    """The rows of a batch. ``area_at``: where the option area of each packet begins."""
    row = options.rare_row
    taken = octets.take(_RAW_AREA, area_at[row] + options.rare_at).view(np.uint8).reshape(-1, AREA)
    kind = taken[:, 0].copy()
    size = taken[:, 1].copy()
    for at in range(0, len(taken), _CLEARED_AT_ONCE):
        part = slice(at, at + _CLEARED_AT_ONCE)
        taken[part][size[part, None] <= _PLACES] = 0
    mptcp = (kind == KIND_MPTCP) & (size >= 3)
    subtype = np.where(mptcp, taken[:, 2] >> 4, NO_SUBTYPE).astype(np.uint8)
    return RareOptions(row, kind, subtype, size, taken)


def decode(octets: bytes) -> Option:
    """The value of one whole option (kind and length included); Unknown where no RFC gives it one.

    MP_CAPABLE and MP_JOIN have the same form in both versions; ``MpCapable.version`` tells which it is.
    """
    kind, size = octets[0], octets[1]
    if kind == KIND_MPTCP and size >= 3:
        subtype, low = octets[2] >> 4, octets[2] & 0x0F
        address_octets = _V0_ADDRESS_OCTETS.get(low, 0)
        if subtype == SUBTYPE_ADD_ADDR and address_octets and size in (4 + address_octets, 6 + address_octets):
            end = 4 + address_octets
            return AddAddrV0(octets[3], octets[4:end], int.from_bytes(octets[end:size], "big") if size > end else None)
        if subtype == SUBTYPE_MP_PRIO and size == 4:
            return MpPrioV0(low & 1 != 0, octets[3])
    return decode_option(octets[:size], 0, kind, size)


@dataclass(frozen=True, slots=True)
class RareOption:
    """One option with the packet it was on."""

    row: int
    """Index of the packet in the batch."""
    option: Option


def decoded(rare: RareOptions, wanted: NDArray[np.bool_] | None = None) -> Iterator[RareOption]:
    """The options of a batch as values, in order; those of a mask, when given."""
    rows = range(len(rare.row)) if wanted is None else np.flatnonzero(wanted)
    for index in rows:
        octets = rare.octets[index, : rare.size[index]].tobytes()
        yield RareOption(int(rare.row[index]), decode(octets))
