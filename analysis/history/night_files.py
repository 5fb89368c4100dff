"""Nights <-> Parquet: one file of one night, or one of many nights after compaction; its footer says which.

Pages carry checksums, so a flipped bit is an error and not a number. A file is refused with its name when it is
damaged, foreign, or of a later version. pyarrow is imported when needed.
"""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from analysis.history.layout import HISTORY_VERSION, NIGHTS
from testbed.record import RecordError
from testbed.record.parquet import arrow_schema
from testbed.record.rows import columns_of

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.dataset as ds

_VERSION = b"history_version"
_NIGHTS = b"nights"
_ROW_GROUP = 16_384
"""Rows that are read together: what a search for one series reads of a month beside its own rows."""


@dataclass(frozen=True, slots=True)
class NightFile:
    """A Parquet file of the history: its nights, each with its number of rows."""

    path: Path
    nights: Mapping[str, int]
    fragment: ds.ParquetFileFragment


def table_of(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Validated rows. Raises RecordError that names row, column and value."""
    import pyarrow as pa

    return pa.table(columns_of(NIGHTS, rows), schema=arrow_schema(NIGHTS))


def to_bytes(data: pa.Table, nights: Mapping[str, int]) -> bytes:
    """Parquet of some nights, with version, nights and checksums."""
    import pyarrow.parquet as pq

    schema = arrow_schema(NIGHTS).with_metadata(
        {_VERSION: str(HISTORY_VERSION).encode(), _NIGHTS: json.dumps(dict(nights), sort_keys=True).encode()}
    )
    buffer = io.BytesIO()
    pq.write_table(data.cast(schema), buffer, compression="zstd", row_group_size=_ROW_GROUP, write_page_checksum=True)
    return buffer.getvalue()


def opened(path: Path) -> NightFile:
    """What the footer of a file says. Raises RecordError when it is not one of ours, FileNotFoundError when gone."""
    import pyarrow as pa
    import pyarrow.dataset as ds

    try:
        fragment = _format(encoded=False).make_fragment(str(path), filesystem=_filesystem())
        assert isinstance(fragment, ds.ParquetFileFragment)
        metadata = fragment.metadata.metadata or {}
        version, nights = int(metadata[_VERSION]), json.loads(metadata[_NIGHTS])
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise damaged(path, error) from error
    if version > HISTORY_VERSION:
        raise RecordError(f"{path} has version {version}; this testbed reads up to {HISTORY_VERSION}: take a newer one")
    return NightFile(path, nights, fragment)


def read(files: Iterable[NightFile], wanted: pc.Expression | None, columns: Sequence[str] | None = None) -> pa.Table:
    """Rows of the files for which ``wanted`` holds; texts are dictionaries. Raises RecordError with the file's name.

    With ``wanted`` texts are read plain and encoded afterwards: Arrow skips groups of rows by the statistics of plain
    columns alone (26.0), and of few rows the encoding costs nothing.
    """
    import pyarrow as pa
    import pyarrow.dataset as ds

    chosen = list(files)
    data_format, schema = _format(encoded=wanted is None), arrow_schema(NIGHTS, encoded=wanted is None)
    fragments = [
        data_format.make_fragment(str(file.path), filesystem=_filesystem()) if wanted is None else file.fragment
        for file in chosen
    ]
    data = ds.FileSystemDataset(fragments, schema.remove_metadata(), data_format, _filesystem())
    names = [column.name for column in NIGHTS.columns] if columns is None else list(columns)
    try:
        table = data.to_table(filter=wanted, columns=names)
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        if len(chosen) == 1:
            raise damaged(chosen[0].path, error) from error
        for file in chosen:
            read([file], wanted, columns)
        raise RecordError(f"the history cannot be read: {error}") from error
    return encoded(table, names)


def encoded(table: pa.Table, names: Sequence[str]) -> pa.Table:
    """The columns of these names; texts are dictionaries."""
    import pyarrow as pa

    schema = arrow_schema(NIGHTS, encoded=True)
    return table.cast(pa.schema([schema.field(name) for name in names])).replace_schema_metadata(None)


def ordered(tables: Sequence[pa.Table], names: Sequence[str]) -> pa.Table:
    """The rows of all tables in the order of these columns; Arrow itself does not sort by dictionaries."""
    import pyarrow as pa

    data = pa.concat_tables(tables).unify_dictionaries().combine_chunks()
    keys = [_ranks(data[name].combine_chunks()) for name in names]
    return data.take(pa.array(np.lexsort(keys[::-1])))


def _ranks(column: Any) -> npt.NDArray[Any]:
    """Numbers in the order of the values; nulls first."""
    import pyarrow as pa

    if not pa.types.is_dictionary(column.type):
        values: npt.NDArray[Any] = column.to_numpy(zero_copy_only=False)
        return values
    texts = column.dictionary.to_pylist()
    rank: npt.NDArray[Any] = np.empty(len(texts) + 1, dtype=np.int64)
    rank[sorted(range(len(texts)), key=texts.__getitem__)] = np.arange(len(texts))
    rank[-1] = -1
    codes: npt.NDArray[Any] = column.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    ranks: npt.NDArray[Any] = rank[codes]
    return ranks


def damaged(path: Path, error: Exception) -> RecordError:
    """The one line about a file that cannot be read."""
    why = str(error).splitlines()[0] if str(error) else type(error).__name__
    return RecordError(
        f"{path} is no file of a history, or is damaged ({why}): bring it back from a copy, or move it away; "
        "its nights are gaps then"
    )


def among(column: str, values: Collection[str]) -> pc.Expression:
    """Rows whose ``column`` is one of ``values``."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.field(column).isin(pa.array(sorted(values), pa.string()))


def _format(*, encoded: bool) -> ds.ParquetFileFormat:
    import pyarrow.dataset as ds

    texts = {column.name for column in NIGHTS.columns if column.type == "text"} if encoded else set()
    return ds.ParquetFileFormat(dictionary_columns=texts, page_checksum_verification=True)


def _filesystem() -> Any:
    import pyarrow.fs as fs

    return fs.LocalFileSystem()
