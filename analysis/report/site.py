"""The site of a history: a first page with the state of every series, a page for each, and the states as JSON.

Plain files that refer to each other by relative addresses, readable without JavaScript and from a file system. A page
that has not changed is not written again, so that what copies the site elsewhere copies little.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.comparison.contrast import FDR, SMALLEST
from analysis.history import Event, History, SeriesState
from analysis.history.judging import judge_rows
from analysis.report.rendering import environment
from analysis.report.site_index import Section, section
from analysis.report.site_series import nights_csv, series_page
from analysis.report.site_trend import nights_of
from analysis.report.site_words import counted, headline, slug, tone_of, tonight_of
from analysis.report.wording import count
from testbed.record import RecordError
from testbed.record.files import space_needed_for, sync_directory

_COLOURS = {"failed": "red", "open": "yellow", "met": "brightgreen"}


@dataclass(frozen=True, slots=True)
class _Told:
    """One campaign on one machine."""

    states: tuple[SeriesState, ...]
    manifests: tuple[Mapping[str, Any], ...]
    events: tuple[Event, ...]


def write_site(history: History, out: Path, *, fdr: float = FDR, smallest: float = SMALLEST) -> list[Path]:
    """Write index.html, series/*.html with a CSV each, and summary.json below ``out``; returns all of them.

    Raises RecordError when the history has no night or is damaged, and when the disk is full.
    """
    out = Path(out)
    told = list(_told(history, fdr, smallest))
    if not told:
        raise RecordError(f"{history.path} has no night yet: a site is written after the first one")
    with space_needed_for("the site", out):
        (out / "series").mkdir(parents=True, exist_ok=True)
    written = [_write(out / name, text) for name, text in _pages(history, out, told)]
    for folder in (out / "series", out):
        sync_directory(folder)
    return written


def _told(history: History, fdr: float, smallest: float) -> Iterator[_Told]:
    """Everything known of each campaign on each machine, in the order of their names."""
    manifests = history.manifests()
    for campaign, machine in sorted({(m["campaign"], m["machine"]) for m in manifests}):
        own = tuple(m for m in manifests if (m["campaign"], m["machine"]) == (campaign, machine))
        events = history.events(campaign, machine)
        frame = history.frame(campaign=campaign, machine=machine)
        yield _Told(judge_rows(frame, own, events, fdr=fdr, smallest=smallest), own, tuple(events))


def _pages(history: History, out: Path, told: Sequence[_Told]) -> Iterator[tuple[str, str]]:
    """(name below the site, content)."""
    pages = environment("site.css")
    template = pages.get_template("series.html.j2")
    sections = []
    for each in told:
        nights = nights_of([str(manifest["night_utc"]) for manifest in each.manifests])
        by_night = {str(manifest["night"]): manifest for manifest in each.manifests}
        names = {state.series: f"series/{slug(state)}" for state in each.states}
        for state in each.states:
            name = names[state.series]
            about = [event for event in each.events if event.series in (None, state.series)]
            page = series_page(state, about, by_night, nights, history.path, out / f"{name}.html")
            yield f"{name}.html", template.render(page=page)
            yield f"{name}.csv", nights_csv(state, by_night)
        sections.append(section(each.states, each.manifests, nights, {k: f"{v}.html" for k, v in names.items()}))
    index = {"title": _title(told), "sections": sections, "notes": _notes(history)}
    yield "index.html", pages.get_template("site.html.j2").render(page=index)
    yield "summary.json", _summary(told, sections)


def _title(told: Sequence[_Told]) -> str:
    return headline([state for each in told for state in each.states])


def _notes(history: History) -> list[str]:
    foreign = [str(path.relative_to(history.path)) for path in history.foreign()]
    if not foreign:
        return []
    return [f"In the history lie {count(len(foreign), 'file')} that are not its own: {', '.join(foreign[:5])}."]


def _summary(told: Sequence[_Told], sections: Sequence[Section]) -> str:
    """Of the shape that shields.io's endpoint badges take, with every series beside."""
    every = [state for each in told for state in each.states]
    document = {
        "schemaVersion": 1,
        "label": "nightly",
        "message": headline(every),
        "color": _COLOURS[tone_of(every)],
        "campaigns": [_campaign(each, of) for each, of in zip(told, sections, strict=True)],
    }
    return json.dumps(document, indent=1) + "\n"


def _campaign(each: _Told, of: Section) -> dict[str, Any]:
    hrefs = {line.series: line.href for group in of.groups for line in group.lines}
    newest = str(each.manifests[-1]["night_utc"])
    return {
        "campaign": of.campaign,
        "machine": of.machine,
        "newest_night_utc": newest,
        "nights": len(each.manifests),
        "states": counted(each.states),
        "suspect_controls": sum(bool(state.control.suspect) for state in each.states),
        "series": [_series(state, newest, hrefs[state.series]) for state in each.states],
    }


def _series(state: SeriesState, newest: str, href: str) -> dict[str, Any]:
    tonight = tonight_of(state, newest)
    return {
        "series": state.series,
        "state": state.state,
        "since_utc": state.since_utc,
        "words": state.words,
        "ratio": tonight.ratio if tonight else None,
        "low": tonight.low if tonight else None,
        "high": tonight.high if tonight else None,
        "expected": state.expected,
        "control_suspect": state.control.suspect,
        "flake_rate": state.flakes.rate,
        "page": href,
    }


def _write(path: Path, text: str) -> Path:
    """Replace the file by ``text`` unless it is that already; a reader sees the old or the new.

    Not synchronised one by one as results are: a site is derived, and written again from the history.
    """
    data = text.encode()
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with space_needed_for("the site", path.parent):
        if path.exists() and path.read_bytes() == data:
            return path
        try:
            temporary.write_bytes(data)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    return path
