"""Old run directories read forward: a chain of steps, each from one schema version to the next.

A step changes values in memory; the files of a run directory are never rewritten.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from testbed.record.errors import RecordError
from testbed.record.schema import SCHEMA_VERSION

if TYPE_CHECKING:
    import pyarrow as pa


def _same_document(document: dict[str, Any]) -> dict[str, Any]:
    return document


def _same_table(name: str, table: pa.Table) -> pa.Table:
    return table


@dataclass(frozen=True, slots=True)
class Migration:
    """From ``version`` to ``version + 1``."""

    version: int
    why: str
    document: Callable[[dict[str, Any]], dict[str, Any]] = _same_document
    """run.json of the old version -> of the next (``schema_version`` is set by the chain)."""
    table: Callable[[str, pa.Table], pa.Table] = _same_table
    """(table name, table of the old version) -> table of the next."""


def _without_loss_tolerance(name: str, table: pa.Table) -> pa.Table:
    return table.drop_columns(["loss_tolerance"]) if name == "links" else table


def _with_middlebox_counts(name: str, table: pa.Table) -> pa.Table:
    if name != "links":
        return table
    import pyarrow as pa

    for column in ("dropped_middlebox", "changed_middlebox"):
        place = table.column_names.index("duplicated")
        table = table.add_column(place, column, pa.nulls(len(table), pa.int64()))
    return table


def _with_ranges_and_mappings(name: str, table: pa.Table) -> pa.Table:
    if name != "segments":
        return table
    import pyarrow as pa

    for column in ("mss", "ack", "sack_ranges", "mapping_ssn", "mapping_octets", "frame"):
        kind = pa.string() if column == "sack_ranges" else pa.int64()
        table = table.append_column(column, pa.nulls(len(table), kind))
    return table


def _with_first_wrong_bytes(name: str, table: pa.Table) -> pa.Table:
    if name != "flows":
        return table
    import pyarrow as pa

    place = table.column_names.index("integrity") + 1
    for column in ("first_wrong_download", "first_wrong_upload"):
        table = table.add_column(place, column, pa.nulls(len(table), pa.int64()))
    return table


def _with_marks(name: str, table: pa.Table) -> pa.Table:
    if name != "links":
        return table
    import pyarrow as pa

    return table.add_column(table.column_names.index("duplicated"), "marked_ce", pa.nulls(len(table), pa.int64()))


def _with_clocks_and_seeds(name: str, table: pa.Table) -> pa.Table:
    import pyarrow as pa

    new = {
        "trials": (
            ("clock", pa.string(), "setup_ns"),
            ("host_started_utc", pa.string(), "clock"),
            ("host_duration_ns", pa.int64(), "host_started_utc"),
            ("stall_max_ns", pa.int64(), "rate_error"),
            ("stall_p99_ns", pa.int64(), "stall_max_ns"),
            ("disturbed", pa.bool_(), "stall_p99_ns"),
        ),
        "links": (("seed_asked", pa.uint64(), "profile"), ("seed_effective", pa.uint64(), "seed_asked")),
    }
    for column, kind, before in new.get(name, ()):
        table = table.add_column(table.column_names.index(before) + 1, column, pa.nulls(len(table), kind))
    return table


MIGRATIONS: tuple[Migration, ...] = (
    Migration(1, "links.loss_tolerance was declared and never written", table=_without_loss_tolerance),
    Migration(2, "the table segments is new; an older run has none"),
    Migration(
        3, "links.dropped_middlebox and .changed_middlebox are new; null in an older run", table=_with_middlebox_counts
    ),
    Migration(
        4,
        "segments.mss, .ack, .sack_ranges, .mapping_ssn, .mapping_octets and .frame are new; null in an older run",
        table=_with_ranges_and_mappings,
    ),
    Migration(5, "the table middleboxes is new; an older run has none"),
    Migration(
        6,
        "flows.first_wrong_upload and .first_wrong_download are new; null in an older run",
        table=_with_first_wrong_bytes,
    ),
    Migration(7, "links.marked_ce is new; null in an older run", table=_with_marks),
    Migration(8, "the table observations is new; an older run has none"),
    Migration(
        9,
        "trials.clock, .host_started_utc, .host_duration_ns, .stall_max_ns, .stall_p99_ns and .disturbed are new, and "
        "links.seed_asked and .seed_effective; null in an older run",
        table=_with_clocks_and_seeds,
    ),
)
"""Version 1 is the first."""


def migrate_document(
    document: dict[str, Any], chain: Sequence[Migration] = MIGRATIONS, target: int = SCHEMA_VERSION
) -> dict[str, Any]:
    """run.json in the form of version ``target``. Raises RecordError when no way leads there."""
    for step in _steps(document.get("schema_version"), chain, target):
        document = step.document(dict(document)) | {"schema_version": step.version + 1}
    return document


def migrate_table(
    name: str, table: pa.Table, version: int, chain: Sequence[Migration] = MIGRATIONS, target: int = SCHEMA_VERSION
) -> pa.Table:
    """A table of schema ``version`` in the form of ``target``. Raises RecordError when no way leads there."""
    for step in _steps(version, chain, target):
        table = step.table(name, table)
    return table


def _steps(version: object, chain: Sequence[Migration], target: int) -> list[Migration]:
    if not isinstance(version, int):
        raise RecordError(f"schema_version is an integer, not {version!r}: this is no run directory of the testbed")
    if version > target:
        raise RecordError(f"this run has schema version {version}, this testbed reads up to {target}: update it")
    steps = {step.version: step for step in chain}
    missing = [number for number in range(version, target) if number not in steps]
    if missing:
        raise RecordError(f"no migration from schema version {missing[0]} to {missing[0] + 1}")
    return [steps[number] for number in range(version, target)]
