"""A grid of expectations: what may become of a connection, cell by cell, and what its bytes may look like.

An experiment that asks *what happened* rather than *how fast* has one: its rows are situations (a middlebox, a kind of
loss), its columns are who talks to whom. Each cell is one variant, and is judged by every one of its trials.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Literal

Fate = Literal["mptcp", "fallback", "tcp", "reset", "unfinished", "no connection"]
"""What became of the connection. ``mptcp``: still MPTCP when the transfer had come to its end; ``fallback``: MPTCP was
asked for, and it ended as plain TCP; ``tcp``: plain TCP was asked for; ``reset``: it broke; ``unfinished``: it stood
and did not get everything across in time; ``no connection``: it was never established."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GridRow:
    """One situation."""

    name: str
    text: str
    """What stands in the way, in words."""
    because: str
    """Why what is expected is expected, with its source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GridColumn:
    """Who talks to whom. Columns of one ``pair`` stand together."""

    pair: str
    """``userspace/linux``: client and server."""
    role: str
    """``client sends``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GridCell:
    """One variant and what may become of it."""

    variant: str
    row: str
    """Name of its row."""
    column: GridColumn
    fates: tuple[Fate, ...]
    """Any of these is right."""
    altered: tuple[Fate, ...] = ()
    """With one of these the bytes may differ, because what stands in the way changes them, and nothing that this
    connection has (no checksum) could tell. Otherwise each byte arrives as it was sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Rows in order, and their cells; the order of the columns is that in which the cells have them first."""

    heading: str
    """Of the rows: ``middlebox``."""
    rows: tuple[GridRow, ...]
    cells: tuple[GridCell, ...]

    def only(self, variants: Collection[str]) -> Grid:
        """Without the cells of other variants, and without rows that have none then."""
        cells = tuple(cell for cell in self.cells if cell.variant in variants)
        used = {cell.row for cell in cells}
        return replace(self, cells=cells, rows=tuple(row for row in self.rows if row.name in used))

    def problem(self, variants: Collection[str]) -> str | None:
        """Why it does not fit to the variants; None: it does."""
        rows = [row.name for row in self.rows]
        named = [cell.variant for cell in self.cells]
        places = [(cell.row, cell.column) for cell in self.cells]
        if len(set(rows)) < len(rows) or len(set(named)) < len(named) or len(set(places)) < len(places):
            return "the rows, the variants and the places of a grid are distinct"
        for cell in self.cells:
            if cell.variant not in variants:
                return f"a cell of the grid speaks of {cell.variant!r}, which is no variant"
            if cell.row not in rows:
                return f"the cell of {cell.variant} is in a row {cell.row!r} that the grid has not"
            if not cell.fates or not set(cell.altered) <= set(cell.fates):
                return f"the cell of {cell.variant} names what may happen, and what may alter bytes is among it"
        return None
