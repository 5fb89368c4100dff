"""SVG text from values: escaping, numbers, and the frame that lets a figure follow the width of its page.

Figures have no width of their own. Horizontal positions are percentages of the plot, vertical ones pixels, so text
keeps its size on a telephone and on a wide screen; curves stand in a nested drawing that is stretched while their
strokes are not (``vector-effect: non-scaling-stroke``). Colours, dashes and fonts are the style sheet's classes.

Source: SVG 2, https://www.w3.org/TR/SVG2/ (7.9 preserveAspectRatio, 8.12 vector-effect).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from markupsafe import Markup, escape

WIDTH = 1000
"""Horizontal resolution of stretched curves, in steps over the whole plot."""


def element(tag: str, *children: str | Markup, **attributes: object) -> Markup:
    """One element. ``class_`` and ``stroke_width`` become ``class`` and ``stroke-width``; None leaves one out."""
    names = ((name.rstrip("_").replace("_", "-"), value) for name, value in attributes.items() if value is not None)
    head = "".join(f' {name}="{escape(number(value) if isinstance(value, float) else value)}"' for name, value in names)
    body = Markup("").join(children)  # escapes every child that is not markup
    return Markup(f"<{tag}{head}>{body}</{tag}>" if children else f"<{tag}{head}/>")


def number(value: float) -> str:
    """At most two decimals, no trailing zeros."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def percent(share: float) -> str:
    """Horizontal position: 0 the left, 1 the right edge of the plot."""
    return f"{number(100 * share)}%"


def figure(title: str, description: str, height: int, *children: Markup, class_: str = "plot") -> Markup:
    """The drawing as one image with a name and a description for those who do not see it."""
    return element(
        "svg",
        element("title", title),
        element("desc", description),
        *children,
        role="img",
        width="100%",
        height=height,
        class_=class_,
    )


def stretched(height: int, *children: Markup) -> Markup:
    """Curves in coordinates 0..WIDTH and 0..height, stretched to the width of the plot."""
    return element(
        "svg", *children, width="100%", height=height, viewBox=f"0 0 {WIDTH} {height}", preserveAspectRatio="none"
    )


def polyline(pieces: Iterable[Sequence[tuple[float, float]]]) -> str:
    """Path data of open lines; points are (share of the width, pixels from the top)."""
    return "".join(_piece(points) for points in pieces if len(points) > 1)


def area(pieces: Iterable[Sequence[tuple[float, float]]], floor: float) -> str:
    """Path data of the areas between lines and the height ``floor``."""
    closed = []
    for points in pieces:
        if len(points) > 1:
            down, back = round(floor), round(WIDTH * points[0][0])
            closed.append(f"{_piece(points)}V{down}H{back}z")
    return "".join(closed)


def _piece(points: Sequence[tuple[float, float]]) -> str:
    """Relative moves in whole steps and tenths of a pixel: a third of the size of absolute decimals."""
    fixed = [(round(WIDTH * x), round(10 * y)) for x, y in points]
    parts = [f"M{fixed[0][0]} {_tenths(fixed[0][1])}l"]
    for (x0, y0), (x1, y1) in pairwise(fixed):
        parts.append(f"{x1 - x0} {_tenths(y1 - y0)} ")
    return "".join(parts).rstrip()


def _tenths(value: int) -> str:
    sign = "-" if value < 0 else ""
    whole, rest = divmod(abs(value), 10)
    return f"{sign}{whole or ''}.{rest}" if rest else f"{sign}{whole}"
