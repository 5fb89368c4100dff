"""The directory that ``testbed analyze`` writes, as the report reads it: a manifest and Parquet tables.

The report is made from this directory alone, so it can be made again without the capture.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

MANIFEST = "analysis.json"
FORMAT = "capture analysis"
REPORT = "report.html"


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
        self, name: str, columns: Sequence[str], where: pc.Expression | None = None
    ) -> Iterator[pa.RecordBatch]:
        """A big table in pieces, in the order of the file; ``where`` skips row groups by their statistics."""
        if not self.has(name):
            return
        import pyarrow.dataset as ds

        found = ds.dataset(self.path / f"{name}.parquet", format="parquet")
        scanner = found.scanner(columns=list(columns), filter=where, use_threads=False, batch_readahead=1)
        yield from scanner.to_batches()


def place_name(number: int) -> str:
    """Directory within that of the first place for another one (from 2 on) that the same traffic was captured at."""
    return f"place-{number}"


def is_analysis(path: Path) -> bool:
    """Whether a directory is one that ``testbed analyze`` wrote."""
    try:
        return bool(json.loads((path / MANIFEST).read_text()).get("format") == FORMAT)
    except (OSError, ValueError, AttributeError):
        return False
