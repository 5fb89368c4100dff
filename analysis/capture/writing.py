"""Tables that are too long to keep: written batch by batch under a temporary name, there whole or not at all."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from testbed.record.files import space_needed_for, sync_directory
from testbed.record.parquet import arrow_schema
from testbed.record.schema import Table

_CHUNK: Final = 1 << 10
_GROUP: Final = 1 << 16
"""Rows of a row group."""


class TableWriter:
    """One Parquet file that grows."""

    def __init__(self, directory: Path, table: Table) -> None:
        self.table = table
        self.path = directory / f"{table.name}.parquet"
        self._schema = arrow_schema(table, encoded=True)
        self._temporary = directory / f".{table.name}.parquet.{os.getpid()}.partial"
        with space_needed_for(self.path.name, directory):
            self._writer = pq.ParquetWriter(self._temporary, self._schema, compression="zstd")
        self._waiting: list[pa.RecordBatch] = []
        self._rows = 0

    def add(self, columns: Mapping[str, NDArray[Any] | pa.Array]) -> None:
        """Rows by column; the columns are those of the table."""
        arrays = [_array(columns[field.name], field) for field in self._schema]
        batch = pa.RecordBatch.from_arrays(arrays, schema=self._schema)
        if not batch.num_rows:
            return
        self._waiting.append(batch)
        self._rows += batch.num_rows
        if self._rows >= _GROUP:
            self._flush()

    def close(self) -> None:
        """All is written: the file gets its name."""
        self._flush()
        with space_needed_for(self.path.name, self.path.parent):
            self._writer.close()
            self._temporary.replace(self.path)
            sync_directory(self.path.parent)

    def abandon(self) -> None:
        """Nothing of it stays."""
        with contextlib.suppress(OSError, pa.ArrowException):
            self._writer.close()
        self._temporary.unlink(missing_ok=True)

    def _flush(self) -> None:
        if self._waiting:
            with space_needed_for(self.path.name, self.path.parent):
                self._writer.write_table(pa.Table.from_batches(self._waiting))
            self._waiting, self._rows = [], 0


def table_of(table: Table, rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Rows as an Arrow table, a chunk at a time: as objects of Python they take twenty times the memory.

    Raises ValueError for a null where the table has none.
    """
    schema = arrow_schema(table)
    source, batches = iter(rows), []
    while chunk := list(itertools.islice(source, _CHUNK)):
        batch = pa.RecordBatch.from_pylist(chunk, schema=schema)
        for field, column in zip(schema, batch.columns, strict=True):
            if column.null_count and not field.nullable:
                raise ValueError(f"table {table.name}: {field.name} is missing, and it has to be there")
        batches.append(batch)
    return pa.Table.from_batches(batches, schema)


def save_memory() -> None:
    """Let Arrow give back what it does not need any more: its own pools keep as much again."""
    pa.set_memory_pool(pa.system_memory_pool())


def nullable(values: NDArray[Any], there: NDArray[np.bool_]) -> pa.Array:
    """A column that is null where not ``there``."""
    return pa.array(values, mask=~there)


def _array(values: NDArray[Any] | pa.Array, field: pa.Field) -> pa.Array:
    found = values if isinstance(values, pa.Array) else pa.array(values)
    return found if found.type == field.type else found.cast(field.type)
