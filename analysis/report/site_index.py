"""What the first page of the site shows: every series of every campaign and machine, worst first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from analysis.history import STATES, SeriesState
from analysis.history.saying import day
from analysis.history.states import State
from analysis.report.site_trend import Nights, sparkline
from analysis.report.site_words import (
    SIGNS,
    TONES,
    control_in_words,
    counted,
    flakes_in_words,
    headline,
    nights_in_words,
    ratio_in_words,
    title_of,
    tone_of,
    tonight_of,
)
from analysis.report.wording import count, share


@dataclass(frozen=True, slots=True)
class Line:
    """One series."""

    href: str
    title: str
    series: str
    spark: Markup
    tonight: str
    words: str
    since: str
    control: tuple[str, str, str]
    """Sign, word, class."""
    flakes: str


@dataclass(frozen=True, slots=True)
class Group:
    """The series of one state."""

    state: State
    sign: str
    tone: str
    meaning: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """One campaign on one machine."""

    id: str
    campaign: str
    machine: str
    headline: str
    tone: str
    nights: str
    groups: tuple[Group, ...]
    testbed: tuple[tuple[str, str], ...]
    """What there is to know of the testbed itself: (subject, words)."""
    suspects: tuple[tuple[str, str, str], ...]
    """Series whose A/A pair differs: (href, title, why)."""
    notes: tuple[str, ...]


def section(
    states: Sequence[SeriesState], manifests: Sequence[Mapping[str, Any]], nights: Nights, pages: Mapping[str, str]
) -> Section:
    """``states``: worst first; ``pages``: series -> address of its page from the first page."""
    newest = manifests[-1]
    groups = [
        Group(
            state=state,
            sign=SIGNS[state],
            tone=TONES[state],
            meaning=STATES[state],
            lines=tuple(_line(one, nights, pages[one.series]) for one in states if one.state == state),
        )
        for state in counted(states)
    ]
    return Section(
        id=f"{newest['campaign']}-{newest['machine']}".replace(".", "-"),
        campaign=newest["campaign"],
        machine=newest["machine"],
        headline=headline(states),
        tone=tone_of(states),
        nights=nights_in_words(nights.utc),
        groups=tuple(groups),
        testbed=tuple(_testbed(states, newest, nights)),
        suspects=tuple((pages[s.series], title_of(s), s.control.suspect) for s in states if s.control.suspect),
        notes=tuple(str(note) for note in newest.get("notes", ())),
    )


def _line(state: SeriesState, nights: Nights, href: str) -> Line:
    return Line(
        href=href,
        title=title_of(state),
        series=state.series,
        spark=sparkline(state, nights),
        tonight=ratio_in_words(tonight_of(state, nights.utc[-1]), state),
        words=state.words,
        since=day(state.since_utc),
        control=control_in_words(state.control),
        flakes=flakes_in_words(state.flakes),
    )


def _testbed(states: Sequence[SeriesState], newest: Mapping[str, Any], nights: Nights) -> list[tuple[str, str]]:
    rows = [("Reference", _reference(newest)), ("Candidate", commit_in_words(newest["source"]))]
    rows.append(("A/A control", _controls(states)))
    trials = sum(state.flakes.trials + state.flakes.retries for state in states)
    bad = sum(state.flakes.invalid + state.flakes.retries for state in states)
    again = sum(state.flakes.alarms for state in states)
    refuted = sum(state.flakes.refuted for state in states)
    flakes = f"{share(bad / trials if trials else None)} of the trials were INVALID or done again"
    flakes += (
        f"; {refuted} of {count(again, 'alarm')} not borne out by the re-run" if again else "; no alarm was run again"
    )
    rows.append(("Flake rate, last 20 nights", flakes))
    missed = ", ".join(f"between {day(before)} and {day(after)}" for before, after in nights.gaps[-5:])
    rows.append(("Missing nights", missed or "none"))
    release = newest.get("kernel", {}).get("release")
    return [*rows, ("Kernel", str(release))] if release else rows


def _reference(manifest: Mapping[str, Any]) -> str:
    reference = manifest["reference"]
    text = reference.get("text") or reference.get("name") or manifest["reference_id"]
    commit = reference.get("commit")
    return f"{reference['kind']} {text}" + (f", commit {str(commit)[:10]}" if commit else "")


def commit_in_words(source: Mapping[str, Any]) -> str:
    """``"commit 0123456789, with changes"``."""
    commit = source.get("commit")
    return (f"commit {str(commit)[:10]}" if commit else "no commit") + (", with changes" if source.get("dirty") else "")


def _controls(states: Sequence[SeriesState]) -> str:
    """Pairs that differ, and whether as many have a small p as chance alone gives."""
    tested = [s.control.newest.p for s in states if s.control.newest is not None and s.control.newest.p is not None]
    suspects = sum(bool(state.control.suspect) for state in states)
    if not tested:
        return "the newest night has no A/A pair" if not suspects else f"{suspects} suspect"
    small = sum(p < 0.05 for p in tested)
    text = f"{suspects} of {count(len(states), 'pair')} suspect; tonight {small} of {len(tested)} below p = 0.05"
    usual = 0.05 * len(tested)
    much = usual + 3 * math.sqrt(usual * 0.95)
    return text + (f", where chance gives {usual:.0f}: the testbed is suspect" if small > max(3.0, much) else "")
