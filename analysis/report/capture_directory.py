"""The directory that ``testbed analyze`` writes, as the report reads it: a manifest and Parquet tables.

The report is made from this directory alone, so it can be made again without the capture.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

MANIFEST = "analysis.json"
FORMAT = "capture analysis"
REPORT = "report.html"
_PIECE = 1 << 15
"""Rows of a big table that are in memory at once."""


class AnalysisDirectory:
    """Reads what is there; a table that was not written is empty."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifest: dict[str, Any] = json.loads((path / MANIFEST).read_text())

    def has(self, name: str) -> bool:
        """Whether that table was written."""
        return (self.path / f"{name}.parquet").exists()

    def rows(self, name: str) -> list[dict[str, Any]]:
        """A small table as dictionaries."""
        if not self.has(name):
            return []
        found: list[dict[str, Any]] = pq.read_table(self.path / f"{name}.parquet").to_pylist()
        return found

    def columns(self, name: str) -> list[str]:
        """Names of the columns; none when the table is not there."""
        return list(pq.read_schema(self.path / f"{name}.parquet").names) if self.has(name) else []

    def batches(
        self, name: str, columns: Sequence[str], within: tuple[str, int, int] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """A big table in pieces, in the order of the file, a few MB at a time.

        ``within``: (column, low, high): stretches of the file that have no such value are passed over; what comes still
        holds others.
        """
        if not self.has(name):
            return
        # Buffered: pages are read as they are needed, not whole row groups.
        with pq.ParquetFile(self.path / f"{name}.parquet", buffer_size=1 << 16, pre_buffer=False) as file:
            groups = [number for number in range(file.num_row_groups) if _may_hold(file, number, within)]
            if groups:
                yield from file.iter_batches(_PIECE, row_groups=groups, columns=list(columns), use_threads=False)


def _may_hold(file: pq.ParquetFile, group: int, within: tuple[str, int, int] | None) -> bool:
    if within is None:
        return True
    name, low, high = within
    column = file.metadata.row_group(group).column(file.schema_arrow.get_field_index(name))
    statistics = column.statistics
    if statistics is None or not statistics.has_min_max:
        return True
    return bool(statistics.min <= high and statistics.max >= low)


def place_name(number: int) -> str:
    """Directory within that of the first place for another one (from 2 on) that the same traffic was captured at."""
    return f"place-{number}"


def is_analysis(path: Path) -> bool:
    """Whether a directory is one that ``testbed analyze`` wrote."""
    try:
        return bool(json.loads((path / MANIFEST).read_text()).get("format") == FORMAT)
    except (OSError, ValueError, AttributeError):
        return False
