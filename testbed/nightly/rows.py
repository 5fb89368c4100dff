"""Run directories of a night -> rows of the history, and what broke in the candidate alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from analysis.measured import Measurements
from analysis.runs import Run, load
from testbed.nightly.entries import Entry, Number
from testbed.nightly.steps import Done, Step

_SEVERITY = {"VALID": 0, "INVALID": 1, "UNSUPPORTED": 2}


@dataclass(frozen=True, slots=True)
class Value:
    """One number of one run of a repetition."""

    number: float | None
    unit: str
    verdict: str
    reason: str
    retries: int = 0
    seed: int = 0
    """Of its trial; 0: there is none."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A flow of a valid trial that lost or changed bytes, or broke off."""

    entry: str
    variant: str
    flow: str
    repetition: int
    reason: str
    run: str

    @property
    def words(self) -> str:
        """For people."""
        return f"{self.entry} {self.variant}, flow {self.flow}, repetition {self.repetition + 1}: {self.reason}"


def as_broken(number: Number, broken: Broken) -> Number:
    """The series ``ENTRY VARIANT FLOW broken``, of a flow instead of a number."""
    name = f"{broken.entry} {broken.variant} {broken.flow} broken"
    return replace(number, name=name, flow=broken.flow, metric="broken", better="smallest")


def rows_of(
    entries: Sequence[Entry],
    repetitions: int,
    results: Mapping[tuple[str, int, str], tuple[Step, Done]],
    night: Path,
    unreachable: Mapping[tuple[str, str], str],
) -> Iterator[dict[str, Any]]:
    """A row per series and repetition, without what is the same in all of them (night_utc, campaign, machine).

    ``results``: (entry, repetition, role) -> step and what became of it. ``unreachable``: (entry, variant) -> why the
    reference cannot run it.
    """
    for entry in entries:
        for repetition in range(repetitions):
            # in virtual time one run has all repetitions
            of_run = 0 if entry.backend == "sim" else repetition
            runs = {role: Source.of(results.get((entry.name, of_run, role)), night) for role in entry.processes}
            for number in entry.numbers:
                why = unreachable.get((entry.name, number.variant))
                values = (
                    {"candidate": Value(None, "", "UNSUPPORTED", why)}
                    if why
                    else _values(entry, number, runs, repetition - of_run)
                )
                yield _row(entry, number, repetition, values)


def _values(entry: Entry, number: Number, runs: Mapping[str, Source], within: int) -> dict[str, Value]:
    """``within``: number of the repetition in its run."""
    reference = entry.reference.variant
    if reference is None:
        return {role: source.value(number, number.variant, within) for role, source in runs.items()}
    return {
        "candidate": runs["pair"].value(number, number.variant, within),
        "reference": runs["pair"].value(number, reference, within),
        "control": runs["control"].value(number, reference, within),
    }


def _row(entry: Entry, number: Number, repetition: int, values: Mapping[str, Value]) -> dict[str, Any]:
    # the control says how sure we may be, not whether there is a pair
    deciding = [values[role] for role in ("candidate", "reference") if role in values]
    worst = max(deciding, key=lambda value: _SEVERITY[value.verdict])
    return {
        "series": number.name,
        "experiment": entry.experiment,
        "variant": number.variant,
        "flow": number.flow,
        "metric": number.metric,
        "unit": next((value.unit for value in values.values() if value.unit), ""),
        "better": number.better,
        "repetition": repetition,
        "seed": next((value.seed for value in values.values() if value.seed), 0),
        "verdict": worst.verdict,
        "reason": worst.reason,
        "retries": sum(value.retries for value in values.values()),
        **{role: values[role].number if role in values else None for role in ("candidate", "reference", "control")},
    }


class Source:
    """The run of one step, or why there is none."""

    def __init__(self, run: Run | None, state: str, reason: str, measurements: Measurements | None) -> None:
        self.run = run
        self._state, self._reason = state, reason
        self._measurements = measurements

    @classmethod
    def of(cls, result: tuple[Step, Done] | None, night: Path) -> Source:
        """Of what became of a step."""
        if result is None:
            return cls(None, "INVALID", "it was not run", None)
        _, done = result
        if done.state != "measured":
            return cls(None, {"invalid": "INVALID", "unsupported": "UNSUPPORTED"}[done.state], done.reason, None)
        run, measurements = _loaded(night / done.run)
        return cls(run, "VALID", "", measurements)

    def value(self, number: Number, variant: str, repetition: int) -> Value:
        """That number in that variant and repetition of the run."""
        if self.run is None or self._measurements is None:
            return Value(None, "", self._state, self._reason)
        trial = _trials(self.run.path).get((variant, repetition))
        if trial is None:
            return Value(None, "", "UNSUPPORTED", f"{variant} was left out of the run")
        seed, retries = trial["seed"], _retries(self.run.path).get(trial["trial"], 0)
        if trial["verdict"] != "VALID":
            return Value(None, "", trial["verdict"], trial["reason"] or "no reason given", retries, seed)
        found = self._measurements.of(number.metric, variant, number.flow)
        if (value := found.values.get(trial["trial"])) is not None:
            return Value(value, found.unit, "VALID", "", retries, seed)
        # a valid trial without the number: it broke off before (which ``broken`` tells), or nobody looked
        return Value(None, found.unit, "INVALID", found.broken or found.missing, retries, seed)


def broken(
    entries: Sequence[Entry], results: Mapping[tuple[str, int, str], tuple[Step, Done]], night: Path
) -> list[Broken]:
    """Flows that broke in the candidate and not, with the same seed, in the reference. None of experiments that ask
    just that."""
    found: list[Broken] = []
    for entry in entries:
        if entry.reference.variant is not None:
            continue
        for repetition in sorted({key[1] for key in results if key[0] == entry.name}):
            sources = [
                Source.of(results.get((entry.name, repetition, role)), night) for role in ("candidate", "reference")
            ]
            ours, theirs = (broken_flows(source.run) if source.run else {} for source in sources)
            if sources[0].run is None or sources[1].run is None:
                continue
            path = str(sources[0].run.path)
            for (variant, flow), (_, reason) in ours.items():
                if (variant, flow) not in theirs:
                    found.append(Broken(entry.name, variant, flow, repetition, reason, path))
    return found


def broken_flows(run: Run) -> dict[tuple[str, str], tuple[int, str]]:
    """(variant, flow) -> in how many valid trials its bytes were not those sent or it broke off, and what became of the
    first."""
    if run.experiment.get("grid") or run.experiment.get("any_outcome"):
        return {}
    states = {row["trial"]: row for row in run.directory.read_table("trials").to_pylist()}
    found: dict[tuple[str, str], tuple[int, str]] = {}
    for row in run.directory.read_table("flows").to_pylist():
        trial = states[row["trial"]]
        if trial["verdict"] == "VALID" and (row["integrity"] == "mismatch" or row["error"] is not None):
            number, first = found.get((trial["variant"], row["flow"]), (0, ""))
            said = row["error"] or "the bytes received are not the bytes sent"
            found[trial["variant"], row["flow"]] = number + 1, first or said
    return found


@lru_cache(maxsize=8)
def _loaded(path: Path) -> tuple[Run, Measurements]:
    run = load(path)
    return run, Measurements(run)


@lru_cache(maxsize=8)
def _trials(path: Path) -> dict[tuple[str, int], dict[str, Any]]:
    rows: list[dict[str, Any]] = _loaded(path)[0].directory.read_table("trials").to_pylist()
    return {(row["variant"], row["repetition"]): row for row in rows}


@lru_cache(maxsize=8)
def _retries(path: Path) -> dict[int, int]:
    """Trial -> attempts before it that the testbed had disturbed; each is told as a warning about the trial."""
    found: dict[int, int] = {}
    for row in _loaded(path)[0].directory.read_table("events").to_pylist():
        if row["kind"] == "warning" and row["subject"] == "trial" and row["detail"].startswith("attempt "):
            found[row["trial"]] = found.get(row["trial"], 0) + 1
    return found
