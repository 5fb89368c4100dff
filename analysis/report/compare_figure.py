"""Ratios on one logarithmic axis: a row a series, its interval, and the band in which a change does not matter."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from analysis.comparison.contrast import Contrast
from analysis.report import svg
from analysis.report.compare_words import ratio_words, tone
from analysis.report.scale import Axis
from analysis.report.wording import unit_for

ROW_HEIGHT = 34
WIDEST = math.log(100)
"""A ratio beyond 100 lies at the edge: the numbers stand beside it."""
_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
_FACTORS = (2, 3, 5, 10, 20, 50, 100)
_APART = 0.28
"""Of half the axis: labels of ticks that are nearer to each other would touch in a narrow column."""


def ratio_axis(contrasts: Sequence[Contrast], smallest: float) -> Axis:
    """An axis with 1 in its middle that holds every estimate, and the intervals as far as they are alike."""
    ratios = [one.ratio for one in contrasts if one.ratio is not None and one.ratio.estimate > 0]
    reach = [abs(math.log(ratio.estimate)) * 1.25 for ratio in ratios]
    ends = sorted(
        max(-math.log(ratio.low), math.log(ratio.high))
        for ratio in ratios
        if ratio.low is not None and ratio.high is not None and ratio.low > 0
    )
    typical = ends[3 * (len(ends) - 1) // 4] * 1.1 if ends else 0.0  # one wide interval does not flatten the others
    span = min(WIDEST, max([typical, math.log(1 + 2 * smallest), math.log(1.02), *reach]))
    beside = [-math.log(1 - step) for step in _STEPS] if span < math.log(2) else [math.log(step) for step in _FACTORS]
    kept: list[float] = []
    for place in reversed([place for place in beside if place <= span]):
        if place >= _APART * span and (not kept or kept[-1] - place >= _APART * span):
            kept.append(place)
    below = [math.exp(-place) for place in kept]
    ticks = [1.0, *below, *((2 - tick if tick > 0.5 else 1 / tick) for tick in below)]
    return Axis(math.exp(-span), math.exp(span), tuple(sorted(ticks)), unit_for(1, "x"), "x", logarithmic=True)


def ratio_row(one: Contrast, axis: Axis, smallest: float) -> Markup:
    """The plot cell of one series; empty but for the axis where there is no ratio."""
    middle = ROW_HEIGHT / 2
    low, high = axis.share(1 - smallest), axis.share(1 + smallest)
    parts = [
        svg.element("rect", x=svg.percent(low), width=svg.percent(high - low), y=0, height=ROW_HEIGHT, class_="same"),
        _grid(axis),
    ]
    if one.ratio is not None:
        kind = f"ratio-{tone(one)}"
        if one.ratio.low is not None and one.ratio.high is not None:
            x1, x2 = (svg.percent(axis.share(end)) for end in (one.ratio.low, one.ratio.high))
            parts.append(svg.element("line", x1=x1, x2=x2, y1=middle, y2=middle, class_=f"interval {kind}"))
            parts += [_beyond(end, axis, middle, kind) for end in (one.ratio.low, one.ratio.high)]
        x = svg.percent(axis.share(one.ratio.estimate))
        parts.append(svg.element("line", x1=x, x2=x, y1=middle - 11, y2=middle + 11, class_=f"median {kind}"))
    described = f"Candidate over reference: {ratio_words(one)}; {one.verdict}. {one.reason}"
    return svg.figure(f"Ratio of {one.series}", described, ROW_HEIGHT, *parts)


def _grid(axis: Axis) -> Markup:
    lines = [
        svg.element(
            "line",
            x1=svg.percent(share),
            x2=svg.percent(share),
            y1=0,
            y2=ROW_HEIGHT,
            class_="one" if label == "1" else None,
        )
        for share, label in axis.shown_ticks()
    ]
    return svg.element("g", *lines, class_="grid")


def _beyond(end: float, axis: Axis, middle: float, kind: str) -> Markup:
    """An arrow head where an interval goes on beyond the axis."""
    if axis.low <= end <= axis.high:
        return Markup()
    sign = "‹" if end < axis.low else "›"
    x, anchor = ("0%", "end") if end < axis.low else ("100%", "start")
    return svg.element("text", sign, x=x, y=middle + 4, text_anchor=anchor, class_=f"beyond {kind}", aria_hidden="true")
