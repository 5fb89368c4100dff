"""Traces of steps: a CSV file of time, rate, delay and loss, each row holding until the next.

The first line names the columns: ``time`` and at least one of ``rate``, ``delay`` and ``loss``, in any order. The unit
stands in the header (``rate_mbit``, ``delay [ms]``, ``loss (%)``) and the cells are bare numbers, or it stands in every
cell (``20mbit``, ``35ms``, ``0.5%``); the units are those of :mod:`topologies.quantity`, and ``probability`` for a loss
between 0 and 1. Times begin at 0, the start of the traffic, and grow. The last row lasts as long as the one before it,
unless it has a time alone: that is then the end. Lines that begin with ``#`` are comments.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from topologies import quantity
from topologies.traces.problem import TraceError

COLUMNS = ("time", "rate", "delay", "loss")
LEAST_RATE_BIT_S = 1000
"""Anything between this and 0, a dead link, is a mistake of units."""
LEAST_STEP_NS = 1000

_RATE_UNITS = {name: Fraction(factor) for name, factor in quantity.RATE_UNITS.items()}
_UNITS: Mapping[str, Mapping[str, Fraction]] = {
    "time": {name: Fraction(factor) for name, factor in quantity.TIME_UNITS.items()},
    "rate": {f"{name}{end}": factor for end in ("", "/s", "_s") for name, factor in _RATE_UNITS.items()},
    "delay": {name: Fraction(factor) for name, factor in quantity.TIME_UNITS.items()},
    "loss": {**quantity.PROBABILITY_UNITS, "percent": Fraction(1, 100), "probability": Fraction(1)},
}
_EXAMPLES = {"time": "500ms", "rate": "20mbit", "delay": "35ms", "loss": "0.5%"}
_HEADER = re.compile(r"(?P<name>[a-z]+)(?:[ _]*[\[(]?(?P<unit>[a-z%/][a-z%/_]*)[\])]?)?")
_CELL = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*(?P<unit>[A-Za-z%/]*)")


@dataclass(frozen=True, slots=True)
class Steps:
    """What holds from when on, within one round; a column that the file lacks is None."""

    period_ns: int
    rate_bit_s: tuple[tuple[int, int], ...] | None = None
    """(from_ns, rate); a rate of 0 is a link that is dead for the while."""
    delay_ns: tuple[tuple[int, int], ...] | None = None
    loss: tuple[tuple[int, float], ...] | None = None


class _Column(NamedTuple):
    name: str
    unit: Fraction | None
    """None: in the cells."""


class _Place(NamedTuple):
    file: str
    line: int
    column: int
    """From 1, as an editor counts."""

    def error(self, words: str) -> TraceError:
        return TraceError(f"{self.file}:{self.line}:{self.column}: {words}")


def parse(text: str, name: str) -> Steps:
    """The steps of a file's text. Raises TraceError with file, line and column."""
    lines = [
        (number, line)
        for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), start=1)
        if line.strip() and not line.startswith("#")
    ]
    if not lines:
        raise TraceError(f"{name}:1:1: the file is empty")
    columns = [_header(word, place) for word, place in _cells(name, *lines[0])]
    _check_columns(columns, _Place(name, lines[0][0], 1))
    rows: list[dict[str, Fraction]] = []
    for number, line in lines[1:]:
        row = _row(columns, _cells(name, number, line), is_last=(number, line) == lines[-1])
        _check_time(row["time"], rows, _Place(name, number, 1))
        rows.append(row)
    if not rows or len(rows[-1]) == len(rows) == 1:
        raise TraceError(f"{name}:{lines[-1][0]}:1: there is a header but no row")
    return _steps(columns, rows)


def _cells(file: str, number: int, line: str) -> list[tuple[str, _Place]]:
    cells = []
    at = 0
    for cell in line.split(","):
        begin = at + len(cell) - len(cell.lstrip())
        cells.append((cell.strip(), _Place(file, number, begin + 1)))
        at += len(cell) + 1
    return cells


def _header(word: str, place: _Place) -> _Column:
    match = _HEADER.fullmatch(word.lower())
    if match is None or match["name"] not in COLUMNS:
        raise place.error(f"{word!r} is not a column; there are {', '.join(COLUMNS)}, also as rate_mbit or rate [mbit]")
    units = {unit.lower(): factor for unit, factor in _UNITS[match["name"]].items()}
    if match["unit"] and match["unit"] not in units:
        raise place.error(f"{match['unit']!r} is not a unit of {match['name']}; there are {', '.join(units)}")
    return _Column(match["name"], units[match["unit"]] if match["unit"] else None)


def _check_columns(columns: Sequence[_Column], place: _Place) -> None:
    names = [column.name for column in columns]
    for name in names:
        if names.count(name) > 1:
            raise place.error(f"two columns are called {name}")
    if "time" not in names or len(names) < 2:
        raise place.error("the header names time and at least one of rate, delay and loss")


def _row(columns: Sequence[_Column], cells: Sequence[tuple[str, _Place]], is_last: bool) -> dict[str, Fraction]:
    if len(cells) != len(columns):
        raise cells[0][1].error(f"{len(cells)} cells, and the header names {len(columns)} columns")
    pairs = list(zip(columns, cells, strict=True))
    is_end = is_last and not any(cell for column, (cell, _) in pairs if column.name != "time")
    return {
        column.name: _value(column, cell, place)
        for column, (cell, place) in pairs
        if column.name == "time" or not is_end
    }


def _value(column: _Column, cell: str, place: _Place) -> Fraction:
    units = {unit.lower(): factor for unit, factor in _UNITS[column.name].items()}
    match = _CELL.fullmatch(cell)
    example = _EXAMPLES[column.name]
    if match is None:
        raise place.error(f"{cell!r} is not a {column.name}, such as {example}")
    if column.unit is not None:
        if match["unit"]:
            raise place.error(f"{cell!r} has a unit, and so has the header of {column.name}: write the bare number")
        value = Fraction(match["number"]) * column.unit
    elif match["unit"].lower() not in units:
        raise place.error(
            f"{cell!r} has no unit of {column.name}: write it here ({example}) or in the header ({', '.join(units)})"
        )
    else:
        value = Fraction(match["number"]) * units[match["unit"].lower()]
    if column.name == "rate" and 0 < value < LEAST_RATE_BIT_S:
        raise place.error(f"{cell!r} is less than 1kbit; 0 is a dead link, anything else so low a mistake of units")
    if column.name == "loss" and value > 1:
        raise place.error(f"{cell!r} is not a loss: it is above 100%")
    return value


def _check_time(time: Fraction, rows: Sequence[Mapping[str, Fraction]], place: _Place) -> None:
    if not rows:
        if time:
            raise place.error("the first row is not at time 0; times count from the start of the traffic")
    elif round(time) < round(rows[-1]["time"]) + LEAST_STEP_NS:
        raise place.error("times grow from row to row, by a microsecond at least")


def _steps(columns: Sequence[_Column], rows: Sequence[Mapping[str, Fraction]]) -> Steps:
    has_end = len(rows[-1]) == 1
    times = [round(row["time"]) for row in rows]
    if not has_end:  # the last row lasts as long as the one before it; a single one, for a second
        times.append(2 * times[-1] - times[-2] if len(times) > 1 else 10**9)
    held = rows[:-1] if has_end else rows
    names = {column.name for column in columns}

    def series(name: str, number: Callable[[Fraction], int | float]) -> tuple[tuple[int, int | float], ...] | None:
        if name not in names:
            return None
        found: list[tuple[int, int | float]] = []
        for at_ns, row in zip(times, held, strict=False):
            value = number(row[name])
            if not found or found[-1][1] != value:  # a step is where something changes
                found.append((at_ns, value))
        return tuple(found)

    return Steps(times[-1], series("rate", round), series("delay", round), series("loss", float))  # type: ignore[arg-type]
