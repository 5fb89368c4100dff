"""Distribution functions of latencies, block delays and completion times, pooled over the valid trials of a variant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
from markupsafe import Markup

from analysis.report.panel import STYLES, Curve, panel
from analysis.report.scale import Axis, linear_axis, logarithmic_axis
from analysis.report.wording import Unit, metric_name, quantity
from analysis.runs import Run
from analysis.statistics import quantiles

PROBABILITIES = (0.5, 0.95, 0.99, 1.0)
LOGARITHMIC_FROM = 20
"""Ratio of the largest to the smallest value from which the axis is logarithmic."""


@dataclass(frozen=True, slots=True)
class DistributionFigure:
    """One metric: the curves (None when there are too many variants to tell apart) and their quantiles."""

    name: str
    drawing: Markup | None
    logarithmic: bool
    legend: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, ...], ...]
    """Variant, values, trials, median, 95th and 99th percentile, largest."""


def distribution_figures(run: Run, variants: Sequence[str]) -> list[DistributionFigure]:
    """One figure per metric that was recorded, of the first flow of each variant."""
    table = run.directory.read_table("distributions")
    if not table.num_rows:
        return []
    trials = run.directory.read_table("trials").to_pylist()
    first_flow = {name: variant["flows"][0]["name"] for name, variant in run.variants.items()}
    found = []
    for metric in sorted(set(table["metric"].to_pylist())):
        pooled = {}
        for variant in variants:
            numbers = [row["trial"] for row in trials if row["variant"] == variant and row["verdict"] == "VALID"]
            chosen = pc.and_(
                pc.and_(pc.equal(table["metric"], metric), pc.equal(table["flow"], first_flow[variant])),
                pc.is_in(table["trial"], pc.cast(numbers, "int64") if numbers else table["trial"][:0]),
            )
            values = table.filter(chosen)["value_ns"].to_numpy().astype(np.float64)
            if values.size:
                pooled[variant] = (np.sort(values), len(numbers))
        if pooled:
            found.append(_figure(metric, pooled))
    return found


def _figure(
    metric: str, pooled: dict[str, tuple[np.ndarray[tuple[int], np.dtype[np.float64]], int]]
) -> DistributionFigure:
    curves = [
        Curve(variant, *_thinned(values), style=index, steps=True)
        for index, (variant, (values, _)) in enumerate(pooled.items(), start=1)
    ]
    low = min(float(values[0]) for values, _ in pooled.values())
    high = max(float(values[-1]) for values, _ in pooled.values())
    logarithmic = low > 0 and high / low > LOGARITHMIC_FROM
    drawing = None
    if len(curves) <= STYLES:
        x_axis = logarithmic_axis([low, high], "ns") if logarithmic else linear_axis([low, high], "ns", from_zero=False)
        y_axis = Axis(0.0, 100.0, (0.0, 25.0, 50.0, 75.0, 100.0), Unit("%", 1), "%")
        name = metric_name(metric)
        drawing = panel(f"Distribution of the {name}", "Share of the values at or below", curves, x_axis, y_axis, 190)
    rows = []
    for variant, (values, trials) in pooled.items():
        texts = [quantity(value, "ns") for value in quantiles(values.tolist(), PROBABILITIES)]
        rows.append((variant, str(values.size), str(trials), *texts))
    return DistributionFigure(
        metric_name(metric), drawing, logarithmic, tuple((curve.css, curve.label) for curve in curves), tuple(rows)
    )


def _thinned(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> tuple[np.ndarray, np.ndarray]:
    """The empirical distribution at up to 200 ranks, closer together towards the tail, where the questions are."""
    n = values.size
    tail = n - np.unique(np.geomspace(1, n, 100).astype(int))
    ranks = np.unique(np.concatenate((np.linspace(0, n - 1, 100).astype(int), tail)))
    x = np.concatenate(([values[0]], values[ranks]))
    y = np.concatenate(([0.0], 100.0 * (ranks + 1) / n))
    return x, y
