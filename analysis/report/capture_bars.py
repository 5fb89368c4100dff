"""Horizontal bars of parts that add up: octets of the option area, SACK blocks by what became of them, policies.

A part is told by its colour and its pattern, and by its name inside it where that fits; the numbers stand in the table
beside the figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from analysis.report import svg
from analysis.report.panel import LAST_LABEL_SHARE
from analysis.report.scale import Axis

ROW = 40
"""Height of one bar and its label, pixels."""
_BAR = 19
_MOST_LETTERS = 42
"""Of a label on a telephone."""
_LETTER_SHARE = 0.0125
"""Width of a letter as a share of a narrow plot: names that might not fit are left out."""


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a bar."""

    name: str
    value: float
    css: str
    """Class of the style sheet: colour and pattern."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One line of a figure."""

    label: str
    note: str
    """At the right end of the label's line: the sum in words."""
    parts: tuple[Part, ...]


def bars(title: str, description: str, lines: Sequence[Bar], axis: Axis) -> Markup:
    """The drawing; the legend is the page's."""
    height = ROW * len(lines)
    children = [_grid(axis, height)]
    for index, line in enumerate(lines):
        children.append(_bar(line, axis, ROW * index))
    children.append(_ticks(axis, height))
    return svg.figure(title, description, height + 26, *children, class_="plot bars")


def _bar(line: Bar, axis: Axis, top: int) -> Markup:
    note = svg.element("text", line.note, x="100%", y=top + 13, text_anchor="end", class_="tick bar-note")
    shapes, start = [*_label(line.label, top), note], 0.0
    for part in line.parts:
        left, right = axis.share(start), axis.share(start + part.value)
        start += part.value
        if right <= left:
            continue
        x, width = svg.percent(left), svg.percent(right - left)
        shapes.append(svg.element("rect", x=x, y=top + 18, width=width, height=_BAR, class_=f"part {part.css}"))
        if right - left > _LETTER_SHARE * (len(part.name) + 1):
            middle = svg.percent((left + right) / 2)
            text = svg.element("text", part.name, x=middle, y=top + 32, text_anchor="middle", class_=f"on-{part.css}")
            shapes.append(text)
    return svg.element("g", *shapes)


def _label(label: str, top: int) -> list[Markup]:
    """On a telephone a long one is shortened; the table beside the figure has it whole."""
    if len(label) <= _MOST_LETTERS:
        return [svg.element("text", label, x=0, y=top + 13, class_="bar-label")]
    short = f"{label[: _MOST_LETTERS - 1].rstrip()}…"
    return [
        svg.element("text", label, x=0, y=top + 13, class_="bar-label not-narrow"),
        svg.element("text", short, x=0, y=top + 13, class_="bar-label only-narrow"),
    ]


def _grid(axis: Axis, height: int) -> Markup:
    lines = [
        svg.element("line", x1=svg.percent(share), x2=svg.percent(share), y1=0, y2=height + 4)
        for share, _ in axis.shown_ticks()
    ]
    return svg.element("g", *lines, class_="grid")


def _ticks(axis: Axis, height: int) -> Markup:
    texts = []
    last = len(axis.ticks) - 1
    for index, (share, label) in enumerate(axis.shown_ticks()):
        anchor = "start" if index == 0 else "end" if share > LAST_LABEL_SHARE else "middle"
        text = f"{label} {axis.unit.name}".rstrip() if index == last else label
        texts.append(svg.element("text", text, x=svg.percent(share), y=height + 18, text_anchor=anchor))
    return svg.element("g", *texts, class_="tick", aria_hidden="true")
