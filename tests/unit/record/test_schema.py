"""The schema: sound, documented, migrated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.record import TABLES, RecordError, RunDirectory
from testbed.record.migrate import Migration, migrate_document, migrate_table
from testbed.record.parquet import arrow_table, from_parquet, to_parquet
from testbed.record.schema import SCHEMA_VERSION, Column, Table


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_every_column_is_described_and_its_unit_agrees_with_its_name(table: Table) -> None:
    names = [column.name for column in table.columns]
    assert len(set(names)) == len(names)
    for column in table.columns:
        assert column.meaning.endswith("."), column.name
        for suffix, unit in (("_ns", "ns"), ("_bit_s", "bit/s"), ("_bytes", "bytes")):
            assert not column.name.endswith(suffix) or column.unit == unit, column.name


def values_of(column: Column) -> st.SearchStrategy[Any]:
    values: st.SearchStrategy[Any] = {
        "int64": st.integers(-(2**63), 2**63 - 1),
        "uint64": st.integers(0, 2**64 - 1),
        "float64": st.floats(allow_nan=False, allow_infinity=False),
        "bool": st.booleans(),
        "text": st.sampled_from(column.choices) if column.choices else st.text(st.characters(codec="utf-8")),
    }[column.type]
    return st.none() | values if column.nullable else values


@given(st.data())
def test_every_row_that_fits_is_read_back_exactly(data: st.DataObject) -> None:
    table = data.draw(st.sampled_from(list(TABLES.values())))
    rows = data.draw(
        st.lists(st.fixed_dictionaries({column.name: values_of(column) for column in table.columns}), max_size=3)
    )
    assert pa.ipc.open_stream(_ipc(arrow_table(table, rows))).read_all().to_pylist() == rows


def _ipc(table: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def test_a_parquet_file_carries_version_units_and_exact_integers(tmp_path: Path) -> None:
    path = tmp_path / "counters.parquet"
    row = {"trial": 0, "host": "client", "counter": "TcpInSegs", "before": 2**53 + 1, "after": None}
    path.write_bytes(to_parquet(arrow_table(TABLES["counters"], [row])))
    data, version = from_parquet(path)
    assert (data.to_pylist(), version) == ([row], SCHEMA_VERSION)
    assert pa.parquet.read_schema(path).field("trial").metadata[b"meaning"].startswith(b"Number of the trial")


CHAIN = (
    Migration(
        0,
        "version 0 kept milliseconds and called the experiment spec",
        document=lambda old: {("experiment" if key == "spec" else key): value for key, value in old.items()},
        table=lambda name, old: (
            old.set_column(1, "time_ns", pa.compute.multiply(old["time_ms"], 1_000_000)) if name == "events" else old
        ),
    ),
    Migration(1, "nothing but the number"),
)


NEW_IN_8 = ("marked_ce",)
NEW_IN_10 = {
    "trials": ("clock", "host_started_utc", "host_duration_ns", "stall_max_ns", "stall_p99_ns", "disturbed"),
    "links": ("seed_asked", "seed_effective"),
}


def is_newer_than_3(name: str) -> bool:
    return "middlebox" in name or name in (*NEW_IN_8, *NEW_IN_10["links"])


def test_a_run_of_version_1_is_read_without_the_column_that_was_never_written() -> None:
    columns = {column.name: pa.nulls(2) for column in TABLES["links"].columns if not is_newer_than_3(column.name)}
    old = pa.table({**columns, "loss_tolerance": pa.nulls(2, pa.float64())})
    assert migrate_table("links", old, 1).column_names == [column.name for column in TABLES["links"].columns]
    assert migrate_table("events", old, 1) is old


def test_a_run_of_version_3_has_no_counts_of_middleboxes() -> None:
    names = [column.name for column in TABLES["links"].columns if not is_newer_than_3(column.name)]
    read = migrate_table("links", pa.table({name: pa.array([1, 2]) for name in names}), 3)
    assert read.column_names == [column.name for column in TABLES["links"].columns]
    assert read["dropped_middlebox"].to_pylist() == read["changed_middlebox"].to_pylist() == [None, None]
    assert read["duplicated"].to_pylist() == [1, 2]


def test_a_run_of_version_4_has_segments_without_ranges_and_mappings() -> None:
    new = ["mss", "ack", "sack_ranges", "mapping_ssn", "mapping_octets", "frame"]
    names = [column.name for column in TABLES["segments"].columns if column.name not in new]
    read = migrate_table("segments", pa.table({name: pa.array([1, 2]) for name in names}), 4)
    assert read.column_names == [column.name for column in TABLES["segments"].columns]
    assert all(read[name].to_pylist() == [None, None] for name in new)


def test_a_run_of_version_5_has_no_table_of_middleboxes_and_all_else() -> None:
    for name, table in TABLES.items():
        if name != "middleboxes":
            old = pa.table({column.name: pa.nulls(1) for column in table.columns})
            assert migrate_table(name, old, 5, target=6) is old


def test_a_run_of_version_6_does_not_tell_the_first_wrong_byte() -> None:
    new = ["first_wrong_upload", "first_wrong_download"]
    names = [column.name for column in TABLES["flows"].columns if column.name not in new]
    read = migrate_table("flows", pa.table({name: pa.array([1, 2]) for name in names}), 6)
    assert read.column_names == [column.name for column in TABLES["flows"].columns]
    assert all(read[name].to_pylist() == [None, None] for name in new)


def test_a_run_of_version_7_does_not_tell_what_a_queue_marked() -> None:
    names = [column.name for column in TABLES["links"].columns if column.name not in (*NEW_IN_8, *NEW_IN_10["links"])]
    read = migrate_table("links", pa.table({name: pa.array([1, 2]) for name in names}), 7)
    assert read.column_names == [column.name for column in TABLES["links"].columns]
    assert read["marked_ce"].to_pylist() == [None, None]


@pytest.mark.parametrize("name", NEW_IN_10)
def test_a_run_of_version_9_knows_neither_whose_clock_nor_which_seed(name: str) -> None:
    columns = [column.name for column in TABLES[name].columns]
    read = migrate_table(name, pa.table({each: [1, 2] for each in columns if each not in NEW_IN_10[name]}), 9)
    assert read.column_names == columns
    assert all(read[each].to_pylist() == [None, None] for each in NEW_IN_10[name])


def test_texts_that_came_later_do_not_keep_an_older_file_from_being_read_encoded(tmp_path: Path) -> None:
    path = tmp_path / "segments.parquet"
    old = pa.table({"side": ["client", "client"]}).replace_schema_metadata({"schema_version": "3"})
    path.write_bytes(to_parquet(old))
    data, version = from_parquet(path, encoded=["side", "sack_ranges"])
    assert (data.column_names, version) == (["side"], 3)
    assert pa.types.is_dictionary(data["side"].type)


def test_a_chain_of_migrations_leads_forward() -> None:
    old = pa.table({"trial": [0], "time_ms": [5]})
    assert migrate_table("events", old, 0, CHAIN, target=2).to_pylist() == [{"trial": 0, "time_ns": 5_000_000}]
    assert migrate_table("flows", old, 0, CHAIN, target=2) is old
    document = migrate_document({"schema_version": 0, "spec": {}}, CHAIN, target=2)
    assert document == {"schema_version": 2, "experiment": {}}


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (3, "schema version 3, this testbed reads up to 2"),
        (-1, "no migration from schema version -1"),
        (None, "no run"),
    ],
)
def test_no_way_forward_is_an_error(version: int | None, message: str) -> None:
    with pytest.raises(RecordError, match=message):
        migrate_document({"schema_version": version}, CHAIN, target=2)


def test_a_run_directory_of_a_newer_version_is_not_guessed_at(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"schema_version": 99}')
    with pytest.raises(RecordError, match="schema version 99"):
        RunDirectory.open(tmp_path)
