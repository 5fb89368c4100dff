"""The packets of chosen connections, read once from ``packets.parquet``, reduced to what the figures show."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from analysis.report.capture_directory import AnalysisDirectory
from analysis.report.capture_outline import KINDS, Outline
from analysis.report.capture_sequence import Packet

MOST_IN_CLOSE_UP = 420
CLOSE_UP_STEPS = 60
"""A close-up is this part of the transfer, or less where that is more packets than can be told apart."""

Key = tuple[int, int]
"""Number of the connection and direction."""


@dataclass(slots=True)
class Trace:
    """One direction of one connection."""

    outline: Outline
    scope: tuple[int, int] | None = None
    """Times of the close-up."""
    packets: tuple[Packet, ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be drawn of one direction."""

    first_ns: int
    last_ns: int
    base: int | None
    """Position of the first octet of data; None: the lowest seen at the beginning."""


def traces(directory: AnalysisDirectory, wanted: Mapping[Key, Wanted]) -> dict[Key, Trace]:
    """Of the chosen directions, in one reading of the packets."""
    found = {key: _Taking(key, what) for key, what in wanted.items()}
    for batch in directory.batches("packets", _NAMES):
        columns = _Columns(batch)
        for taking in found.values():
            taking.take(columns)
    return {key: taking.finish(directory) for key, taking in found.items()}


_NAMES = ("connection", "subflow", "direction", "time_ns", "payload", "position", "acknowledged", "repeat")


class _Columns:
    """Columns of a piece of the table as numpy arrays."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        self.connection = _int64(batch, "connection")
        self.subflow = _int64(batch, "subflow")
        self.direction = _int64(batch, "direction")
        self.time_ns = _int64(batch, "time_ns")
        self.payload = _int64(batch, "payload")
        self.position, self.has_position = _uint64(batch, "position")
        self.acknowledged, self.has_acknowledged = _uint64(batch, "acknowledged")
        self.repeat = repeats_of(batch.column("repeat"))


def repeats_of(column: pa.Array) -> np.ndarray[Any, np.dtype[np.int8]]:
    """0: none, 1: retransmission, 2: reinjection; whether the table has words or numbers."""
    if pa.types.is_integer(column.type):
        return np.asarray(pc.fill_null(column, 0).to_numpy(zero_copy_only=False), dtype=np.int8)
    texts = pc.cast(column, pa.string())
    found = np.zeros(len(column), np.int8)
    for number, kind in enumerate(KINDS, start=1):
        found[pc.fill_null(pc.equal(texts, kind), False).to_numpy(zero_copy_only=False)] = number
    return found


def _int64(batch: pa.RecordBatch, name: str) -> np.ndarray[Any, np.dtype[np.int64]]:
    column: np.ndarray[Any, np.dtype[np.int64]]
    column = pc.fill_null(pc.cast(batch.column(name), pa.int64()), -1).to_numpy(zero_copy_only=False)
    return column


def _uint64(batch: pa.RecordBatch, name: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    column = batch.column(name)
    there = pc.is_valid(column).to_numpy(zero_copy_only=False)
    return pc.fill_null(pc.cast(column, pa.uint64()), 0).to_numpy(zero_copy_only=False), there


class _Taking:
    """One direction while it is read."""

    def __init__(self, key: Key, wanted: Wanted) -> None:
        self._connection, self._direction = key
        self._base = wanted.base
        self._outline = Outline(wanted.first_ns, wanted.last_ns)
        self._history: list[int] = []

    def take(self, columns: _Columns) -> None:
        """The next piece."""
        mine = columns.connection == self._connection
        sent = mine & (columns.direction == self._direction) & columns.has_position & (columns.payload > 0)
        if self._base is None and sent.any():
            self._base = int(columns.position[sent].min())
        if self._base is None:
            return
        start = _relative(columns.position, self._base)
        outline = self._outline
        for subflow in np.unique(columns.subflow[sent]).tolist():
            of_it = sent & (columns.subflow == subflow)
            first = of_it & (columns.repeat == 0)
            outline.take(subflow, columns.time_ns[first], start[first], start[first] + columns.payload[first])
            for number, kind in enumerate(KINDS, start=1):
                again = of_it & (columns.repeat == number)
                outline.repeated(kind, subflow, columns.time_ns[again], start[again])
                self._history += columns.time_ns[again].tolist()
        back = mine & (columns.direction == 1 - self._direction) & columns.has_acknowledged
        outline.acks(columns.time_ns[back], _relative(columns.acknowledged[back], self._base))

    def finish(self, directory: AnalysisDirectory) -> Trace:
        """With its close-up."""
        trace = Trace(self._outline, _scope(self._outline, self._history))
        if trace.scope is not None:
            key = self._connection, self._direction
            trace.scope, trace.packets = _close_up(directory, key, trace.scope, self._base or 0)
        return trace


def _relative(position: np.ndarray[Any, Any], base: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Modulo 2^64, so that a wrap within the connection goes on."""
    return (position - np.uint64(base & 0xFFFF_FFFF_FFFF_FFFF)).astype(np.int64)


def _scope(outline: Outline, repeats: Sequence[int]) -> tuple[int, int] | None:
    """The stretch of the transfer in which most was sent again; its middle when nothing was."""
    if not outline.lanes:
        return None
    length = max(1, outline.span_ns // CLOSE_UP_STEPS)
    middle = outline.first_ns + outline.span_ns // 2
    if repeats:
        times = np.sort(np.asarray(repeats, dtype=np.int64))
        within = np.searchsorted(times, times + length) - np.arange(times.size)
        best = int(np.argmax(within))
        middle = int(times[best : best + int(within[best])].mean())
    return middle - length // 2, middle + length // 2


def _close_up(
    directory: AnalysisDirectory, key: Key, scope: tuple[int, int], base: int
) -> tuple[tuple[int, int], tuple[Packet, ...]]:
    """The packets around the middle of the scope; fewer, and a shorter scope, where they are too many."""
    columns = ("connection", "direction", "subflow", "time_ns", "position", "payload", "repeat")
    rows = []
    for batch in directory.batches("packets", columns, ("time_ns", *scope)):
        where = (
            pc.equal(batch.column("connection"), key[0]),
            pc.equal(batch.column("direction"), key[1]),
            pc.greater_equal(batch.column("time_ns"), scope[0]),
            pc.less_equal(batch.column("time_ns"), scope[1]),
            pc.greater(batch.column("payload"), 0),
            pc.is_valid(batch.column("position")),
        )
        found = batch.filter(functools.reduce(pc.and_, where))
        if len(found):
            repeats = repeats_of(found.column("repeat")).tolist()
            rows += [{**row, "repeat": number} for row, number in zip(found.to_pylist(), repeats, strict=True)]
    middle = sum(scope) // 2
    if len(rows) > MOST_IN_CLOSE_UP:
        reach = sorted(abs(row["time_ns"] - middle) for row in rows)[MOST_IN_CLOSE_UP]
        scope = middle - reach, middle + reach
        rows = [row for row in rows if abs(row["time_ns"] - middle) <= reach]
    words = ("", *KINDS)
    packets = []
    for row in rows:
        start = (row["position"] - base) & 0xFFFF_FFFF_FFFF_FFFF
        start -= (start >> 63) << 64
        packets.append(Packet(row["subflow"], row["time_ns"], start, start + row["payload"], words[row["repeat"]]))
    return scope, tuple(packets)
