"""matrix.ktap: KTAP version 1 (Linux, Documentation/dev-tools/ktap.rst), a test per cell under one unique name.

What is unsupported is skipped; what could not be measured is an error of the testing, which KTAP marks ``# ERROR``.
The numbers of a measurement stand in a line of diagnostics before its result.
"""

from __future__ import annotations

from analysis.interop.cells import CellResult, MatrixResult, Measurement


def matrix_ktap(matrix: MatrixResult) -> str:
    """The document, as text."""
    lines = ["KTAP version 1", f"1..{len(matrix.cells)}"]
    for number, cell in enumerate(matrix.cells, start=1):
        if cell.result == "fail" and cell.reason:
            lines.append(f"# {_plain(cell.reason)}")
        if cell.measurement is not None:
            lines.append(f"# {name_of(cell)}: {number_of(cell.measurement)}")
        lines.append(f"{_status(cell)} {number} {name_of(cell)}{_directive(cell)}")
    counts = matrix.counts()
    passed, failed, invalid, skipped = (counts[word] for word in ("pass", "fail", "invalid", "unsupported"))
    lines.append(f"# Totals: pass:{passed} fail:{failed} xfail:0 xpass:0 skip:{skipped} error:{invalid}")
    return "\n".join(lines) + "\n"


def name_of(cell: CellResult) -> str:
    """``"linux to userspace: join"``."""
    return f"{cell.client} to {cell.server}: {cell.test['name']}"


def number_of(found: Measurement) -> str:
    """``"1.81e+07 bit/s (1.8e+07 to 1.82e+07, n = 3)"``: median, all values within, in the unit of matrix.json."""
    low, high = min(found.values), max(found.values)
    unit = f" {found.unit}" if found.unit else ""
    return f"{found.median.estimate:.6g}{unit} ({low:.6g} to {high:.6g}, n = {found.median.n})"


def _status(cell: CellResult) -> str:
    return "ok" if cell.result in ("pass", "unsupported") else "not ok"


def _directive(cell: CellResult) -> str:
    if cell.result == "unsupported":
        return f" # SKIP {_plain(cell.reason)}"
    if cell.result == "invalid":
        return f" # ERROR {_plain(cell.reason)}"
    return ""


def _plain(text: str) -> str:
    """On one line, and without the sign that begins a directive."""
    return " ".join(text.split()).replace("#", "no. ")
