"""What people and machines are told of an alarm: events for the history, ``alarm.json``, and a text for a mail or an
issue (``alarm.md``). A confirmed regression names what, since when, how much, how to reproduce it, and its captures.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from testbed.nightly.confirmation import Finding
from testbed.nightly.night import Night
from testbed.nightly.preparation import Prepared
from testbed.record.files import write_atomically

ALARM_VERSION: Final = 1


def events(prepared: Prepared, night: Night, found: Sequence[Finding]) -> dict[str, Any]:
    """The facts of the phase ``confirmed``: events for the history, what was confirmed, what could not be measured."""
    key = {
        "night_utc": night.facts["night_utc"],
        "campaign": prepared.campaign.name,
        "machine": night.facts["machine"],
    }
    made: list[dict[str, Any]] = []
    for one in found:
        state = one.suspicion.state
        if state is None or state.alarm is None:
            continue
        alarm = {"series": state.series, "evidence": list(state.alarm.evidence), "ratio": state.alarm.after}
        made.append({"kind": "alarm", "facts": {**key, **alarm, "since_utc": state.alarm.since_utc}})
        if one.measured:
            made.append({"kind": "confirmation", "facts": {**key, **_confirmation(one)}})
    return {
        "events": made,
        "confirmed": {one.suspicion.number.name: one.confirmed for one in found},
        "not_measured": [one.suspicion.number.name for one in found if not one.measured],
    }


def _confirmation(one: Finding) -> dict[str, Any]:
    verdict = one.verdict
    facts: dict[str, Any] = {"series": one.suspicion.number.name, "confirmed": one.confirmed, "pairs": one.pairs}
    facts |= {"new": one.rerun.new.identity, "old": one.rerun.old.identity if one.rerun.old else "the reference"}
    if verdict is not None:
        facts |= {"verdict": verdict.verdict, "ratio": verdict.ratio, "low": verdict.low, "high": verdict.high}
        facts["p"] = verdict.p
    return facts


def write_alarm(prepared: Prepared, night: Night, found: Sequence[Finding]) -> None:
    """``alarm.json`` and ``alarm.md`` in the night's directory, when something was confirmed; else nothing."""
    document = alarm_document(prepared, night, found)
    if document["regressions"]:
        write_atomically(night.folder / "alarm.md", alarm_text(document).encode())
        write_atomically(night.folder / "alarm.json", json.dumps(document, indent=1).encode() + b"\n")


def alarm_document(prepared: Prepared, night: Night, found: Sequence[Finding]) -> dict[str, Any]:
    """For machines."""
    reference = prepared.reference
    return {
        "version": ALARM_VERSION,
        "campaign": prepared.campaign.name,
        "date": prepared.date,
        "night_utc": night.facts["night_utc"],
        "machine": night.facts["machine"],
        "candidate": {**prepared.candidate.as_json(), "words": prepared.candidate.words},
        "reference": {**reference.as_json(), "words": reference.words}
        if reference
        else {"variant": prepared.campaign.reference.variant, "words": prepared.campaign.reference.variant},
        "regressions": [_told(prepared, night, one) for one in found if one.confirmed],
        "unconfirmed": [_told(prepared, night, one) for one in found if one.measured and not one.confirmed],
        "not_measured": [one.suspicion.number.name for one in found if not one.measured],
        "campaign_file": prepared.request.campaign,
        "history": str(prepared.request.history),
        "site": str(prepared.request.site),
    }


def _told(prepared: Prepared, night: Night, one: Finding) -> dict[str, Any]:
    number, state, verdict = one.suspicion.number, one.suspicion.state, one.verdict
    told: dict[str, Any] = {
        "series": number.name,
        "experiment": one.rerun.entry.experiment,
        "backend": one.rerun.entry.backend,
        "variant": number.variant,
        "flow": number.flow,
        "metric": number.metric,
        "better": number.better,
    }
    if state is not None and state.alarm is not None:
        alarm = state.alarm
        told |= {
            "unit": state.unit,
            "since_utc": alarm.since_utc,
            "last_before_utc": alarm.last_before_utc,
            "ratio_before": alarm.before,
            "ratio_after": alarm.after,
            "change": {"estimate": alarm.change.estimate, "low": alarm.change.low, "high": alarm.change.high},
            "p": alarm.p,
            "evidence": list(alarm.evidence),
        }
    rerun: dict[str, Any] = {
        "pairs": one.pairs,
        "old": one.rerun.old.words if one.rerun.old else f"variant {prepared.campaign.reference.variant}",
        "old_commit": one.rerun.old.commit if one.rerun.old else None,
        "new": one.rerun.new.words,
        "new_commit": one.rerun.new.commit,
    }
    if verdict is not None:
        rerun |= {"verdict": verdict.verdict, "ratio": verdict.ratio, "low": verdict.low, "high": verdict.high}
        rerun["p"] = verdict.p
    else:
        rerun |= {"verdict": "broken flows", "broken_new": one.broken_new, "broken_old": one.broken_old}
    return {**told, "rerun": rerun, "runs": _runs(night, one), "captures": _captures(night, one)} | {
        "reproduce": _commands(prepared, one)
    }


def _runs(night: Night, one: Finding) -> list[str]:
    folders = sorted((night.folder / "runs").glob(f"{one.rerun.name}-[0-9]*/*/*/run.json"))
    return [str(path.parent) for path in folders]


def _captures(night: Night, one: Finding) -> list[str]:
    """Directories with the packets of the variant, of old and new."""
    found = []
    for path in sorted((night.folder / "runs").glob(f"{one.rerun.name}-captures-*/*/*/run.json")):
        plan = json.loads(path.read_text())["plan"]
        numbers = [entry["trial"] for entry in plan if entry["variant"] == one.suspicion.number.variant]
        folders = [path.parent / "captures" / f"{number:04d}" for number in numbers]
        found += [str(folder) for folder in folders if folder.is_dir()]
    return found


def _commands(prepared: Prepared, one: Finding) -> list[str]:
    """What to type in a clone: the re-run of this series with both builds, and their comparison."""
    campaign, rerun, variant = prepared.campaign, one.rerun, one.suspicion.number.variant
    pairs, name = campaign.confirmation_pairs, rerun.entry.experiment
    found = []
    for step, build in rerun.steps(campaign.name, prepared.date, pairs):
        if step.repetition:
            break
        others = () if rerun.old is not None else (campaign.reference.variant or "",)
        single = replace(step, variants=(variant, *others), repeat=pairs)
        words = shlex.join(["./tb", *single.words(Path("/tmp") / step.role, quick=False)])
        if build.commit and build.dirty is False:
            tree = f"/tmp/build-{build.commit[:12]}"
            found += [f"git worktree add {tree} {build.commit}", f"(cd {tree} && {words})"]
        else:
            found.append(f"(cd {build.root} && {words})")
    if rerun.old is not None:
        found.append(f"./tb compare /tmp/old/{name}/* /tmp/new/{name}/*")
    return found


def alarm_text(document: dict[str, Any]) -> str:
    """For a mail or an issue: Markdown."""
    regressions = document["regressions"]
    count = len(regressions)
    lines = [
        f"# {count} confirmed regression{'s' if count > 1 else ''}: {document['campaign']}, {document['date']}",
        "",
        f"Candidate {document['candidate']['words']}, reference {document['reference']['words']}, machine "
        f"{document['machine']}. Each was measured again in pairs of its own before this was written.",
        "",
        "| series | since | change | re-run: new over old | pairs |",
        "| --- | --- | --- | --- | ---: |",
    ]
    lines += [
        f"| {one['series']} | {_since(one)} | {_change(one)} | {_rerun(one['rerun'])} | {one['rerun']['pairs']} |"
        for one in regressions
    ]
    for one in regressions:
        lines += ["", f"## {one['series']}", ""]
        lines += [f"Between {one['rerun']['old']} (old) and {one['rerun']['new']} (new). To reproduce:", "", "```sh"]
        lines += [*one["reproduce"], "```"]
        if one["captures"]:
            lines += ["", "Packets of one pair:", "", *(f"- `{path}`" for path in one["captures"])]
        if one["runs"]:
            lines += ["", "Runs behind the verdict:", "", *(f"- `{path}`" for path in _few(one["runs"]))]
    if document["unconfirmed"]:
        lines += ["", "Not confirmed by their re-runs, so no regressions: "]
        lines[-1] += ", ".join(one["series"] for one in document["unconfirmed"]) + "."
    lines += ["", f"Trend of every series: {document['site']}/index.html. If the change is meant, accept it:", ""]
    lines += ["```sh", _accept(document), "```", ""]
    return "\n".join(lines)


def _accept(document: dict[str, Any]) -> str:
    first = document["regressions"][0]["series"]
    places = ["--history", document["history"], "--site", document["site"]]
    return shlex.join(["./tb", "nightly", document["campaign_file"], *places, "--accept", first, "--why", "..."])


def _since(one: dict[str, Any]) -> str:
    if "since_utc" not in one:
        return "tonight"
    before = f", last as before {one['last_before_utc'][:10]}" if one["last_before_utc"] else ""
    return f"{one['since_utc'][:10]}{before}"


def _change(one: dict[str, Any]) -> str:
    if "change" not in one:
        return "its flow broke off, or its bytes were not those sent"
    return _percent(one["change"]["estimate"], one["change"]["low"], one["change"]["high"])


def _rerun(rerun: dict[str, Any]) -> str:
    if "ratio" not in rerun:
        return f"broken in {rerun['broken_new']} of the new, {rerun['broken_old']} of the old"
    if rerun["ratio"] is None:
        return str(rerun["verdict"])
    return f"{_percent(rerun['ratio'], rerun['low'], rerun['high'])}: {rerun['verdict']}"


def _percent(ratio: float, low: float | None, high: float | None) -> str:
    """``-4.8 % (-5.4 to -4.2 %)``."""
    if low is None or high is None:
        return f"{100 * (ratio - 1):+.3g} %"
    return f"{100 * (ratio - 1):+.3g} % ({100 * (low - 1):+.3g} to {100 * (high - 1):+.3g} %)"


def _few(paths: Sequence[str], most: int = 4) -> list[str]:
    return list(paths[:most])
