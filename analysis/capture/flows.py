"""Which flow a packet belongs to, exactly: a 64-bit hash finds a candidate, and every packet is compared with it.

Flows are numbered in the order of their first packets in the file, whatever the chunks it is read in.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Final, overload

import numpy as np
from numpy.typing import NDArray

from analysis.capture.batch import Flow

Words = NDArray[np.uint64]

_WORDS: Final = 5
"""Of a key: version and ports, then the addresses of either end; IPv4 uses the first two."""
_PREFIXES: Final = (64, 4096)
"""How many packets of unknown flows are looked at one by one before the others are compared with what they gave."""


class Flows(Sequence[Flow]):
    """All flows seen so far, 44 octets each: a :class:`Flow` is made when one is asked for."""

    def __init__(self) -> None:
        self._count = 0
        self._words = [np.zeros(64, dtype=np.uint64) for _ in range(_WORDS)]
        self._slots = np.full(256, -1, dtype=np.int32)
        # drawn, so that nobody can make a capture whose flows all fall into one slot; numbers do not depend on it
        self._factors = np.array([secrets.randbits(64) | 1 for _ in range(_WORDS)], dtype=np.uint64)

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Flow: ...

    @overload
    def __getitem__(self, index: slice) -> list[Flow]: ...

    def __getitem__(self, index: int | slice) -> Flow | list[Flow]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(self._count))]
        place = index + self._count if index < 0 else index
        if not 0 <= place < self._count:
            raise IndexError(f"flow {index} of {self._count}")
        first = int(self._words[0][place])
        version = first >> 32
        ends = b"".join(word[place].tobytes() for word in self._words[1 : 2 if version == 4 else 5])
        ports = np.uint32(first & 0xFFFFFFFF).tobytes()
        half = len(ends) // 2
        return Flow(
            version, ends[:half], ends[half:], int.from_bytes(ports[:2], "big"), int.from_bytes(ports[2:], "big")
        )

    def numbers(
        self, ports: NDArray[np.uint32], ends: list[tuple[int, NDArray[np.int64] | None, Words]]
    ) -> NDArray[np.int32]:
        """The flow of each packet; new flows are added.

        ``ports``: both, as they are in memory. ``ends``: (version, its rows or None for all, addresses as
        (packets, 1 or 4) words) for each version that is there.
        """
        keys = [
            (rows, self._key(version, ports if rows is None else ports[rows], words)) for version, rows, words in ends
        ]
        if len(keys) == 1 and keys[0][0] is None:
            found = self._find(keys[0][1])
        else:
            found = np.full(len(ports), -1, dtype=np.int32)
            for rows, key in keys:
                found[rows] = self._find(key)
        if len(found) and found.min() < 0:
            self._add_missing(found, keys)
        return found

    @staticmethod
    def _key(version: int, ports: NDArray[np.uint32], words: Words) -> list[Words]:
        first = ports | np.uint64(version << 32)
        return [first, *(words[:, index] for index in range(words.shape[1]))]

    def _add_missing(self, found: NDArray[np.int32], keys: list[tuple[NDArray[np.int64] | None, list[Words]]]) -> None:
        """Give numbers to the packets that have none, in the order of packets."""
        missing = np.flatnonzero(found < 0)
        whole = np.zeros((len(missing), _WORDS), dtype=np.uint64)
        for rows, key in keys:
            here = missing if rows is None else np.flatnonzero(np.isin(missing, rows, assume_unique=True))
            source = missing if rows is None else np.searchsorted(rows, missing[here])
            for index, word in enumerate(key):
                whole[slice(None) if rows is None else here, index] = word[source]
        at = 0
        for size in (*_PREFIXES, len(missing)):
            if at >= len(missing):
                break
            block = whole[at : at + size]
            new = dict.fromkeys(map(bytes, block.view(np.dtype((np.void, 8 * _WORDS)))[:, 0]))
            self._add(np.frombuffer(b"".join(new), dtype=np.uint64).reshape(-1, _WORDS))
            rest = [whole[:, index] for index in range(_WORDS)]
            found[missing] = self._find_any(rest)
            still = np.flatnonzero(found[missing] < 0)
            missing, whole = missing[still], whole[still]

    def _find_any(self, words: list[Words]) -> NDArray[np.int32]:
        """Of keys of both versions."""
        found = np.empty(len(words[0]), dtype=np.int32)
        four = words[0] >> np.uint64(32) == 4
        for rows, count in ((np.flatnonzero(four), 2), (np.flatnonzero(~four), _WORDS)):
            found[rows] = self._find([word[rows] for word in words[:count]])
        return found

    def _hash(self, words: list[Words]) -> Words:
        total: Words = words[0] * self._factors[0]
        for word, factor in zip(words[1:], self._factors[1:], strict=False):
            total ^= total >> np.uint64(32)
            total += word
            total *= factor
        return total

    def _find(self, words: list[Words]) -> NDArray[np.int32]:
        """The numbers of these keys; -1 where there is none."""
        mask = len(self._slots) - 1
        slot = (self._hash(words) >> np.uint64(65 - len(self._slots).bit_length())).astype(np.int64)
        found = self._slots.take(slot)
        same = self._equal(found, words)
        if not same.all():
            pending = np.flatnonzero(~same & (found >= 0))
            slot = slot[pending]
            while len(pending):
                slot = (slot + 1) & mask
                candidate = self._slots.take(slot)
                found[pending] = candidate
                again = ~self._equal(candidate, [word[pending] for word in words]) & (candidate >= 0)
                pending, slot = pending[again], slot[again]
        return found

    def _equal(self, found: NDArray[np.int32], words: list[Words]) -> NDArray[np.bool_]:
        same = found >= 0
        for kept, word in zip(self._words, words, strict=False):
            same &= kept.take(found, mode="clip") == word
        return same

    def _add(self, new: Words) -> None:
        count = self._count + len(new)
        while count > len(self._words[0]):
            self._words = [np.concatenate((word, np.zeros_like(word))) for word in self._words]
        for index, word in enumerate(self._words):
            word[self._count : count] = new[:, index]
        first = self._count
        self._count = count
        if 2 * count > len(self._slots):
            while 2 * count > len(self._slots):
                self._slots = np.full(2 * len(self._slots), -1, dtype=np.int32)
            first = 0
        self._place(np.arange(first, count, dtype=np.int32))

    def _place(self, numbers: NDArray[np.int32]) -> None:
        """Put flows into free slots, each behind its place where that is taken."""
        slot = np.empty(len(numbers), dtype=np.int64)
        four = self._words[0][numbers] >> np.uint64(32) == 4
        for rows, count in ((np.flatnonzero(four), 2), (np.flatnonzero(~four), _WORDS)):
            hashes = self._hash([word[numbers[rows]] for word in self._words[:count]])
            slot[rows] = (hashes >> np.uint64(65 - len(self._slots).bit_length())).astype(np.int64)
        while len(numbers):
            free = self._slots[slot] < 0
            self._slots[slot[free]] = numbers[free]
            left = self._slots[slot] != numbers
            numbers, slot = numbers[left], (slot[left] + 1) & (len(self._slots) - 1)
