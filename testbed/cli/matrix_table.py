"""The grid of ``testbed matrix`` on a terminal."""

from __future__ import annotations

from pathlib import Path

from analysis.interop import MatrixResult
from analysis.report.interop_page import MatrixPage, Number, PairCell, gather
from testbed.cli.console import console, table

MOST_LINES = 40
"""Of cells that do not pass; the page has them all."""


def print_matrix(matrix: MatrixResult, path: Path) -> None:
    """Client by server, the letters of the tests behind their result; numbers; failures; where the page is."""
    page = gather(matrix)
    output = console()
    if any(cells for _, cells in page.grid) and page.legend:
        rows = [[client, *(_text(cell) for cell in cells)] for client, cells in page.grid]
        output.print(table(["client", *(f"to {name}" for name in page.servers)], rows))
        letters = ", ".join(f"{letter} {name}" for letter, name in page.legend)
        output.print(f"✓ pass  ✗ FAIL  ? INVALID  – unsupported  ~ flaky\n{letters}", markup=False, soft_wrap=True)
    for numbers in page.numbers:
        output.print(f"\n{numbers.name}: {numbers.unit_note}", markup=False, soft_wrap=True)
        cells = [[client, *(_number(cell) for cell in line)] for client, line in numbers.rows]
        output.print(table(["client", *(f"to {name}" for name in page.servers)], cells))
    _print_failures(page)
    output.print(page.headline, markup=False, soft_wrap=True)
    for note in page.notes:
        output.print(f"! {note}", markup=False, soft_wrap=True)
    output.print(f"matrix: {path / 'matrix.html'}", markup=False, soft_wrap=True)


def _text(cell: PairCell) -> str:
    if cell.nothing:
        return f"– {cell.nothing}"
    return "\n".join(f"{line.sign} {' '.join(letters for letters, _, _ in line.tests)}" for line in cell.lines)


def _number(number: Number) -> str:
    best = "◆ " if number.is_best else ""
    return f"{best}{number.text} ({number.spread})" if number.spread else number.text


def _print_failures(page: MatrixPage) -> None:
    output = console()
    for line in page.to_look_at[:MOST_LINES]:
        known = f" [known: {line.known}]" if line.known else ""
        text = f"{line.sign} {line.word} {line.test}, {line.pair}: {line.reason}{known}"
        output.print(text, markup=False, soft_wrap=True)
    left = len(page.to_look_at) - MOST_LINES
    if left > 0:
        output.print(f"... and {left} more in the page", markup=False)
