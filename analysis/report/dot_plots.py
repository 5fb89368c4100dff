"""Metrics of all variants as rows of dots: every valid trial, the median, its interval, and what was expected of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from analysis.report import dot_plot
from analysis.report.dot_plot import Bound
from analysis.report.findings import Metric, VariantFinding
from analysis.report.scale import linear_axis
from analysis.report.wording import NOT_MEASURED, interval, metric_name, quantity, share, significant
from analysis.verdict import Verdict
from testbed.record import TABLES

MOST_PLOTS = 4
"""Metrics that get a plot of their own: goodput and those of the expectations."""
FAR = 2.0
"""A bound beyond this multiple of the largest value is not drawn: it would press all the rest together."""
PLOTTED_UNITS = ("bit/s", "ns", "bytes", "segments")
"""What is counted in ones and twos, such as subflows, needs no plot."""
UNITS = {column.name: column.unit for column in TABLES["flows"].columns}


@dataclass(frozen=True, slots=True)
class PlotRow:
    """One variant in a dot plot, with its numbers."""

    variant: str
    summary: str
    drawing: Markup
    median: str
    spread: str
    method: str
    n: int
    extra: tuple[str, ...]
    fallback: str


@dataclass(frozen=True, slots=True)
class MetricPlot:
    """One metric of all variants."""

    metric: str
    """As an expectation names it."""
    name: str
    unit: str
    rows: tuple[PlotRow, ...]
    scale: Markup
    extra_heads: tuple[str, ...]
    flags: tuple[tuple[Markup, str], ...]
    """Signs of what was expected, with their words."""


def metric_plots(findings: Sequence[VariantFinding], verdicts: Sequence[Verdict]) -> list[MetricPlot]:
    """Goodput, and each metric that something was expected of; those that have values and a unit worth a plot."""
    names = dict.fromkeys(["goodput_bit_s", *(verdict.expectation["metric"] for verdict in verdicts)])
    plots = [metric_plot(name, findings, verdicts) for name in names]
    return [plot for plot in plots if plot is not None][:MOST_PLOTS]


def metric_plot(
    name: str, findings: Sequence[VariantFinding], verdicts: Sequence[Verdict], only: Collection[str] = ()
) -> MetricPlot | None:
    """The rows of all variants, or of those ``only``; None when there is nothing to plot."""
    findings = [finding for finding in findings if not only or finding.name in only]
    values = [value for finding in findings if (metric := finding.metric(name)) for value in metric.values]
    unit = UNITS.get(name, "")
    if not values or unit not in PLOTTED_UNITS:
        return None
    bounds = _bounds(name, verdicts)
    near = [bound.value for found in bounds.values() for bound in found if bound.value <= FAR * max(values)]
    axis = linear_axis([*values, *near], unit)
    derived = ("aggregation_benefit", "fill_rate", "jain_index") if name == "goodput_bit_s" else ()
    shown = [key for key in derived if any(key in finding.derived for finding in findings)]
    heads = {"aggregation_benefit": "aggregation benefit", "fill_rate": "fill rate", "jain_index": "Jain’s index"}
    rows = []
    for finding in findings:
        metric = finding.metric(name)
        title = f"{metric_name(name)} of {finding.name}"
        of_row = bounds.get(finding.name, ())
        drawing = dot_plot.row(
            metric.values if metric else (), metric.interval if metric else None, axis, title, of_row
        )
        extra = tuple(_derived_text(key, finding.derived.get(key)) for key in shown)
        rows.append(_plot_row(finding, metric, drawing, extra))
    flags = dict.fromkeys(bound.is_least for found in bounds.values() for bound in found if bound.value <= axis.high)
    return MetricPlot(
        name,
        metric_name(name),
        axis.unit.name,
        tuple(rows),
        dot_plot.scale_row(axis),
        tuple(heads[key] for key in shown),
        tuple(
            (dot_plot.bound_key(is_least=is_least), "expected at least" if is_least else "expected at most")
            for is_least in flags
        ),
    )


def _bounds(name: str, verdicts: Sequence[Verdict]) -> dict[str, list[Bound]]:
    """Variant -> what was expected of that metric of its first flow, in its unit."""
    found: dict[str, list[Bound]] = {}
    for verdict in verdicts:
        expectation = verdict.expectation
        relative = bool(expectation.get("relative_to"))
        if expectation["metric"] != name or expectation.get("among") or expectation.get("relative_to_flow"):
            continue
        if expectation.get("flow", "main") != "main" or (relative and verdict.reference is None):
            continue
        factor = verdict.reference if relative and verdict.reference is not None else 1.0
        for key, is_least in (("at_least", True), ("at_most", False)):
            if expectation.get(key) is not None:
                bound = Bound(float(expectation[key]) * factor, is_least)
                here = found.setdefault(expectation["variant"], [])
                here += [bound] if bound not in here else []
    return found


def _plot_row(finding: VariantFinding, metric: Metric | None, drawing: Markup, extra: tuple[str, ...]) -> PlotRow:
    if metric is None:
        return PlotRow(
            finding.name, finding.summary, drawing, NOT_MEASURED, NOT_MEASURED, "no valid trial", 0, extra, ""
        )
    found = metric.interval
    return PlotRow(
        finding.name,
        finding.summary,
        drawing,
        quantity(found.estimate, metric.unit),
        interval(found.low, found.high, metric.unit),
        found.in_words(),
        found.n,
        extra,
        finding.fallback_text,
    )


def _derived_text(key: str, metric: Metric | None) -> str:
    if metric is None:
        return NOT_MEASURED
    estimate = metric.interval.estimate
    return share(estimate) if key == "fill_rate" else significant(estimate)
