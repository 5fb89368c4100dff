"""How much each stream carried and within which DSNs: what is needed to see which streams belong to one connection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from analysis.capture.batch import DSS_DATA_FIN, DSS_PRESENT, Batch
from analysis.capture.widening import offsets_of

WIDE: Final = 8
NARROW: Final = 4
_M: Final = 0x04


@dataclass(frozen=True, slots=True)
class DsnRange:
    """Values seen, all within [low, high] (modulo 2^64, or 2^32 when only 32 bits were ever sent)."""

    low: int
    high: int
    wide: bool

    @property
    def span(self) -> int:
        """high - low."""
        return (self.high - self.low) % (1 << (64 if self.wide else 32))


class _Extremes:
    """Least and greatest offset from the first value of each stream, and whether there is one."""

    __slots__ = ("first", "high", "low", "seen")

    def __init__(self) -> None:
        self.seen: NDArray[np.bool_] = np.empty(0, bool)
        self.first: NDArray[np.uint64] = np.empty(0, np.uint64)
        self.low: NDArray[np.int64] = np.empty(0, np.int64)
        self.high: NDArray[np.int64] = np.empty(0, np.int64)

    def grow(self, streams: int) -> None:
        self.seen, self.first = _grown(self.seen, streams), _grown(self.first, streams)
        self.low, self.high = _grown(self.low, streams), _grown(self.high, streams)

    def take(self, stream: NDArray[np.int64], value: NDArray[np.uint64], behind: NDArray[Any], wide: bool) -> None:
        """``behind``: what the range reaches beyond the value."""
        new = ~self.seen[stream]
        names, index = np.unique(stream[new], return_index=True)
        self.first[names] = value[new][index]
        self.seen[names] = True
        offset = offsets_of(value, self.first[stream])
        if not wide:
            offset = offset.astype(np.uint32).view(np.int32).astype(np.int64)
        np.minimum.at(self.low, stream, offset)
        np.maximum.at(self.high, stream, offset + behind.astype(np.int64))


class DsnRanges:
    """By stream (incarnation and side)."""

    __slots__ = (
        "_extremes",
        "checksum",
        "first_ns",
        "first_seq",
        "infinite",
        "last_ns",
        "packets",
        "payload",
        "started",
        "timestamps",
        "used",
    )

    def __init__(self) -> None:
        self._extremes = {(kind, size): _Extremes() for kind in ("dsn", "ack") for size in (WIDE, NARROW)}
        self.packets: NDArray[np.int64] = np.empty(0, np.int64)
        self.payload: NDArray[np.int64] = np.empty(0, np.int64)
        self.first_ns: NDArray[np.int64] = np.empty(0, np.int64)
        self.last_ns: NDArray[np.int64] = np.empty(0, np.int64)
        self.first_seq: NDArray[np.uint32] = np.empty(0, np.uint32)
        self.started: NDArray[np.bool_] = np.empty(0, bool)
        self.used: NDArray[np.bool_] = np.empty(0, bool)
        """Carried a DSS."""
        self.infinite: NDArray[np.bool_] = np.empty(0, bool)
        """Carried an infinite mapping."""
        self.checksum: NDArray[np.bool_] = np.empty(0, bool)
        self.timestamps: NDArray[np.bool_] = np.empty(0, bool)

    def take(self, batch: Batch, stream: NDArray[np.int64], streams: int, timestamps: NDArray[np.bool_]) -> None:
        """``stream``: -1 for packets that belong to none."""
        self._grow(streams)
        rows = np.flatnonzero(stream >= 0)
        if not len(rows):
            return
        where = stream[rows]
        new = np.flatnonzero(~self.started[where])
        if len(new):
            names, first = np.unique(where[new], return_index=True)
            first = rows[new[first]]
            self.first_seq[names] = batch.seq[first]
            self.first_ns[names] = batch.time_ns[first]
            self.last_ns[names] = batch.time_ns[first]
            self.started[names] = True
        self.packets += np.bincount(where, minlength=streams)
        np.add.at(self.payload, where, batch.payload[rows].astype(np.int64))
        np.minimum.at(self.first_ns, where, batch.time_ns[rows])
        np.maximum.at(self.last_ns, where, batch.time_ns[rows])
        self.timestamps[where[timestamps[rows]]] = True
        self._take_dss(batch, rows[(batch.dss_bits[rows] & DSS_PRESENT) != 0], stream)

    def range_of(self, kind: str, stream: int) -> DsnRange | None:
        """Of the ``dsn`` or ``ack`` values of a stream; the wide ones where there are any."""
        for size in (WIDE, NARROW):
            found = self._extremes[kind, size]
            if stream < len(found.seen) and found.seen[stream]:
                modulus = 1 << (8 * size)
                first = int(found.first[stream])
                return DsnRange(
                    (first + int(found.low[stream])) % modulus,
                    (first + int(found.high[stream])) % modulus,
                    size == WIDE,
                )
        return None

    def _take_dss(self, batch: Batch, rows: NDArray[np.int64], stream: NDArray[np.int64]) -> None:
        if not len(rows):
            return
        self.used[stream[rows]] = True
        bits = batch.dss_bits[rows]
        mapped = (bits & _M) != 0
        infinite = mapped & (batch.dss_length[rows] == 0) & ((bits & DSS_DATA_FIN) == 0)
        self.infinite[stream[rows[infinite]]] = True
        self.checksum[stream[rows[(bits & 0x40) != 0]]] = True
        for size in (WIDE, NARROW):
            some = rows[mapped & (batch.dsn_octets[rows] == size)]
            length = batch.dss_length[some]
            self._extremes["dsn", size].take(stream[some], batch.dsn[some], length, size == WIDE)
            some = rows[batch.data_ack_octets[rows] == size]
            zeros = np.zeros(len(some), np.int64)
            self._extremes["ack", size].take(stream[some], batch.data_ack[some], zeros, size == WIDE)

    def _grow(self, streams: int) -> None:
        if streams <= len(self.packets):
            return
        for name in self.__slots__:
            if name != "_extremes":
                setattr(self, name, _grown(getattr(self, name), streams))
        for extremes in self._extremes.values():
            extremes.grow(streams)


def _grown(column: NDArray[Any], count: int) -> NDArray[Any]:
    return np.concatenate((column, np.zeros(count - len(column), column.dtype))) if count > len(column) else column
