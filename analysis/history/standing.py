"""Where a series stands: what its ratio is compared with, which steps are settled, and what is open.

The life of a change for the worse: a change point, or the pairs of the newest night, raise an *alarm*; a re-run of old
against new refutes it or bears it out (*regressed*); it ends when the level comes back, or when somebody accepts the
level as the usual one. What was refuted is asked again once twice as many nights bear it out: a re-run of 20 pairs
misses one of five steps of 5 %, and a false change point is not to be run again every night.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from analysis.comparison.contrast import Contrast
from analysis.history.night_values import SeriesNights
from analysis.history.states import Alarm, Evidence, Night, Step
from analysis.history.steps import change_between, direction_of, measured_segments, smallest_step, values
from analysis.history.store import Event

USUAL_NIGHTS = 5
"""Nights that a level has to have lasted before it counts as usual: fewer cannot tell a step from their spread."""
BACK_NIGHTS = 3
"""A confirmed regression that no change point shows has ended when the median of the last so many nights is back."""


REST_NIGHTS = 3
"""What was refuted is not asked again sooner, also when one night had raised it."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One series in its present segment, before the newest night's pairs were judged."""

    nights: Sequence[Night]
    """With a value, since the reference last changed."""
    steps: tuple[Step, ...]
    """Of this segment."""
    all_steps: tuple[Step, ...]
    """Of all segments."""
    expected: float | None
    """What the ratio is compared with, on the scale of the series; None: not known yet."""
    accepted_utc: str
    """Steps up to that night are settled; empty: none is."""
    smallest: float
    """The smallest change that matters, on the scale of the series."""

    def unsettled(self) -> list[Step]:
        """Steps that nobody accepted."""
        return [step for step in self.steps if step.began_utc > self.accepted_utc]


def standing(
    series: SeriesNights,
    steps: Sequence[tuple[Step, ...]],
    events: Sequence[Event],
    segment: int,
    smallest: float,
    *,
    build: bool,
) -> Standing:
    """``events``: of this series; ``segment``: the newest of the campaign; ``build``: the expected ratio is 1."""
    segments = measured_segments(series)
    every, least = tuple(step for part in steps for step in part), smallest_step(series, smallest)
    if not segments or segments[-1][0].segment != segment:
        return Standing((), (), every, None, "", least)
    nights, own = segments[-1], steps[-1]
    accepted = [e for e in events if e.kind == "acceptance" and e.night_utc >= nights[0].night_utc]
    if not accepted:
        usual = 0.0 if build else _usual(series, nights, own)
        return Standing(nights, own, every, usual, "", least)
    settled = accepted[-1].night_utc
    since = max((step.began_utc for step in own if step.began_utc <= settled), default=nights[0].night_utc)
    since = str(accepted[-1].facts.get("since_utc", since))
    until = min((step.began_utc for step in own if step.began_utc > settled), default="~")
    level = values(series, [night for night in nights if since <= night.night_utc < until])
    return Standing(nights, own, every, float(np.mean(level)) if level else None, settled, least)


def _usual(series: SeriesNights, nights: Sequence[Night], steps: Sequence[Step]) -> float | None:
    """The level of the first stretch, or of a later one that is not worse, once it has lasted."""
    begins = [nights[0].night_utc, *(step.began_utc for step in steps), "~"]
    usual = None
    for number, (begin, end) in enumerate(pairwise(begins)):
        stretch = values(series, [night for night in nights if begin <= night.night_utc < end])
        if len(stretch) >= USUAL_NIGHTS and (number == 0 or steps[number - 1].direction != "worse" or usual is None):
            usual = float(np.mean(stretch))
    return usual


def open_steps(series: SeriesNights, now: Standing) -> list[Step]:
    """Unsettled steps for the worse whose loss was not made good, newest first."""
    if not now.steps:
        return []
    level = series.scaled(now.steps[-1].after)
    return [
        step
        for step in reversed(now.unsettled())
        if step.direction == "worse"
        and direction_of(series, level - series.scaled(step.before)) == "worse"
        and abs(level - series.scaled(step.before)) >= now.smallest
    ]


def told_about(step: Step, events: Sequence[Event]) -> Event | None:
    """The last confirmation about a step; a change point may lie one night late."""
    about = [e for e in events if e.kind == "confirmation" and e.night_utc >= step.last_before_utc]
    return about[-1] if about else None


def is_quiet(step: Step, told: Event, nights: Sequence[Night]) -> bool:
    """Whether a refuted step is to be left alone for now."""
    since = [night.night_utc for night in nights if night.night_utc >= step.began_utc]
    then = sum(night_utc <= told.night_utc for night_utc in since)
    return len(since) < max(2 * then, then + REST_NIGHTS)


def alarm_of_step(step: Step, newest: Contrast, evidence: tuple[Evidence, ...]) -> Alarm:
    """An alarm about a step.

    One night after a step tells nothing of the spread of nights after it: then the night's own pairs say how large the
    change is.
    """
    pairs = newest.ratio if newest.ratio is not None else newest.difference
    change = step.change if step.nights_after > 1 or pairs is None or pairs.low is None else pairs
    return Alarm(
        step.began_utc, step.last_before_utc, step.before, step.after, change, step.p, step.direction, evidence
    )


def alarm_of_newest(series: SeriesNights, now: Standing, newest: Contrast) -> Alarm | None:
    """What the newest night's pairs say against the series; None: nothing."""
    change = newest.ratio if newest.ratio is not None else newest.difference
    if now.expected is None or change is None or not newest.is_regression:
        return None
    *earlier, tonight = now.nights
    return Alarm(
        since_utc=tonight.night_utc,
        last_before_utc=earlier[-1].night_utc if earlier else None,
        before=series.unscaled(now.expected),
        after=series.unscaled(now.expected + series.scaled(change.estimate)),
        change=change,
        p=newest.p if newest.p is not None else 1.0,
        direction="worse",
        evidence=("newest night",),
    )


def lasting(series: SeriesNights, now: Standing, events: Sequence[Event]) -> tuple[Alarm, Event] | None:
    """A regression that was confirmed, that no step shows (yet), and that lasts, with its confirmation."""
    back = [step.began_utc for step in now.steps if step.direction == "better"]
    confirmed = [
        e
        for e in events
        if e.kind == "confirmation"
        and now.nights
        and max(now.accepted_utc, now.nights[0].night_utc) <= e.night_utc
        and e.night_utc != now.accepted_utc
        and not any(began > e.night_utc for began in back)
    ]
    if not confirmed or not confirmed[-1].facts["confirmed"] or now.expected is None:
        return None
    since_utc = str(confirmed[-1].facts.get("since_utc", confirmed[-1].night_utc))
    since = [night for night in now.nights if night.night_utc >= since_utc]
    if not since:
        return None
    change = float(np.median(values(series, since[-BACK_NIGHTS:]))) - now.expected
    if len(since) >= BACK_NIGHTS and (direction_of(series, change) != "worse" or abs(change) < now.smallest):
        return None
    earlier = [night for night in now.nights if night.night_utc < since_utc]
    level = values(series, since)
    alarm = Alarm(
        since_utc=since_utc,
        last_before_utc=earlier[-1].night_utc if earlier else None,
        before=series.unscaled(now.expected),
        after=series.unscaled(float(np.mean(level))),
        change=change_between(series, values(series, earlier) or [now.expected], level),
        p=float(confirmed[-1].facts.get("p") or 0.0),
        direction="worse",
        evidence=("newest night",),
    )
    return alarm, confirmed[-1]
