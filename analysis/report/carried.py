"""What each subflow carried before, during and after outages: whether traffic left a path, and came back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from analysis.report.changes import Outage, changes_of, outages
from analysis.report.time_figures import Received, TrialCurves
from analysis.report.wording import quantity, share

MOST_PHASES = 9
"""A trial with more than four outages has no such table."""


@dataclass(frozen=True, slots=True)
class CarriedRow:
    """One curve of one trial: bytes in each phase, and a subflow's share of what all subflows carried then."""

    variant: str
    trial: int
    curve: str
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CarriedTable:
    """Trials with the same outages."""

    phases: tuple[str, ...]
    """``"0 to 6 s"``, ``"6 s to 12 s: wifi down"``, ``"12 s to the end"``."""
    rows: tuple[CarriedRow, ...]


def carried_tables(
    curves: Mapping[str, TrialCurves], events: Mapping[int, Sequence[Mapping[str, Any]]]
) -> list[CarriedTable]:
    """``curves``: variant -> those of its representative trial. Empty without outages."""
    by_phases: dict[tuple[str, ...], list[CarriedRow]] = {}
    for variant, found in curves.items():
        end_ns = found.end_ns()
        dark = outages(changes_of(events.get(found.trial, ())), end_ns)
        edges = sorted({0, *(outage.start_ns for outage in dark), *(outage.end_ns for outage in dark), int(end_ns)})
        if dark and len(edges) <= MOST_PHASES + 1:
            phases = tuple(_phase(start, end, end == edges[-1], dark) for start, end in pairwise(edges))
            by_phases.setdefault(phases, []).extend(_rows(variant, found, edges))
    return [CarriedTable(phases, tuple(rows)) for phases, rows in by_phases.items()]


def _phase(start_ns: int, end_ns: int, last: bool, dark: Sequence[Outage]) -> str:
    names = [outage.link for outage in dark if outage.start_ns <= start_ns and end_ns <= outage.end_ns]
    span = f"{_time(start_ns)} to {'the end' if last else _time(end_ns)}"
    return f"{span}: {', '.join(names)} down" if names else span


def _time(time_ns: int) -> str:
    return quantity(round(time_ns, -8), "ns") if time_ns else "0"


def _rows(variant: str, curves: TrialCurves, edges: Sequence[int]) -> list[CarriedRow]:
    grown = [
        (received, np.diff(np.interp(edges, *received.points(), right=received.total_bytes)))
        for received in curves.received
    ]
    rows = []
    alone = sum(received.subflow for received in curves.received) == 1
    for received, parts in grown:
        if received.subflow and alone and len(grown) > 1:
            continue  # one subflow carries what the application gets
        together = sum(
            (other for item, other in grown if item.subflow and item.direction == received.direction),
            start=np.zeros(len(edges) - 1),
        )
        cells = [
            quantity(float(part), "bytes")
            + (f", {share(float(part / whole))}" if received.subflow and whole > 0 else "")
            for part, whole in zip(parts, together, strict=True)
        ]
        rows.append(CarriedRow(variant, curves.trial, _name(received), tuple(cells)))
    return rows


def _name(received: Received) -> str:
    return f"{received.label}, {received.direction}" if received.direction else received.label
