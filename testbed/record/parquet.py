"""Columns <-> Parquet bytes with the schema's types, units and version in the file. pyarrow is imported when needed."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from testbed.record.errors import RecordError
from testbed.record.rows import Row, columns_of
from testbed.record.schema import SCHEMA_VERSION, Table

if TYPE_CHECKING:
    import pyarrow as pa

_VERSION_KEY = b"schema_version"


def arrow_schema(table: Table, *, encoded: bool = False) -> pa.Schema:
    """The Arrow schema of ``table``: each field carries its unit and meaning as metadata.

    ``encoded``: texts are dictionaries, which take a tenth of the time and memory where few texts repeat.
    """
    import pyarrow as pa

    text = pa.dictionary(pa.int32(), pa.string()) if encoded else pa.string()
    types = {"text": text, "bool": pa.bool_()}
    fields = [
        pa.field(
            column.name,
            types.get(column.type) or getattr(pa, column.type)(),
            nullable=column.nullable,
            metadata={"unit": column.unit, "meaning": column.meaning},
        )
        for column in table.columns
    ]
    return pa.schema(fields, metadata={_VERSION_KEY: str(SCHEMA_VERSION), b"table": table.name})


def arrow_table(table: Table, rows: Sequence[Row]) -> pa.Table:
    """Validated rows as an Arrow table. Raises RecordError."""
    import pyarrow as pa

    return pa.table(columns_of(table, rows), schema=arrow_schema(table))


def to_parquet(data: pa.Table) -> bytes:
    """Parquet file of an Arrow table. In memory, so that a full disk is met where the bytes are written."""
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(data, buffer, compression="zstd")
    return buffer.getvalue()


def from_parquet(path: Path, *, encoded: Sequence[str] = ()) -> tuple[pa.Table, int]:
    """(table, its schema version); the text columns ``encoded``, as far as the file has them, stay dictionaries.

    Raises RecordError when the file is not one of ours or is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        present = set(pq.read_schema(path).names) if encoded else set()  # an older run lacks what came later
        data = pq.ParquetFile(path, read_dictionary=[name for name in encoded if name in present]).read()
        return data, int((data.schema.metadata or {})[_VERSION_KEY])
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise RecordError(f"{path} is not a table of a run directory, or is damaged: {error}") from error
