"""The verdict over time on every series of a campaign on one machine. Pure: the same history gives the same verdict.

What raises an alarm: the newest night's pairs against what is expected of the ratio, judged together over all series
(``analysis.comparison``); or a change point of the night values, for the worse, that was not made good. Neither tells
anybody: a paired re-run has to bear it out (:mod:`analysis.history.confirming`). The A/A pair is judged like any other
and has to contain 1: else the testbed sees differences where there are none.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.comparison.contrast import FDR, SMALLEST, Contrast, Kind, adjudicate, contrast
from analysis.history import saying
from analysis.history.confirming import Confirmation, confirm
from analysis.history.night_values import Array, SeriesNights, series_nights
from analysis.history.standing import (
    USUAL_NIGHTS,
    Standing,
    alarm_of_newest,
    alarm_of_step,
    is_quiet,
    lasting,
    open_steps,
    standing,
    told_about,
)
from analysis.history.states import STATES, Alarm, Control, Evidence, Flakes, SeriesState, State
from analysis.history.steps import steps_of
from analysis.history.store import Event, History
from analysis.statistics import Interval, median_interval

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Confirmation", "confirm", "judge", "judge_rows"]

RECENT_NIGHTS = 20
"""Nights over which flakes are counted and the A/A pair is watched."""
NEWS_NIGHTS = 14
"""An improvement, or a step that is neither, is news for so many nights; then the level is the usual one."""


@dataclass(frozen=True, slots=True)
class _Campaign:
    """What all series have in common."""

    name: str
    machine: str
    nights: Sequence[str]
    """Their UTC, oldest first."""
    segments: Mapping[str, int]
    build: bool
    """Whether the reference is another state of the same thing: the expected ratio is 1."""
    fdr: float
    smallest: float

    def recent(self, count: int) -> Sequence[str]:
        """The last nights."""
        return self.nights[-count:]


def judge(
    history: History, campaign: str, machine: str, *, fdr: float = FDR, smallest: float = SMALLEST
) -> tuple[SeriesState, ...]:
    """Every series of the campaign on that machine as of its newest night, worst first; () without any night.

    Raises RecordError when a file of the history is damaged.
    """
    manifests = [m for m in history.manifests() if (m["campaign"], m["machine"]) == (campaign, machine)]
    if not manifests:
        return ()
    frame = history.frame(campaign=campaign, machine=machine)
    return judge_rows(frame, manifests, history.events(campaign, machine), fdr=fdr, smallest=smallest)


def judge_rows(
    frame: pd.DataFrame,
    manifests: Sequence[Mapping[str, Any]],
    events: Sequence[Event],
    *,
    fdr: float = FDR,
    smallest: float = SMALLEST,
) -> tuple[SeriesState, ...]:
    """:func:`judge` of rows, manifests (oldest first, at least one) and events of one campaign and machine."""
    newest = manifests[-1]
    campaign = _Campaign(
        name=newest["campaign"],
        machine=newest["machine"],
        nights=[m["night_utc"] for m in manifests],
        segments=_segments(manifests),
        build=newest["reference"]["kind"] == "build",
        fdr=fdr,
        smallest=smallest,
    )
    found = series_nights(frame, campaign.segments)
    told = [[e for e in events if e.series in (None, one.series)] for one in found]
    stands = [
        standing(
            one, steps_of(one, smallest), about, campaign.segments[newest["night"]], smallest, build=campaign.build
        )
        for one, about in zip(found, told, strict=True)
    ]
    pairs = _judged([_newest(one, now) for one, now in zip(found, stands, strict=True)], campaign)
    controls = _judged([_control(one) for one in found], campaign)
    states = [_state(*each, campaign) for each in zip(found, stands, pairs, controls, told, strict=True)]
    return tuple(sorted(states, key=_worst_first))


def _judged(contrasts: Sequence[Contrast], campaign: _Campaign) -> tuple[Contrast, ...]:
    return adjudicate(contrasts, fdr=campaign.fdr, smallest=campaign.smallest)


def _segments(manifests: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Night -> number of its segment: a new one begins where the reference changed."""
    number, segments, before = 0, {}, manifests[0]["reference_id"]
    for manifest in manifests:
        number += manifest["reference_id"] != before
        before = manifest["reference_id"]
        segments[str(manifest["night"])] = number
    return segments


def _newest(one: SeriesNights, now: Standing) -> Contrast:
    """The newest night's pairs against what is expected; without pairs, or expectation, not comparable."""
    if one.newest is None or now.expected is None:
        return _contrast(one, np.array([]), np.array([]))
    reference, candidate = one.newest.reference, one.newest.candidate
    if now.expected == 0:
        return _contrast(one, reference, candidate)
    if one.kind == "difference":
        return _contrast(one, reference + now.expected, candidate)
    half = 0.5 if one.kind == "rate" else 0.0  # scaled counts are counts no more, and may be 0
    return _contrast(one, (reference + half) * one.unscaled(now.expected), candidate + half, kind="ratio")


def _control(one: SeriesNights) -> Contrast:
    """The newest night's A/A pairs."""
    if one.newest is None:
        return _contrast(one, np.array([]), np.array([]))
    both = np.isfinite(one.newest.control)
    return _contrast(one, one.newest.reference[both], one.newest.control[both])


def _contrast(one: SeriesNights, reference: Array, candidate: Array, kind: Kind | None = None) -> Contrast:
    return contrast(
        one.series,
        reference.tolist(),
        candidate.tolist(),
        variant=one.variant,
        flow=one.flow,
        metric=one.metric,
        unit=one.unit,
        better=one.better,
        kind=kind or one.kind,
    )


def _state(
    one: SeriesNights, now: Standing, pair: Contrast, control: Contrast, events: Sequence[Event], campaign: _Campaign
) -> SeriesState:
    """One series, everything judged."""
    state, alarm, told = _open(one, now, pair, events, campaign)
    if state == "steady":
        state = _otherwise(one, now, campaign)
    made = SeriesState(
        series=one.series,
        experiment=one.experiment,
        variant=one.variant,
        flow=one.flow,
        metric=one.metric,
        unit=one.unit,
        better=one.better,
        kind=one.kind,
        campaign=campaign.name,
        machine=campaign.machine,
        state=state,
        since_utc=_since(one, now, state, alarm, campaign),
        words="",
        expected=None if now.expected is None else one.unscaled(now.expected),
        nights=one.nights,
        steps=now.all_steps,
        newest=pair,
        control=_watched(one, control, campaign),
        flakes=_flakes(one, events, campaign),
        alarm=alarm,
    )
    return dataclasses.replace(made, words=saying.sentence(made, told))


def _open(
    one: SeriesNights, now: Standing, pair: Contrast, events: Sequence[Event], campaign: _Campaign
) -> tuple[State, Alarm | None, Event | None]:
    """Alarm, regressed or (so far) steady, with what speaks for it and the confirmation that decided."""
    raised = alarm_of_newest(one, now, pair) if _is_measured(one) else None
    both: tuple[Evidence, ...] = ("newest night", "change point") if raised else ("change point",)
    told = None
    for step in open_steps(one, now):
        told = told_about(step, events)
        if told is not None and told.facts["confirmed"]:
            return "regressed", alarm_of_step(step, pair, ("change point",)), told
        if told is None or not is_quiet(step, told, now.nights):
            return "alarm", alarm_of_step(step, pair, both), None
    held = lasting(one, now, events)
    if held is not None:
        return "regressed", *held
    refuted = [e for e in events if e.kind == "confirmation" and e.night_utc == campaign.nights[-1]]
    if raised is not None and not refuted:
        return "alarm", raised, None
    return "steady", None, refuted[-1] if refuted else told


def _otherwise(one: SeriesNights, now: Standing, campaign: _Campaign) -> State:
    """The state of a series that has nothing against it."""
    if not _is_measured(one):
        return "not measured"
    if len(now.nights) < USUAL_NIGHTS:
        return "new"
    news = [step for step in now.unsettled() if step.began_utc in campaign.recent(NEWS_NIGHTS)]
    if news and news[-1] is now.steps[-1] and news[-1].direction != "worse" and not _made_good(one, now):
        return "improved" if news[-1].direction == "better" else "changed"
    return "steady"


def _made_good(one: SeriesNights, now: Standing) -> bool:
    """Whether the last step took the level back to one that it had before a step for the worse."""
    level = one.scaled(now.steps[-1].after)
    earlier = [one.scaled(step.before) for step in now.steps[:-1] if step.direction == "worse"]
    return any(abs(level - before) < now.smallest for before in earlier)


def _is_measured(one: SeriesNights) -> bool:
    return one.newest is not None and one.newest.candidate.size > 0


def _since(one: SeriesNights, now: Standing, state: State, alarm: Alarm | None, campaign: _Campaign) -> str:
    if alarm is not None:
        return alarm.since_utc
    if state == "not measured":
        measured = [night.night_utc for night in one.nights if night.ratio is not None]
        return next((utc for utc in campaign.nights if not measured or utc > measured[-1]), campaign.nights[-1])
    if now.steps and state != "new":
        return now.steps[-1].began_utc
    return now.nights[0].night_utc if now.nights else campaign.nights[-1]


def _watched(one: SeriesNights, newest: Contrast, campaign: _Campaign) -> Control:
    """The A/A pair of the newest night and of the last ones."""
    recent = set(campaign.recent(RECENT_NIGHTS))
    ratios = [night.control for night in one.nights if night.control is not None and night.night_utc in recent]
    if not ratios:
        return Control(None, None, "")
    trend = median_interval(ratios)
    none = 0.0 if one.kind == "difference" else 1.0
    suspect = ""
    if newest.is_change:
        change = newest.ratio if newest.ratio is not None else newest.difference
        size = saying.change_in_words(change.estimate, one.kind, one.unit) if change is not None else ""
        suspect = f"tonight the reference differs from itself by {size}"
    elif _excludes(trend, none) and _relative(one, trend.estimate) >= campaign.smallest:
        size = saying.change_in_words(trend.estimate, one.kind, one.unit)
        suspect = f"over {len(ratios)} nights the reference differs from itself by {size}"
    return Control(newest if newest.n else None, trend, suspect)


def _excludes(interval: Interval, value: float) -> bool:
    if interval.level is None or interval.low is None or interval.high is None:
        return False
    return not interval.low <= value <= interval.high


def _relative(one: SeriesNights, change: float) -> float:
    """Size of a ratio or difference, relative."""
    if one.kind != "difference":
        return abs(change - 1)
    levels = [abs(night.reference) for night in one.nights if night.reference]
    return abs(change) / float(np.median(levels)) if levels else np.inf


def _flakes(one: SeriesNights, events: Sequence[Event], campaign: _Campaign) -> Flakes:
    recent = set(campaign.recent(RECENT_NIGHTS))
    nights = [night for night in one.nights if night.night_utc in recent]
    again = [e for e in events if e.kind == "confirmation" and e.night_utc in recent]
    return Flakes(
        trials=sum(night.trials for night in nights),
        invalid=sum(night.invalid for night in nights),
        retries=sum(night.retries for night in nights),
        alarms=len(again),
        refuted=sum(not e.facts["confirmed"] for e in again),
    )


def _worst_first(state: SeriesState) -> tuple[int, float, str]:
    change = state.alarm.change.estimate if state.alarm is not None else 1.0
    size = abs(change) if state.kind == "difference" else abs(np.log(change)) if change > 0 else np.inf
    return list(STATES).index(state.state), -float(size), state.series
