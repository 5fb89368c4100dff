"""Sequence over time: which subflow carried which octets of the connection when, and what was sent again.

Positions are data sequence numbers less the first (of plain TCP: sequence numbers of the subflow).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from analysis.report import svg
from analysis.report.capture_outline import COLUMNS, KINDS, Lane, Outline
from analysis.report.panel import STYLES, grid, tick_labels
from analysis.report.scale import Axis, linear_axis
from analysis.report.wording import THIN_SPACE, count, quantity

HEIGHT = 250
CLOSE_HEIGHT = 210
_THIN = 1.6
"""Least height of an outline, pixels: a single segment of a long transfer is thinner."""

Words = Mapping[int, str]
"""Number of a subflow -> its name."""


@dataclass(frozen=True, slots=True)
class Packet:
    """One data segment of a close-up."""

    subflow: int
    time_ns: int
    start: int
    end: int
    repeat: str
    """Empty, retransmission or reinjection."""


@dataclass(frozen=True, slots=True)
class SequenceFigure:
    """The whole transfer of one direction, and a close-up where most was sent again."""

    heading: str
    drawing: Markup
    close_heading: str
    close: Markup
    legend: tuple[tuple[str, str], ...]
    marks: tuple[tuple[str, str], ...]
    """(symbol, what it marks and how often)."""


def css_of(subflow: int) -> str:
    """Class of the style sheet: colour and dash."""
    return f"s{subflow % STYLES + 1}"


def sequence_figure(
    title: str, outline: Outline, names: Words, offset_ns: int, packets: Sequence[Packet], scope: tuple[int, int] | None
) -> SequenceFigure:
    """The figure. ``offset_ns``: where the time of the page begins; ``packets`` of the close-up between ``scope``."""
    first = outline.first_ns - offset_ns
    x_axis = span_axis(first, first + outline.span_ns)
    y_axis = linear_axis([0, outline.top], "bytes", count=4)
    scale = outline.top / y_axis.high if y_axis.high else 0.0
    curves = []
    for subflow, lane in sorted(outline.lanes.items()):
        curves.append(svg.element("path", d=_silhouette(lane, y_axis), class_=f"lane {css_of(subflow)}"))
    steps = outline.ack_steps()
    if steps:
        curves.append(svg.element("path", d=_ack_line(steps, y_axis), class_="line acked"))
    marks = [
        _mark(kind, subflow, svg.percent(x), HEIGHT * (1 - y * scale)) for kind, subflow, x, y in outline.thinned()
    ]
    described = "; ".join(
        f"{names.get(subflow, f'subflow {subflow}')}: positions {quantity(int(lane.low.min()), 'bytes')} to "
        f"{quantity(int(lane.high.max()), 'bytes')}"
        for subflow, lane in sorted(outline.lanes.items())
    )
    described += "".join(f"; {count(outline.counts[kind], kind)}" for kind in KINDS)
    drawing = framed(f"Sequence over time: {title}", described, curves, marks, x_axis, y_axis, HEIGHT)
    legend = [(css_of(subflow), names.get(subflow, f"subflow {subflow}")) for subflow in sorted(outline.lanes)]
    close, close_heading = Markup(""), ""
    if scope is not None and packets:
        close_heading, close = _close_up(title, packets, scope, offset_ns)
    return SequenceFigure(
        f"Position in the data, {y_axis.unit.name}",
        drawing,
        close_heading,
        close,
        (*legend, *([("acked", "acknowledged")] if steps else [])),
        tuple((kind, _counted(outline.counts[kind], kind)) for kind in KINDS if outline.counts[kind]),
    )


def span_axis(first_ns: int, last_ns: int) -> Axis:
    """An axis of times that begins and ends exactly there."""
    whole = linear_axis([float(first_ns), float(last_ns)], "ns", from_zero=False, count=6)
    ticks = tuple(tick for tick in whole.ticks if first_ns <= tick <= last_ns) or (float(first_ns),)
    return Axis(float(first_ns), float(max(last_ns, first_ns + 1)), ticks, whole.unit, "ns")


def framed(
    title: str,
    description: str,
    curves: Sequence[Markup],
    overlay: Sequence[Markup],
    x_axis: Axis,
    y_axis: Axis,
    height: int,
) -> Markup:
    """Curves, stretched, between axes."""
    inside = [grid(x_axis, y_axis, height), svg.stretched(height, *curves), *overlay]
    body = svg.element("g", *inside, tick_labels(x_axis, y_axis, height), transform="translate(0 6)")
    return svg.figure(title, description, height + 28, body)


def _silhouette(lane: Lane, y_axis: Axis) -> str:
    """Path data: along the highest positions and back along the lowest, in steps of columns."""
    step = svg.WIDTH / COLUMNS
    parts = []
    for first, end in lane.runs():
        highs = [_y(int(lane.high[column]), y_axis) for column in range(first, end)]
        lows = [
            max(_y(int(lane.low[column]), y_axis), high + _THIN)
            for column, high in zip(range(first, end), highs, strict=True)
        ]
        path = [f"M{svg.number(first * step)} {svg.number(highs[0])}"]
        for index, high in enumerate(highs):
            path.append(f"V{svg.number(high)}H{svg.number((first + index + 1) * step)}")
        path += [
            f"V{svg.number(lows[index])}H{svg.number((first + index) * step)}" for index in reversed(range(len(lows)))
        ]
        parts.append("".join(path) + "z")
    return "".join(parts)


def _ack_line(steps: Sequence[tuple[int, int]], y_axis: Axis) -> str:
    step = svg.WIDTH / COLUMNS
    path = [f"M{svg.number(steps[0][0] * step)} {svg.number(_y(steps[0][1], y_axis))}"]
    path += [f"H{svg.number((column + 1) * step)}V{svg.number(_y(position, y_axis))}" for column, position in steps[1:]]
    return "".join(path)


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}".replace(",", THIN_SPACE)


def _y(position: int, y_axis: Axis, height: int = HEIGHT) -> float:
    return round(height * (1 - y_axis.share(position)), 1)


def _mark(kind: str, subflow: int, x: str, y: float) -> Markup:
    return svg.element("use", href=f"#{kind}", x=x, y=round(y, 1), class_=css_of(subflow))


def _close_up(title: str, packets: Sequence[Packet], scope: tuple[int, int], offset_ns: int) -> tuple[str, Markup]:
    """Each packet by itself: a stroke from its first octet to its last. Both axes begin at 0, or their numbers would be
    too long to tell apart."""
    first, last = scope
    x_axis = span_axis(0, last - first)
    low = min(packet.start for packet in packets)
    y_axis = linear_axis([0, max(packet.end for packet in packets) - low], "bytes", count=4)
    strokes: dict[int, list[str]] = {}
    marks = []
    for packet in packets:
        x = x_axis.share(packet.time_ns - first)
        ends = (packet.start - low, packet.end - low)
        bottom, top = (round(CLOSE_HEIGHT * (1 - y_axis.share(value)), 1) for value in ends)
        top = min(top, bottom - _THIN)
        path = f"M{svg.number(svg.WIDTH * x)} {svg.number(bottom)}V{svg.number(top)}"
        strokes.setdefault(packet.subflow, []).append(path)
        if packet.repeat:
            marks.append(_mark(packet.repeat, packet.subflow, svg.percent(x), (bottom + top) / 2))
    curves = [
        svg.element("path", d="".join(paths), class_=f"stroke {css_of(subflow)}")
        for subflow, paths in sorted(strokes.items())
    ]
    repeats = sum(bool(packet.repeat) for packet in packets)
    described = f"{count(len(packets), 'segment')}, {repeats} of them sent again"
    drawing = framed(f"Close-up: {title}", described, curves, marks, x_axis, y_axis, CLOSE_HEIGHT)
    where = f"{quantity(last - first, 'ns')} at {quantity(max(0, first - offset_ns), 'ns', digits=4)}"
    why = ", where most was sent again" if repeats else ""
    above = f"{y_axis.unit.name} above {quantity(low, 'bytes', digits=5)}"
    return f"Close-up: {where}{why}; {above}; each stroke is a segment", drawing
