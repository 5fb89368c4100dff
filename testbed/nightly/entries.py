"""A campaign's series against the catalog: what exactly is run and which numbers are kept. Pure; every error tells.

The name of a series, unique in its campaign, is ``ENTRY VARIANT FLOW METRIC``; of one that is compared with another
variant, ``... vs REFERENCE``.
"""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from analysis.comparison.series import better_is
from experiments import catalog
from testbed.nightly.campaign import EXPECTED, Campaign, Reference, Series
from testbed.orchestrator import overrides, sim_runner
from testbed.orchestrator.errors import Unsupported
from testbed.orchestrator.spec import Experiment, SpecificationError, Variant
from testbed.record.measure import MeasureError, parse_measure

Extreme = Literal["largest", "smallest"]

WITHOUT_FLOW = ("counter", "watched", "sampled")
"""Sources of measures that name their subject themselves."""


@dataclass(frozen=True, slots=True)
class Number:
    """One series: a number of a variant."""

    name: str
    variant: str
    flow: str
    """Empty where the measure names its subject itself."""
    metric: str
    better: Extreme | None
    """None: neither is."""
    reference_variant: str | None


@dataclass(frozen=True, slots=True)
class Entry:
    """What one process of the night runs, and the numbers that are kept of it."""

    name: str
    experiment: str
    backend: Literal["sim", "mininet"]
    assignments: tuple[str, ...]
    variants: tuple[str, ...]
    """The candidates."""
    reference: Reference
    numbers: tuple[Number, ...]
    duration_s: float
    """Of the traffic of one trial."""

    @property
    def processes(self) -> tuple[str, ...]:
        """What runs in a repetition, in the order of the first one."""
        return ("pair", "control") if self.reference.variant else ("candidate", "reference", "control")

    def variants_of(self, role: str) -> tuple[str, ...]:
        """The variants that this process of a repetition runs."""
        reference = self.reference.variant
        if reference is None:
            return self.variants
        return (reference,) if role == "control" else (*self.variants, reference)

    def only(self, names: Sequence[str]) -> Entry | None:
        """With these series alone; None when there is none of them here."""
        numbers = tuple(number for number in self.numbers if number.name in names)
        kept = {number.variant for number in numbers}
        variants = tuple(name for name in self.variants if name in kept)
        return replace(self, variants=variants, numbers=numbers) if numbers else None


def resolved(campaign: Campaign, path: Path) -> tuple[Entry, ...]:
    """Every entry of a campaign. Raises SpecificationError that names ``path``, the key and the fix."""
    found: list[Entry] = []
    for index, series in enumerate(campaign.series):
        where = f"{path}: series[{index}]"
        try:
            members = catalog.names([series.experiment])
        except SpecificationError as error:
            raise SpecificationError(f"{where}.experiment: {error}") from None
        grouped = len(members) > 1
        made = [_entry(series, experiment, grouped, campaign.reference, where) for experiment in members]
        found += [entry for entry in made if entry is not None]
    _refuse_doubles(found, path)
    return tuple(found)


def chosen(entries: Sequence[Entry], pattern: str) -> tuple[Entry, ...]:
    """What ``--only`` means: entries or series whose name it is, begins, or matches with ``*``. Raises
    SpecificationError."""
    numbers = [number.name for entry in entries for number in entry.numbers]
    wanted = [name for name in numbers if name.startswith(pattern) or fnmatch.fnmatchcase(name, pattern)]
    if not wanted:
        near = (
            difflib.get_close_matches(pattern, [*(entry.name for entry in entries), *numbers], n=3, cutoff=0.3)
            or numbers[:3]
        )
        raise SpecificationError(f"--only {pattern}: the campaign has no such series; near: {', '.join(near)}")
    return tuple(kept for entry in entries if (kept := entry.only(wanted)) is not None)


def _entry(series: Series, name: str, grouped: bool, reference: Reference, where: str) -> Entry | None:
    """None: a member of a group that has nothing for this backend."""
    experiment = _experiment(series, name, where)
    possible = _possible(series, experiment, where, grouped)
    if grouped and not possible:
        return None
    candidates = _candidates(series, experiment, reference, where, possible, grouped)
    own = name if grouped or series.name is None else series.name
    entry_name = own if series.backend == "sim" else f"{own}@{series.backend}"
    numbers = tuple(_numbers(entry_name, series, experiment, candidates, reference, where))
    if not numbers:
        raise SpecificationError(f"{where}.metrics: {name} expects nothing of these variants; name metrics")
    named = {number.variant for number in numbers}
    variants = tuple(variant.name for variant in candidates if variant.name in named)
    duration_s = experiment.duration_ns / 1e9
    return Entry(entry_name, name, series.backend, series.assignments, variants, reference, numbers, duration_s)


def _experiment(series: Series, name: str, where: str) -> Experiment:
    """With the changes of ``set`` applied, as ``testbed run --set`` does it."""
    known = catalog.choices(name)
    try:
        own = dict(word.split("=", 1) for word in series.assignments)
        experiment = catalog.build(name, {key: text for key, text in own.items() if key in known})
        return overrides.apply(experiment, [word for word in series.assignments if word.split("=", 1)[0] not in known])
    except SpecificationError as error:
        raise SpecificationError(f"{where}.set: {str(error).removeprefix('--set ')}") from None


def _candidates(
    series: Series, experiment: Experiment, reference: Reference, where: str, possible: Sequence[str], grouped: bool
) -> tuple[Variant, ...]:
    """The variants that are measured, of those that the backend can run."""
    if series.variants and grouped:
        raise SpecificationError(f"{where}.variants: a group of experiments has none in common; name one experiment")
    for name in (*series.variants, *([reference.variant] if reference.variant else [])):
        if name not in possible:
            key = f"{where}.variants" if name != reference.variant else f"{where} with reference.variant"
            raise SpecificationError(f"{key}: {_no_variant(name, experiment, series, possible)}")
    if reference.variant in series.variants:
        raise SpecificationError(f"{where}.variants: {reference.variant} is the reference; name others")
    names = series.variants or tuple(name for name in possible if name != reference.variant)
    variants = tuple(experiment.variant(name) for name in names)
    if reference.variant:
        situation = experiment.variant(reference.variant).situation
        for variant in variants:
            if variant.situation != situation:
                raise SpecificationError(
                    f"{where} with reference.variant: {reference.variant} and {variant.name} are of different "
                    "situations, so they share no seed and make no pairs; choose a reference of the same situation, "
                    "or a build"
                )
    if not variants:
        raise SpecificationError(f"{where}.variants: {experiment.name} has none beside the reference")
    return variants


def _possible(series: Series, experiment: Experiment, where: str, grouped: bool) -> tuple[str, ...]:
    """Names of the variants that the backend can run, if the machine can."""
    if series.backend == "mininet":
        return tuple(variant.name for variant in experiment.variants if variant.only_on != "sim")
    try:
        runnable, _ = sim_runner.runnable(experiment)
    except Unsupported as error:
        if grouped:
            return ()
        raise SpecificationError(f'{where}.backend: {error}; write backend = "mininet"') from None
    return tuple(variant.name for variant in runnable.variants)


def _no_variant(name: str, experiment: Experiment, series: Series, possible: Sequence[str]) -> str:
    if name in [variant.name for variant in experiment.variants]:
        other = "mininet" if series.backend == "sim" else "sim"
        return f'{name} cannot run with backend = "{series.backend}"; write backend = "{other}" for it'
    near = difflib.get_close_matches(name, possible, n=4, cutoff=0.4) or possible[:8]
    return f"experiment {experiment.name} has no variant {name!r}; near: {', '.join(near)}"


def _numbers(
    entry: str,
    series: Series,
    experiment: Experiment,
    variants: Sequence[Variant],
    reference: Reference,
    where: str,
) -> Iterator[Number]:
    seen: set[str] = set()
    for variant in variants:
        flows = [flow.name for flow in variant.flows]
        if series.flow is not None and series.flow not in flows:
            raise SpecificationError(f"{where}.flow: {variant.name} has no flow {series.flow!r}: {', '.join(flows)}")
        for metric, flow in _measures(series, experiment, variant):
            number = _number(entry, variant, metric, flow, reference, where)
            if number.name not in seen:
                seen.add(number.name)
                yield number


def _measures(series: Series, experiment: Experiment, variant: Variant) -> Iterator[tuple[str, str]]:
    """(metric, flow)."""
    if series.metrics == EXPECTED:
        for expectation in experiment.expectations:
            if variant.name in expectation.speaks_of:
                yield expectation.metric, expectation.flow
    else:
        for metric in series.metrics:
            yield metric, series.flow or variant.flows[0].name


def _number(entry: str, variant: Variant, metric: str, flow: str, reference: Reference, where: str) -> Number:
    try:
        measure = parse_measure(metric)
    except MeasureError as error:
        raise SpecificationError(f"{where}.metrics: {error}") from None
    flow = "" if measure.source in WITHOUT_FLOW else flow
    words = [entry, variant.name, *([flow] if flow else []), metric]
    words += ["vs", reference.variant] if reference.variant else []
    return Number(" ".join(words), variant.name, flow, metric, better_is(measure), reference.variant)


def _refuse_doubles(entries: Sequence[Entry], path: Path) -> None:
    names: set[str] = set()
    for entry in entries:
        if entry.name in names:
            raise SpecificationError(
                f"{path}: series: two entries are called {entry.name!r}; give one of them a name of its own"
            )
        names.add(entry.name)
