"""The packets of chosen connections, read once from ``packets.parquet``, reduced to what the figures show."""

from __future__ import annotations

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


def traces(
    directory: AnalysisDirectory, spans: Mapping[Key, tuple[int, int]], bases: Mapping[Key, int]
) -> dict[Key, Trace]:
    """Of the chosen directions, told with their first and last time; ``bases``: their first DSN (TCP: 0 or ISN + 1)."""
    found = {key: Trace(Outline(*span)) for key, span in spans.items()}
    histories: dict[Key, list[int]] = {key: [] for key in spans}
    numbers = pa.array(sorted({connection for connection, _ in spans}), pa.int64())
    where = pc.field("connection").isin(numbers)
    names = ["connection", "subflow", "direction", "time_ns", "position", "octets", "acknowledged", "repeat"]
    for batch in directory.batches("packets", names, where):
        columns = _Columns(batch)
        for key, trace in found.items():
            _take(trace, columns, key, bases, histories[key])
    for key, trace in found.items():
        trace.scope = _scope(trace.outline, histories[key])
        if trace.scope is not None:
            trace.scope, trace.packets = _close_up(directory, key, trace.scope, bases.get(key, 0))
    return found


class _Columns:
    """Columns of a piece of the table as numpy arrays; null is -1, of positions 0 with a mask."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        self.connection = _int64(batch, "connection")
        self.subflow = _int64(batch, "subflow")
        self.direction = _int64(batch, "direction")
        self.time_ns = _int64(batch, "time_ns")
        self.octets = _int64(batch, "octets")
        self.position, self.has_position = _uint64(batch, "position")
        self.acknowledged, self.has_acknowledged = _uint64(batch, "acknowledged")
        self.repeat = np.zeros(len(batch), np.int8)
        texts = pc.cast(batch.column("repeat"), pa.string())
        for number, kind in enumerate(KINDS, start=1):
            same = pc.fill_null(pc.equal(texts, kind), False)
            self.repeat[same.to_numpy(zero_copy_only=False)] = number


def _int64(batch: pa.RecordBatch, name: str) -> np.ndarray[Any, np.dtype[np.int64]]:
    column: np.ndarray[Any, np.dtype[np.int64]]
    column = pc.fill_null(pc.cast(batch.column(name), pa.int64()), -1).to_numpy(zero_copy_only=False)
    return column


def _uint64(batch: pa.RecordBatch, name: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    column = batch.column(name)
    there = pc.is_valid(column).to_numpy(zero_copy_only=False)
    return pc.fill_null(pc.cast(column, pa.uint64()), 0).to_numpy(zero_copy_only=False), there


def _take(trace: Trace, columns: _Columns, key: Key, bases: Mapping[Key, int], history: list[int]) -> None:
    connection, direction = key
    mine = columns.connection == connection
    outline = trace.outline
    sent = mine & (columns.direction == direction) & columns.has_position & (columns.octets > 0)
    start = _relative(columns.position, bases.get(key, 0))
    for subflow in np.unique(columns.subflow[sent]).tolist():
        of_it = sent & (columns.subflow == subflow)
        first = of_it & (columns.repeat == 0)
        outline.take(subflow, columns.time_ns[first], start[first], start[first] + columns.octets[first])
        for number, kind in enumerate(KINDS, start=1):
            again = of_it & (columns.repeat == number)
            outline.repeated(kind, subflow, columns.time_ns[again], start[again])
            history += columns.time_ns[again].tolist()
    back = mine & (columns.direction == 1 - direction) & columns.has_acknowledged
    outline.acks(columns.time_ns[back], _relative(columns.acknowledged[back], bases.get(key, 0)))


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
    names = ["subflow", "time_ns", "position", "octets", "repeat"]
    where = (
        (pc.field("connection") == key[0])
        & (pc.field("direction") == key[1])
        & (pc.field("time_ns") >= scope[0])
        & (pc.field("time_ns") <= scope[1])
        & (pc.field("octets") > 0)
        & pc.field("position").is_valid()
    )
    rows = [row for batch in directory.batches("packets", names, where) for row in batch.to_pylist()]
    middle = sum(scope) // 2
    if len(rows) > MOST_IN_CLOSE_UP:
        reach = sorted(abs(row["time_ns"] - middle) for row in rows)[MOST_IN_CLOSE_UP]
        scope = middle - reach, middle + reach
        rows = [row for row in rows if abs(row["time_ns"] - middle) <= reach]
    packets = []
    for row in rows:
        start = (row["position"] - base) & 0xFFFF_FFFF_FFFF_FFFF
        start -= (start >> 63) << 64
        repeat = row["repeat"] or ""
        packets.append(Packet(row["subflow"], row["time_ns"], start, start + row["octets"], repeat))
    return scope, tuple(packets)
