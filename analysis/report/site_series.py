"""What the page of one series shows: its answer, its trend, its control, every night with commit and runs."""

from __future__ import annotations

import csv
import io
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from markupsafe import Markup

from analysis.history import Event, SeriesState, Step
from analysis.history.saying import change_in_words, day
from analysis.history.states import Night
from analysis.report.site_index import commit_in_words
from analysis.report.site_trend import Happening, Nights, absolute_figure, control_figure, ratio_figure
from analysis.report.site_words import (
    SIGNS,
    TONES,
    control_in_words,
    ends_in_words,
    expected_in_words,
    ratio_in_words,
    title_of,
    tonight_of,
)
from analysis.report.wording import NOT_MEASURED, count, quantity, share

SHOWN_NIGHTS = 90
"""Rows of the table of nights; all are in the CSV beside it."""
_BOXES = {"steady": "met", "new": "open"}
"""Class of the answer's box where it is not that of the word."""
_CSV_COLUMNS = (
    *("night_utc", "ratio", "low", "high", "candidate", "reference", "control"),
    *("pairs", "trials", "invalid", "unsupported", "retries"),
)
_MOST_MARKS = 9
"""Events that a figure marks: the newest."""


@dataclass(frozen=True, slots=True)
class RunLink:
    """A run directory: where it is from the page, or that it is there no more."""

    text: str
    href: str | None


@dataclass(frozen=True, slots=True)
class NightRow:
    """A row of the table of nights."""

    day: str
    ratio: str
    candidate: str
    reference: str
    control: str
    pairs: str
    trouble: str
    commit: str
    runs: tuple[RunLink, ...]


@dataclass(frozen=True, slots=True)
class StepRow:
    """A row of the table of steps."""

    began: str
    direction: str
    tone: str
    change: str
    levels: str
    nights: str
    p: str


@dataclass(frozen=True, slots=True)
class SeriesPage:
    """Everything the template needs."""

    title: str
    series: str
    up: str
    campaign: str
    machine: str
    state: str
    sign: str
    box: str
    words: str
    facts: tuple[tuple[str, str], ...]
    trend: Markup
    control_trend: Markup
    control: tuple[str, str, str]
    control_words: str
    absolute: Markup
    absolute_unit: str
    ratio_unit: str
    happenings: tuple[Happening, ...]
    has_steps: bool
    has_gaps: bool
    has_missed: bool
    has_new_reference: bool
    steps: tuple[StepRow, ...]
    nights: tuple[NightRow, ...]
    older: int
    csv: str
    commands: tuple[str, ...]
    seeds: str


def series_page(
    state: SeriesState,
    events: Sequence[Event],
    manifests: Mapping[str, Mapping[str, Any]],
    nights: Nights,
    history: Path,
    page: Path,
) -> SeriesPage:
    """``manifests``: night -> manifest, oldest first; ``page``: where the page will stand."""
    happenings = _happenings(events)
    absolute, axis = absolute_figure(state, nights)
    newest = manifests[max(manifests)]
    rows = [_night_row(night, state, manifests[night.night], history, page.parent) for night in reversed(state.nights)]
    return SeriesPage(
        title=title_of(state),
        series=state.series,
        up="../index.html",
        campaign=state.campaign,
        machine=state.machine,
        state=state.state,
        sign=SIGNS[state.state],
        box=_BOXES.get(state.state, TONES[state.state]),
        words=state.words,
        facts=tuple(_facts(state, nights)),
        trend=ratio_figure(state, nights, happenings),
        control_trend=control_figure(state, nights, happenings),
        control=control_in_words(state.control),
        control_words=_control_words(state),
        absolute=absolute,
        absolute_unit=axis.unit.name,
        ratio_unit=state.unit if state.kind == "difference" else "%",
        happenings=happenings,
        has_steps=bool(state.steps),
        has_gaps=bool(nights.gaps),
        has_missed=any(night.ratio is None for night in state.nights),
        has_new_reference=len({night.segment for night in state.nights}) > 1,
        steps=tuple(_step_row(step, state) for step in reversed(state.steps)),
        nights=tuple(rows[:SHOWN_NIGHTS]),
        older=max(0, len(rows) - SHOWN_NIGHTS),
        csv=f"{page.stem}.csv",
        commands=tuple(shlex.join(map(str, command)) for command in newest["commands"]),
        seeds=_seeds(newest, state),
    )


def nights_csv(state: SeriesState, manifests: Mapping[str, Mapping[str, Any]]) -> str:
    """Every night of the series; numbers in the units of the history, empty where nothing was measured."""
    names = (
        "night_utc",
        "ratio",
        "low",
        "high",
        "candidate",
        "reference",
        "control",
        "pairs",
        "trials",
        "invalid",
        "retries",
    )
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow((*names, "commit", "reference_id"))
    for night in state.nights:
        manifest = manifests[night.night]
        values = [getattr(night, name) for name in names]
        writer.writerow((*values, manifest["source"].get("commit"), manifest["reference_id"]))
    return buffer.getvalue()


def _happenings(events: Sequence[Event]) -> tuple[Happening, ...]:
    """One for each night in which something was noted; the last word of the night is its word."""
    nights: dict[str, list[Event]] = {}
    for event in events:
        nights.setdefault(event.night_utc, []).append(event)
    chosen = list(nights.items())[-_MOST_MARKS:]
    return tuple(
        Happening(number, utc, _word(those[-1]), f"{day(utc)}: {'; '.join(map(_told, those))}")
        for number, (utc, those) in enumerate(chosen, 1)
    )


def _word(event: Event) -> str:
    if event.kind == "confirmation":
        return "confirmed" if event.facts["confirmed"] else "refuted"
    return {"alarm": "alarm", "acceptance": "accepted"}[event.kind]


def _told(event: Event) -> str:
    facts = event.facts
    if event.kind == "alarm":
        return "alarm"
    if event.kind == "acceptance":
        why = facts.get("why")
        return "the level was accepted as the usual one" + (f" ({why})" if why else "")
    pairs = f" of {facts['pairs']} pairs" if facts.get("pairs") else ""
    text = f"the re-run{pairs} {'bore it out' if facts['confirmed'] else 'did not bear it out'}"
    ratio = facts.get("ratio")
    return f"{text} (new over old {ratio:.4g})" if isinstance(ratio, int | float) else text


def _facts(state: SeriesState, nights: Nights) -> list[tuple[str, str]]:
    tonight = tonight_of(state, nights.utc[-1])
    pairs = f", {count(tonight.pairs, 'pair')}" if tonight is not None and tonight.ratio is not None else ""
    rows = [("Newest night", f"{day(nights.utc[-1])}: {ratio_in_words(tonight, state)}{pairs}")]
    rows.append(("Expected", expected_in_words(state)))
    if state.newest is not None and state.newest.q is not None:
        rows.append(("Its pairs say", f"{state.newest.verdict} ({state.newest.reason}; q = {state.newest.q:.2g})"))
    flakes = state.flakes
    rows.append(
        ("Flake rate", f"{share(flakes.rate)} of {flakes.trials + flakes.retries} trials INVALID or done again")
    )
    if flakes.alarms:
        rows.append(("Alarms run again", f"{flakes.alarms}, of which {flakes.refuted} not borne out"))
    better = {"largest": "more is better", "smallest": "less is better", None: "neither way is better"}[state.better]
    rows.append(("Experiment", f"{state.experiment}, variant {state.variant}, flow {state.flow}"))
    rows.append(("Metric", f"{state.metric}, {better}"))
    return rows


def _control_words(state: SeriesState) -> str:
    control = state.control
    if control.trend is None:
        return "No A/A pair was measured."
    trend = change_in_words(control.trend.estimate, state.kind, state.unit)
    ends = ends_in_words(control.trend.low, control.trend.high, state)
    text = f"Median of {count(control.trend.n, 'night')}: {trend}{ends}."
    if control.suspect:
        return f"The testbed is suspect: {control.suspect}. {text}"
    return f"No difference found. {text}"


def _step_row(step: Step, state: SeriesState) -> StepRow:
    tone = {"worse": "failed", "better": "met", "neither": "open"}[step.direction]
    sign = {"worse": "▼", "better": "▲", "neither": "◆"}[step.direction]
    levels = (change_in_words(level, state.kind, state.unit) for level in (step.before, step.after))
    return StepRow(
        began=day(step.began_utc),
        direction=f"{sign} {step.direction}",
        tone=tone,
        change=change_in_words(step.change.estimate, state.kind, state.unit)
        + ends_in_words(step.change.low, step.change.high, state),
        levels=" → ".join(levels),
        nights=f"{step.nights_before} / {step.nights_after}",
        p=f"{step.p:.1e}" if step.p < 1e-3 else f"{step.p:.3f}",
    )


def _night_row(night: Night, state: SeriesState, manifest: Mapping[str, Any], history: Path, folder: Path) -> NightRow:
    trouble = [
        f"{number} {word}" for number, word in ((night.invalid, "INVALID"), (night.retries, "done again")) if number
    ]
    trouble += [f"{night.unsupported} UNSUPPORTED"] if night.unsupported else []
    return NightRow(
        day=day(night.night_utc),
        ratio=ratio_in_words(night, state),
        candidate=quantity(night.candidate, state.unit),
        reference=quantity(night.reference, state.unit),
        control=NOT_MEASURED if night.control is None else change_in_words(night.control, state.kind, state.unit),
        pairs=f"{night.pairs} of {night.trials}",
        trouble=", ".join(trouble),
        commit=commit_in_words(manifest["source"]).removeprefix("commit "),
        runs=tuple(
            RunLink(*_link(str(history), str(run.get("report") or run["path"]), str(folder)))
            for run in manifest.get("runs", ())
            if run.get("experiment") == state.experiment
        ),
    )


@lru_cache(maxsize=65536)
def _link(history: str, path: str, folder: str) -> tuple[str, str | None]:
    """(name, address from the page); no address when the run was removed."""
    target = Path(history, path)
    name = target.parent.name if target.suffix == ".html" else target.name
    if not target.exists():
        return f"{name} (removed)", None
    return name, os.path.relpath(target.resolve(), Path(folder).resolve())


def _seeds(manifest: Mapping[str, Any], state: SeriesState) -> str:
    seed = manifest.get("seeds", {}).get(state.experiment)
    return f"Seed of the newest night: {seed}." if seed is not None else ""
