"""Client x server x test between implementations: which variants are which cell, and which cells cannot be asked.

An experiment that compares implementations has one. What may become of a cell's connection is in its
:class:`~testbed.orchestrator.grid.Grid`, what else must hold in its expectations; a cell passes when all of that does.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class InteropTest:
    """One thing that is asked of every pair."""

    name: str
    """One word, as ``--tests`` takes it."""
    abbreviation: str
    """One to three letters: what stands in a cell of the grid."""
    summary: str
    """What is asked, in one sentence."""
    source: str
    """Section of RFC 8684, or another source."""
    judged: str
    """By what it is judged, in words."""
    kind: Literal["test", "measurement"] = "test"
    measure: str = ""
    """Of a measurement: what is measured (``testbed/record/measure.py``), of flow ``main``."""
    better: Literal["", "largest", "smallest"] = ""
    """Of a measurement: which is better; empty: neither."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InteropImplementation:
    """One row and column of the grid."""

    name: str
    """As ``--implementations`` takes it: ``userspace:rfc8684``."""
    summary: str
    url: str = ""
    """Where it is at home."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InteropCell:
    """One test between a client and a server."""

    test: str
    client: str
    server: str
    variant: str = ""
    """Empty: it cannot be asked, and ``unsupported`` says why."""
    unsupported: str = ""
    known: str = ""
    """What is known of a failure here: said beside it, and no excuse for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interop:
    """Everything of the grid that is not traffic; the order of all is that in which it is shown."""

    tests: tuple[InteropTest, ...]
    clients: tuple[InteropImplementation, ...]
    servers: tuple[InteropImplementation, ...]
    cells: tuple[InteropCell, ...]

    def only(self, variants: Collection[str]) -> Interop:
        """With the cells of these variants, and of what is left those that cannot be asked."""
        asked = [cell for cell in self.cells if cell.variant in variants]
        tests, clients, servers = ({getattr(cell, key) for cell in asked} for key in ("test", "client", "server"))
        cells = tuple(
            cell
            for cell in self.cells
            if cell.variant in variants
            or (not cell.variant and cell.test in tests and cell.client in clients and cell.server in servers)
        )
        return replace(
            self,
            tests=tuple(each for each in self.tests if each.name in tests),
            clients=tuple(each for each in self.clients if each.name in clients),
            servers=tuple(each for each in self.servers if each.name in servers),
            cells=cells,
        )

    def problem(self, variants: Collection[str]) -> str | None:
        """Why it does not fit to the variants; None: it does."""
        tests, clients, servers = ([each.name for each in group] for group in (self.tests, self.clients, self.servers))
        for what, words in (
            ("tests", tests),
            ("abbreviations", [test.abbreviation for test in self.tests]),
            ("clients", clients),
            ("servers", servers),
        ):
            if len(set(words)) < len(words):
                return f"the {what} of a matrix are distinct"
        places = [(cell.test, cell.client, cell.server) for cell in self.cells]
        if len(set(places)) < len(places):
            return "a matrix has one cell of a test for a client and a server"
        for cell in self.cells:
            if cell.test not in tests or cell.client not in clients or cell.server not in servers:
                return f"the cell {cell.test} of {cell.client} and {cell.server} is of no test, client or server"
            if bool(cell.variant) == bool(cell.unsupported):
                return f"the cell {cell.test} of {cell.client} and {cell.server} has a variant, or a reason for none"
            if cell.variant and cell.variant not in variants:
                return f"a cell of the matrix speaks of {cell.variant!r}, which is no variant"
        return None
