"""The rows of the tables ``mappings`` and ``sack``, batch by batch."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from analysis.capture.intervals import Int64s
from analysis.capture.resolution import Resolution
from analysis.capture.stretch import INFINITE, Stretch
from analysis.capture.writing import nullable

Columns = dict[str, NDArray[Any] | pa.Array]


class DsnWidth:
    """From offsets back to 64-bit DSNs."""

    def __init__(self, resolution: Resolution) -> None:
        connections = resolution.connections
        self._idsn = np.array([value or 0 for item in connections for value in item.idsn_seen], np.uint64)
        self._known = np.array([wide for item in connections for wide in item.dsn_wide], bool)

    def dsn(self, flux: Int64s, offset: Int64s, there: NDArray[np.bool_]) -> pa.Array:
        """uint64; null where it is not there or its upper half is not known."""
        if not len(self._idsn):
            return nullable(np.zeros(len(flux), np.uint64), np.zeros(len(flux), bool))
        return nullable(self._idsn[flux] + offset.view(np.uint64), there & self._known[flux])


def places(stretch: Stretch, rows: Int64s) -> Columns:
    """The columns that all these tables begin with."""
    time = stretch.time_ns[rows]
    return {
        "connection": stretch.flux[rows] >> 1,
        "subflow": stretch.stream[rows] >> 1,
        "direction": stretch.stream[rows] & 1,
        "frame": stretch.batch.frame[rows],
        "time_ns": nullable(time, time >= 0),
    }


_RUN: Final = ("map_dsn", "map_ssn", "map_length", "data_fin")


class MappingRuns:
    """Runs of segments with the same mapping. The last of each stream stays open until another one follows."""

    def __init__(self, width: DsnWidth) -> None:
        self._width = width
        self._open: dict[str, Int64s] = {}

    def take(self, stretch: Stretch) -> Columns:
        """The runs that ended."""
        rows = np.flatnonzero(stretch.has_map | stretch.has_dsn)
        columns = {
            "stream": stretch.stream[rows],
            "flux": stretch.flux[rows],
            "frame": stretch.batch.frame[rows],
            "time": stretch.time_ns[rows],
            "map_dsn": stretch.map_dsn[rows],
            "map_ssn": stretch.map_ssn[rows],
            "map_length": stretch.map_length[rows],
            "data_fin": stretch.data_fin[rows].astype(np.int64),
            "octets": np.where(stretch.has_dsn[rows], stretch.batch.dsn_octets[rows], 0).astype(np.int64),
            "checksum": stretch.map_checksum[rows],
            "segments": np.ones(len(rows), np.int64),
        }
        if self._open:
            columns = {name: np.concatenate((self._open[name], values)) for name, values in columns.items()}
        order = np.argsort(columns["stream"], kind="stable")
        columns = {name: values[order] for name, values in columns.items()}
        count = len(order)
        new = np.ones(count, bool)
        if count:
            new[1:] = columns["stream"][1:] != columns["stream"][:-1]
            for name in _RUN:
                new[1:] |= columns[name][1:] != columns[name][:-1]
        begin = np.flatnonzero(new)
        segments = np.add.reduceat(columns["segments"], begin) if count else columns["segments"]
        runs = {name: values[begin] for name, values in columns.items()} | {"segments": segments}
        stays = np.append(runs["stream"][1:] != runs["stream"][:-1], True)[: len(begin)]
        self._open = {name: values[stays] for name, values in runs.items()}
        return self._rows({name: values[~stays] for name, values in runs.items()})

    def finish(self) -> Columns | None:
        """The runs that were open."""
        return self._rows(self._open) if self._open else None

    def _rows(self, runs: dict[str, Int64s]) -> Columns:
        order = np.argsort(runs["frame"], kind="stable")
        runs = {name: values[order] for name, values in runs.items()}
        infinite = runs["map_length"] == INFINITE
        return {
            "connection": runs["flux"] >> 1,
            "subflow": runs["stream"] >> 1,
            "direction": runs["stream"] & 1,
            "frame": runs["frame"],
            "time_ns": nullable(runs["time"], runs["time"] >= 0),
            "dsn": self._width.dsn(runs["flux"], runs["map_dsn"], np.ones(len(order), bool)),
            "dsn_octets": runs["octets"],
            "ssn": runs["map_ssn"],
            "length": np.where(infinite, 0, runs["map_length"]),
            "infinite": infinite,
            "data_fin": runs["data_fin"] > 0,
            "checksum": nullable(runs["checksum"], runs["checksum"] >= 0),
            "segments": runs["segments"],
        }


def sack_rows(stretch: Stretch) -> Columns:
    """All SACK blocks of a batch."""
    sack = stretch.batch.sack
    there = stretch.stream[sack.row] >= 0
    rows = sack.row[there]
    left = _near(sack.left[there], stretch, rows)
    right = left + (sack.right[there] - sack.left[there]).view(np.int32)
    index = sack.index[there].astype(np.int64)
    ack = stretch.ack[rows]
    within = np.zeros(len(rows), bool)
    within[:-1] = (index[:-1] == 0) & (rows[1:] == rows[:-1]) & (left[:-1] >= left[1:]) & (right[:-1] <= right[1:])
    return places(stretch, rows) | {
        "index": index,
        "ack": ack,
        "left": left,
        "right": right,
        "duplicate": (index == 0) & ((right <= ack) | within),
    }


def _near(value: NDArray[np.uint32], stretch: Stretch, rows: Int64s) -> Int64s:
    """A sequence number of the data acknowledged, as the offset nearest to the ACK of its segment."""
    result: Int64s = stretch.ack[rows] + (value - stretch.batch.ack[rows]).view(np.int32)
    return result
