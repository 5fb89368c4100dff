"""A row of a matrix' figure: one value below the other, in the order of the levels of a factor."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from analysis.report import svg
from analysis.report.scale import Axis, linear_axis
from analysis.report.wording import NOT_MEASURED
from analysis.statistics import Interval

ROW_HEIGHT = 46


def ratio_axis(ratios: Sequence[float]) -> Axis:
    """Around 1, from tick to tick."""
    low, high = min([*ratios, 0.9]), max([*ratios, 1.1])
    step = 0.1 if high - low < 0.7 else 0.2
    first, last = int(low / step), -int(-high / step // 1)
    ticks = tuple(round(step * index, 3) for index in range(first, last + 1))
    return Axis(ticks[0], ticks[-1], ticks, linear_axis([1.0], "x").unit, "x")


def ladder(
    title: str,
    values: Sequence[float | None],
    steps: Sequence[str],
    axis: Axis,
    whole: Interval | None,
    base: float | None = None,
) -> Markup:
    """One value below the other, in the order of the steps: each has its place and its size, so colour says nothing.

    A line joins those that are degrees of one thing (``loss 1 %``, ``loss 2 %``); others are diamonds. What lies beyond
    the axis is a triangle at its edge.
    """
    grid = [
        svg.element("line", x1=svg.percent(at), x2=svg.percent(at), y1=0, y2=ROW_HEIGHT) for at, _ in axis.shown_ticks()
    ]
    parts = [svg.element("g", *grid, class_="grid")]
    if base is not None:
        x = svg.percent(axis.share(base))
        parts.append(svg.element("line", x1=x, x2=x, y1=0, y2=ROW_HEIGHT, class_="base"))
    if whole is not None and whole.low is not None and whole.high is not None:
        low, high = axis.share(whole.low), axis.share(whole.high)
        box = {"x": svg.percent(low), "width": svg.percent(high - low), "y": 2, "height": ROW_HEIGHT - 4}
        parts.append(svg.element("rect", **box, class_="band"))
    points = [
        (axis.share(value), _height(index, len(steps)))
        for index, (value, step) in enumerate(zip(values, steps, strict=True))
        if value is not None and _is_degree(step, steps)
    ]
    if len(points) > 1:
        parts.append(svg.stretched(ROW_HEIGHT, svg.element("path", d=svg.polyline([points]), class_="line s1 thin")))
    for index, (value, step) in enumerate(zip(values, steps, strict=True)):
        if value is not None:
            parts.append(_sign(value, step, index, steps, axis))
    told = [
        f"{step}: {NOT_MEASURED if value is None else axis.unit.plain(value) + axis.unit.name}"
        for step, value in zip(steps, values, strict=True)
    ]
    return svg.figure(title, "; ".join(told), ROW_HEIGHT, *parts)


def _sign(value: float, step: str, index: int, steps: Sequence[str], axis: Axis) -> Markup:
    x, y = svg.percent(axis.share(value)), _height(index, len(steps))
    if axis.low <= value <= axis.high:
        return _mark(x, y, step, index, steps)
    path = "M4 -4 L-4 0 L4 4 z" if value < axis.low else "M-4 -4 L4 0 L-4 4 z"
    return svg.element("svg", svg.element("path", d=path, class_="dot"), x=x, y=y, overflow="visible")


def _mark(x: str | float, y: float, step: str, index: int, steps: Sequence[str]) -> Markup:
    if _is_degree(step, steps):
        return svg.element("circle", cx=x, cy=y, r=_radius(index, len(steps)), class_="dot")
    return svg.element(
        "svg", svg.element("path", d="M0 -5 L5 0 L0 5 L-5 0 z", class_="dot"), x=x, y=y, overflow="visible"
    )


def _is_degree(step: str, steps: Sequence[str]) -> bool:
    """Whether it is of the same kind as the first: ``loss 2 %`` beside ``loss 0``."""
    return step.split()[0] == steps[0].split()[0] or len({each.split()[0] for each in steps}) == len(steps)


def _height(index: int, count: int) -> float:
    return 6 + (ROW_HEIGHT - 12) * (index / (count - 1) if count > 1 else 0.5)


def _radius(index: int, count: int) -> float:
    return 1.8 + 2.6 * (index / (count - 1) if count > 1 else 0.5)


def legend(steps: Sequence[str]) -> tuple[tuple[Markup, str], ...]:
    """(sign, step), in the order in which they lie in each row from the top."""
    found = []
    for index, step in enumerate(steps):
        mark = _mark(8.0, 6, step, index, steps)
        found.append((svg.element("svg", mark, width=16, height=12, class_="plot", aria_hidden="true"), step))
    return tuple(found)
