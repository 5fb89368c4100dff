"""How each variant lived through the outages of its schedule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from analysis.metrics import OutageResponse, outage_response
from analysis.report.changes import changes_of, outages
from analysis.report.findings import VariantFinding
from analysis.report.time_figures import AllSeries
from analysis.report.wording import NOT_MEASURED, interval, quantity
from analysis.runs import Run

NEVER = "not before the end"


@dataclass(frozen=True, slots=True)
class OutageRow:
    """One outage in the valid trials of one variant; medians with range."""

    variant: str
    outage: str
    n: int
    longest_stall: str
    """Exact, from the receiver: over the whole flow."""
    stall_began: str
    """Median of when that stall began, since the start of the traffic: it need not be in the outage."""
    resumed: str
    recovered: str


def outage_rows(
    run: Run,
    findings: Sequence[VariantFinding],
    events: Mapping[int, Sequence[Mapping[str, Any]]],
    series: AllSeries,
) -> list[OutageRow]:
    """A row per variant and outage; empty without outages."""
    rows = []
    for finding in findings:
        stalls = finding.metric("longest_stall_ns")
        flow = run.variants[finding.name]["flows"][0]
        side = "client" if flow["application"].get("direction") == "download" else "server"
        responses: dict[int, list[OutageResponse]] = {}
        labels: dict[int, str] = {}
        for trial in stalls.trials if stalls else ():
            goodput = series.get((trial, f"{finding.first_flow}.{side}", "goodput"))
            changes = changes_of(events.get(trial, ()))
            end_ns = float(goodput[0][-1]) if goodput else 0.0
            for number, outage in enumerate(outages(changes, end_ns)):
                labels[number] = f"{outage.link}, {_seconds(outage.start_ns)} to {_seconds(outage.end_ns)}"
                response = outage_response(*goodput, outage.start_ns, outage.end_ns) if goodput else None
                responses.setdefault(number, []).extend([response] if response else [])
        for number, label in labels.items():
            stall = f"{quantity(stalls.interval.estimate, 'ns')}" if stalls else NOT_MEASURED
            spread = ""
            if stalls and stalls.interval.low is not None:
                spread = f" ({interval(stalls.interval.low, stalls.interval.high, 'ns')})"
            began = finding.metric("longest_stall_start_ns")
            found = responses[number]
            rows.append(
                OutageRow(
                    finding.name,
                    label,
                    len(found),
                    stall + spread,
                    quantity(began.interval.estimate if began else None, "ns"),
                    _middle([response.resumed_ns for response in found]),
                    _middle([response.recovered_ns for response in found]),
                )
            )
    return rows


def _seconds(time_ns: int) -> str:
    return quantity(round(time_ns, -7), "ns")


def _middle(values: Sequence[int | None]) -> str:
    """Median; trials in which it did not happen count as later than all others."""
    if not values:
        return NOT_MEASURED
    known = [value for value in values if value is not None]
    if len(known) * 2 <= len(values):
        return NEVER
    middle = median([float("inf") if value is None else float(value) for value in values])
    return NEVER if middle == float("inf") else quantity(middle, "ns")
