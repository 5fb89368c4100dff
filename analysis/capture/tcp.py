"""The TCP header of each packet, and its options where they matter to every packet: timestamps, SACK, DSS.

Sources: RFC 9293 section 3.1, RFC 7323, RFC 2018, RFC 8684 section 3.3. What lies behind the captured octets is never
looked at: a header that is cut gives a row with its ports and a mark.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from analysis.capture.batch import CUT_HEADER, DSS_CHECKSUM, MALFORMED_OPTIONS, SackBlocks
from analysis.capture.layouts import Layouts, Options
from analysis.capture.octets import Octets, Places

FIXED: Final = 20
"""Octets of the header without options."""

_HEADER: Final[np.dtype[Any]] = np.dtype(
    {
        "names": ["ports", "seq", "ack", "offset_flags", "window", "area"],
        "formats": ["u4", ">u4", ">u4", ">u2", ">u2", ("u8", (5,))],
        "offsets": [0, 4, 8, 12, 14, 20],
        "itemsize": 64,
    }
)
_TWO_WORDS: Final[np.dtype[Any]] = np.dtype([("first", ">u4"), ("second", ">u4")])
_EIGHT: Final[np.dtype[Any]] = np.dtype(">u8")
_TOO_MANY_BITS: Final = np.array([0, 0, 0, 0, 32, 0, 0, 0, 0], dtype=np.uint64)
"""By the size of a number, of which eight octets were taken."""
_SAMPLE: Final = 64
_PORTS: Final = 4


class TcpHeaders:
    """The TCP headers of packets that have at least their ports captured."""

    def __init__(
        self, octets: Octets, transport: Places, available: NDArray[np.int64], segment: NDArray[np.int64]
    ) -> None:
        """``available``: octets captured from the TCP header on, at most ``segment``, those that IP says there are."""
        self.octets = octets
        self.area_at = transport + FIXED
        """Where the option areas begin."""
        header = self._header = octets.take(_HEADER, transport)
        self.ports = header["ports"]
        self.seq = header["seq"].astype(np.uint32)
        self.ack = header["ack"].astype(np.uint32)
        self.window = header["window"].astype(np.uint16)
        offset_flags = header["offset_flags"].astype(np.uint16)
        self.flags = offset_flags & np.uint16(0x0FFF)
        self.header_octets = ((offset_flags >> np.uint16(10)) & np.uint16(0x3C)).astype(np.uint8)
        self.status = np.zeros(len(transport), dtype=np.uint8)
        size = self.header_octets.astype(np.int64)
        known = size - FIXED
        if ((size < FIXED) | (size > available)).any():
            size, known = self._not_whole(available, segment, size)
        self.payload = (segment - size).astype(np.uint32)
        self.payload[self.status != 0] = 0
        self.area_octets = (size - FIXED).astype(np.uint8)
        self.known = known.astype(np.uint8)
        self.area = header["area"]
        """As it lies in the buffer: only ``known`` octets of it are the packet's."""

    def eight_octets(self, at: NDArray[np.int8]) -> NDArray[np.uint64]:
        """The number in eight octets at that place of each option area; 0 where there is none (a place below 0).

        Most packets of a stretch have the same options: the place that is usual is read from all of them in one slice,
        and only the others one by one.
        """
        usual = int(np.bincount(at[:: len(at) // _SAMPLE + 1].astype(np.int64) + 1).argmax()) - 1 if len(at) else -1
        if usual < 0:
            value = np.zeros(len(at), dtype=np.uint64)
        else:
            size = _HEADER.itemsize
            value = np.ndarray((len(at),), _EIGHT, self._header, FIXED + usual, (size,)).astype(np.uint64)
        others = (at != usual).nonzero()[0]
        if len(others):
            place = at[others]
            read = self.octets.take(_EIGHT, self.area_at[others] + place).astype(np.uint64)
            read[place < 0] = 0
            value[others] = read
        return value

    def _not_whole(
        self, available: NDArray[np.int64], segment: NDArray[np.int64], size: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Mark what is cut or cannot be; (size of each header, octets of its option area that were captured)."""
        cut = available < FIXED
        for column in (self.seq, self.ack, self.window, self.flags, self.header_octets):
            column[cut] = 0
        self.status[cut] |= CUT_HEADER
        wrong = ~cut & ((size < FIXED) | (size > segment))
        self.status[wrong] |= MALFORMED_OPTIONS
        nothing = cut | wrong
        known = np.where(nothing, 0, np.minimum(size, available) - FIXED)
        return np.where(nothing, FIXED, size), known


class HotOptions:
    """Columns of the options that many packets have."""

    def __init__(self, headers: TcpHeaders, options: Options) -> None:
        stamps = headers.eight_octets(options.timestamps_at)
        self.tsval = (stamps >> np.uint64(32)).astype(np.uint32)
        self.tsecr = stamps.astype(np.uint32)
        self.data_ack = _number(headers, options.data_ack_at, options.data_ack_octets)
        self.dsn = _number(headers, options.dsn_at, options.dsn_octets)
        # behind the DSN: subflow sequence number, length, and the checksum where there is one
        rest = headers.eight_octets(options.dsn_at + options.dsn_octets.view(np.int8))
        self.dss_ssn = (rest >> np.uint64(32)).astype(np.uint32)
        self.dss_length = (rest >> np.uint64(16)).astype(np.uint16)
        self.dss_checksum = rest.astype(np.uint16) * (options.dss_bits & np.uint8(DSS_CHECKSUM) != 0)
        self.sack = _sack_blocks(headers, options)


def _number(headers: TcpHeaders, at: NDArray[np.int8], size: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Of 4 or 8 octets; 0 where there is none."""
    value = headers.eight_octets(at)
    narrow = size == 4
    if narrow.any():
        value >>= _TOO_MANY_BITS.take(size)
    return value


def _sack_blocks(headers: TcpHeaders, options: Options) -> SackBlocks:
    rows = options.sack_count.nonzero()[0]
    counts = options.sack_count[rows].astype(np.int64)
    row = np.repeat(rows, counts)
    start = np.repeat(np.cumsum(counts) - counts, counts)
    index = np.arange(len(row)) - start
    edges = headers.octets.take(_TWO_WORDS, headers.area_at[row] + options.sack_at[row] + 8 * index)
    return SackBlocks(row, index.astype(np.uint8), edges["first"].astype(np.uint32), edges["second"].astype(np.uint32))


def ports_captured(available: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether a flow can be told."""
    return available >= _PORTS


def options_of(headers: TcpHeaders, layouts: Layouts) -> Options:
    """Where the options of these packets are."""
    return layouts.find(headers.area, headers.area_octets, headers.known)
