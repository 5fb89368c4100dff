from __future__ import annotations

from pathlib import Path

import pytest

from testbed.cli.data_format import CAPTURE_TABLES, document
from testbed.record.schema import Table

DOCUMENT = Path(__file__).parents[3] / "docs" / "data-format.md"
UNITS = {"_ns": "ns", "_octets": "bytes", "_bit_s": "bit/s"}


def test_the_document_of_the_data_format_is_current() -> None:
    assert DOCUMENT.read_text() == document(), "python -m testbed.cli.data_format > docs/data-format.md"


@pytest.mark.parametrize("table", CAPTURE_TABLES, ids=lambda table: table.name)
def test_every_column_of_an_analysis_is_described_and_its_unit_agrees_with_its_name(table: Table) -> None:
    names = [column.name for column in table.columns]

    assert len(set(names)) == len(names)
    assert table.meaning.endswith(".")
    for column in table.columns:
        assert column.meaning.endswith(".")
        for suffix, unit in UNITS.items():
            if column.name.endswith(suffix):
                assert column.unit == unit


def test_no_table_is_described_twice() -> None:
    names = [table.name for table in CAPTURE_TABLES]

    assert len(set(names)) == len(names)
