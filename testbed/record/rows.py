"""Rows (dicts) -> columns, checked against the schema. Nothing is converted silently except int to float."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from testbed.record.errors import RecordError
from testbed.record.schema import Column, Table

Row = Mapping[str, Any]

_RANGES = {
    "int32": (-(2**31), 2**31 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint8": (0, 2**8 - 1),
    "uint16": (0, 2**16 - 1),
    "uint32": (0, 2**32 - 1),
    "uint64": (0, 2**64 - 1),
}


def columns_of(table: Table, rows: Sequence[Row]) -> dict[str, list[Any]]:
    """Column name -> values, in the order of the schema; a nullable column may be left out of a row.

    Raises RecordError that names table, row, column and value.
    """
    known = {column.name for column in table.columns}
    for number, row in enumerate(rows):
        if not row.keys() <= known:
            unknown = next(iter(sorted(row.keys() - known)))
            raise RecordError(f"table {table.name}, row {number}: there is no column {unknown!r}; see testbed.record")
    return {
        column.name: [_checked(table, column, number, row.get(column.name)) for number, row in enumerate(rows)]
        for column in table.columns
    }


def _checked(table: Table, column: Column, number: int, value: Any) -> Any:
    if value is None:
        if column.nullable:
            return None
        raise RecordError(f"table {table.name}, row {number}: {column.name} is missing, and it has to be there")
    problem = _problem(column, value)
    if problem:
        raise RecordError(f"table {table.name}, row {number}: {column.name} is {problem}, not {value!r}")
    return float(value) if column.type == "float64" else value


def _problem(column: Column, value: Any) -> str:
    """What ``value`` should have been; empty when it is that."""
    match column.type:
        case "text":
            if not isinstance(value, str):
                return "text"
            return f"one of {', '.join(column.choices)}" if column.choices and value not in column.choices else ""
        case "bool":
            return "" if isinstance(value, bool) else "a flag (True or False)"
        case "float64":
            number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            return "" if number else "a finite number (None when it was not measured)"
        case _:
            if not isinstance(value, int) or isinstance(value, bool):
                return "an integer"
            low, high = _RANGES[column.type]
            return "" if low <= value <= high else f"an integer that fits {column.type}"
