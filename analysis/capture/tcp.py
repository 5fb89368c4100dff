"""The TCP header of each packet, and its options where they matter to every packet: timestamps, SACK, DSS.

Sources: RFC 9293 section 3.1, RFC 7323, RFC 2018, RFC 8684 section 3.3. What lies behind the captured octets is never
looked at: a header that is cut gives a row with its ports and a mark.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from analysis.capture.batch import CUT_HEADER, MALFORMED_OPTIONS, SackBlocks
from analysis.capture.layouts import Layouts, Options
from analysis.capture.octets import Octets, Places

FIXED: Final = 20
"""Octets of the header without options."""

HEADER: Final[np.dtype[Any]] = np.dtype(
    {
        "names": ["ports", "seq", "ack", "offset_flags", "window", "area"],
        "formats": ["u4", ">u4", ">u4", ">u2", ">u2", ("u8", (5,))],
        "offsets": [0, 4, 8, 12, 14, 20],
        "itemsize": 60,
    }
)
_TWO_WORDS: Final[np.dtype[Any]] = np.dtype([("first", ">u4"), ("second", ">u4")])
_EIGHT: Final[np.dtype[Any]] = np.dtype(">u8")
_MAPPING: Final[np.dtype[Any]] = np.dtype([("ssn", ">u4"), ("length", ">u2"), ("checksum", ">u2")])
_PORTS: Final = 4


def _kept_words() -> NDArray[np.uint64]:
    """[octets known]: mask over five words that keeps those octets."""
    octets = np.arange(40)
    return np.where(octets < np.arange(41)[:, None], 0xFF, 0).astype(np.uint8).view(np.uint64)


_KEPT: Final = _kept_words()


class TcpHeaders:
    """The TCP headers of packets that have at least their ports captured."""

    def __init__(
        self, octets: Octets, transport: Places, available: NDArray[np.int64], segment: NDArray[np.int64]
    ) -> None:
        """``available``: octets captured from the TCP header on, at most ``segment``, those that IP says there are."""
        self._octets = octets
        self._area_at = transport + FIXED
        header = octets.take(HEADER, transport)
        self.ports = header["ports"]
        self.seq = header["seq"].astype(np.uint32)
        self.ack = header["ack"].astype(np.uint32)
        self.window = header["window"].astype(np.uint16)
        offset_flags = header["offset_flags"].astype(np.uint16)
        self.flags = offset_flags & np.uint16(0x0FFF)
        self.header_octets = ((offset_flags >> np.uint16(10)) & np.uint16(0x3C)).astype(np.uint8)
        self.status = np.zeros(len(transport), dtype=np.uint8)
        size = self.header_octets.astype(np.int64)
        area = header["area"]
        known = size - FIXED
        if ((size < FIXED) | (size > available)).any():
            area, size, known = self._not_whole(area, available, segment, size)
        self.payload = (segment - size).astype(np.uint32)
        self.payload[self.status != 0] = 0
        self.area_octets = (size - FIXED).astype(np.uint8)
        self.known = known.astype(np.uint8)
        self.area = area

    def _not_whole(
        self,
        area: NDArray[np.uint64],
        available: NDArray[np.int64],
        segment: NDArray[np.int64],
        size: NDArray[np.int64],
    ) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64]]:
        """Mark what is cut or cannot be, and leave out of the option area what was not captured."""
        cut = available < FIXED
        for column in (self.seq, self.ack, self.window, self.flags, self.header_octets):
            column[cut] = 0
        self.status[cut] |= CUT_HEADER
        wrong = ~cut & ((size < FIXED) | (size > segment))
        self.status[wrong] |= MALFORMED_OPTIONS
        nothing = cut | wrong
        known = np.where(nothing, 0, np.minimum(size, available) - FIXED)
        area = area & _KEPT[known]
        return area, np.where(nothing, FIXED, size), known


class HotOptions:
    """Columns of the options that many packets have."""

    def __init__(self, octets: Octets, area_at: Places, options: Options) -> None:
        self._octets = octets
        self._area_at = area_at
        count = len(area_at)
        self.tsval, self.tsecr = self._timestamps(options.timestamps_at, count)
        self.data_ack = self._number(options.data_ack_at, options.data_ack_octets, count)
        self.dsn = self._number(options.dsn_at, options.dsn_octets, count)
        self.dss_ssn, self.dss_length, self.dss_checksum = self._mapping(options, count)
        self.sack = self._sack(options)

    def _timestamps(self, at: NDArray[np.int8], count: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
        rows = np.flatnonzero(at >= 0)
        if len(rows) == count:
            words = self._octets.take(_TWO_WORDS, self._area_at + at)
            return words["first"].astype(np.uint32), words["second"].astype(np.uint32)
        tsval, tsecr = np.zeros(count, dtype=np.uint32), np.zeros(count, dtype=np.uint32)
        words = self._octets.take(_TWO_WORDS, self._area_at[rows] + at[rows])
        tsval[rows], tsecr[rows] = words["first"], words["second"]
        return tsval, tsecr

    def _number(self, at: NDArray[np.int8], size: NDArray[np.uint8], count: int) -> NDArray[np.uint64]:
        """Of 4 or 8 octets; eight are read, and four of them shifted out where there are only four."""
        rows = np.flatnonzero(at >= 0)
        value = np.zeros(count, dtype=np.uint64)
        read = self._octets.take(_EIGHT, self._area_at[rows] + at[rows]).astype(np.uint64)
        sizes = size[rows]
        if (sizes != 8).any():
            read >>= np.uint64(64) - (sizes.astype(np.uint64) << np.uint64(3))
        value[rows] = read
        return value

    def _mapping(
        self, options: Options, count: int
    ) -> tuple[NDArray[np.uint32], NDArray[np.uint16], NDArray[np.uint16]]:
        ssn = np.zeros(count, dtype=np.uint32)
        length, checksum = np.zeros(count, dtype=np.uint16), np.zeros(count, dtype=np.uint16)
        rows = np.flatnonzero(options.dsn_at >= 0)
        at = self._area_at[rows] + options.dsn_at[rows] + options.dsn_octets[rows]
        read = self._octets.take(_MAPPING, at)
        ssn[rows], length[rows] = read["ssn"], read["length"]
        with_checksum = options.dss_bits[rows] & 0x40 != 0
        if with_checksum.any():
            checksum[rows[with_checksum]] = read["checksum"][with_checksum]
        return ssn, length, checksum

    def _sack(self, options: Options) -> SackBlocks:
        rows = np.flatnonzero(options.sack_count)
        counts = options.sack_count[rows].astype(np.int64)
        row = np.repeat(rows, counts)
        start = np.repeat(np.cumsum(counts) - counts, counts)
        index = np.arange(len(row)) - start
        edges = self._octets.take(_TWO_WORDS, self._area_at[row] + options.sack_at[row] + 8 * index)
        return SackBlocks(
            row, index.astype(np.uint8), edges["first"].astype(np.uint32), edges["second"].astype(np.uint32)
        )


def ports_captured(available: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether a flow can be told."""
    return available >= _PORTS


def options_of(headers: TcpHeaders, layouts: Layouts) -> Options:
    """Where the options of these packets are."""
    return layouts.find(headers.area, headers.area_octets, headers.known)
