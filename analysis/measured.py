"""What an expectation speaks of, as numbers: the text of a measure (testbed/record/measure.py) -> a value per trial.

Only VALID trials have values. A value that a trial lacks is one of two things. *Broken*: it was looked for and did not
occur, or the flow broke off before it could; then a bound on it fails. *Not measured*: nobody looked, which is no
evidence either way. What is looked up is read once and kept in an index, for there are runs with thousands of variants.

Of ``ledger:`` the numbers are those that the end itself wrote down (source ``ledger``) where it is our stack, and of a
kernel end what BPF saw (``kernel``), else what a capture at its interface shows (``capture``). One source for all
trials of a variant: those that lack it have no value.
"""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from analysis.fate import fate_of
from analysis.ledger_trials import LedgerTrials
from analysis.runs import Run
from analysis.sampled import MeansOfSeries
from testbed.record.measure import Measure, MeasureError, parse_measure

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Measured:
    """One measure in the valid trials of a variant."""

    unit: str
    values: Mapping[int, float]
    """Trial -> number, in order of the trials."""
    broken: str = ""
    """Of the first trial that ought to have a value and has none, why; empty: there is none."""
    missing: str = ""
    """Why not one trial has a value; empty when one has, or when it is broken."""
    source: str = ""
    """Whose numbers they are, where there is more than one possibility: ``ledger``, ``kernel``, ``capture``."""


class Measurements:
    """The measures of one run."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._kept: dict[tuple[str, str, str], Measured] = {}

    def of(self, text: str, variant: str, flow: str) -> Measured:
        """The measure of that text, of a flow where it is of one. What cannot be read is ``missing``."""
        key = text, variant, flow
        if key not in self._kept:
            self._kept[key] = self._measure(text, variant, flow)
        return self._kept[key]

    def why_none(self, variant: str) -> str:
        """Why a variant has no valid trial; empty when it has."""
        states = self._states.get(variant)
        if not states:
            return f"{variant} has not run yet"
        return "" if "VALID" in states else f"{variant} has no valid trial ({', '.join(sorted(states))})"

    def is_unsupported(self, variant: str) -> bool:
        """Whether none of its trials can run here."""
        return self._states.get(variant) == {"UNSUPPORTED"}

    def trials(self, variant: str) -> Sequence[Row]:
        """Its VALID trials, in order."""
        return self._valid.get(variant, ())

    def paired(self, first: Mapping[int, float], second: Mapping[int, float]) -> tuple[list[float], list[float]] | None:
        """The values of two variants in the order of their trials' seeds, when both have the same seeds; else None."""
        ours, theirs = ({self._seeds[trial]: value for trial, value in values.items()} for values in (first, second))
        if ours.keys() != theirs.keys() or not len(ours) == len(first) == len(second):
            return None
        return [ours[seed] for seed in ours], [theirs[seed] for seed in ours]

    def _measure(self, text: str, variant: str, flow: str) -> Measured:
        try:
            measure = parse_measure(text)
        except MeasureError as error:
            return Measured("", {}, missing=str(error))
        if reason := self.why_none(variant):
            return Measured(measure.unit, {}, missing=reason)
        sources: Mapping[str, Callable[[Measure, str, str], Measured]] = {
            "flows": self._of_flows,
            "counter": self._of_counters,
            "watched": self._of_watches,
            "observed": self._of_observations,
            "ledger": self._of_ledger,
            "sampled": self._of_samples,
            "fate": self._of_fates,
        }
        found = sources[measure.source](measure, variant, flow)
        if found.values or found.broken or found.missing:
            return found
        return Measured(found.unit, {}, missing=f"{text} was not measured in {variant}", source=found.source)

    def _of_flows(self, measure: Measure, variant: str, flow: str) -> Measured:
        values: dict[int, float] = {}
        broken = ""
        for trial in self.trials(variant):
            row = self._flows.get((trial["trial"], flow))
            if row is None:
                continue
            value = row[measure.name]
            if value is not None:
                values[trial["trial"]] = float(value)
            elif row["error"] is not None and not broken:
                broken = f"trial {trial['trial']} has none: {row['error']}"
        return Measured(measure.unit, values, broken)

    def _of_fates(self, measure: Measure, variant: str, flow: str) -> Measured:
        return Measured(
            measure.unit,
            {
                trial["trial"]: float(fate_of(trial, row).fate == measure.name)
                for trial in self.trials(variant)
                if (row := self._flows.get((trial["trial"], flow))) is not None
            },
        )

    def _of_counters(self, measure: Measure, variant: str, _flow: str) -> Measured:
        values: dict[int, float] = {}
        for trial in self.trials(variant):
            number = trial["trial"]
            found = self._counters.get((number, measure.at))
            if found is not None and measure.name in found:
                growth = found[measure.name]
                if growth is not None:
                    values[number] = float(growth)
            elif (number, measure.at) in self._userspace_hosts:
                values[number] = 0.0  # our stack writes down what it has counted, and nothing else
        if values:
            return Measured(measure.unit, values)
        return Measured(measure.unit, {}, missing=self._no_counter(measure, variant))

    def _no_counter(self, measure: Measure, variant: str) -> str:
        numbers = {trial["trial"] for trial in self.trials(variant)}
        hosts = {host: names for (number, host), names in self._counters.items() if number in numbers}
        if measure.at not in hosts:
            return f"{measure.text}: no counters of host {measure.at!r}; there are {_listed(hosts)}"
        if measure.name in hosts[measure.at]:
            return f"{measure.text}: this kernel has no such counter"
        near = difflib.get_close_matches(measure.name, hosts[measure.at], n=3, cutoff=0.5)
        return f"{measure.text}: {measure.at} has no counter of that name; near: {_listed(near)}"

    def _of_watches(self, measure: Measure, variant: str, _flow: str) -> Measured:
        values: dict[int, float] = {}
        seen: set[str] = set()
        for trial in self.trials(variant):
            watches = self._watches.get(trial["trial"], {})
            seen |= {f"{name}@{link}" for name, link in watches}
            if (measure.name, measure.at) in watches:
                values[trial["trial"]] = float(watches[measure.name, measure.at])
        missing = "" if values else f"{measure.text}: no such watch in {variant}; there are {_listed(seen)}"
        return Measured(measure.unit, values, missing=missing)

    def _of_observations(self, measure: Measure, variant: str, flow: str) -> Measured:
        values: dict[int, float] = {}
        unit, broken = "", ""
        others: set[str] = set()
        for trial in self.trials(variant):
            number = trial["trial"]
            rows = self._observations.get((number, flow), {})
            others |= rows.keys()
            for row in rows.get(measure.name, ())[:1]:  # one end is scripted
                unit = row["unit"]
                if row["value"] is not None:
                    values[number] = float(row["value"])
                elif not broken:
                    broken = f"trial {number}: {measure.name} did not occur"
        missing = ""
        if not values and not broken:
            near = difflib.get_close_matches(measure.name, others, n=4, cutoff=0.4)
            missing = f"no scripted peer of {variant} wrote down {measure.name}; near: {_listed(near or others)}"
        return Measured(unit, values, broken, missing)

    def _of_ledger(self, measure: Measure, variant: str, flow: str) -> Measured:
        numbers = [trial["trial"] for trial in self.trials(variant)]
        source, values = self._ledger.of(measure, numbers, flow)
        missing = ""
        if source is None:
            missing = f"neither ledger nor capture of flow {flow} at the {measure.at} of {variant}"
        elif not values:
            missing = f"{measure.text} has no value in {variant}: nothing that it is a share or a time of"
        return Measured(measure.unit, values, missing=missing, source=source or "")

    def _of_samples(self, measure: Measure, variant: str, _flow: str) -> Measured:
        values = {
            trial["trial"]: mean
            for trial in self.trials(variant)
            if (mean := self._series.mean(measure, trial["trial"])) is not None
        }
        missing = "" if values else f"{measure.text}: no sample in {variant}; {self._series.near(measure)}"
        return Measured(self._series.unit(measure), values, missing=missing)

    @cached_property
    def _trials(self) -> list[Row]:
        return self.run.directory.read_table("trials").sort_by("trial").to_pylist()  # type: ignore[no-any-return]

    @cached_property
    def _seeds(self) -> Mapping[int, int]:
        """Trial -> its seed, of its links and its payload."""
        return {row["trial"]: row["seed"] for row in self._trials}

    @cached_property
    def _states(self) -> Mapping[str, set[str]]:
        states: dict[str, set[str]] = defaultdict(set)
        for row in self._trials:
            states[row["variant"]].add(row["verdict"])
        return states

    @cached_property
    def _valid(self) -> Mapping[str, list[Row]]:
        valid: dict[str, list[Row]] = defaultdict(list)
        for row in self._trials:
            if row["verdict"] == "VALID":
                valid[row["variant"]].append(row)
        return valid

    @cached_property
    def _flows(self) -> Mapping[tuple[int, str], Row]:
        rows = self.run.directory.read_table("flows").to_pylist()
        return {(row["trial"], row["flow"]): row for row in rows}

    @cached_property
    def _userspace_hosts(self) -> set[tuple[int, str]]:
        """(trial, host) where our stack ran."""
        found = set()
        for (trial, _), row in self._flows.items():
            for side in ("client", "server"):
                stack = row["implementation" if side == "client" else "server_implementation"]
                if str(stack or row["implementation"]).startswith("userspace"):
                    found.add((trial, row[f"{side}_host"]))
        return found

    @cached_property
    def _counters(self) -> Mapping[tuple[int, str], Mapping[str, int | None]]:
        """(trial, host) -> counter -> how far it moved; None: this kernel has none of that name."""
        found: dict[tuple[int, str], dict[str, int | None]] = defaultdict(dict)
        table = self.run.directory.read_table("counters")
        columns = (table[name].to_pylist() for name in ("trial", "host", "counter", "before", "after"))
        for trial, host, counter, before, after in zip(*columns, strict=True):
            found[trial, host][counter] = None if before is None or after is None else after - before
        return found

    @cached_property
    def _watches(self) -> Mapping[int, Mapping[tuple[str, str], int]]:
        """Trial -> (name, link) -> packets, of watches of one name on a link together."""
        found: dict[int, dict[tuple[str, str], int]] = defaultdict(dict)
        for row in self.run.directory.read_table("middleboxes").to_pylist():
            text = row["middlebox"]
            if text.startswith("watch "):
                key = text.rpartition(" as ")[2], row["link"]
                found[row["trial"]][key] = found[row["trial"]].get(key, 0) + row["matched"]
        return found

    @cached_property
    def _observations(self) -> Mapping[tuple[int, str], Mapping[str, list[Row]]]:
        found: dict[tuple[int, str], dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
        for row in self.run.directory.read_table("observations").to_pylist():
            found[row["trial"], row["flow"]][row["name"]].append(row)
        return found

    @cached_property
    def _ledger(self) -> LedgerTrials:
        return LedgerTrials(self.run)

    @cached_property
    def _series(self) -> MeansOfSeries:
        return MeansOfSeries(self.run)


def _listed(names: Iterable[str]) -> str:
    found = sorted(names)
    more = f" and {len(found) - 8} more" if len(found) > 8 else ""
    return ", ".join(found[:8]) + more or "none"
