"""The summary of an analysed capture: for a terminal and as JSON, from the directory that was written."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from analysis.report.capture_contention import contention_lines, policy_lines
from analysis.report.capture_directory import REPORT, AnalysisDirectory
from analysis.report.capture_tables import (
    TextTable,
    connection_table,
    connections_of,
    delay_table,
    gather_facts,
    group_labels,
    headline,
    layout_table,
    one_way_table,
    subflow_table,
)
from testbed.cli.console import console, table

MOST_ROWS = 12
"""Of a table on a terminal; the rest is in the report and in the Parquet files."""


def print_summary(path: Path) -> None:
    """Connections, subflows, layouts, contention, where the rest is."""
    directory = AnalysisDirectory(path)
    connections, subflows = connections_of(directory.rows("connections")), directory.rows("subflows")
    contention = directory.rows("contention")
    lines = contention_lines(contention, group_labels(connections, subflows))
    output = console()
    for name, words in gather_facts(directory.manifest):
        output.print(f"{name}: {words}", markup=False, soft_wrap=True)
    output.print(headline(connections, lines), markup=False, soft_wrap=True)
    output.print()
    for made in (
        connection_table(connections),
        subflow_table(subflows),
        one_way_table(directory.rows("one_way")),
        layout_table(directory.rows("layouts")),
    ):
        _print(made)
    if lines:
        heads = ("segments", "number", "contended", "SACK blocks wanted", "sent", "displaced", "by class", "header tax")
        rows = [[line.label, *line.texts()[:7]] for line in lines]
        output.print(
            table(heads, rows, title="Option contention (40 octets of TCP options)", right=(*heads[1:6], heads[7]))
        )
    _print(delay_table(contention))
    policies = policy_lines(directory.rows("what_if"))
    if any(line.wanted for line in policies):
        words_ = [[line.policy, f"{line.displaced}", f"{100 * (line.rate or 0):.1f} %"] for line in policies]
        title = "SACK blocks displaced under other policies"
        output.print(table(("policy", "displaced", "share"), words_, title=title, right=("displaced", "share")))
    report = path / REPORT
    output.print(f"tables: {path}{f'; report: {report}' if report.exists() else ''}", markup=False, soft_wrap=True)


def _print(made: TextTable) -> None:
    if not made.rows:
        return
    rows = made.rows[:MOST_ROWS]
    more = len(made.rows) - len(rows) + made.left_out
    title = made.caption + (f" (the first {len(rows)}; {more} more in {made.file})" if more else "")
    console().print(table(made.heads, rows, title=title, right=sorted(made.numeric)))


def summary(path: Path) -> dict[str, Any]:
    """Everything small, as JSON has it."""
    directory = AnalysisDirectory(path)
    layouts: Counter[str] = Counter()
    for row in directory.rows("layouts"):
        layouts[row["layout"]] += row["segments"]
    return {
        "directory": str(path),
        **{name: directory.manifest[name] for name in ("files", "at", "others", "warnings")},
        "connections": directory.rows("connections"),
        "subflows": directory.rows("subflows"),
        "layouts": dict(layouts.most_common()),
        "contention": directory.rows("contention"),
        "add_addr": directory.rows("add_addr"),
        "what_if": directory.rows("what_if"),
        "one_way": directory.rows("one_way"),
    }
