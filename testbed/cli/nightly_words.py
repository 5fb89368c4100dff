"""What a night came to, and what it would run: tables for people, documents for machines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from testbed.cli.console import console, table

if TYPE_CHECKING:
    from analysis.history.states import SeriesState
    from testbed.nightly.conduct import Outcome
    from testbed.nightly.estimate import Estimate
    from testbed.nightly.preparation import Prepared
    from testbed.nightly.steps import Step

QUIET_STATES = ("steady", "new")
"""States that are counted, not listed, when there are many."""
MANY = 24


def print_outcome(prepared: Prepared, found: Outcome) -> None:
    """For people."""
    output = console()
    if found.again:
        output.print(f"The night of {prepared.date} had ended before; nothing was measured now.")
    output.print(f"\n{prepared.campaign.name}, {prepared.date}: {prepared.campaign.summary}", markup=False)
    shown = [state for state in found.states if len(found.states) <= MANY or state.state not in QUIET_STATES]
    rows = [[state.series, state.state, _ratio(state), state.words] for state in shown]
    if rows:
        output.print(table(["series", "state", "ratio tonight", "why"], rows, right=["ratio tonight"]))
    counts = _counts(found.states)
    output.print(", ".join(f"{number} {state}" for state, number in counts.items()) or "no series", markup=False)
    for one in found.broken:
        output.print(f"broke in the candidate alone: {one.words}", markup=False, soft_wrap=True)
    for each in found.findings:
        output.print(f"re-run: {_finding(each)}", markup=False, soft_wrap=True)
    alarm = found.folder / "alarm.md"
    if alarm.exists():
        output.print(f"alarm: {alarm}", markup=False, soft_wrap=True)
    output.print(f"site: {found.site / 'index.html'}", markup=False, soft_wrap=True)


def as_document(prepared: Prepared, found: Outcome) -> dict[str, Any]:
    """For machines."""
    alarm = found.folder / "alarm.json"
    return {
        "campaign": prepared.campaign.name,
        "date": prepared.date,
        "machine": prepared.machine,
        "exit_code": found.code,
        "again": found.again,
        "states": _counts(found.states),
        "series": [
            {
                "series": state.series,
                "state": state.state,
                "since_utc": state.since_utc,
                "ratio": state.nights[-1].ratio if state.nights else None,
                "low": state.nights[-1].low if state.nights else None,
                "high": state.nights[-1].high if state.nights else None,
                "words": state.words,
            }
            for state in found.states
        ],
        "reruns": [
            {"series": one.suspicion.number.name, "pairs": one.pairs, "confirmed": one.confirmed}
            for one in found.findings
        ],
        "broken": [one.words for one in found.broken],
        "alarm": json.loads(alarm.read_text()) if alarm.exists() else None,
        "night": str(found.folder),
        "site": str(found.site),
    }


def print_plan(prepared: Prepared, steps: Sequence[Step], time: Estimate, notes: Sequence[str]) -> None:
    """``--dry-run``, for people."""
    output = console()
    output.print(f"{prepared.campaign.name}: {prepared.campaign.summary}", markup=False, soft_wrap=True)
    reference = prepared.reference.words if prepared.reference else f"variant {prepared.campaign.reference.variant}"
    output.print(
        f"candidate {prepared.candidate.words} against {reference}, {prepared.date}, machine {prepared.machine}"
    )
    rows = [
        [
            entry.name,
            entry.backend,
            str(len(entry.variants)),
            str(len(entry.numbers)),
            " ".join(entry.assignments),
            str(sum(step.entry.name == entry.name for step in steps)),
        ]
        for entry in prepared.entries
    ]
    columns = ["entry", "backend", "variants", "series", "set", "runs"]
    output.print(table(columns, rows, right=["variants", "series", "runs"]))
    for note in notes:
        output.print(note, markup=False, soft_wrap=True)
    output.print(f"{len(steps)} runs, in turns; {time.words}; an alarm is measured again on top of that")


def plan_document(prepared: Prepared, steps: Sequence[Step], time: Estimate, notes: Sequence[str]) -> dict[str, Any]:
    """``--dry-run --json``."""
    return {
        "campaign": prepared.campaign.name,
        "date": prepared.date,
        "machine": prepared.machine,
        "candidate": prepared.candidate.as_json(),
        "reference": prepared.reference.as_json() if prepared.reference else prepared.campaign.reference.variant,
        "seconds": round(time.seconds, 1),
        "measured": time.measured,
        "notes": list(notes),
        "series": [number.name for entry in prepared.entries for number in entry.numbers],
        "runs": [
            {
                "role": step.role,
                "repetition": step.repetition,
                "build": "reference" if step.by_reference_build else "candidate",
                "words": step.words(Path("OUT"), quick=False),
            }
            for step in steps
        ],
    }


def _counts(states: Sequence[SeriesState]) -> dict[str, int]:
    found: dict[str, int] = {}
    for state in states:
        found[state.state] = found.get(state.state, 0) + 1
    return found


def _ratio(state: SeriesState) -> str:
    if not state.nights or state.nights[-1].ratio is None:
        return "–"
    night = state.nights[-1]
    if night.low is None or night.high is None:
        return f"{night.ratio:.4g}"
    return f"{night.ratio:.4g} ({night.low:.4g} – {night.high:.4g})"


def _finding(one: Any) -> str:
    if not one.measured:
        word = f"too few valid pairs ({one.pairs}) to confirm or refute"
    elif one.verdict is None:
        word = f"broke in {one.broken_new} of the new, {one.broken_old} of the old"
    else:
        word = one.verdict.verdict
    state = "CONFIRMED" if one.confirmed else "not confirmed"
    return f"{state}: {one.suspicion.number.name}: {word} ({one.pairs} pairs)"
