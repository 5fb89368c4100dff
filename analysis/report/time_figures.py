"""Time series of a trial: what the application got, what each subflow carried, its round-trip time and window.

Metric names are those of ``testbed/endpoint``: the kernel's ``tcp_info`` fields without prefix, and ``goodput``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from analysis.load import Run, Series
from analysis.metrics import rate_of_counter
from analysis.report.panel import Band, Curve, FloatArray, Mark, panel
from analysis.report.scale import Axis, linear_axis
from analysis.report.wording import quantity, share

METRICS = ("goodput", "bytes_received", "rtt", "snd_cwnd")
SHARED_SCALE_SHARE = 1 / 3
"""A figure whose peak is below this share of the common scale gets a scale of its own, and says so."""

AllSeries = Mapping[tuple[int, str, str], Series]


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
    """Rows: curve, mean rate, share, median round-trip time, largest window."""


@dataclass(frozen=True, slots=True)
class TrialCurves:
    """The curves of one trial before they are drawn."""

    trial: int
    total: tuple[Curve, ...]
    rates: tuple[Curve, ...]
    rtts: tuple[Curve, ...]
    windows: tuple[Curve, ...]

    def peak(self) -> float:
        """Largest rate."""
        return max((float(curve.y.max()) for curve in (*self.total, *self.rates) if curve.y.size), default=0.0)

    def end_ns(self) -> float:
        """Last time."""
        return max((float(curve.x[-1]) for curve in (*self.total, *self.rates, *self.rtts) if curve.x.size), default=0)


def curves_of(
    trial: int, flows: Sequence[Mapping[str, Any]], paths: Mapping[tuple[int, str, str, int], str], series: AllSeries
) -> TrialCurves:
    """The curves of ``trial``. ``flows``: its rows; ``paths``: (trial, flow, side, index) -> path of a subflow."""
    totals: list[Curve] = []
    rates: list[Curve] = []
    rtts: list[Curve] = []
    windows: list[Curve] = []
    for flow in flows:
        name, several = flow["flow"], len(flows) > 1
        receiver, sender = ("client", "server") if flow["direction"] == "download" else ("server", "client")
        goodput = series.get((trial, f"{name}.{receiver}", "goodput"))
        if goodput is not None:
            style = 1 + len(totals) if several else 0
            totals.append(Curve(f"{name}, application" if several else "application", *_floats(goodput), style))
        for index in range(64):
            key = f"{name}.{receiver}.subflow{index}"
            received = series.get((trial, key, "bytes_received"))
            acting = f"{name}.{sender}.subflow{index}"
            if received is None and (trial, acting, "rtt") not in series:
                break
            path = paths.get((trial, name, receiver, index))
            label = f"{name + ', ' if several else ''}subflow {index}" + (f" ({path})" if path else "")
            style = 1 + len(rates) if not several else 1 + len(rtts)
            if received is not None and not several:
                rates.append(Curve(label, *_floats(rate_of_counter(*received)), style))
            for metric, curves in (("rtt", rtts), ("snd_cwnd", windows)):
                if (found := series.get((trial, acting, metric))) is not None:
                    curves.append(Curve(label, *_floats(found), style))
    if len(rates) == 1 and totals:
        rates = []  # one subflow carries what the application gets: one curve says it
    return TrialCurves(trial, tuple(totals), tuple(rates), tuple(rtts), tuple(windows))


def figure_of(
    curves: TrialCurves,
    variant: str,
    repetition: int,
    events: Sequence[Mapping[str, Any]],
    common_peak: float,
    *,
    brief: bool = False,
) -> TimeFigure:
    """The figure of one trial; ``brief``: only the first panel, lower."""
    x_axis = linear_axis([0.0, curves.end_ns()], "ns", count=6)
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
    panels = [
        _panel(
            "Goodput", where, (*curves.total, *curves.rates), x_axis, rate_axis, (90 if brief else 150), marks, bands
        )
    ]
    if own:
        panels[0] = Panel(f"{panels[0].heading}, own scale", panels[0].drawing)
    if not brief:
        for heading, group, unit in (
            ("Smoothed round-trip time", curves.rtts, "ns"),
            ("Congestion window", curves.windows, "segments"),
        ):
            if group:
                y_axis = linear_axis([0.0, *(float(curve.y.max()) for curve in group if curve.y.size)], unit, count=3)
                panels.append(_panel(heading, where, group, x_axis, y_axis, 80, marks, bands, labelled=False))
    legend = {curve.label: curve.css for curve in (*curves.total, *curves.rates, *curves.rtts)}
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


def subflow_paths(run: Run) -> dict[tuple[int, str, str, int], str]:
    """(trial, flow, side, index) -> path, of the subflows whose path is known."""
    rows = run.directory.read_table("subflows").select(["trial", "flow", "side", "index", "path"]).to_pylist()
    return {(row["trial"], row["flow"], row["side"], row["index"]): row["path"] for row in rows if row["path"]}


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
    rtts = {curve.label: curve for curve in curves.rtts}
    windows = {curve.label: curve for curve in curves.windows}
    whole = sum(float(curve.y.mean()) for curve in curves.rates if curve.y.size)
    rows = []
    for label in dict.fromkeys(curve.label for curve in (*curves.total, *curves.rates, *curves.rtts)):
        rate = next((curve for curve in (*curves.total, *curves.rates) if curve.label == label and curve.y.size), None)
        mean = float(rate.y.mean()) if rate else None
        part = mean / whole if mean is not None and whole and rate in curves.rates else None
        rtt = float(np.median(rtts[label].y)) if label in rtts else None
        window = float(windows[label].y.max()) if label in windows else None
        rows.append((label, quantity(mean, "bit/s"), share(part), quantity(rtt, "ns"), quantity(window, "segments")))
    return tuple(rows)


def _floats(series: Series) -> tuple[FloatArray, FloatArray]:
    times, values = series
    return times.astype(np.float64), values
