"""Round-trip times as the place of the capture sees them: from a segment that passes to what answers it.

Two ways. *By acknowledgment*: from the only transmission of an octet to the first ACK that ends exactly behind its
segment; segments of which anything was sent again before are left out (Karn's rule, RFC 6298 section 3). *By
timestamps*: from the first segment with data that carries a TSval to the first ACK that echoes it and acknowledges
something new (RFC 7323 section 4.1). A capture at the sender sees the whole round trip, one at the receiver next to
nothing of it, one between them its part.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analysis.capture.intervals import Int64s, Line, first_covering
from analysis.capture.ordering import stable_order
from analysis.capture.sending import Sent
from analysis.capture.stretch import Stretch
from analysis.capture.sums import Distributions

_NEVER = np.iinfo(np.int64).max


class RoundTrips:
    """Distributions by stream of the data."""

    def __init__(self, line: Line, streams: int) -> None:
        self._line = line
        self.by_ack = Distributions(streams)
        self.by_timestamp = Distributions(streams)
        none = np.empty(0, np.int64)
        self._ends, self._times = none, none
        """Segments sent once and not acknowledged yet: position behind their last octet, time."""
        self._acked: Int64s = line.place(np.arange(streams), np.full(streams, -line.half + 1))
        self._keys: NDArray[np.uint64] = np.empty(0, np.uint64)
        self._key_times = none
        """TSvals not echoed yet: stream << 32 | TSval, time of the first segment."""
        self._newest: Int64s = np.full(streams, -1, np.int64)
        """TSval last taken; -1: none."""

    def take(self, stretch: Stretch, sent: Sent) -> None:
        """The next stretch."""
        rows, positions = self._advances(stretch)
        self._by_ack(stretch, sent, rows, positions)
        self._by_timestamp(stretch, sent, rows)

    def _advances(self, stretch: Stretch) -> tuple[Int64s, Int64s]:
        """(rows whose ACK is above all before it, the position that they acknowledge), by acknowledged stream."""
        rows = stretch.rows[(stretch.has_ack & ~stretch.rst)[stretch.rows]]
        # Sorted by stream; by its partner it is when the two of a pair change places.
        acked = stretch.stream[rows] ^ 1
        order = stable_order(acked, len(self._acked))
        rows, acked = rows[order], acked[order]
        position = self._line.place(acked, stretch.ack[rows])
        reach = np.maximum.accumulate(position)
        before = np.full(len(rows), np.iinfo(np.int64).min)
        before[1:] = reach[:-1]
        new = position > np.maximum(before, self._acked[acked])
        np.maximum.at(self._acked, acked[new], position[new])
        return rows[new], position[new]

    def _by_ack(self, stretch: Stretch, sent: Sent, rows: Int64s, positions: Int64s) -> None:
        once = sent.earlier.any == 0
        ends = np.concatenate((self._ends, sent.end[once]))
        times = np.concatenate((self._times, stretch.time_ns[sent.rows[once]]))
        order_in = np.concatenate((np.full(len(self._ends), -1, np.int64), sent.rows[once]))
        order = np.argsort(ends, kind="stable")
        ends, times, order_in = ends[order], times[order], order_in[order]
        repeated = ~once
        again = first_covering(sent.start[repeated], sent.end[repeated], sent.rows[repeated], ends - 1, _NEVER)
        if len(ends) and len(rows):
            index = np.minimum(np.searchsorted(ends, positions), len(ends) - 1)
            good = (ends[index] == positions) & (order_in[index] < rows) & (again[index] > rows)
            value = stretch.time_ns[rows] - times[index]
            good &= value >= 0
            self.by_ack.take(self._line.stream(positions[good]), value[good])
        kept = (again == _NEVER) & (ends > self._acked[self._line.stream(ends - 1)]) if len(ends) else again == 0
        self._ends, self._times = ends[kept], times[kept]

    def _by_timestamp(self, stretch: Stretch, sent: Sent, rows: Int64s) -> None:
        keys, times, places = self._new_tsvals(stretch, sent)
        keys = np.concatenate((self._keys, keys))
        times = np.concatenate((self._key_times, times))
        places = np.concatenate((np.full(len(self._keys), -1, np.int64), places))
        order = np.argsort(keys, kind="stable")
        keys, times, places = keys[order], times[order], places[order]
        rows = rows[stretch.has_timestamps[rows]]
        if not len(keys) or not len(rows):
            self._keys, self._key_times = keys, times
            return
        stream = stretch.stream[rows] ^ 1
        echo = (stream.astype(np.uint64) << np.uint64(32)) | stretch.batch.tsecr[rows].astype(np.uint64)
        newest = echo[_last(stream)]
        echo, first = _first_of_each(echo)
        rows, stream = rows[first], stream[first]
        index = np.minimum(np.searchsorted(keys, echo), len(keys) - 1)
        found = (keys[index] == echo) & (places[index] < rows)
        value = stretch.time_ns[rows] - times[index]
        good = found & (value >= 0)
        self.by_timestamp.take(stream[good], value[good])
        self._keys, self._key_times = self._left_over(keys, times, index[found], newest)

    def _new_tsvals(self, stretch: Stretch, sent: Sent) -> tuple[NDArray[np.uint64], Int64s, Int64s]:
        """TSvals of segments with data that are above all before them in their stream: (key, time, row)."""
        rows = sent.rows[stretch.has_timestamps[sent.rows]]
        stream = stretch.stream[rows]
        tsval = stretch.batch.tsval[rows].astype(np.int64)
        key = (stream.astype(np.uint64) << np.uint64(32)) | tsval.astype(np.uint64)
        key, first = _first_of_each(key)
        rows, stream, tsval = rows[first], stream[first], tsval[first]
        newest = self._newest[stream]
        ahead = (tsval - newest).astype(np.uint32).view(np.int32) > 0
        new = (newest < 0) | ahead
        rows, stream, tsval, key = rows[new], stream[new], tsval[new], key[new]
        order = np.argsort(rows)
        # Of several the last row's; TSvals of one stream do not fall, but for segments that overtook each other.
        self._newest[stream[order]] = tsval[order]
        return key, stretch.time_ns[rows], rows

    @staticmethod
    def _left_over(
        keys: NDArray[np.uint64], times: Int64s, used: Int64s, newest: NDArray[np.uint64]
    ) -> tuple[NDArray[np.uint64], Int64s]:
        """Without those that were echoed and those not above the ``newest`` echo of their stream, which will not be."""
        kept = np.ones(len(keys), bool)
        kept[used] = False
        streams = newest >> np.uint64(32)
        mine = np.minimum(np.searchsorted(streams, keys >> np.uint64(32)), len(streams) - 1)
        same = streams[mine] == keys >> np.uint64(32)
        behind = (keys.astype(np.uint32) - newest[mine].astype(np.uint32)).view(np.int32) <= 0
        kept &= ~(same & behind)
        return keys[kept], times[kept]


def _first_of_each(keys: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], Int64s]:
    """(the different keys in order, index of the first of each); quick when equal keys stand together."""
    if not len(keys):
        return keys, np.empty(0, np.int64)
    changes = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
    found, first = np.unique(keys[changes], return_index=True)
    return found, changes[first]


def _last(stream: Int64s) -> Int64s:
    """Where each run of a stream ends."""
    return np.flatnonzero(np.append(stream[1:] != stream[:-1], True))
