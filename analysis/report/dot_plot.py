"""One row of dots per variant: every trial, the median, and where it may lie. Rows share one axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from analysis.report import svg
from analysis.report.scale import Axis
from analysis.statistics import Interval

ROW_HEIGHT = 34


@dataclass(frozen=True, slots=True)
class Bound:
    """What was expected of a row: at least, or at most, that value."""

    value: float
    is_least: bool


def row(
    values: Sequence[float], interval: Interval | None, axis: Axis, title: str, bounds: Sequence[Bound] = ()
) -> Markup:
    """The plot cell of one variant."""
    parts = [_grid(axis)]
    middle = ROW_HEIGHT / 2
    if interval is not None and interval.low is not None and interval.high is not None:
        x1, x2 = svg.percent(axis.share(interval.low)), svg.percent(axis.share(interval.high))
        parts.append(svg.element("line", x1=x1, x2=x2, y1=middle, y2=middle, class_="interval"))
    for index, value in enumerate(values):
        offset = ((index * 5) % 7 - 3) * 2.2 if len(values) > 1 else 0.0  # apart, the same in every rendering
        parts.append(svg.element("circle", cx=svg.percent(axis.share(value)), cy=middle + offset, r=3.4, class_="dot"))
    if interval is not None:
        x = svg.percent(axis.share(interval.estimate))
        parts.append(svg.element("line", x1=x, x2=x, y1=middle - 11, y2=middle + 11, class_="median"))
    parts += [_bound(bound, axis) for bound in bounds if axis.low <= bound.value <= axis.high]
    listed = ", ".join(axis.unit.plain(value) for value in values) or "no valid trial"
    words = "".join(
        f"; expected at {'least' if bound.is_least else 'most'} {axis.unit.plain(bound.value)}" for bound in bounds
    )
    return svg.figure(title, f"Each valid trial: {listed} {axis.unit.name}".strip() + words, ROW_HEIGHT, *parts)


def bound_key(*, is_least: bool) -> Markup:
    """The sign of a bound, for a legend."""
    return svg.element(
        "svg", _flag(20, is_least=is_least), width=14, height=20, viewBox="-7 0 14 20", aria_hidden="true"
    )


def _bound(bound: Bound, axis: Axis) -> Markup:
    """A line with a flag towards the values that meet it."""
    flag = _flag(ROW_HEIGHT, is_least=bound.is_least)
    x = svg.percent(axis.share(bound.value))
    return svg.element("svg", flag, x=x, overflow="visible", aria_hidden="true")


def _flag(height: int, *, is_least: bool) -> Markup:
    way = 1 if is_least else -1
    return svg.element("path", d=f"M0 {height - 1}V1l{6 * way} 4l{-6 * way} 4", class_="bound")


def scale_row(axis: Axis) -> Markup:
    """The axis below the rows."""
    parts = [
        svg.element("text", label, x=svg.percent(share), y=15, text_anchor="middle", class_="tick")
        for share, label in axis.shown_ticks()
    ]
    return svg.element("svg", *parts, width="100%", height=20, class_="plot", aria_hidden="true")


def _grid(axis: Axis) -> Markup:
    lines = [
        svg.element("line", x1=svg.percent(share), x2=svg.percent(share), y1=0, y2=ROW_HEIGHT)
        for share, _ in axis.shown_ticks()
    ]
    return svg.element("g", *lines, class_="grid")
