"""A night from its beginning to its exit code: measure, append, judge, confirm, tell, write the site.

Each phase can be interrupted anywhere and is repeated from the state on disk (``night.py``); the history is only ever
added to, and takes a night and an event once.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from analysis.history import History
from analysis.history.judging import judge
from analysis.history.states import SeriesState
from testbed.nightly import builds, telling
from testbed.nightly.builds import Build
from testbed.nightly.campaign import Campaign
from testbed.nightly.confirmation import Finding, Suspicion, findings, reruns
from testbed.nightly.measuring import Machinery, Results, durations_s, measure, results_of, run_path
from testbed.nightly.night import Lock, Night, forget_old, unfinished
from testbed.nightly.preparation import Prepared, Tell, newest_night
from testbed.nightly.rows import Broken, as_broken, broken, rows_of
from testbed.nightly.steps import Step
from testbed.orchestrator.spec import SpecificationError
from testbed.record import RecordError

MET: Final = 0
REGRESSED: Final = 1
NOT_MEASURED: Final = 3
NOTHING_RAN: Final = 4


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the night came to."""

    code: int
    """0; 1 a confirmed regression; 3 something could not be measured; 4 nothing could run."""
    states: tuple[SeriesState, ...]
    findings: tuple[Finding, ...]
    """Of the alarms that were measured again tonight."""
    broken: tuple[Broken, ...]
    folder: Path
    site: Path
    again: bool
    """The night had ended before; nothing was measured now."""


def carry_out(prepared: Prepared, tell: Tell) -> Outcome:
    """Measure the night, or go on with it, and say what it means. Raises RecordError (disk full, damaged history),
    Unsupported (another one is at work)."""
    with Lock(prepared.request.out):
        return _carry_out(prepared, tell)


def _carry_out(prepared: Prepared, tell: Tell) -> Outcome:
    request = prepared.request
    history = History(request.history)
    for date in unfinished(prepared.folder.parent, prepared.date):
        command = f"testbed nightly {request.campaign} --date {date}"
        tell({"kind": "note", "text": f"the night of {date} was not finished; '{command}' goes on with it"})
    night, note = Night.begin(prepared.folder, _facts(prepared), prepared.plan_digest)
    if note:
        tell({"kind": "note", "text": note})
    if (result := night.read("result")) is not None:
        write_site(history, request.site, prepared.campaign)
        return Outcome(result["code"], _judged(prepared, history), (), (), night.folder, request.site, again=True)
    if night.read("measured") is None and history.has(night.facts):
        raise SpecificationError(
            f"{request.history} has the night of {prepared.date} already, and it was not measured in {request.out}: "
            "a night is measured once; --date says which night this is to be"
        )
    machinery = Machinery(prepared, night, tell)
    measured = measure(prepared, night, machinery, tell)
    reachable = {name: tuple(variants) for name, variants in measured["reachable"].items()}
    results = results_of(prepared.steps(reachable), night)
    rows = _rows(prepared, night, results, measured)
    broke = broken(prepared.entries, results, night.folder)
    _append(prepared, history, night, rows, results, measured, broke, tell)
    tell({"kind": "phase", "phase": "judging"})
    found: list[Finding] = []
    confirmed = night.read("confirmed")
    if confirmed is None:
        found = _confirm(prepared, history, night, machinery, broke, tell)
        telling.write_alarm(prepared, night, found)
        confirmed = telling.events(prepared, night, found)
        night.write("confirmed", confirmed)
    for event in confirmed["events"]:  # a history takes the same event once
        history.note(event["kind"], **event["facts"])
    states = _judged(prepared, history)
    tell({"kind": "phase", "phase": "writing the site"})
    write_site(history, request.site, prepared.campaign)
    code = _code(states, confirmed, rows)
    night.write("result", {"code": code, "states": {state.series: state.state for state in states}})
    forget_old(prepared.folder.parent, prepared.campaign.keep_nights)
    return Outcome(code, states, tuple(found), tuple(broke), night.folder, request.site, again=False)


def _facts(prepared: Prepared) -> dict[str, Any]:
    """What is fixed when a night begins."""
    return {
        "campaign": prepared.campaign.name,
        "date": prepared.date,
        "night_utc": prepared.night_utc,
        "machine": prepared.machine,
        "candidate": prepared.candidate.as_json(),
        "reference": prepared.reference.as_json() if prepared.reference else None,
        "seeds": list(prepared.seeds),
    }


def _rows(prepared: Prepared, night: Night, results: Results, measured: Mapping[str, Any]) -> list[dict[str, Any]]:
    same = {
        "night_utc": night.facts["night_utc"],
        "campaign": prepared.campaign.name,
        "machine": night.facts["machine"],
    }
    lacking = {(entry, variant): why for entry, variant, why in measured["lacking"]}
    rows = rows_of(prepared.entries, prepared.campaign.repetitions, results, night.folder, lacking)
    return [{**same, **row} for row in rows]


def _append(
    prepared: Prepared,
    history: History,
    night: Night,
    rows: Sequence[Mapping[str, Any]],
    results: Results,
    measured: Mapping[str, Any],
    broke: Sequence[Broken],
    tell: Tell,
) -> None:
    """Into the history, once: it knows its nights, so that a crash before our own mark does no harm."""
    tell({"kind": "phase", "phase": "appending to the history"})
    manifest = _manifest(prepared, night, results, measured, broke)
    if not history.has(manifest):
        try:
            history.append(rows, manifest)
        except RecordError as error:
            raise RecordError(f"{error}; what was measured is kept in {night.folder}") from error
    night.write("appended", {"history": str(prepared.request.history.resolve())})


def _manifest(
    prepared: Prepared, night: Night, results: Results, measured: Mapping[str, Any], broke: Sequence[Broken]
) -> dict[str, Any]:
    reference, campaign = prepared.reference, prepared.campaign
    kind = "build" if reference is not None else "variant"
    told: dict[str, Any] = {"kind": kind, "name": reference.words if reference else campaign.reference.variant}
    told |= {"text": campaign.reference.build or campaign.reference.variant, "identity": prepared.reference_id}
    runs: list[dict[str, Any]] = []
    commands: list[list[str]] = []
    for (entry, repetition, role), (step, done) in results.items():
        if done.run:
            path = os.path.relpath(night.folder / done.run, prepared.request.history)
            which = {"entry": entry, "role": role, "repetition": repetition}
            runs.append({"experiment": step.entry.experiment, "path": path, **which})
        if repetition == 0:
            commands.append(["testbed", *step.words(Path("OUT"), quick=False)])
    candidate = night.facts["candidate"]
    surroundings = prepared.surroundings
    return {
        "night_utc": night.facts["night_utc"],
        "date": prepared.date,
        "campaign": campaign.name,
        "machine": night.facts["machine"],
        "commands": commands,
        "source": {"commit": candidate["commit"], "dirty": candidate["dirty"], "digest": candidate["digest"]},
        "reference": {**told, **(reference.as_json() if reference else {})},
        "reference_id": prepared.reference_id,
        "kernel": surroundings["kernel"],
        "sysctls": surroundings["sysctls"],
        "machine_facts": surroundings["machine"],
        "versions": surroundings["versions"],
        "seeds": {entry.experiment: night.facts["seeds"][0] for entry in prepared.entries},
        "repetition_seeds": night.facts["seeds"],
        "runs": runs,
        "durations_s": durations_s(results),
        "notes": [*measured["notes"], *dict.fromkeys(why for *_, why in measured["lacking"])],
        "broken": [one.words for one in broke],
    }


def _judged(prepared: Prepared, history: History) -> tuple[SeriesState, ...]:
    thresholds = prepared.campaign.thresholds
    return judge(
        history,
        prepared.campaign.name,
        prepared.machine,
        fdr=thresholds.false_discovery_rate,
        smallest=thresholds.smallest_share,
    )


def _confirm(
    prepared: Prepared,
    history: History,
    night: Night,
    machinery: Machinery,
    broke: Sequence[Broken],
    tell: Tell,
) -> list[Finding]:
    """Measure old against new for every alarm."""
    if (newest := newest_night(history.manifests(), prepared.campaign.name, prepared.machine)) != night.facts[
        "night_utc"
    ]:
        tell(
            {
                "kind": "note",
                "text": f"the history has a later night ({newest}): no alarm of this one is measured again",
            }
        )
        return []
    states = _judged(prepared, history)
    groups = reruns(_suspicions(prepared, history, states, broke, tell), prepared.candidate)
    if not groups:
        return []
    campaign, pairs = prepared.campaign, prepared.campaign.confirmation_pairs
    steps = [
        (group, step, build) for group in groups for step, build in group.steps(campaign.name, prepared.date, pairs)
    ]
    count = sum(len(group.suspicions) for group in groups)
    alarms = f"{count} alarm{'s' if count > 1 else ''}"
    tell({"kind": "phase", "phase": f"{alarms}: measuring old against new, {pairs} pairs"})
    tell({"kind": "night", "total": len(steps), "done": 0, "path": str(night.folder)})
    done: dict[str, list[tuple[Step, Path | None]]] = {group.name: [] for group in groups}
    for number, (group, step, build) in enumerate(steps):
        ended = machinery.run(step, build, group.old, len(steps), number)
        done[group.name].append((step, run_path(night, ended)))
    found = findings(done, groups, campaign)
    captures = [
        (group, step, build)
        for group in groups
        if any(one.confirmed and one.rerun is group for one in found)
        for step, build in group.captures(campaign.name, prepared.date)
    ]
    if captures:
        tell({"kind": "phase", "phase": "confirmed: capturing a pair"})
    for number, (group, step, build) in enumerate(captures):
        machinery.run(step, build, group.old, len(captures), number)
    return found


def _suspicions(
    prepared: Prepared, history: History, states: Sequence[SeriesState], broke: Sequence[Broken], tell: Tell
) -> list[tuple[Suspicion, Build | None]]:
    numbers = {number.name: (entry, number) for entry in prepared.entries for number in entry.numbers}
    found: list[tuple[Suspicion, Build | None]] = []
    for state in states:
        if state.state != "alarm" or state.alarm is None or state.series not in numbers:
            continue
        old = _build_before(prepared, history, state.alarm.last_before_utc, tell)
        level = 1.0 if old is not None and state.kind != "difference" else 0.0 if old is not None else None
        if old is None:
            old = prepared.reference
            level = state.alarm.before
        assert level is not None
        found.append((Suspicion(*numbers[state.series], state, level), old))
    seen = set()
    for one in broke:
        key = one.entry, one.variant, one.flow
        entry, number = next(
            pair for pair in numbers.values() if (pair[0].name, pair[1].variant) == (one.entry, one.variant)
        )
        if key not in seen:
            seen.add(key)
            found.append((Suspicion(entry, as_broken(number, one), None), prepared.reference))
    return found


def _build_before(prepared: Prepared, history: History, night_utc: str | None, tell: Tell) -> Build | None:
    """The candidate of the last night at the old level; None: it is gone, was not clean, or is the one of tonight."""
    if night_utc is None:
        return None
    for manifest in history.manifests():
        if manifest["night_utc"] != night_utc or manifest["campaign"] != prepared.campaign.name:
            continue
        if manifest["machine"] != prepared.machine:
            continue
        source = manifest["source"]
        if not source["commit"] or source["dirty"] is not False:
            return None
        if source.get("digest") == prepared.candidate.digest:
            return None
        try:
            return builds.exported(str(source["commit"]), builds.CHECKOUT)
        except SpecificationError as error:
            tell({"kind": "note", "text": f"{error}; the alarm is confirmed against the reference"})
    return None


def write_site(history: History, site: Path, campaign: Campaign) -> None:
    """The pages of the whole history."""
    from analysis.report.site import write_site as write

    thresholds = campaign.thresholds
    write(history, site, fdr=thresholds.false_discovery_rate, smallest=thresholds.smallest_share)


def _code(states: Sequence[SeriesState], confirmed: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> int:
    """Confirmed outweighs not measured; 4 only when nothing at all ran."""
    if any(state.state == "regressed" for state in states) or any(confirmed["confirmed"].values()):
        return REGRESSED
    if all(row["verdict"] == "UNSUPPORTED" for row in rows):
        return NOTHING_RAN
    valid = {row["series"] for row in rows if row["verdict"] == "VALID"}
    unmeasured = {row["series"] for row in rows if row["verdict"] == "INVALID"} - valid
    return NOT_MEASURED if unmeasured or confirmed["not_measured"] else MET
