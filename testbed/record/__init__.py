"""The record of a run: its schema and its directory. Imports neither pyarrow nor numpy until a table is touched."""

from __future__ import annotations

from testbed.record.errors import RecordError
from testbed.record.run_directory import (
    DERIVED_FILES,
    MATRIX_FILES,
    REPORT_FILES,
    RunDirectory,
    TrialRecord,
    drawing_stem,
    unfinished_run,
)
from testbed.record.schema import SCHEMA_VERSION, TABLES, VERDICTS

__all__ = [
    "DERIVED_FILES",
    "MATRIX_FILES",
    "REPORT_FILES",
    "SCHEMA_VERSION",
    "TABLES",
    "VERDICTS",
    "RecordError",
    "RunDirectory",
    "TrialRecord",
    "drawing_stem",
    "unfinished_run",
]
