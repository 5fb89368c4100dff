"""A plot with axes: curves over time or a distribution, with the scheduled events marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from analysis.report import svg
from analysis.report.scale import Axis

STYLES = 7
"""Line styles of the style sheet (colour and dash); the eighth curve repeats the first."""

MOST_POINTS = 240
"""More points than this are thinned: the extremes of each interval stay."""

LAST_LABEL_SHARE = 0.96
"""Labels of ticks further right end at the tick, or they would leave the page."""

_STRIP_ROW = 15
_EDGE_SHARE = 0.6
_NEAR_SHARE = 0.22

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Curve:
    """Values over the horizontal axis, in base units of both axes."""

    label: str
    x: FloatArray
    y: FloatArray
    style: int = 0
    """0: the total, ink and filled; from 1 on: the line styles."""
    unbroken: bool = False
    """Points of a sweep, not samples of a time series: a large step between them is no gap."""
    steps: bool = False
    """Constant until the next point (a distribution function) instead of straight."""

    @property
    def css(self) -> str:
        """Class of the style sheet."""
        return "total" if self.style == 0 else f"s{(self.style - 1) % STYLES + 1}"


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened at ``x``; ``number`` refers to the list below the figure."""

    x: float
    number: int
    label: str


@dataclass(frozen=True, slots=True)
class Band:
    """A stretch of the horizontal axis: an outage, or a stall of the machine."""

    start: float
    end: float
    css: str = "outage"


def panel(
    title: str,
    description: str,
    curves: Sequence[Curve],
    x_axis: Axis,
    y_axis: Axis,
    height: int,
    marks: Sequence[Mark] = (),
    bands: Sequence[Band] = (),
    *,
    labelled_marks: bool = True,
    overlay: Sequence[Markup] = (),
) -> Markup:
    """The drawing of a panel, axes and labels of ticks included; its heading and legend are the page's."""
    strip = _STRIP_ROW * (1 + max(_label_rows(marks, x_axis), default=0)) + 6 if marks and labelled_marks else 4
    inside = [_bands(bands, x_axis, height), grid(x_axis, y_axis, height)]
    inside.append(svg.stretched(height, *(_drawn(curve, x_axis, y_axis, height) for curve in curves)))
    inside += [_mark(mark, row, x_axis, height, strip, labelled=labelled_marks) for mark, row in _rows(marks, x_axis)]
    inside += [*overlay, tick_labels(x_axis, y_axis, height)]
    body = svg.element("g", *inside, transform=f"translate(0 {strip})")
    return svg.figure(title, description, height + strip + 20, body)


def _rows(marks: Sequence[Mark], x_axis: Axis) -> list[tuple[Mark, int]]:
    return list(zip(marks, _label_rows(marks, x_axis), strict=True))


def _label_rows(marks: Sequence[Mark], x_axis: Axis) -> list[int]:
    """Row of each label above the plot, so that neighbours do not overlap."""
    taken: list[float] = []
    rows = []
    for mark in marks:
        position = x_axis.share(mark.x)
        row = next((i for i, last in enumerate(taken) if position - last > _NEAR_SHARE), len(taken))
        row = min(row, 2)
        taken[row : row + 1] = [position]
        rows.append(row)
    return rows


def _bands(bands: Sequence[Band], x_axis: Axis, height: int) -> Markup:
    shapes = []
    for band in bands:
        left, right = x_axis.share(band.start), x_axis.share(band.end)
        width = svg.percent(right - left)
        shapes.append(svg.element("rect", x=svg.percent(left), y=0, width=width, height=height, class_=band.css))
    return svg.element("g", *shapes)


def grid(x_axis: Axis, y_axis: Axis, height: int) -> Markup:
    """Lines at the ticks of both axes."""
    lines = []
    for share, _ in y_axis.shown_ticks():
        y = height * (1 - share)
        lines.append(svg.element("line", x1="0", x2="100%", y1=y, y2=y))
    for share, _ in x_axis.shown_ticks():
        x = svg.percent(share)
        lines.append(svg.element("line", x1=x, x2=x, y1=height, y2=height + 4))
    return svg.element("g", *lines, class_="grid")


def tick_labels(x_axis: Axis, y_axis: Axis, height: int) -> Markup:
    """Numbers at the ticks; the last one across has the unit."""
    texts = [
        svg.element("text", label, x=-7, y=height * (1 - share) + 4, text_anchor="end")
        for share, label in y_axis.shown_ticks()
    ]
    last = len(x_axis.ticks) - 1
    for index, (share, label) in enumerate(x_axis.shown_ticks()):
        text = f"{label} {x_axis.unit.name}" if index == last else label
        at_edge = share > LAST_LABEL_SHARE
        anchor, dx = ("end", 8) if at_edge else ("middle", None)
        texts.append(svg.element("text", text, x=svg.percent(share), dx=dx, y=height + 16, text_anchor=anchor))
    return svg.element("g", *texts, class_="tick", aria_hidden="true")


def _mark(mark: Mark, row: int, x_axis: Axis, height: int, strip: int, *, labelled: bool) -> Markup:
    position = x_axis.share(mark.x)
    x = svg.percent(position)
    top = _STRIP_ROW * row + 9 - strip if labelled else 0
    parts = [svg.element("line", x1=x, x2=x, y1=top, y2=height)]
    if labelled:
        parts.append(svg.element("circle", cx=x, cy=top, r=7))
        parts.append(
            svg.element("text", str(mark.number), x=x, y=top + 3.5, text_anchor="middle", class_="mark-number")
        )
        left = position > _EDGE_SHARE
        text = svg.element(
            "text", mark.label, x=x, dx=-11 if left else 11, y=top + 4, text_anchor="end" if left else "start"
        )
        parts.append(svg.element("g", text, class_="mark-label"))
    return svg.element("g", *parts, class_="mark")


def _drawn(curve: Curve, x_axis: Axis, y_axis: Axis, height: int) -> Markup:
    pieces = [
        [(x_axis.share(x), height * (1 - y_axis.share(y))) for x, y in piece]
        for piece in _pieces(*_thinned(curve.x, curve.y), steps=curve.steps, unbroken=curve.unbroken)
    ]
    line = svg.element("path", d=svg.polyline(pieces), class_=f"line {curve.css}")
    if curve.style or curve.steps:
        return line
    return svg.element("path", d=svg.area(pieces, height), class_="under") + line


def _thinned(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """At most MOST_POINTS points; of each stretch the smallest and the largest value stay, in their order."""
    if x.size <= MOST_POINTS:
        return x, y
    kept = set()
    for part in np.array_split(np.arange(x.size), MOST_POINTS // 2):
        kept |= {int(part[np.argmin(y[part])]), int(part[np.argmax(y[part])])}
    indices = sorted(kept | {0, x.size - 1})
    return x[indices], y[indices]


def _pieces(x: FloatArray, y: FloatArray, *, steps: bool, unbroken: bool) -> list[list[tuple[float, float]]]:
    """The curve cut where samples are missing; no line is drawn through what was not measured."""
    points = list(zip(x.tolist(), y.tolist(), strict=True))
    if steps:
        corners = [points[:1]]
        for before, after in pairwise(points):
            corners.append([(after[0], before[1]), after])
        return [[point for corner in corners for point in corner]]
    if unbroken or x.size < 3:
        return [points]
    gap = 3.5 * float(np.median(np.diff(x)))
    cuts = (np.flatnonzero(np.diff(x) > gap) + 1).tolist()
    return [points[start:end] for start, end in zip([0, *cuts], [*cuts, len(points)], strict=True)]
