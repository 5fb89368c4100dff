"""Everything that the report of a capture shows, gathered from its directory: values for the template, no layout."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from analysis.report.capture_budget import BudgetFigure, budget_figure, budget_rows, grouped, parts_of
from analysis.report.capture_contention import (
    BarFigure,
    ContentionLine,
    PolicyLine,
    contention_lines,
    displacement_figure,
    policy_figure,
    policy_lines,
)
from analysis.report.capture_contention import grouped as in_groups
from analysis.report.capture_directory import AnalysisDirectory
from analysis.report.capture_sequence import SequenceFigure, sequence_figure, span_axis
from analysis.report.capture_trace import Key, traces
from analysis.report.panel import Curve, panel
from analysis.report.scale import linear_axis
from analysis.report.wording import NOT_MEASURED, count, interval, quantity, share

MOST_DRAWN = 6
"""Connections with figures, those that carried most; the first of them stand open."""
MOST_OPEN = 2
MOST_ROWS = 40
"""Of a table in the page; the rest is in the Parquet file."""
SMALL_PART = 0.02
"""A direction with a smaller part of its connection's octets is not drawn: requests of a download."""
WAYS = ("client to server", "server to client")
SHORT_WAYS = ("to server", "to client")
"""Direction -> words; the client is who opened the connection."""

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TextTable:
    """A table of texts; ``left_out`` rows are in the Parquet file only."""

    caption: str
    heads: tuple[str, ...]
    numeric: frozenset[str]
    rows: tuple[tuple[str, ...], ...]
    file: str
    left_out: int = 0


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
    policies: tuple[PolicyLine, ...]
    what_if: BarFigure | None
    connections: TextTable
    subflows: TextTable
    layouts: TextTable
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
    connections = directory.rows("connections")
    subflows = directory.rows("subflows")
    layouts = directory.rows("layouts")
    label = group_labels(connections, subflows)
    budget = budget_rows(grouped(layouts, label))
    lines = contention_lines(directory.rows("contention"), label)
    policies = policy_lines(directory.rows("what_if"))
    drawn = _drawn(directory, connections, subflows)
    return CapturePage(
        files=tuple(item["name"] for item in manifest["files"]),
        headline=_headline(connections, lines),
        summary=tuple(_summary(connections, lines, policies)),
        warnings=tuple(manifest["warnings"]),
        facts=tuple(_facts(manifest)),
        drawn=tuple(drawn),
        not_drawn=sum(1 for each in _both(connections) if each) - len(drawn),
        budget=budget_figure(budget) if budget else None,
        contention=tuple(lines),
        displacement=displacement_figure(lines),
        policies=tuple(policies),
        what_if=policy_figure(policies),
        connections=connection_table(connections),
        subflows=subflow_table(subflows),
        layouts=layout_table(layouts),
        tables=tuple(sorted(path.name for path in directory.path.glob("*.parquet"))),
    )


def group_labels(connections: Sequence[Row], subflows: Sequence[Row]) -> dict[tuple[int, int], str]:
    """(subflow, direction) -> the group in which its segments are counted: MPTCP or TCP, and the direction."""
    kinds = {row["connection"]: protocol(row) for row in connections}
    several = len({kind.split()[0] for kind in kinds.values()}) > 1
    return {
        (row["subflow"], direction): (f"{kinds[row['connection']].split()[0]}, " if several else "") + WAYS[direction]
        for row in subflows
        for direction in (0, 1)
    }


def protocol(row: Row) -> str:
    """``MPTCP v1``, ``TCP``."""
    return "TCP" if row["version"] is None else f"MPTCP v{row['version']}"


def _both(connections: Sequence[Row]) -> list[Row]:
    return [row for row in connections if any(row[f"goodput_octets_{way}"] for way in ("there", "back"))]


def _headline(connections: Sequence[Row], lines: Sequence[ContentionLine]) -> str:
    multipath = sum(row["version"] is not None for row in connections)
    plain = len(connections) - multipath
    parts = [count(multipath, "MPTCP connection")] * bool(multipath) + [count(plain, "TCP connection")] * bool(plain)
    text = " and ".join(parts)
    wanted = sum(line.sums["sack_wanted"] for line in lines)
    displaced = sum(line.displaced for line in lines)
    if wanted:
        return f"{text}: {share(displaced / wanted)} of the SACK blocks wanted found no room"
    return f"{text}: no SACK block was wanted"


def _summary(connections: Sequence[Row], lines: Sequence[ContentionLine], policies: Sequence[PolicyLine]) -> list[str]:
    octets = sum(row[f"goodput_octets_{way}"] or 0 for row in connections for way in ("there", "back"))
    again = sum(row[f"retransmitted_octets_{way}"] or 0 for row in connections for way in ("there", "back"))
    twice = sum(row[f"reinjected_octets_{way}"] or 0 for row in connections for way in ("there", "back"))
    found = [
        f"{quantity(octets, 'bytes')} of data, {quantity(again, 'bytes')} retransmitted, "
        f"{quantity(twice, 'bytes')} reinjected"
    ]
    best = min((line for line in policies if line.rate is not None), key=lambda line: line.rate or 0.0, default=None)
    wanted = sum(line.sums["sack_wanted"] for line in lines)
    if best is not None and wanted and (best.rate or 0.0) < sum(line.displaced for line in lines) / wanted:
        found.append(f"{best.policy} would have displaced {share(best.rate)}")
    return found


def _facts(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    facts = []
    for item in manifest["files"]:
        counts = item["counts"]
        others = ", ".join(f"{word} {in_groups(number)}" for word, number in counts["not_tcp"].items())
        words = f"{count(counts['packets'], 'packet')}, {in_groups(counts['tcp'])} of TCP"
        words += f"; not TCP: {others}" if others else ""
        words += f"; {in_groups(counts['truncated'])} cut by the capture" if counts["truncated"] else ""
        words += f"; {quantity(counts['last_ns'] - counts['first_ns'], 'ns')}" if counts["packets"] else ""
        facts.append((item["name"], words))
    return facts


def _drawn(directory: AnalysisDirectory, connections: Sequence[Row], subflows: Sequence[Row]) -> list[DrawnConnection]:
    chosen = sorted(
        _both(connections),
        key=lambda row: -sum(row[f"goodput_octets_{way}"] or 0 for way in ("there", "back")),
    )[:MOST_DRAWN]
    spans: dict[Key, tuple[int, int]] = {}
    bases: dict[Key, int] = {}
    for row in chosen:
        octets = [row[f"goodput_octets_{way}"] or 0 for way in ("there", "back")]
        for direction, way in enumerate(("there", "back")):
            if octets[direction] > SMALL_PART * sum(octets):
                key = (row["connection"], direction)
                spans[key] = (row["first_ns"], row["last_ns"])
                bases[key] = row[f"first_dsn_{way}"] or 0
    found = traces(directory, spans, bases) if spans else {}
    rates = directory.rows("throughput") if spans else []
    names = {row["subflow"]: subflow_name(row) for row in subflows}
    drawn = []
    for row in chosen:
        ways: list[tuple[str, SequenceFigure | None, RateFigure | None]] = []
        for direction in (0, 1):
            trace = found.get((row["connection"], direction))
            if trace is None:
                continue
            title = f"connection {row['connection']}, {WAYS[direction]}"
            figure = None
            if trace.outline.lanes:
                figure = sequence_figure(title, trace.outline, names, row["first_ns"], trace.packets, trace.scope)
            mine = [
                each for each in rates
                if each["connection"] == row["connection"] and each["direction"] == direction
            ]  # fmt: skip
            ways.append((WAYS[direction], figure, rate_figure(title, row, mine, names)))
        drawn.append(DrawnConnection(row["connection"], _title(row), _words(row), tuple(ways)))
    return drawn


def subflow_name(row: Row) -> str:
    """``0: 10.0.1.1:4242 > 10.0.2.1:80``."""
    return f"{row['subflow']}: {row['opener']} > {row['listener']}"


def _title(row: Row) -> str:
    return f"{protocol(row)} connection {row['connection']}: {row['opener']} > {row['listener']}"


def _words(row: Row) -> str:
    parts = [count(row["subflows"], "subflow"), quantity(row["last_ns"] - row["first_ns"], "ns")]
    for direction, way in enumerate(("there", "back")):
        octets = row[f"goodput_octets_{way}"]
        if octets:
            parts.append(f"{WAYS[direction]} {quantity(octets, 'bytes')}")
    if row["inferred"]:
        parts.append(f"inferred: {row['inferred']}")
    return ", ".join(parts)


def rate_figure(title: str, connection: Row, rows: Sequence[Row], names: Mapping[int, str]) -> RateFigure | None:
    """Payload by subflow and new data of the connection over time."""
    if not rows:
        return None
    width = rows[0]["bin_ns"]
    first, last = connection["first_ns"], connection["last_ns"]
    by_subflow: dict[int, dict[int, Row]] = defaultdict(dict)
    for row in rows:
        by_subflow[row["subflow"]][row["time_ns"]] = row
    times = np.arange(min(row["time_ns"] for row in rows), max(row["time_ns"] for row in rows) + 1, width)
    x = (times + width / 2 - first).astype(np.float64)
    curves, cells = [], []
    new = np.zeros(times.size)
    for subflow, bins in sorted(by_subflow.items()):
        y = np.array([bins[time]["payload"] if time in bins else 0 for time in times.tolist()], dtype=np.float64)
        new += np.array([bins[time]["new_octets"] if time in bins else 0 for time in times.tolist()])
        curves.append(Curve(names.get(subflow, f"subflow {subflow}"), x, y * 8e9 / width, 1 + subflow, unbroken=True))
        total = sum(row["payload"] for row in bins.values())
        again = sum(row["retransmitted"] or 0 for row in bins.values())
        twice = sum(row["reinjected"] or 0 for row in bins.values())
        cells.append((curves[-1].label, quantity(total, "bytes"), quantity(again, "bytes"), quantity(twice, "bytes")))
    if len(curves) > 1:
        curves.insert(0, Curve("new data of the connection", x, new * 8e9 / width, 0, unbroken=True))
    x_axis = span_axis(0, last - first)
    y_axis = linear_axis([0.0, *(float(curve.y.max()) for curve in curves)], "bit/s", count=4)
    described = "; ".join(f"{curve.label}: mean {quantity(float(curve.y.mean()), 'bit/s')}" for curve in curves)
    drawing = panel(f"Throughput over time: {title}", described, curves, x_axis, y_axis, 120)
    heading = f"Throughput, {y_axis.unit.name}, in steps of {quantity(width, 'ns')}"
    return RateFigure(heading, drawing, tuple((curve.css, curve.label) for curve in curves), tuple(cells))


def connection_table(rows: Sequence[Row]) -> TextTable:
    """One row for each direction that carried data."""
    heads = (
        "connection", "client > server", "subflows", "time", "direction", "data", "goodput", "retransmitted",
        "reinjected", "out of order", "waited for holes, 95 %",
    )  # fmt: skip
    texts = []
    for row in rows:
        span = row["last_ns"] - row["first_ns"]
        about = (
            f"{row['connection']} {protocol(row)}{', inferred' if row['inferred'] else ''}",
            f"{row['opener']} > {row['listener']}",
            str(row["subflows"]),
            quantity(span, "ns"),
        )
        for direction, way in enumerate(("there", "back")):
            octets = row[f"goodput_octets_{way}"]
            if octets or not direction:
                texts.append(
                    (
                        *about,
                        SHORT_WAYS[direction],
                        quantity(octets, "bytes"),
                        quantity(octets * 8e9 / span if octets and span else None, "bit/s"),
                        quantity(row[f"retransmitted_octets_{way}"], "bytes"),
                        quantity(row[f"reinjected_octets_{way}"], "bytes"),
                        _number(row[f"out_of_order_{way}"]),
                        quantity(row[f"hol_delay_p95_ns_{way}"], "ns"),
                    )
                )
    numeric = frozenset(heads) - {"connection", "client > server", "direction"}
    return _cut("Connections, one row for each direction with data", heads, numeric, texts, "connections.parquet")


def subflow_table(rows: Sequence[Row]) -> TextTable:
    """One row for each subflow and direction."""
    heads = (
        "subflow", "connection", "client > server", "opened", "direction", "packets", "payload", "retransmitted",
        "reinjected", "RTT, least to 95 %", "MSS", "option octets",
    )  # fmt: skip
    texts = []
    for row in rows:
        for direction, way in enumerate(("there", "back")):
            texts.append(
                (
                    str(row["subflow"]),
                    str(row["connection"]),
                    f"{row['opener']} > {row['listener']}",
                    row["how"] + (", backup" if row["backup"] else ""),
                    SHORT_WAYS[direction],
                    _number(row[f"packets_{way}"]),
                    quantity(row[f"payload_{way}"], "bytes"),
                    quantity(row[f"retransmitted_octets_{way}"], "bytes"),
                    quantity(row[f"reinjected_octets_{way}"], "bytes"),
                    interval(row[f"rtt_min_ns_{way}"], row[f"rtt_p95_ns_{way}"], "ns"),
                    _number(row[f"mss_{way}"]),
                    quantity(row[f"option_octets_{way}"], "bytes"),
                )
            )
    numeric = frozenset(heads) - {"client > server", "opened", "direction"}
    return _cut("Subflows, one row for each direction", heads, numeric, texts, "subflows.parquet")


def layout_table(rows: Sequence[Row]) -> TextTable:
    """Option layouts by how many segments had them."""
    heads = ("segments", "share", "on", "options in the order on the wire", "octets", "padding", "free")
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for row in rows:
        counts[row["layout"], row["segment"]] += row["segments"]
    whole = sum(counts.values())
    texts = []
    for (layout, segment), number in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        parts = parts_of(layout)
        texts.append(
            (
                in_groups(number),
                share(number / whole),
                segment,
                layout or "none",
                str(sum(parts.values()) - parts["free"]),
                str(parts["padding"]),
                str(parts["free"]),
            )
        )
    numeric = frozenset(heads) - {"on", "options in the order on the wire"}
    return _cut("Option layouts, the most frequent first", heads, numeric, texts, "layouts.parquet")


def _cut(
    caption: str, heads: tuple[str, ...], numeric: frozenset[str], rows: Sequence[tuple[str, ...]], file: str
) -> TextTable:
    shown = tuple(rows[:MOST_ROWS])
    return TextTable(caption, heads, numeric, shown, file, len(rows) - len(shown))


def _number(value: int | None) -> str:
    return NOT_MEASURED if value is None else in_groups(value)
