"""Goodput against the one number that differs between the networks of an experiment's variants: a sweep.

Found, not declared: variants with the same flows on networks that differ in one field of their links (loss, delay, rate
...), by the same amount wherever it differs, are points of one line.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import numpy as np
from markupsafe import Markup

from analysis.report import svg
from analysis.report.findings import Metric, VariantFinding
from analysis.report.panel import STYLES, Curve, panel
from analysis.report.scale import Axis, linear_axis
from analysis.report.wording import interval, quantity

FIELDS = {
    "rate_bit_s": ("rate", "bit/s"),
    "delay_ns": ("delay", "ns"),
    "loss": ("loss", "probability"),
    "reordering": ("reordering", "probability"),
    "jitter": ("jitter", "ns"),
    "duplication": ("duplication", "probability"),
    "corruption": ("corruption", "probability"),
}
"""Field of a link profile -> (word, unit of its number)."""

SMALLEST_SWEEP = 3
HEIGHT = 220

Variant = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SweepFigure:
    """Lines of medians with every trial visible, and the same numbers as rows."""

    parameter: str
    unit: str
    drawing: Markup
    goodput_unit: str
    legend: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, ...], ...]
    """Value of the parameter, then per line ``median (interval)``."""
    ends: tuple[str, ...]
    """Of each line in words: its medians at both ends of the sweep."""


def sweep_figure(variants: Mapping[str, Variant], findings: Sequence[VariantFinding]) -> SweepFigure | None:
    """The figure, or None when the variants are no sweep."""
    parameter = _parameter(variants)
    if parameter is None:
        return None
    field, links, values = parameter
    lines = _lines(variants, findings, values)
    if not lines or len(lines) > STYLES:
        return None
    word, unit = FIELDS[field]
    x_axis = linear_axis([value for points in lines.values() for value in points], unit, count=6)
    everything = [value for points in lines.values() for metric in points.values() for value in metric.values]
    y_axis = linear_axis(everything, "bit/s", count=5)
    names = {line: _name(line_variants, word) for line, line_variants in _groups(variants).items()}
    curves, dots = [], []
    for style, (line, points) in enumerate(lines.items(), start=1):
        ordered = sorted(points.items())
        x = np.array([value for value, _ in ordered], dtype=np.float64)
        y = np.array([metric.interval.estimate for _, metric in ordered], dtype=np.float64)
        curve = Curve(names[line], x, y, style, unbroken=True)
        curves.append(curve)
        dots.append(_dots(ordered, curve.css, x_axis, y_axis))
    title = f"Goodput against {word} of {', '.join(links)}"
    described = "; ".join(f"{curve.label}: median {quantity(float(curve.y[0]), 'bit/s')} at first" for curve in curves)
    return SweepFigure(
        f"{word} of {', '.join(links)}",
        x_axis.unit.name,
        panel(title, described, curves, x_axis, y_axis, HEIGHT, overlay=dots),
        y_axis.unit.name,
        tuple((curve.css, curve.label) for curve in curves),
        tuple(_rows(lines, x_axis)),
        tuple(_ends(curve, word, unit) for curve in curves),
    )


def _ends(curve: Curve, word: str, unit: str) -> str:
    """``"mptcp: goodput 34.6 Mbit/s with loss 0 %, 8.10 Mbit/s with loss 2 %."``"""
    pairs = [(float(curve.y[at]), float(curve.x[at])) for at in (0, -1)]
    first, last = (f"{quantity(goodput, 'bit/s')} with {word} {quantity(value, unit)}" for goodput, value in pairs)
    return f"{curve.label}: goodput {first}, {last}."


def _parameter(variants: Mapping[str, Variant]) -> tuple[str, list[str], dict[str, float]] | None:
    """(field, links, variant -> value) of the only thing that differs between the networks."""
    numbers = {name: _numbers(variant["topology"]) for name, variant in variants.items()}
    keys = set().union(*numbers.values()) if numbers else set()
    varying = sorted(key for key in keys if len({profile.get(key) for profile in numbers.values()}) > 1)
    if not varying or len({field for _, _, field in varying}) > 1:
        return None
    values: dict[str, float] = {}
    for name, profile in numbers.items():
        found = {profile.get(key) for key in varying}
        value = found.pop()
        if found or value is None:
            return None
        values[name] = value
    if len(set(values.values())) < SMALLEST_SWEEP:
        return None
    return varying[0][2], sorted({link for link, _, _ in varying}), values


def _numbers(topology: Variant) -> dict[tuple[str, str, str], float | None]:
    """(link, direction, field) -> the field as one number; None: it is not one number."""
    return {
        (link["name"], direction, field): _number(field, link[direction].get(field))
        for link in topology["links"]
        for direction in ("forward", "backward")
        for field in FIELDS
    }


def _number(field: str, value: Any) -> float | None:
    match value:
        case None:
            return None if field == "rate_bit_s" else 0.0
        case {"kind": "none"}:
            return 0.0
        case {"kind": "random", "probability": number} if not value.get("correlation"):
            return float(number)
        case {"kind": _}:
            return None
        case {"probability": number} | {"amplitude_ns": number}:
            return float(number)
        case _:
            return float(value)


def _groups(variants: Mapping[str, Variant]) -> dict[str, list[str]]:
    """What is the same along a line -> the variants on it."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name, variant in variants.items():
        key = json.dumps([variant["flows"], variant.get("path_manager"), variant["topology"]["name"]], sort_keys=True)
        groups[key].append(name)
    return groups


def _lines(
    variants: Mapping[str, Variant], findings: Sequence[VariantFinding], values: Mapping[str, float]
) -> dict[str, dict[float, Metric]]:
    """Line -> value of the parameter -> goodput; only lines with enough measured points, one variant per value."""
    goodputs = {finding.name: finding.metric("goodput_bit_s") for finding in findings}
    lines: dict[str, dict[float, Metric]] = {}
    for key, names in _groups(variants).items():
        points = {values[name]: metric for name in names if (metric := goodputs.get(name)) is not None}
        measured = [name for name in names if goodputs.get(name) is not None]
        if len(points) >= SMALLEST_SWEEP and len(points) == len(measured):
            lines[key] = points
    return lines


def _name(names: Sequence[str], word: str) -> str:
    """What the names of the variants on a line have in common: ``tcp`` for ``tcp-loss0``, ``tcp-loss5``."""
    alike = takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    stem = "".join(letters[0] for letters in alike).rstrip("0123456789.").rstrip("-_.")
    return stem.removesuffix(word).rstrip("-_.") or names[0]


def _dots(points: Sequence[tuple[float, Metric]], css: str, x_axis: Axis, y_axis: Axis) -> Markup:
    shapes = []
    for value, metric in points:
        x = svg.percent(x_axis.share(value))
        heights = [HEIGHT * (1 - y_axis.share(trial)) for trial in metric.values]
        shapes += [svg.element("circle", cx=x, cy=height, r=3.2) for height in heights]
        if metric.interval.low is not None and metric.interval.high is not None:
            ends = [HEIGHT * (1 - y_axis.share(end)) for end in (metric.interval.low, metric.interval.high)]
            shapes.append(svg.element("line", x1=x, x2=x, y1=ends[0], y2=ends[1]))
    return svg.element("g", *shapes, class_=f"points {css}")


def _rows(lines: Mapping[str, Mapping[float, Metric]], x_axis: Axis) -> list[tuple[str, ...]]:
    rows = []
    for value in sorted({value for points in lines.values() for value in points}):
        texts = []
        for points in lines.values():
            metric = points.get(value)
            found = metric.interval if metric else None
            spread = f" ({interval(found.low, found.high, 'bit/s')})" if found and found.low is not None else ""
            texts.append(quantity(found.estimate if found else None, "bit/s") + spread)
        rows.append((f"{x_axis.label(value)} {x_axis.unit.name}", *texts))
    return rows
