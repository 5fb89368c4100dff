"""Time series of a trial: what the application got, what each subflow carried, its round-trip time and window.

Metric names are those of ``testbed/endpoint``: the kernel's ``tcp_info`` fields without prefix, and ``goodput``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from markupsafe import Markup

from analysis.load import Run, Series
from analysis.metrics import rate_of_counter
from analysis.report.panel import Band, Curve, FloatArray, Mark, panel
from analysis.report.scale import Axis, linear_axis
from analysis.report.wording import NOT_MEASURED, interval, quantity, share

METRICS = ("goodput", "bytes_received", "rtt", "snd_cwnd")
SHARED_SCALE_SHARE = 1 / 3
"""A figure whose peak is below this share of the common scale gets a scale of its own, and says so."""

BURST_ALLOWANCE = 1.4
"""A burst after a stall would flatten all the rest: the scale ends at this multiple of the usual peak, and says so."""
MOST_SUBFLOWS = 64

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
    """Rows: curve, mean rate, share, median round-trip time, largest window, first to last sample."""


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
    totals = []
    for style, flow in enumerate(flows, start=1):
        goodput = series.get((trial, f"{flow['flow']}.{_receivers(flow)[0][1]}", "goodput"))
        if goodput is not None:
            totals.append(Curve(f"{flow['flow']}, application", *_floats(goodput), style))
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

    rates = []
    for direction, side in receivers:
        goodput = series.get((trial, f"{name}.{side}", "goodput"))
        total = (Curve(f"{prefix}application", *_floats(goodput), 0),) if goodput is not None else ()
        carried = [
            Curve(label(side, index), *_floats(rate_of_counter(*found)), 1 + index)
            for index in range(MOST_SUBFLOWS)
            if (found := series.get((trial, f"{name}.{side}.subflow{index}", "bytes_received"))) is not None
        ]
        if len(carried) == 1 and total:
            carried = []  # one subflow carries what the application gets: one curve says it
        if total or carried:
            rates.append(Rates(direction if len(receivers) > 1 else "", total, tuple(carried)))
    of_sender = {
        metric: tuple(
            Curve(label(sender, index), *_floats(found), 1 + index)
            for index in range(MOST_SUBFLOWS)
            if (found := series.get((trial, f"{name}.{sender}.subflow{index}", metric))) is not None
        )
        for metric in ("rtt", "snd_cwnd")
    }
    return TrialCurves(trial, sender, tuple(rates), of_sender["rtt"], of_sender["snd_cwnd"], seen)


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
    changes = sorted((event for event in events if event["kind"] == "change"), key=lambda event: int(event["time_ns"]))
    listed = tuple(
        Event(number, int(event["time_ns"]), f"{event['subject']} {event['detail']}")
        for number, event in enumerate(changes, start=1)
    )
    marks = [Mark(event.time_ns, event.number, event.text) for event in listed]
    bands = [Band(start, end) for _, start, end in outages(changes, curves.end_ns())]
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
    )


def outages(changes: Sequence[Mapping[str, Any]], end_ns: float) -> list[tuple[str, int, int]]:
    """(link, start, end) of each outage among the scheduled changes; one that does not end lasts until ``end_ns``."""
    found: list[tuple[str, int, int]] = []
    since: dict[str, int] = {}
    for change in changes:
        words = str(change["detail"]).split(", ")
        subject, time_ns = str(change["subject"]), int(change["time_ns"])
        if "down" in words:
            since.setdefault(subject, time_ns)
        elif "up" in words and subject in since:
            found.append((subject, since.pop(subject), time_ns))
    found += [(subject, start, int(end_ns)) for subject, start in since.items() if start < end_ns]
    return found


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
    """A row per curve; with two directions a row per curve and direction."""
    rtts = {curve.label: curve for curve in curves.rtts}
    windows = {curve.label: curve for curve in curves.windows}
    rows = []
    for rates in curves.rates or (Rates("", (), ()),):
        whole = sum(float(curve.y.mean()) for curve in rates.subflows if curve.y.size)
        by_label = {curve.label: curve for curve in (*rates.total, *rates.subflows)}
        for label in dict.fromkeys((*by_label, *rtts)):
            rate = by_label.get(label)
            mean = float(rate.y.mean()) if rate is not None and rate.y.size else None
            part = mean / whole if mean is not None and whole and rate in rates.subflows else None
            rtt = float(np.median(rtts[label].y)) if label in rtts else None
            window = float(windows[label].y.max()) if label in windows else None
            rows.append(
                (
                    f"{label}, {rates.direction}" if rates.direction else label,
                    quantity(mean, "bit/s"),
                    share(part),
                    quantity(rtt, "ns"),
                    quantity(window, "segments"),
                    curves.seen.get(label, NOT_MEASURED),
                )
            )
    return tuple(rows)


def _usual_peak(curve: Curve) -> float:
    """The maximum, or BURST_ALLOWANCE times the 98th percentile when a burst is far above that."""
    usual = float(np.quantile(curve.y, 0.98))
    return min(float(curve.y.max()), BURST_ALLOWANCE * usual) if usual > 0 else float(curve.y.max())


def _floats(series: Series) -> tuple[FloatArray, FloatArray]:
    times, values = series
    return times.astype(np.float64), values
