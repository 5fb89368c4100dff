"""Whether two runs in virtual time say the same, byte for byte, but for what a clock on the wall said."""

from __future__ import annotations

from pathlib import Path

from testbed.record import TABLES, RunDirectory
from testbed.record.files import sha256_of
from testbed.record.parquet import to_parquet

WALL_CLOCK = ("started_utc", "duration_ns", "setup_ns")
"""Columns of ``trials``."""


def contents(path: Path) -> dict[str, object]:
    """Name -> content of every table of a complete run, and of every file of its trials."""
    run = RunDirectory.open(path)
    assert run.is_complete
    found: dict[str, object] = {}
    for name in TABLES:
        table = run.read_table(name)
        found[name] = to_parquet(table.drop_columns(list(WALL_CLOCK)) if name == "trials" else table)
    for file in sorted(path.glob("captures/*/*")):
        found[str(file.relative_to(path))] = sha256_of(file)
    return found


def differing(one: Path, other: Path) -> list[str]:
    """What is not the same in both."""
    a, b = contents(one), contents(other)
    return sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))
