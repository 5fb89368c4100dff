"""The trend of a series over the nights, drawn: every night with its interval, levels and steps, gaps, events.

Points and intervals are one path each: dots are lines of length 0 with round ends, which stay round when the drawing
is stretched. A page has three such figures and there are hundreds of pages, so a figure may cost a millisecond.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from analysis.history import SeriesState, Step
from analysis.history.states import Night
from analysis.report import svg
from analysis.report.panel import Mark, panel
from analysis.report.scale import Axis, linear_axis
from analysis.report.site_scale import cadence, date_axis, gaps, ratio_axis, seconds, shown
from analysis.report.wording import count

_HEIGHT = 210
_LOW_HEIGHT = 120
_LEAST_ROOM = 0.02
"""Above and below the values by themselves, so that three digits tell the ticks apart."""
_SPARK_HEIGHT = 30
_SPARK_SPREAD = 0.03
"""A sparkline shows at least 3 % to either side, so that noise does not look like news."""


@dataclass(frozen=True, slots=True)
class Nights:
    """What all figures of a campaign share: its nights, and the axis they lie on."""

    utc: tuple[str, ...]
    axis: Axis
    apart: float
    """Seconds between two nights, as a rule."""
    gaps: tuple[tuple[str, str], ...]

    def x(self, utc: str) -> float:
        """Share of the axis."""
        return self.axis.share(seconds(utc))


def nights_of(utc: Sequence[str]) -> Nights:
    """``utc``: the campaign's nights, oldest first, at least one."""
    return Nights(tuple(utc), date_axis(utc), cadence(utc), tuple(gaps(utc)))


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that the figure marks with a number and the page tells in words."""

    number: int
    night_utc: str
    word: str
    """Beside the mark: ``"alarm"``."""
    text: str


def ratio_figure(state: SeriesState, nights: Nights, happenings: Sequence[Happening]) -> Markup:
    """Candidate against reference."""
    measured = [night for night in state.nights if night.ratio is not None]
    axis = _ratio_axis(state, measured)
    y = _placed(axis, _HEIGHT, state)
    parts = [_gap_bands(nights, _HEIGHT), _usual(state, axis, _HEIGHT)]
    parts += [_level_band(step, until, state, nights, y) for step, until in _stretches(state, nights)]
    lines = [
        _levels(state, measured, nights, y),
        _intervals(measured, nights, y),
        _points(measured, "ratio", nights, y),
    ]
    parts.append(svg.stretched(_HEIGHT, *lines))
    parts.append(_not_measured(state, nights, _HEIGHT))
    parts.append(_reference_changes(state, nights, _HEIGHT))
    marks = [Mark(seconds(each.night_utc), each.number, each.word) for each in happenings]
    title = f"{state.series}: candidate against reference, night by night"
    return panel(title, _in_words(state, measured), [], nights.axis, axis, _HEIGHT, marks, overlay=parts)


def control_figure(state: SeriesState, nights: Nights, happenings: Sequence[Happening]) -> Markup:
    """The reference against itself, on the scale of :func:`ratio_figure` and with its marks: they stand level."""
    measured = [night for night in state.nights if night.ratio is not None]
    again = [night for night in state.nights if night.control is not None]
    axis = _ratio_axis(state, measured)
    y = _placed(axis, _HEIGHT, state)
    parts = [_gap_bands(nights, _HEIGHT)]
    trend = state.control.trend
    if trend is not None and trend.low is not None and trend.high is not None and again:
        first = nights.x(again[-min(trend.n, len(again))].night_utc)
        parts.append(_rectangle(first, nights.x(again[-1].night_utc), y(trend.low), y(trend.high), "control-band"))
    parts.append(_even(axis, _HEIGHT))
    parts.append(svg.stretched(_HEIGHT, _points(again, "control", nights, y)))
    title = f"{state.series}: the reference against itself, night by night"
    words = f"{count(len(again), 'night')}; {state.control.suspect or 'no difference found'}."
    marks = [Mark(seconds(each.night_utc), each.number, "") for each in happenings]
    return panel(title, words, [], nights.axis, axis, _HEIGHT, marks, overlay=parts)


def absolute_figure(state: SeriesState, nights: Nights) -> tuple[Markup, Axis]:
    """Candidate and reference by themselves, and the vertical axis. Where they agree, the dashes lie on the line."""
    measured = [night for night in state.nights if night.ratio is not None]
    values = [value for night in measured for value in (night.candidate, night.reference) if value is not None]
    around = [end for value in values for end in (value * (1 - _LEAST_ROOM), value * (1 + _LEAST_ROOM))]
    axis = linear_axis(around, state.unit, from_zero=False, count=4)

    def y(value: float) -> float:
        return _LOW_HEIGHT * (1 - axis.share(value))

    pieces = _pieces(measured, nights)

    def curve(name: str, css: str) -> Markup:
        points = [[(nights.x(night.night_utc), y(getattr(night, name))) for night in piece] for piece in pieces]
        line = svg.element("path", d=svg.polyline(points), class_=f"line {css}")
        return line + _dots((piece[0] for piece in points if len(piece) == 1), f"night-dot {css}")

    parts = [
        _gap_bands(nights, _LOW_HEIGHT),
        svg.stretched(_LOW_HEIGHT, curve("candidate", "s1"), curve("reference", "s2")),
    ]
    title = f"{state.series}: candidate and reference by themselves"
    words = f"Medians of {count(len(measured), 'night')}; the numbers are in the table of nights."
    return panel(title, words, [], nights.axis, axis, _LOW_HEIGHT, overlay=parts), axis


def sparkline(state: SeriesState, nights: Nights) -> Markup:
    """The trend in a cell of a table; what it says stands beside it in words."""
    measured = [night for night in state.nights if night.ratio is not None]
    if not measured:
        return svg.element("svg", width="100%", height=_SPARK_HEIGHT, class_="spark", aria_hidden="true")
    values = [shown(night.ratio, state.kind) for night in measured if night.ratio is not None]
    middle = sorted(values)[len(values) // 2] if state.expected is None else shown(state.expected, state.kind)
    spread = max(_SPARK_SPREAD if state.kind != "difference" else 1e-12, *(abs(value - middle) for value in values))

    def y(night: Night) -> float:
        assert night.ratio is not None
        return _SPARK_HEIGHT / 2 * (1 - 0.86 * (shown(night.ratio, state.kind) - middle) / spread)

    points = [[(nights.x(night.night_utc), y(night)) for night in piece] for piece in _pieces(measured, nights)]
    tone = "spark-last" + (f" {state.state}" if state.state in ("alarm", "regressed", "improved") else "")
    return svg.element(
        "svg",
        svg.element("line", x1="0", x2="100%", y1=_SPARK_HEIGHT / 2, y2=_SPARK_HEIGHT / 2, class_="spark-zero"),
        svg.stretched(
            _SPARK_HEIGHT,
            svg.element("path", d=svg.polyline(points), class_="line spark-line"),
            _dots((piece[0] for piece in points if len(piece) == 1), "spark-dot"),
        ),
        svg.element("circle", cx=svg.percent(points[-1][-1][0]), cy=points[-1][-1][1], r=3.2, class_=tone),
        width="100%",
        height=_SPARK_HEIGHT,
        class_="spark",
        aria_hidden="true",
    )


def _ratio_axis(state: SeriesState, measured: Sequence[Night]) -> Axis:
    """Room for every point, and for the intervals of most nights: one wide interval does not flatten the rest."""
    points = [night.ratio for night in measured if night.ratio is not None]
    points += [night.control for night in measured if night.control is not None]
    ends = sorted(end for night in measured for end in (night.low, night.high) if end is not None)
    points += ends[len(ends) // 20 : len(ends) - len(ends) // 20]
    return ratio_axis([shown(point, state.kind) for point in points] or [0.0], state.kind, state.unit)


class _placed:
    """Ratio -> pixels from the top."""

    def __init__(self, axis: Axis, height: int, state: SeriesState) -> None:
        self._axis, self._height, self._kind = axis, height, state.kind

    def __call__(self, ratio: float) -> float:
        return self._height * (1 - self._axis.share(shown(ratio, self._kind)))


def _pieces(measured: Sequence[Night], nights: Nights) -> list[list[Night]]:
    """Stretches of neighbouring nights of one segment; between two of them no line is drawn."""
    pieces: list[list[Night]] = []
    for night in measured:
        last = pieces[-1][-1] if pieces else None
        far = last is not None and seconds(night.night_utc) - seconds(last.night_utc) > 1.6 * nights.apart
        if last is None or far or last.segment != night.segment:
            pieces.append([])
        pieces[-1].append(night)
    return pieces


def _stretches(state: SeriesState, nights: Nights) -> list[tuple[Step, str]]:
    """Each step with the last night at its level."""
    last = {night.segment: night.night_utc for night in state.nights if night.ratio is not None}
    segment_of = {night.night_utc: night.segment for night in state.nights}
    found = []
    for step, after in zip(state.steps, [*state.steps[1:], None], strict=False):
        own = segment_of[step.began_utc]
        same = after is not None and segment_of[after.began_utc] == own
        found.append((step, after.last_before_utc if same and after is not None else last[own]))
    return found


def _level_band(step: Step, until: str, state: SeriesState, nights: Nights, y: _placed) -> Markup:
    """Where the new level lies, given the old one: the interval of the step."""
    if step.change.low is None or step.change.high is None:
        return Markup("")
    ends = [
        step.before + end if state.kind == "difference" else step.before * end
        for end in (step.change.low, step.change.high)
    ]
    tone = {"worse": "step-worse", "better": "step-better", "neither": "step-neither"}[step.direction]
    half = nights.apart / 2
    left, right = (nights.axis.share(seconds(utc) + shift) for utc, shift in ((step.began_utc, -half), (until, half)))
    return _rectangle(left, right, y(ends[0]), y(ends[1]), f"step-band {tone}")


def _levels(state: SeriesState, measured: Sequence[Night], nights: Nights, y: _placed) -> Markup:
    """The mean of every stretch between two steps, joined by the steps."""
    half = nights.apart / 2
    pieces = []
    for segment in sorted({night.segment for night in measured}):
        own = [night.night_utc for night in measured if night.segment == segment]
        steps = [step for step in state.steps if own[0] <= step.began_utc <= own[-1]]
        if not steps:
            continue
        points = [(nights.axis.share(seconds(own[0]) - half), y(steps[0].before))]
        for step in steps:
            x = nights.axis.share((seconds(step.last_before_utc) + seconds(step.began_utc)) / 2)
            points += [(x, points[-1][1]), (x, y(step.after))]
        points.append((nights.axis.share(seconds(own[-1]) + half), points[-1][1]))
        pieces.append(points)
    return svg.element("path", d=svg.polyline(pieces), class_="line level") if pieces else Markup("")


def _intervals(measured: Sequence[Night], nights: Nights, y: _placed) -> Markup:
    parts = []
    for night in measured:
        if night.low is not None and night.high is not None:
            top, bottom = y(night.high), y(night.low)
            parts.append(f"M{round(svg.WIDTH * nights.x(night.night_utc))} {svg.number(top)}V{svg.number(bottom)}")
    return svg.element("path", d="".join(parts), class_="night-interval") if parts else Markup("")


def _points(measured: Sequence[Night], name: str, nights: Nights, y: _placed) -> Markup:
    places = [(nights.x(night.night_utc), y(getattr(night, name))) for night in measured]
    return _dots(places, f"night-dot {name}") + _dots(places, f"night-hole {name}")


def _dots(places: Iterable[tuple[float, float]], css: str) -> Markup:
    path = "".join(f"M{round(svg.WIDTH * x)} {svg.number(y)}h0" for x, y in places)
    return svg.element("path", d=path, class_=css) if path else Markup("")


def _usual(state: SeriesState, axis: Axis, height: int) -> Markup:
    """What the ratio is compared with."""
    if state.expected is None:
        return Markup("")
    y = height * (1 - axis.share(shown(state.expected, state.kind)))
    return svg.element("line", x1="0", x2="100%", y1=y, y2=y, class_="expected")


def _even(axis: Axis, height: int) -> Markup:
    y = height * (1 - axis.share(0.0))
    return svg.element("line", x1="0", x2="100%", y1=y, y2=y, class_="expected")


def _gap_bands(nights: Nights, height: int) -> Markup:
    """Nights that did not take place."""
    half = nights.apart / 2
    shapes = []
    for before, after in nights.gaps:
        left, right = nights.axis.share(seconds(before) + half), nights.axis.share(seconds(after) - half)
        shapes.append(_rectangle(left, right, 0, height, "gap"))
    return svg.element("g", *shapes)


def _not_measured(state: SeriesState, nights: Nights, height: int) -> Markup:
    """A cross at the foot for every night in which the series has no valid pair."""
    missed = {utc for utc in nights.utc if state.nights[0].night_utc <= utc}
    missed -= {night.night_utc for night in state.nights if night.ratio is not None}
    crosses = [
        svg.element("text", "×", x=svg.percent(nights.x(utc)), y=height - 4, text_anchor="middle", class_="missed")
        for utc in sorted(missed)
    ]
    return svg.element("g", *crosses, aria_hidden="true") if crosses else Markup("")


def _reference_changes(state: SeriesState, nights: Nights, height: int) -> Markup:
    """A line where the reference changed: what lies left and right of it is not compared."""
    lines = []
    for before, after in zip(state.nights, state.nights[1:], strict=False):
        if before.segment != after.segment:
            x = svg.percent(nights.axis.share((seconds(before.night_utc) + seconds(after.night_utc)) / 2))
            lines.append(svg.element("line", x1=x, x2=x, y1=0, y2=height, class_="new-reference"))
    return svg.element("g", *lines) if lines else Markup("")


def _rectangle(left: float, right: float, first: float, second: float, css: str) -> Markup:
    top, bottom = sorted((first, second))
    width = svg.percent(max(0.0, right - left))
    return svg.element(
        "rect", x=svg.percent(left), y=float(top), width=width, height=float(max(1.0, bottom - top)), class_=css
    )


def _in_words(state: SeriesState, measured: Sequence[Night]) -> str:
    steps = "; ".join(f"a step for the {s.direction} at {s.began_utc[:10]}" for s in state.steps)
    return f"{count(len(measured), 'measured night')}; {steps or 'no step'}. {state.words}"
