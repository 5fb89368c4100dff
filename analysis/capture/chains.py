"""Where the records of a buffer begin, without a step of Python for each of them.

A record tells only how long it is, so each has to be read to find the next. Instead of one chain of steps, many are
begun at places that look like the beginning of a record, and are advanced together, a numpy operation for all of them.
What they found counts only if it hangs together: the first chain begins where a record is known to begin, and each of
the others is believed when one that is believed ends exactly where it begins. Where that fails (the content of a packet
looked like a record) the plain loop goes on from the last place that is certain until it meets a chain. So the result
is that of the plain loop, whatever is in the buffer.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Places = NDArray[np.int64]

FindPlaces = Callable[[Bytes, Places, int, int], tuple[NDArray[np.intp], Places]]
"""Of a buffer, from places on (evenly spaced), within so many octets, up to the end of the
data: what looks like the beginning of a record, as indices of the places and positions. Any may be wrong."""

FEW_RECORDS: Final = 2048
"""Below this the plain loop is as fast."""
_RECORDS_IN_CHAIN: Final = 48
_MOST_CHAINS: Final = 2048
_STEPS_AT_ONCE: Final = 16
_SAMPLE: Final = 64


class RecordWalk:
    """How long a record is, for one format and byte order."""

    def __init__(
        self, order: str, *, header: int, field: int, added: int, multiple: int, shortest: int, longest: int
    ) -> None:
        """A record has ``header`` octets at least; the number at ``field``, and ``added``, rounded up to a multiple,
        is its length; less than ``shortest`` or more than ``longest`` is not believed.
        """
        self._length = struct.Struct(order + "I").unpack_from
        self._dtype = np.dtype(order + "u4")
        self._header = header
        self._field = field
        self._added = added + multiple - 1
        self._mask = -multiple
        self._shortest = shortest
        self._longest = longest
        self._mean = 0.0

    def length(self, buffer: Bytes, start: int) -> int:
        """Of the record that begins there, rounded; 0 when it is not believed."""
        length: int = (self._length(buffer.data, start + self._field)[0] + self._added) & self._mask
        return length if self._shortest <= length <= self._longest else 0

    def starts(self, buffer: Bytes, start: int, end: int, find: FindPlaces | None = None) -> Places:
        """Of all records that lie whole in a stretch and follow each other from its beginning, up to what is not
        believed. The buffer goes on for at least a header behind the end.
        """
        if find is None:
            return self._whole(np.array(self._plain(buffer, start, end)[0], np.int64), buffer, end)
        if not self._mean:
            sample, at = self._plain(buffer, start, end, _SAMPLE)
            if len(sample) < _SAMPLE:
                return self._whole(np.array(sample, np.int64), buffer, end)
            self._mean = (at - start) / len(sample)
        expected = (end - start) / self._mean
        if expected < FEW_RECORDS:
            found = np.array(self._plain(buffer, start, end)[0], np.int64)
        else:
            found = self._lock_step(buffer, start, end, self._seeds(buffer, start, end, int(expected), find))
        found = self._whole(found, buffer, end)
        if len(found) > 1:
            self._mean = float(found[-1] - found[0]) / (len(found) - 1)
        return found

    def _plain(self, buffer: Bytes, start: int, end: int, most: int | None = None) -> tuple[list[int], int]:
        """Record after record; where the next would begin."""
        found: list[int] = []
        data, length_of = buffer.data, self._length
        field, added, mask, shortest, longest = self._field, self._added, self._mask, self._shortest, self._longest
        last = end - self._header
        while start <= last and len(found) != most:
            length = (length_of(data, start + field)[0] + added) & mask
            if not shortest <= length <= longest:
                break
            found.append(start)
            start += length
        return found, start

    def _whole(self, found: Places, buffer: Bytes, end: int) -> Places:
        """Without the last one when it is not whole or not believed."""
        if len(found):
            length = self.length(buffer, int(found[-1]))
            if not length or found[-1] + length > end:
                return found[:-1]
        return found

    def _seeds(self, buffer: Bytes, start: int, end: int, expected: int, find: FindPlaces) -> Places:
        chains = min(expected // _RECORDS_IN_CHAIN, _MOST_CHAINS)
        if chains < 3:
            return np.array([start], np.int64)
        spacing = (end - start) // chains & ~3  # what is aligned stays aligned
        width = min(int(self._mean * 4) + 64, spacing)
        places = start + np.arange(1, chains - 1, dtype=np.int64) * spacing
        index, found = find(buffer, places, width, end)
        if not len(found):
            return np.array([start], np.int64)
        first = np.empty(len(index), bool)
        first[0] = True
        np.not_equal(index[1:], index[:-1], out=first[1:])
        return np.concatenate((np.array([start], np.int64), found[first]))

    def _lock_step(self, buffer: Bytes, start: int, end: int, seeds: Places) -> Places:
        """All chains from their seed until they reach the next seed, or the end."""
        behind = end - self._header + 1
        lengths = np.ndarray(len(buffer) - self._field - 3, self._dtype, buffer, self._field, (1,))
        stops = np.append(seeds[1:], behind)
        exits = np.empty_like(seeds)
        stages: list[_Stage] = []
        total = np.zeros(len(seeds), np.int64)
        chain = np.arange(len(seeds))
        at, stop = seeds, stops
        steps_left = 4 * _RECORDS_IN_CHAIN + 2 * int((end - start) / self._mean / len(seeds))
        while len(at):
            rows = np.empty((_STEPS_AT_ONCE + 1, len(at)), np.int64)
            rows[0] = at
            for step in range(_STEPS_AT_ONCE):
                following = rows[step + 1]
                np.add(lengths[rows[step]], self._added, out=following, dtype=np.int64)
                if self._mask != -1:
                    following &= self._mask
                following += rows[step]
                np.minimum(following, end, out=following)
            inside = rows[:-1] < stop
            count = inside.sum(axis=0)
            exits[chain] = rows[count, np.arange(len(at))]
            stages.append(_Stage(rows[:-1], inside, chain, total[chain]))
            total[chain] += count
            steps_left -= _STEPS_AT_ONCE
            if steps_left < 0:
                break
            alive = np.flatnonzero(count == _STEPS_AT_ONCE)
            at, stop, chain = rows[-1, alive], stop[alive], chain[alive]
        linked = exits[:-1] == seeds[1:]
        if linked.all() and not self._goes_on(buffer, int(exits[-1]), end):
            found = _in_order(stages, total)
        else:
            found = self._repaired(buffer, end, seeds, exits, stages)
        lengths_found = np.diff(found)
        bad = (lengths_found < self._shortest) | (lengths_found > self._longest)
        return found[: int(bad.argmax())] if bad.any() else found

    def _goes_on(self, buffer: Bytes, at: int, end: int) -> bool:
        return at + self._header <= end and self.length(buffer, at) != 0

    def _repaired(self, buffer: Bytes, end: int, seeds: Places, exits: Places, stages: list[_Stage]) -> Places:
        """The records of those chains that hang together, and of the plain loop between them."""
        believed = np.zeros(len(seeds), bool)
        between: list[int] = []
        begins = {seed: number for number, seed in enumerate(seeds.tolist())}
        ends = exits.tolist()
        at = int(seeds[0])
        while at + self._header <= end:
            number = begins.pop(at, None)
            if number is not None:
                believed[number] = True
                at = ends[number]
                continue
            length = self.length(buffer, at)
            if not length:
                break
            between.append(at)
            at += length
        pieces = [stage.rows[stage.inside & believed[stage.chain]] for stage in stages]
        found = np.concatenate([*pieces, np.array(between, np.int64)])
        found.sort()
        return found


class _Stage(NamedTuple):
    """Some steps of those chains that had not ended before."""

    rows: Places
    """A row for each step: the position of each chain."""
    inside: NDArray[np.bool_]
    """Whether it had not ended there."""
    chain: NDArray[np.intp]
    before: Places
    """Records that the chain had found in stages before."""


def _in_order(stages: list[_Stage], total: Places) -> Places:
    """What the chains found, chain after chain."""
    first = np.cumsum(total) - total
    found = np.empty(int(total.sum()), np.int64)
    for stage in stages:
        target = (first[stage.chain] + stage.before) + np.arange(len(stage.rows))[:, np.newaxis]
        found[target[stage.inside]] = stage.rows[stage.inside]
    return found
