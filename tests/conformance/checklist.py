"""The checklist of requirements: 150 rows, each of which has a test whose name begins with the row's id.

Groups: A general, B MP_CAPABLE, J MP_JOIN, D DSS, W window and reliability, G addresses, I fast close and reset, K
fallback (all RFC 8684), L middleboxes to emulate, M congestion control (RFC 6356 and others), T TCP (RFC 9293's ids
unless named). The rows stand in ``checklist.csv``; ``docs/rfc8684-coverage.md`` is made of them and of the tests that
are found (``coverage_document.py``).
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple


class Row(NamedTuple):
    """One requirement."""

    id: str
    level: str
    """MUST, SHOULD, MAY, their NOT forms; empty: defined behaviour without such a word."""
    section: str
    """Of RFC 8684, unless it names another document."""
    requirement: str
    module: str
    """Where it is done mainly; several files with a space between."""
    not_done: str
    """Why not; such a row needs no test. Empty: it is done."""


GROUPS = {
    "A": "General (RFC 8684 §3, §7)",
    "B": "MP_CAPABLE",
    "J": "MP_JOIN",
    "D": "DSS, DATA_ACK, DATA_FIN",
    "W": "Receive window, reliability",
    "G": "ADD_ADDR, REMOVE_ADDR, MP_PRIO",
    "I": "MP_FASTCLOSE, MP_TCPRST",
    "K": "Fallback",
    "L": "Middlebox behaviours to emulate (§6)",
    "M": "Congestion control (RFC 6356 and others)",
    "T": "TCP (RFC 9293's ids unless named)",
}


def _read() -> tuple[Row, ...]:
    with Path(__file__).with_name("checklist.csv").open(encoding="utf-8", newline="") as file:
        return tuple(Row(**row) for row in csv.DictReader(file))


ROWS: tuple[Row, ...] = _read()
