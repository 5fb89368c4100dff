"""Every requirement of the checklist has its test, and the documents that are generated are current."""

from __future__ import annotations

from pathlib import Path

import checklist
import coverage_document

ROOT = Path(__file__).parents[2]


def test_the_checklist_has_150_rows_in_order() -> None:
    ids = [row.id for row in checklist.ROWS]

    assert len(ids) == len(set(ids)) == 150
    for group in checklist.GROUPS:
        numbers = [int(each[1:]) for each in ids if each[0] == group]
        assert numbers == list(range(1, len(numbers) + 1)), group


def test_every_row_has_a_test_or_a_reason() -> None:
    assert coverage_document.missing(coverage_document.tests_by_row()) == []


def test_no_test_names_a_row_that_is_not_there() -> None:
    ids = {row.id for row in checklist.ROWS}

    assert set(coverage_document.tests_by_row()) <= ids


def test_every_row_names_a_module_that_is_there() -> None:
    missing = {file for row in checklist.ROWS for file in row.module.split() if not (ROOT / file).exists()}

    assert missing == set()


def test_the_coverage_document_is_current() -> None:
    written = (ROOT / "docs" / "rfc8684-coverage.md").read_text()

    assert written == coverage_document.document(), (
        "python tests/conformance/coverage_document.py > docs/rfc8684-coverage.md"
    )
