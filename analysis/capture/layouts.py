"""Where the options are in each packet: few layouts cover millions of packets.

A *layout* is an option area without its values: kinds, lengths, MPTCP subtypes and DSS flags, in their order. For each
layout a template is kept (mask and value over the 40 octets as five words); most packets are told by comparing them
with a few templates. What matches none is walked, option by option, all packets in lock-step
(:mod:`analysis.capture.option_walk`), and gives new layouts; a capture with more layouts than are kept is walked
throughout, with the same result.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from analysis.capture.batch import Layout
from analysis.capture.option_walk import AREA, MOST_OPTIONS, Walked, in_words, walk

LIMIT: Final = 1 << 12
"""Layouts with a number of their own. Those beyond share one number for each size of the area, its padding, and whether
timestamps are there, the one item that such a layout tells; everything else is in the columns as ever."""
_TEMPLATES: Final = 24
"""Compared with the packets of one group before they are walked; the least used give way."""
_SAMPLES: Final = (32, 512)
"""How many unmatched packets are walked to find the layouts that the others may have."""
_WALKED_AT_ONCE: Final = 1 << 13
"""Each takes a kilobyte or two while it is walked."""
_GROUPS: Final = (AREA // 4 + 1) * (AREA + 1)

Words = NDArray[np.uint64]


@dataclass(slots=True)
class Options:
    """Where the options are, for each packet; -1: there is none. Places count from the start of the option area."""

    layout: NDArray[np.uint16]
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
    """Of each rare option, in the order of packets and of the wire."""
    rare_at: NDArray[np.int8]


COLUMNS: Final = (
    ("status", np.uint8),
    ("timestamps_at", np.int8),
    ("sack_at", np.int8),
    ("sack_count", np.uint8),
    ("dss_bits", np.uint8),
    ("data_ack_at", np.int8),
    ("data_ack_octets", np.uint8),
    ("dsn_at", np.int8),
    ("dsn_octets", np.uint8),
    ("rare_count", np.uint8),
)


class _Columns:
    """The words of the areas side by side instead of one behind the other, those that are asked for."""

    def __init__(self, words: Words) -> None:
        self._words = words
        self._columns: list[Words | None] = [None] * 5

    def of(self, index: int) -> Words:
        """One word of each area."""
        column = self._columns[index]
        if column is None:
            column = self._columns[index] = self._words[:, index].copy()
        return column


@dataclass(slots=True)
class _Beyond:
    """What was found in areas whose layouts have no number of their own."""

    rows: NDArray[np.int64]
    columns: dict[str, NDArray[Any]]
    rare: NDArray[np.int8]
    """(rows, MOST_OPTIONS): places of the rare options."""

    @classmethod
    def of(cls, walked: Walked, rows: NDArray[np.int64], over: NDArray[np.intp]) -> _Beyond:
        """``rows`` were walked, and of them ``over`` are meant."""
        start = np.cumsum(walked.rare_count, dtype=np.int64) - walked.rare_count
        rare = np.full((len(rows), MOST_OPTIONS), -1, dtype=np.int8)
        rare[walked.rare_row, np.arange(len(walked.rare_row)) - start[walked.rare_row]] = walked.rare_at
        return cls(rows[over], {name: getattr(walked, name)[over] for name, _ in COLUMNS}, rare[over])


@dataclass(slots=True)
class _Template:
    number: int
    words: list[tuple[int, np.uint64, np.uint64]]
    """(which, mask, value) of the words that matter."""
    hits: int = 0


class Layouts:
    """The layouts of a capture, numbered in the order of their first packets."""

    def __init__(self, limit: int = LIMIT, templates: int = _TEMPLATES) -> None:
        self.layouts: list[Layout] = []
        self._limit = limit
        self._most_templates = templates
        self._numbers: dict[bytes, int] = {}
        self._overflow: dict[tuple[int, int, bool], int] = {}
        self._templates: dict[int, list[_Template]] = {}
        self._tables = {name: np.zeros(64, dtype=kind) for name, kind in COLUMNS}
        self._rare = np.zeros((64, MOST_OPTIONS), dtype=np.int8)

    def find(self, words: Words, octets: NDArray[np.uint8], known: NDArray[np.uint8]) -> Options:
        """The options of packets whose areas are ``words``, of ``octets``, of which the first ``known`` were captured.

        What lies behind those is never looked at, whatever it is.
        """
        number = np.full(len(words), -1, dtype=np.intp)
        group = (octets >> 2).astype(np.uint16) * np.uint16(AREA + 1) + known
        columns = _Columns(words)
        present = np.flatnonzero(np.bincount(group, minlength=_GROUPS))
        for one in present:
            rows = None if len(present) == 1 else (group == one).nonzero()[0]
            self._match(int(one), columns, rows, number)
        beyond: list[_Beyond] = []
        for size in itertools.chain(_SAMPLES, itertools.repeat(_WALKED_AT_ONCE)):
            unmatched = (number < 0).nonzero()[0]
            if not len(unmatched):
                break
            rows = unmatched[:size]
            walked = walk(words[rows], octets[rows], known[rows])
            number[rows] = self._number(walked, group[rows])
            over = (number[rows] >= self._limit).nonzero()[0]
            if len(over):
                beyond.append(_Beyond.of(walked, rows, over))
            rest = unmatched[size:]
            for one in np.unique(group[rows]):
                self._match(int(one), columns, rest[group[rest] == one], number)
        return self._placed(number, beyond)

    def _match(self, group: int, columns: _Columns, rows: NDArray[np.int64] | None, number: NDArray[np.intp]) -> None:
        """Tell the packets of one group (``rows``; None: all) by its templates."""
        templates = self._templates.get(group, [])
        for template in templates:
            if rows is not None and not len(rows):
                break
            same = None
            for index, mask, value in template.words:
                column = columns.of(index) if rows is None else columns.of(index).take(rows)
                hit = (column & mask) == value
                same = hit if same is None else same & hit
            if same is None or same.all():
                number[slice(None) if rows is None else rows] = template.number
                template.hits += len(number) if rows is None else len(rows)
                break
            found = same.nonzero()[0]
            if len(found):
                number[found if rows is None else rows[found]] = template.number
                template.hits += len(found)
                rest = (~same).nonzero()[0]
                rows = rest if rows is None else rows[rest]
        templates.sort(key=lambda template: -template.hits)
        for template in templates:
            template.hits //= 2

    def _number(self, walked: Walked, group: NDArray[np.uint16]) -> NDArray[np.intp]:
        """The layout of each walked packet; new ones are added."""
        keys = np.zeros((len(group), AREA + 2), dtype=np.uint8)
        keys[:, :AREA] = walked.image
        keys[:, AREA:] = group.view(np.uint8).reshape(-1, 2)
        raw = keys.view(np.dtype((np.void, AREA + 2)))[:, 0]
        different, first, inverse, packets = np.unique(raw, return_index=True, return_inverse=True, return_counts=True)
        numbers = np.empty(len(different), dtype=np.intp)
        for which in np.argsort(first, kind="stable"):
            row = int(first[which])
            key = different[which].tobytes()
            number = self._numbers.get(key)
            if number is None:
                number = (
                    self._overflow_number(walked, row)
                    if len(self._numbers) >= self._limit
                    else self._add(key, walked, row)
                )
            numbers[which] = number
        for which in np.argsort(-packets, kind="stable")[: self._most_templates]:
            if numbers[which] < self._limit:
                row = int(first[which])
                self._use_template(int(group[row]), int(numbers[which]), walked, row)
        return numbers[inverse.reshape(-1)]

    def _add(self, key: bytes, walked: Walked, row: int) -> int:
        number = len(self.layouts)
        # numbers behind the limit are for what has none of its own; the list has them in the order of their arrival
        self._numbers[key] = number
        self.layouts.append(walked.layout(row))
        while number >= len(self._rare):
            self._tables = {name: np.concatenate((kept, np.zeros_like(kept))) for name, kept in self._tables.items()}
            self._rare = np.concatenate((self._rare, np.zeros_like(self._rare)))
        for name, table in self._tables.items():
            table[number] = getattr(walked, name)[row]
        places = walked.rare_places(row)
        self._rare[number, : len(places)] = places
        return number

    def _overflow_number(self, walked: Walked, row: int) -> int:
        octets, padding, timestamps = (
            int(walked.octets[row]),
            int(walked.padding[row]),
            bool(walked.timestamps_at[row] >= 0),
        )
        number = self._overflow.get((octets, padding, timestamps))
        if number is None:
            number = self._overflow[octets, padding, timestamps] = len(self.layouts)
            items = (("timestamps", 10),) if timestamps else ()
            words = "timestamps:10 and others" if timestamps else "others"
            self.layouts.append(Layout(items, octets, padding, f"{words} in {octets} ({padding} padding)"))
        return number

    def _use_template(self, group: int, number: int, walked: Walked, row: int) -> None:
        templates = self._templates.setdefault(group, [])
        if any(template.number == number for template in templates):
            return
        mask, value = in_words(walked.mask[row]), in_words(walked.image[row])
        words = [(index, mask[index], value[index]) for index in range(5) if mask[index]]
        if len(templates) >= self._most_templates:
            # they are in the order of their use
            del templates[self._most_templates // 2 :]
        templates.append(_Template(number, words))

    def _placed(self, number: NDArray[np.intp], beyond: list[_Beyond]) -> Options:
        columns: dict[str, Any] = {name: table.take(number, mode="clip") for name, table in self._tables.items()}
        for part in beyond:
            for name, column in columns.items():
                column[part.rows] = part.columns[name]
        counts = columns["rare_count"]
        with_rare = counts.nonzero()[0]
        count = counts[with_rare].astype(np.int64)
        rare_row = np.repeat(with_rare, count)
        index = np.arange(len(rare_row)) - np.repeat(np.cumsum(count) - count, count)
        rare_at = self._rare[np.minimum(number[rare_row], len(self._rare) - 1), index]
        if beyond:
            places = np.full((len(number), MOST_OPTIONS), -1, dtype=np.int8)
            for part in beyond:
                places[part.rows] = part.rare
            own = number[rare_row] >= self._limit
            rare_at[own] = places[rare_row[own], index[own]]
        return Options(number.astype(np.uint16), rare_row=rare_row, rare_at=rare_at, **columns)
