"""Everything that the report of a capture shows, gathered from its directory: values for the template, no layout."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from analysis.report.capture_budget import BudgetFigure, budget_figure, budget_rows, grouped
from analysis.report.capture_contention import (
    BarFigure,
    ContentionLine,
    PolicyLine,
    contention_lines,
    displacement_figure,
    policy_figure,
    policy_in_words,
    policy_lines,
)
from analysis.report.capture_directory import MANIFEST, AnalysisDirectory, place_name
from analysis.report.capture_sequence import SequenceFigure, sequence_figure, span_axis
from analysis.report.capture_tables import (
    PLACES,
    SHORT_WAYS,
    WAYS,
    Connection,
    Row,
    TextTable,
    address_table,
    connection_table,
    connections_of,
    delay_table,
    gather_facts,
    group_labels,
    headline,
    layout_table,
    one_way_table,
    subflow_name,
    subflow_table,
)
from analysis.report.capture_trace import Key, Wanted, traces
from analysis.report.panel import Curve, FloatArray, panel
from analysis.report.scale import linear_axis
from analysis.report.wording import count, quantity, share

MOST_DRAWN = 6
"""Connections with figures, those that carried most; the first of them stand open."""
MOST_OPEN = 2
MOST_WARNINGS = 12
MOST_BINS = 120
"""Of a curve of throughput."""
SMALL_PART = 0.02
"""A direction with a smaller part of its connection's octets is not drawn: requests of a download."""


@dataclass(frozen=True, slots=True)
class RateFigure:
    """Throughput over time of one direction."""

    heading: str
    drawing: Markup
    legend: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class DrawnConnection:
    """One connection with its figures."""

    number: int
    title: str
    summary: str
    ways: tuple[tuple[str, SequenceFigure | None, RateFigure | None], ...]


@dataclass(frozen=True, slots=True)
class CapturePage:
    """The content of a report."""

    files: tuple[str, ...]
    headline: str
    summary: tuple[str, ...]
    warnings: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    drawn: tuple[DrawnConnection, ...]
    not_drawn: int
    budget: BudgetFigure | None
    contention: tuple[ContentionLine, ...]
    displacement: BarFigure | None
    delays: TextTable
    addresses: TextTable
    policies: tuple[tuple[PolicyLine, str], ...]
    """With what they mean."""
    what_if: BarFigure | None
    connections: TextTable
    subflows: TextTable
    layouts: TextTable
    one_way: TextTable
    at: str
    """Where it was captured, in words; empty: not known."""
    places: tuple[tuple[str, str], ...]
    """(directory, files) of the other places."""
    tables: tuple[str, ...]
    """Names of the Parquet files beside the page."""

    @property
    def open(self) -> tuple[DrawnConnection, ...]:
        """Those shown at once."""
        return self.drawn[:MOST_OPEN]

    @property
    def folded(self) -> tuple[DrawnConnection, ...]:
        """Those behind a click."""
        return self.drawn[MOST_OPEN:]


def gather(directory: AnalysisDirectory) -> CapturePage:
    """The content of the report of that directory."""
    manifest = directory.manifest
    connections = connections_of(directory.rows("connections"))
    subflows = directory.rows("subflows")
    layouts = directory.rows("layouts")
    label = group_labels(connections, subflows)
    budget = budget_rows(grouped(layouts, label))
    contention = directory.rows("contention")
    lines = contention_lines(contention, label)
    policies = policy_lines(directory.rows("what_if"))
    drawn = _drawn(directory, connections, subflows)
    return CapturePage(
        files=tuple(item["name"] for item in manifest["files"]),
        headline=headline(connections, lines),
        summary=tuple(_summary(connections, lines, policies)),
        warnings=shortened(manifest["warnings"]),
        facts=tuple(gather_facts(manifest)),
        drawn=tuple(drawn),
        not_drawn=len(_with_data(connections)) - len(drawn),
        budget=budget_figure(budget) if budget else None,
        contention=tuple(lines),
        displacement=displacement_figure(lines),
        delays=delay_table(contention),
        addresses=address_table(directory.rows("add_addr")),
        policies=tuple((line, policy_in_words(line.policy)) for line in policies),
        what_if=policy_figure(policies),
        connections=connection_table(connections),
        subflows=subflow_table(subflows),
        layouts=layout_table(layouts),
        one_way=one_way_table(directory.rows("one_way")),
        at=PLACES.get(manifest["at"], ""),
        places=tuple((place_name(number), name) for number, name in enumerate(manifest["others"], start=2)),
        tables=tuple(sorted(path.name for path in directory.path.glob("*.parquet"))),
    )


def shortened(warnings: Sequence[str]) -> tuple[str, ...]:
    """The first ones, and how many more there are."""
    if len(warnings) <= MOST_WARNINGS:
        return tuple(warnings)
    more = len(warnings) - MOST_WARNINGS + 1
    return (*warnings[: MOST_WARNINGS - 1], f"{more} more warnings stand in {MANIFEST}")


def _with_data(connections: Sequence[Connection]) -> list[Connection]:
    return [connection for connection in connections if connection.octets]


def _summary(
    connections: Sequence[Connection], lines: Sequence[ContentionLine], policies: Sequence[PolicyLine]
) -> list[str]:
    ways = [row for connection in connections for row in connection.ways]
    octets, again, twice = (
        sum(row[name] for row in ways) for name in ("goodput_octets", "retransmitted_octets", "reinjected_octets")
    )
    found = [
        f"{quantity(octets, 'bytes')} of data, {quantity(again, 'bytes')} retransmitted, "
        f"{quantity(twice, 'bytes')} reinjected"
    ]
    best = min((line for line in policies if line.rate is not None), key=lambda line: line.rate or 0.0, default=None)
    wanted = sum(line.sums["sack_wanted"] for line in lines)
    if best is not None and wanted and (best.rate or 0.0) < sum(line.displaced for line in lines) / wanted:
        found.append(f"the same segments packed under the policy {best.policy} would have left out {share(best.rate)}")
    return found


def _drawn(
    directory: AnalysisDirectory, connections: Sequence[Connection], subflows: Sequence[Row]
) -> list[DrawnConnection]:
    chosen = sorted(_with_data(connections), key=lambda connection: -connection.octets)[:MOST_DRAWN]
    wanted: dict[Key, Wanted] = {}
    for connection in chosen:
        for row in connection.ways:
            if row["goodput_octets"] > SMALL_PART * connection.octets:
                base = row["idsn"] + 1 if row["mptcp"] and row["idsn"] is not None else None
                span = connection.first_ns, connection.first_ns + connection.span_ns
                wanted[row["connection"], row["direction"]] = Wanted(*span, base)
    found = traces(directory, wanted) if wanted else {}
    rates: dict[Key, list[Row]] = defaultdict(list)
    for row in directory.rows("series"):
        rates[row["connection"], row["direction"]].append(row)
    names = {row["subflow"]: subflow_name(row) for row in subflows if not row["direction"]}
    drawn = []
    for connection in chosen:
        ways: list[tuple[str, SequenceFigure | None, RateFigure | None]] = []
        for direction in (0, 1):
            key = (connection.number, direction)
            trace = found.get(key)
            if trace is None:
                continue
            title = f"connection {connection.number}, {WAYS[direction]}"
            figure = None
            if trace.outline.lanes:
                figure = sequence_figure(title, trace.outline, names, connection.first_ns, trace.packets, trace.scope)
            ways.append((WAYS[direction], figure, rate_figure(title, connection, rates[key], names)))
        head = f"{connection.protocol} connection {connection.number}: {connection.ends}"
        drawn.append(DrawnConnection(connection.number, head, _words(connection), tuple(ways)))
    return drawn


def _words(connection: Connection) -> str:
    parts = [count(connection.ways[0]["subflows"], "subflow"), quantity(connection.span_ns, "ns")]
    parts += [
        f"{quantity(row['goodput_octets'], 'bytes')} {SHORT_WAYS[row['direction']]}"
        for row in connection.ways
        if row["goodput_octets"]
    ]
    if connection.inferred:
        parts.append(f"inferred: {connection.inferred}")
    return ", ".join(parts)


def rate_figure(title: str, connection: Connection, rows: Sequence[Row], names: Mapping[int, str]) -> RateFigure | None:
    """Payload by subflow and new data of the connection over time."""
    carried: dict[int, dict[int, Row]] = defaultdict(dict)
    for row in rows:
        carried[row["subflow"]][row["time_ns"]] = row
    by_subflow = {
        subflow: bins for subflow, bins in sorted(carried.items())
        if any(row["payload_octets"] for row in bins.values())
    }  # fmt: skip
    if not by_subflow:
        return None
    everything = [time for bins in by_subflow.values() for time in bins]
    grid = _Grid.over(everything, rows[0]["bin_ns"])
    x = grid.middles() - connection.first_ns
    curves, cells = [], []
    new = np.zeros(grid.count)
    for subflow, bins in by_subflow.items():
        label = names.get(subflow, f"subflow {subflow}")
        curves.append(Curve(label, x, grid.rates(bins, "payload_octets"), 1 + subflow, unbroken=True))
        new += grid.rates(bins, "new_octets")
        sums = [sum(row[name] for row in bins.values()) for name in _CARRIED]
        cells.append((label, *(quantity(total, "bytes") for total in sums)))
    if len(curves) > 1:
        curves.insert(0, Curve("new data of the connection", x, new, 0, unbroken=True))
    x_axis = span_axis(0, connection.span_ns)
    y_axis = linear_axis([0.0, *(float(curve.y.max()) for curve in curves)], "bit/s", count=4)
    described = "; ".join(f"{curve.label}: mean {quantity(float(curve.y.mean()), 'bit/s')}" for curve in curves)
    drawing = panel(f"Throughput over time: {title}", described, curves, x_axis, y_axis, 120)
    heading = f"Throughput, {y_axis.unit.name}, in steps of {quantity(grid.width, 'ns')}"
    return RateFigure(heading, drawing, tuple((curve.css, curve.label) for curve in curves), tuple(cells))


_CARRIED = ("payload_octets", "new_octets", "retransmitted_octets", "reinjected_octets")


@dataclass(frozen=True, slots=True)
class _Grid:
    """Bins of the figure: whole multiples of those of the table, few enough to be told apart."""

    first: int
    width: int
    count: int

    @classmethod
    def over(cls, times: Sequence[int], bin_ns: int) -> _Grid:
        first, last = min(times), max(times)
        steps = (factor * 10**power for power in range(12) for factor in (1, 2, 5))
        width = bin_ns * next(step for step in steps if (last - first) // (bin_ns * step) < MOST_BINS)
        return cls(first, width, (last - first) // width + 1)

    def middles(self) -> FloatArray:
        """Times of the bins."""
        return np.asarray(self.first + self.width * (np.arange(self.count) + 0.5), dtype=np.float64)

    def rates(self, bins: Mapping[int, Row], name: str) -> FloatArray:
        """bit/s of a column of octets."""
        octets = np.zeros(self.count, dtype=np.float64)
        for time, row in bins.items():
            octets[(time - self.first) // self.width] += row[name]
        return np.asarray(octets * 8e9 / self.width, dtype=np.float64)
