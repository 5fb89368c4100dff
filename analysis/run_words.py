"""A run in a few words, for whoever prints it: in a terminal, or in a notebook."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from testbed.record import TABLES

if TYPE_CHECKING:
    from analysis.runs import Run

_VARIANTS_SHOWN = 8


def in_words(run: Run) -> str:
    """Several lines, the first of them the path."""
    return "\n".join([f"Run {run.path}", *(f"  {name}: {text}" for name, text in _facts(run))])


def as_html(run: Run) -> str:
    """A small table."""
    rows = "".join(
        f'<tr><th scope="row" style="text-align:left">{escape(name)}</th>'
        f'<td style="text-align:left">{escape(text)}</td></tr>'
        for name, text in _facts(run)
    )
    return f'<table><caption style="text-align:left">Run <code>{escape(str(run.path))}</code></caption>{rows}</table>'


def _facts(run: Run) -> Iterator[tuple[str, str]]:
    experiment, document = run.experiment, run.document
    yield "experiment", f"{experiment['name']}: {experiment['question']}"
    yield "state", _state(run)
    yield "made", f"{document['started_utc']}, backend {document['backend']}, seed {document['seed']}"
    names = list(run.variants)
    shown = ", ".join(names[:_VARIANTS_SHOWN])
    more = f" and {len(names) - _VARIANTS_SHOWN} more" if len(names) > _VARIANTS_SHOWN else ""
    yield "variants", f"{len(names)} ({shown}{more})"
    if run.is_complete:
        yield "rows", ", ".join(f"{name} {rows:,}" for name in TABLES if (rows := _rows(run, name)))


def _state(run: Run) -> str:
    planned = len(run.document["plan"])
    verdicts = Counter(str(verdict) for verdict in run.trials["verdict"])
    counted = ", ".join(f"{number} {verdict}" for verdict, number in verdicts.most_common())
    if run.is_complete:
        return f"complete, {planned} trials: {counted}"
    there = sum(verdicts.values())
    return f"INCOMPLETE, {there} of {planned} trials are in" + (f": {counted}" if there else "")


def _rows(run: Run, name: str) -> int:
    """Of a table of a complete run, without reading it."""
    path = run.path / f"{name}.parquet"
    return int(pq.read_metadata(path).num_rows) if path.exists() else 0
