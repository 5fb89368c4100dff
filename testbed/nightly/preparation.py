"""All that is decided before anything is run: campaign, builds, machine, date, seeds, and what the reference runs."""

from __future__ import annotations

import datetime
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from analysis.comparison.likeness import machine_fingerprint
from analysis.history import History
from testbed.nightly import builds, campaign, entries
from testbed.nightly.builds import Build
from testbed.nightly.campaign import Campaign
from testbed.nightly.entries import Entry
from testbed.nightly.steps import Step, night_seed, planned
from testbed.orchestrator import environment, process
from testbed.orchestrator.errors import InvalidTrial, TestbedError
from testbed.orchestrator.spec import SpecificationError

PROBE_S: Final = 120.0
"""For a reference build to say what it would run."""

Tell = Callable[[Mapping[str, Any]], None]
"""Gets ``note``, ``night`` (how many runs), ``step`` (begins), ``ended`` and ``phase`` messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the user asked for."""

    campaign: str
    history: Path
    site: Path
    out: Path
    date: str | None = None
    """None: today, UTC."""
    only: str | None = None
    now: Callable[[], datetime.datetime] = field(default=lambda: datetime.datetime.now(datetime.UTC))


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A night that can begin."""

    request: Request
    campaign: Campaign
    path: Path
    entries: tuple[Entry, ...]
    candidate: Build
    reference: Build | None
    """None: the reference is a variant."""
    surroundings: Mapping[str, Any]
    """Machine, kernel, sysctls, versions, as in run.json."""
    machine: str
    date: str
    night_utc: str

    @property
    def seeds(self) -> tuple[int, ...]:
        """One for each repetition."""
        return tuple(night_seed(self.campaign.name, self.date, number) for number in range(self.campaign.repetitions))

    @property
    def folder(self) -> Path:
        """Of the night's state."""
        return self.request.out / self.campaign.name / self.date

    @property
    def reference_id(self) -> str:
        """What the ratios are over; changes when it does."""
        if self.reference is None:
            return f"variant {self.campaign.reference.variant}"
        return self.reference.identity

    @property
    def plan_digest(self) -> str:
        """Of all that decides what is measured, and where."""
        told = {
            "campaign": self.campaign.model_dump(mode="json", exclude={"summary", "thresholds", "keep_nights"}),
            "series": [number.name for entry in self.entries for number in entry.numbers],
            "candidate": self.candidate.identity,
            "sources": self.candidate.digest,
            "reference": self.reference_id,
            "seeds": self.seeds,
            "machine": self.machine,
        }
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    def steps(self, reachable: Mapping[str, tuple[str, ...]]) -> list[Step]:
        """Every run of the night, in order."""
        return list(planned(self.entries, self.campaign.repetitions, self.seeds, reachable))


def prepare(request: Request) -> Prepared:
    """Everything read and resolved. Raises SpecificationError, RecordError; InvalidTrial when the clock went back."""
    path = campaign.path_of(request.campaign)
    found = campaign.load(path)
    chosen = entries.resolved(found, path)
    if request.only is not None:
        chosen = entries.chosen(chosen, request.only)
    history = History(request.history)
    surroundings = environment.describe()
    machine = _machine(chosen, surroundings)
    date, night_utc = _date(request, history, found.name, machine)
    reference = None
    if found.reference.build is not None:
        try:
            reference = builds.resolve(found.reference.build, path.parent, accepted_commit(history, found.name))
        except SpecificationError as error:
            raise SpecificationError(f"{path}: {error}") from None
    return Prepared(
        request=request,
        campaign=found,
        path=path,
        entries=chosen,
        candidate=builds.candidate(),
        reference=reference,
        surroundings=surroundings,
        machine=machine,
        date=date,
        night_utc=night_utc,
    )


def machine_of(request: Request) -> str:
    """Fingerprint under which the nights of a campaign stand here. Raises SpecificationError."""
    path = campaign.path_of(request.campaign)
    return _machine(entries.resolved(campaign.load(path), path), environment.describe())


def _machine(chosen: Sequence[Entry], surroundings: Mapping[str, Any]) -> str:
    """Fingerprint under which the night stands: virtual time is the same everywhere, real time is the machine's."""
    backends = {entry.backend for entry in chosen}
    return machine_fingerprint({**surroundings, "backend": "mininet" if "mininet" in backends else "sim"})


def accepted_commit(history: History, name: str) -> str | None:
    """The commit that ``reference.build = "accepted"`` means: what ``--accept all`` accepted last, else what the first
    night compared with. None: there was no night."""
    manifests = [each for each in history.manifests() if each["campaign"] == name]
    for event in reversed(history.events(campaign=name)):
        commit = event.facts.get("commit")
        if event.kind == "acceptance" and event.facts["series"] is None and commit:
            return str(commit)
    for manifest in manifests:
        reference = manifest["reference"]
        if reference.get("text") == "accepted" and reference.get("commit"):
            return str(reference["commit"])
    return None


def reach(prepared: Prepared, tell: Tell) -> tuple[dict[str, tuple[str, ...]], dict[tuple[str, str], str]]:
    """(entry -> variants that both builds can run, (entry, variant) -> why the reference cannot). Each is told once."""
    reachable: dict[str, tuple[str, ...]] = {}
    lacking: dict[tuple[str, str], str] = {}
    reference = prepared.reference
    same = reference is None or reference.digest == prepared.candidate.digest
    for entry in prepared.entries:
        if same or reference is None:
            reachable[entry.name] = entry.variants
            continue
        known, why = _asked(entry, reference)
        reachable[entry.name] = tuple(variant for variant in entry.variants if variant in known)
        for variant in entry.variants:
            if variant not in known:
                lacking[entry.name, variant] = f"the reference build {reference.words} cannot run it: {why}"
        if missing := [variant for variant in entry.variants if variant not in known]:
            named = f"{entry.name} {', '.join(missing[:4])}" + (" ..." if len(missing) > 4 else "")
            text = f"UNSUPPORTED: {named}: {lacking[entry.name, missing[0]]}"
            tell({"kind": "note", "text": text})
    return reachable, lacking


def _asked(entry: Entry, build: Build) -> tuple[frozenset[str], str]:
    """The variants that a build would run of an entry, and why no other."""
    words = ["run", entry.experiment, "--backend", entry.backend, "--repeat", "1", "--dry-run", "--json"]
    for assignment in entry.assignments:
        words += ["--set", assignment]
    with process.start(build.argv(*words), cwd=build.root, environment=build.environment(None)) as child:
        try:
            code = child.wait(PROBE_S)
            if code:
                said = child.stderr.strip().splitlines()
                return frozenset(), said[-1].removeprefix("testbed: ") if said else f"exit code {code}"
            plan = json.loads(child.stdout)["plan"]
        except (TestbedError, ValueError, KeyError) as error:
            return frozenset(), f"it does not say what it would run ({error})"
    return frozenset(row["variant"] for row in plan), "it has no such variant"


def knows_messages(candidate: Build, reference: Build | None) -> bool:
    """Whether both builds have ``run --messages``, which writes no report; else neither is asked to."""
    return all(_has_messages(build) for build in (candidate, *([reference] if reference else [])))


def _has_messages(build: Build) -> bool:
    path = build.root / "testbed" / "cli" / "run.py"
    return path.is_file() and '"--messages"' in path.read_text(encoding="utf-8")


def _date(request: Request, history: History, name: str, machine: str) -> tuple[str, str]:
    """(date, night_utc). Raises InvalidTrial when the clock went back: the new night would stand before older ones."""
    if request.date is not None:
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", request.date):
            raise SpecificationError(f"--date {request.date}: write YEAR-MONTH-DAY, such as 2026-01-31")
        try:
            datetime.date.fromisoformat(request.date)
        except ValueError as error:
            raise SpecificationError(f"--date {request.date}: {error}") from None
        return request.date, f"{request.date}T00:00:00Z"
    now = request.now()
    date, night_utc = now.strftime("%Y-%m-%d"), now.strftime("%Y-%m-%dT%H:%M:%SZ")
    newest = newest_night(history.manifests(), name, machine)
    if newest is not None and newest[:10] > date:
        raise InvalidTrial(
            f"nothing was measured: the clock says {date}, and {request.history} has a night of {newest[:10]}; set the "
            f"clock, or say which night it is with --date"
        )
    return date, night_utc


def newest_night(manifests: Sequence[Mapping[str, Any]], name: str, machine: str) -> str | None:
    """``night_utc`` of the newest night of a campaign on a machine; None: there is none."""
    times = [str(each["night_utc"]) for each in manifests if (each["campaign"], each["machine"]) == (name, machine)]
    return max(times, default=None)
