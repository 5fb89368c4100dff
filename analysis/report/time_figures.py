"""Time series of a trial: what the application got, what each subflow carried, its round-trip time and window.

Metric names are those of ``testbed/endpoint``: the kernel's ``tcp_info`` fields without prefix, and ``goodput``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from markupsafe import Markup

from analysis.metrics import cumulative, rate_of_counter, received_of_rate
from analysis.report.changes import changes_of, outages, stalls
from analysis.report.panel import Band, Curve, FloatArray, Mark, panel
from analysis.report.scale import Axis, linear_axis
from analysis.report.wording import NOT_MEASURED, interval, quantity, share
from analysis.runs import Run, Series

METRICS = ("goodput", "bytes_received", "rtt", "snd_cwnd")
SHARED_SCALE_SHARE = 1 / 3
"""A figure whose peak is below this share of the common scale gets a scale of its own, and says so."""

BURST_ALLOWANCE = 1.3
"""A burst after a stall would flatten all the rest: the scale ends at this multiple of the usual peak, and says so."""
MOST_SUBFLOWS = 64
MOST_STALLS = 6
"""Stalls of the machine that are listed below a figure; all are drawn."""

AllSeries = Mapping[tuple[int, str, str], Series]
SubflowKey = tuple[int, str, str, int]
"""Trial, flow, side, index."""


@dataclass(frozen=True, slots=True)
class Event:
    """A scheduled change, numbered as in the figure."""

    number: int
    time_ns: int
    text: str

    @property
    def time(self) -> str:
        """``"4 s"``."""
        return quantity(round(self.time_ns, -6), "ns")


@dataclass(frozen=True, slots=True)
class Panel:
    """One plot of a figure."""

    heading: str
    drawing: Markup


@dataclass(frozen=True, slots=True)
class TimeFigure:
    """All panels of one trial, with legend, events and the numbers beside the curves."""

    variant: str
    trial: int
    repetition: int
    panels: tuple[Panel, ...]
    legend: tuple[tuple[str, str], ...]
    """(class of the style sheet, label)."""
    events: tuple[Event, ...]
    numbers: tuple[tuple[str, ...], ...]
    """Rows: curve, bytes, mean rate, share, median round-trip time, largest window, first to last sample."""
    stalls: tuple[str, ...] = ()
    """When the machine stood still, and how long."""


@dataclass(frozen=True, slots=True)
class Received:
    """What a curve of rates is made of: bytes that had arrived by the time of each sample."""

    label: str
    direction: str
    """As in Rates."""
    subflow: bool
    start_ns: float
    """Nothing had arrived by then."""
    x: FloatArray
    bytes: FloatArray

    @property
    def total_bytes(self) -> float:
        """At the last sample."""
        return float(self.bytes[-1])

    def points(self) -> tuple[FloatArray, FloatArray]:
        """Times and bytes, from the start on."""
        return np.concatenate(([min(self.start_ns, self.x[0])], self.x)), np.concatenate(([0.0], self.bytes))


@dataclass(frozen=True, slots=True)
class Rates:
    """What arrived in one direction: at the application, and on each subflow."""

    direction: str
    """``upload``, ``download``; empty when there is only one."""
    total: tuple[Curve, ...]
    subflows: tuple[Curve, ...]


@dataclass(frozen=True, slots=True)
class TrialCurves:
    """The curves of one trial before they are drawn."""

    trial: int
    sender: str
    """Where round-trip times and windows were read."""
    rates: tuple[Rates, ...]
    rtts: tuple[Curve, ...]
    windows: tuple[Curve, ...]
    seen: Mapping[str, str]
    """Curve of a subflow -> when it was there."""
    received: tuple[Received, ...]
    """Of every curve of rates; a subflow's also where it is not drawn because it is the only one."""

    def rate_curves(self) -> list[Curve]:
        """All curves of rates."""
        return [curve for rates in self.rates for curve in (*rates.total, *rates.subflows)]

    def peak(self) -> float:
        """Top of the scale that its rates need: their maximum, unless that is a burst of a few samples."""
        return max((_usual_peak(curve) for curve in self.rate_curves() if curve.y.size), default=0.0)

    def end_ns(self) -> float:
        """Last time."""
        return max((float(curve.x[-1]) for curve in (*self.rate_curves(), *self.rtts) if curve.x.size), default=0)


def curves_of(
    trial: int, flows: Sequence[Mapping[str, Any]], subflows: Mapping[SubflowKey, Mapping[str, Any]], series: AllSeries
) -> TrialCurves:
    """The curves of ``trial``. ``flows``: its rows of that table; ``subflows``: from :func:`subflows_of`."""
    if len(flows) == 1:
        return _curves_of_one(trial, flows[0], subflows, series)
    totals, received = [], []
    for style, flow in enumerate(flows, start=1):
        goodput = series.get((trial, f"{flow['flow']}.{_receivers(flow)[0][1]}", "goodput"))
        if goodput is not None:
            totals.append(Curve(f"{flow['flow']}, application", *_floats(goodput), style))
            received.append(_received_of(goodput, f"{flow['flow']}, application", ""))
    parts = [_curves_of_one(trial, flow, subflows, series, prefix=f"{flow['flow']}, ") for flow in flows]
    rtts = [curve for part in parts for curve in part.rtts]
    windows = [curve for part in parts for curve in part.windows]
    styled = {curve.label: 1 + number for number, curve in enumerate(rtts)}
    return TrialCurves(
        trial,
        " and ".join(dict.fromkeys(part.sender for part in parts)),
        (Rates("", tuple(totals), ()),),
        tuple(replace(curve, style=styled[curve.label]) for curve in rtts),
        tuple(replace(curve, style=styled.get(curve.label, 1)) for curve in windows),
        {label: seen for part in parts for label, seen in part.seen.items()},
        tuple(received),
    )


def _receivers(flow: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(direction, side where it arrives) of a flow, the client's sending first."""
    both = [("upload", "server"), ("download", "client")]
    return [pair for pair in both if pair[0] == flow["direction"]] or both


def _curves_of_one(
    trial: int,
    flow: Mapping[str, Any],
    subflows: Mapping[SubflowKey, Mapping[str, Any]],
    series: AllSeries,
    prefix: str = "",
) -> TrialCurves:
    receivers, name = _receivers(flow), flow["flow"]
    sender = main_sender(flow)
    seen: dict[str, str] = {}

    def label(side: str, index: int) -> str:
        row = subflows.get((trial, name, side, index), {})
        text = f"{prefix}subflow {index}" + (f" ({row['path']})" if row.get("path") else "")
        if row.get("first_seen_ns") is not None and row.get("last_seen_ns") is not None:
            seen[text] = interval(row["first_seen_ns"], row["last_seen_ns"], "ns")
        return text

    rates: list[Rates] = []
    received: list[Received] = []
    for direction, side in receivers:
        way = direction if len(receivers) > 1 else ""
        goodput = series.get((trial, f"{name}.{side}", "goodput"))
        total = (Curve(f"{prefix}application", *_floats(goodput), 0),) if goodput is not None else ()
        counters = {
            index: found
            for index in range(MOST_SUBFLOWS)
            if (found := series.get((trial, f"{name}.{side}.subflow{index}", "bytes_received"))) is not None
        }
        carried = [
            Curve(label(side, index), *_floats(rate_of_counter(*found)), 1 + index) for index, found in counters.items()
        ]
        received += [_received_of(goodput, f"{prefix}application", way)] if goodput is not None else []
        received += [_counted(label(side, index), way, found) for index, found in counters.items()]
        if len(carried) == 1 and total:
            carried = []  # one subflow carries what the application gets: one curve says it
        if total or carried:
            rates.append(Rates(way, total, tuple(carried)))
    of_sender = {
        metric: tuple(
            Curve(label(sender, index), *_floats(found), 1 + index)
            for index in range(MOST_SUBFLOWS)
            if (found := series.get((trial, f"{name}.{sender}.subflow{index}", metric))) is not None
        )
        for metric in ("rtt", "snd_cwnd")
    }
    return TrialCurves(trial, sender, tuple(rates), of_sender["rtt"], of_sender["snd_cwnd"], seen, tuple(received))


def _received_of(goodput: Series, label: str, direction: str) -> Received:
    start_ns, total = received_of_rate(*goodput)
    return Received(label, direction, False, start_ns, _floats(goodput)[0], total)


def _counted(label: str, direction: str, counter: Series) -> Received:
    """Before the first sample of a subflow its counter was 0, at most one interval ago."""
    times, values = _floats(counter)
    step = float(np.median(np.diff(times))) if times.size > 1 else 0.0
    return Received(label, direction, True, max(0.0, times[0] - step), times, cumulative(values))


def main_sender(flow: Mapping[str, Any]) -> str:
    """The side that sends, or with both directions the one that sent more: its windows and times matter."""
    if flow["direction"] in ("upload", "download"):
        return "client" if flow["direction"] == "upload" else "server"
    return "server" if (flow["bytes_sent_download"] or 0) > (flow["bytes_sent_upload"] or 0) else "client"


def figure_of(
    curves: TrialCurves,
    variant: str,
    repetition: int,
    events: Sequence[Mapping[str, Any]],
    common_peak: float,
    *,
    brief: bool = False,
) -> TimeFigure:
    """The figure of one trial; ``brief``: only the rates, lower."""
    x_axis = linear_axis([0.0, curves.end_ns()], "ns", count=6, tight=True)
    changes = changes_of(events)
    listed = tuple(Event(number, change.time_ns, change.text) for number, change in enumerate(changes, start=1))
    marks = [Mark(event.time_ns, event.number, event.text) for event in listed]
    bands = [Band(outage.start_ns, outage.end_ns) for outage in outages(changes, curves.end_ns())]
    still = [each for each in stalls(events) if 0 <= each[0] < each[1] <= curves.end_ns()]
    bands += [Band(start_ns, end_ns, "stall") for start_ns, end_ns in still]
    own = curves.peak() < SHARED_SCALE_SHARE * common_peak
    rate_axis = linear_axis([0.0, curves.peak() if own else common_peak], "bit/s", count=4)
    where = f"{variant}, trial {curves.trial}"
    panels = []
    for position, rates in enumerate(curves.rates):
        heading = f"Goodput{' of the ' + rates.direction if rates.direction else ''}"
        height = 90 if brief else 150
        shown = (*rates.total, *rates.subflows)
        plot = _panel(heading, where, shown, x_axis, rate_axis, height, marks, bands, labelled=position == 0)
        highest = max((float(curve.y.max()) for curve in shown if curve.y.size), default=0.0)
        words = [plot.heading, *(["own scale"] if own else [])]
        words += [f"cut above {rate_axis.label(rate_axis.high)}: peak {quantity(highest, 'bit/s')}"] * (
            highest > rate_axis.high
        )
        panels.append(replace(plot, heading=", ".join(words)))
    for heading, group, unit in (
        (f"Smoothed round-trip time at the {curves.sender}", curves.rtts, "ns"),
        (f"Congestion window at the {curves.sender}", curves.windows, "segments"),
    ):
        if group and not brief:
            y_axis = linear_axis([0.0, *(float(curve.y.max()) for curve in group if curve.y.size)], unit, count=3)
            panels.append(_panel(heading, where, group, x_axis, y_axis, 80, marks, bands, labelled=not panels))
    legend = {curve.label: curve.css for curve in (*curves.rate_curves(), *curves.rtts)}
    return TimeFigure(
        variant,
        curves.trial,
        repetition,
        tuple(panels),
        tuple((css, label) for label, css in legend.items()),
        listed,
        _numbers(curves),
        _stalls_in_words(still),
    )


def _stalls_in_words(still: Sequence[tuple[int, int]]) -> tuple[str, ...]:
    told = [f"{quantity(end - start, 'ns')} at {quantity(start, 'ns')}" for start, end in still[:MOST_STALLS]]
    return (*told, *([f"{len(still) - MOST_STALLS} more"] if len(still) > MOST_STALLS else []))


def subflows_of(run: Run) -> dict[SubflowKey, Mapping[str, Any]]:
    """The rows of ``subflows`` by their key."""
    rows = run.directory.read_table("subflows").to_pylist()
    return {(row["trial"], row["flow"], row["side"], row["index"]): row for row in rows}


def _panel(
    heading: str,
    where: str,
    curves: Sequence[Curve],
    x_axis: Axis,
    y_axis: Axis,
    height: int,
    marks: Sequence[Mark],
    bands: Sequence[Band],
    *,
    labelled: bool = True,
) -> Panel:
    described = "; ".join(
        f"{curve.label}: median {quantity(float(np.median(curve.y)), y_axis.base_unit)}"
        for curve in curves
        if curve.y.size
    )
    drawing = panel(
        f"{heading} over time: {where}",
        described or "nothing was measured",
        [curve for curve in curves if curve.y.size],
        x_axis,
        y_axis,
        height,
        marks,
        bands,
        labelled_marks=labelled,
    )
    return Panel(f"{heading}, {y_axis.unit.name}", drawing)


def _numbers(curves: TrialCurves) -> tuple[tuple[str, ...], ...]:
    """A row per curve; with two directions a row per curve and direction. Means are over the time of the whole flow."""
    rtts = {curve.label: curve for curve in curves.rtts}
    windows = {curve.label: curve for curve in curves.windows}
    rows = []
    for rates in curves.rates or (Rates("", (), ()),):
        drawn = dict.fromkeys(curve.label for curve in (*rates.total, *rates.subflows))
        received = {item.label: item for item in curves.received if item.direction == rates.direction}
        whole = sum(item.total_bytes for item in received.values() if item.subflow)
        totals = [item for item in received.values() if not item.subflow] or list(received.values())
        for label in dict.fromkeys((*drawn, *rtts)):
            item = received.get(label)
            total, mean, part = None, None, None
            if item is not None:
                over = totals if item.subflow else [item]
                span_ns = max(each.x[-1] for each in over) - min(each.points()[0][0] for each in over)
                total, mean = item.total_bytes, item.total_bytes * 8e9 / span_ns if span_ns > 0 else None
                part = total / whole if item.subflow and whole else None
            rtt = float(np.median(rtts[label].y)) if label in rtts else None
            window = float(windows[label].y.max()) if label in windows else None
            rows.append(
                (
                    f"{label}, {rates.direction}" if rates.direction else label,
                    quantity(total, "bytes"),
                    quantity(mean, "bit/s"),
                    share(part),
                    quantity(rtt, "ns"),
                    quantity(window, "segments"),
                    curves.seen.get(label, NOT_MEASURED),
                )
            )
    return tuple(rows)


def _usual_peak(curve: Curve) -> float:
    """The maximum, or BURST_ALLOWANCE times the 95th percentile when a burst is far above that."""
    usual = float(np.quantile(curve.y, 0.95))
    return min(float(curve.y.max()), BURST_ALLOWANCE * usual) if usual > 0 else float(curve.y.max())


def _floats(series: Series) -> tuple[FloatArray, FloatArray]:
    times, values = series
    return times.astype(np.float64), values
