"""The grid of a report: situations as rows, who talks to whom as columns, in each cell what became of the connection.

A cell says it with a sign and words; colour only repeats them. Each trial that is not as expected has a line of its own
below the grid, with what it takes to look at it again: its seed, its captures and the command that replays it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from analysis.fate import Cell, Fate, cells
from analysis.report.answer import SIGNS, Tone
from analysis.report.trial_rows import trial_command
from analysis.report.wording import count, significant
from analysis.runs import Run
from analysis.verdict import FATES, bound_in_words

TONES: Mapping[str, Tone] = {"met": "met", "FAILED": "failed", "not evaluated": "open"}
MOST_BAD_TRIALS = 100
"""Of a grid, with a line of their own."""


@dataclass(frozen=True, slots=True)
class GridCellText:
    """One cell."""

    tone: Tone
    sign: str
    word: str
    """``MPTCP``, ``fell back to TCP``, ``bytes lost`` ..."""
    detail: str
    """``2 subflows``, ``100 of 150 000 bytes, from byte 700 on``; may be empty."""
    expected: str


@dataclass(frozen=True, slots=True)
class GridRowText:
    """One row; a cell that the run has not is None."""

    name: str
    text: str
    because: str
    cells: tuple[GridCellText | None, ...]


@dataclass(frozen=True, slots=True)
class BadTrial:
    """A trial that is not as expected."""

    row: str
    column: str
    trial: int
    happened: str
    expected: str
    error: str
    seed: str
    captures: tuple[str, ...]
    """Files in the run directory; none when none were taken."""
    command: str


@dataclass(frozen=True, slots=True)
class GridTable:
    """The whole grid."""

    heading: str
    pairs: tuple[tuple[str, int], ...]
    """Pair -> its columns, which stand side by side."""
    roles: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[GridRowText, ...]
    bad: tuple[BadTrial, ...]
    bad_left_out: int
    totals: tuple[str, ...]
    """``"MPTCP in 60 cells"`` ..., of those that have a valid trial."""


def grid_table(run: Run) -> GridTable | None:
    """The grid of a run; None when its experiment has none."""
    found = cells(run)
    if not found:
        return None
    places = list(dict.fromkeys((cell.expected["column"]["pair"], cell.expected["column"]["role"]) for cell in found))
    order = list(dict.fromkeys(pair for pair, _ in places))
    places.sort(key=lambda place: order.index(place[0]))
    at = {(cell.expected["row"], *cell.expected["column"].values()): cell for cell in found}
    grid = run.experiment["grid"]
    used = {cell.expected["row"] for cell in found}
    rows = [
        GridRowText(
            row["name"],
            row["text"],
            row["because"],
            tuple(_text(cell) if (cell := at.get((row["name"], *place))) else None for place in places),
        )
        for row in grid["rows"]
        if row["name"] in used
    ]
    bad = [_bad_trial(run, cell, fate) for cell in found for fate in _worst_first(cell.bad)]
    return GridTable(
        heading=grid["heading"],
        pairs=tuple((pair, len(list(columns))) for pair, columns in groupby(pair for pair, _ in places)),
        roles=tuple(role for _, role in places),
        columns=tuple(f"{pair}, {role}" for pair, role in places),
        rows=tuple(rows),
        bad=tuple(bad[:MOST_BAD_TRIALS]),
        bad_left_out=max(0, len(bad) - MOST_BAD_TRIALS),
        totals=tuple(_totals(found)),
    )


def grid_summary(run: Run) -> Mapping[str, Any] | None:
    """The same for programs; None without a grid."""
    found = cells(run)
    if not found:
        return None
    grid = run.experiment["grid"]
    return {
        "heading": grid["heading"],
        "rows": list(grid["rows"]),
        "cells": [
            {
                **cell.expected,
                "outcome": cell.outcome,
                "reason": cell.reason,
                "trials": [_trial_summary(run, cell, fate) for fate in cell.fates],
            }
            for cell in found
        ],
    }


def _trial_summary(run: Run, cell: Cell, fate: Fate) -> Mapping[str, Any]:
    return {
        "trial": fate.trial,
        "seed": fate.seed,
        "fate": fate.fate,
        "subflows": fate.subflows,
        "as_expected": fate not in cell.bad,
        "bytes_sent": fate.sent_bytes,
        "bytes_missing": fate.missing_bytes,
        "bytes_surplus": fate.surplus_bytes,
        "bytes_wrong": fate.wrong,
        "first_wrong": fate.first_wrong,
        "error": fate.error,
        "captures": list(_captures(run, fate)),
        "command": replay_command(run, cell, fate),
    }


def replay_command(run: Run, cell: Cell, fate: Fate) -> str:
    """The command that carries out this trial again (and those of the same variant before it), with captures."""
    return trial_command(run, cell.expected["variant"], fate.repetition)


def _captures(run: Run, fate: Fate) -> Sequence[str]:
    folder = run.path / "captures" / f"{fate.trial:04d}"
    return [str(path.relative_to(run.path)) for path in sorted(folder.glob("*.pcap*"))]


def _worst_first(bad: Sequence[Fate]) -> Sequence[Fate]:
    return sorted(bad, key=lambda fate: (not fate.wrong, fate.trial))


def _bad_trial(run: Run, cell: Cell, fate: Fate) -> BadTrial:
    column = cell.expected["column"]
    return BadTrial(
        row=cell.expected["row"],
        column=f"{column['pair']}, {column['role']}",
        trial=fate.trial,
        happened="; ".join(text for text in (_word(cell, fate), _damage(fate)) if text),
        expected=bound_in_words(cell.expected),
        error=fate.error or "",
        seed=str(fate.seed),
        captures=tuple(_captures(run, fate)),
        command=replay_command(run, cell, fate),
    )


def _text(cell: Cell) -> GridCellText:
    tone = TONES[cell.outcome]
    expected = f"expected: {bound_in_words(cell.expected)}"
    shown = cell.worst
    if shown is None:
        return GridCellText(tone, SIGNS[tone], "not measured", cell.reason, expected)
    details = []
    if len(cell.fates) > 1:
        words = Counter(_word(cell, fate) for fate in cell.fates)
        others = [f"{word}: {n} of {len(cell.fates)}" for word, n in words.items()]
        details.append(f"all {len(cell.fates)} trials" if len(words) == 1 else ", ".join(others))
    if damage := _damage(shown):
        details.append(damage)
    elif shown.fate == "mptcp" and shown.subflows is not None:
        details.append(count(shown.subflows, "subflow"))
    return GridCellText(tone, SIGNS[tone], _word(cell, shown), "; ".join(details), expected)


def _word(cell: Cell, fate: Fate) -> str:
    """What became of the connection, and whether its bytes are all right."""
    if not fate.wrong:
        return FATES[fate.fate]
    if fate not in cell.bad:
        return f"{FATES[fate.fate]}, bytes as the box changed them"
    return f"{FATES[fate.fate]}, {'bytes lost' if fate.missing_bytes and fate.ended else 'bytes wrong'}"


def _damage(fate: Fate) -> str:
    parts = []
    if fate.missing_bytes:
        lost = "lost" if fate.ended else "missing"
        parts.append(f"{significant(fate.missing_bytes)} of {significant(fate.sent_bytes)} bytes {lost}")
    if fate.surplus_bytes:
        parts.append(f"{significant(fate.surplus_bytes)} bytes more than the {significant(fate.sent_bytes)} sent")
    if fate.first_wrong is not None:
        parts.append(f"first wrong byte {significant(fate.first_wrong)}")
    return ", ".join(parts)


def _totals(found: Sequence[Cell]) -> list[str]:
    """How many cells have met which fate, in the order of :data:`FATES`."""
    shown = [cell for cell in found if cell.worst is not None]
    totals = {word: sum(cell.worst is not None and cell.worst.fate == word for cell in shown) for word in FATES}
    wrong = sum(any(fate.wrong for fate in cell.fates) for cell in shown)
    texts = [f"{FATES[word]} in {count(number, 'cell')}" for word, number in totals.items() if number]
    return [*texts, f"wrong or lost bytes in {wrong}"] if wrong else texts
