"""Runs of one experiment on several kernels: the measures of each, each against the first, what each met and can do.

Joins are on the union: what one kernel lacks is a hole with its reason, never 0 and never a row less.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from analysis.comparison.contrast import FDR, SMALLEST, Contrast
from analysis.comparison.runs import Comparison, NothingToCompare, compare_runs
from analysis.comparison.series import Side, kind_of, usual_metrics
from analysis.runs import Run
from analysis.statistics import Interval, median_interval, statistic_interval
from analysis.verdict import Verdict, evaluate

_OF_A_KERNEL = ("kernel", "build")
"""Of the capabilities, what is the name of the kernel and no ability."""
_SYSCTLS = "net.mptcp."
"""Where the settings are that guest_capabilities.py reads."""
_WORDS_ONLY = ("claim", "speaks", "under", "says", "because")
"""Of an expectation, what changes no verdict."""


@dataclass(frozen=True, slots=True)
class KernelRun:
    """What one kernel made of the experiment."""

    label: str
    """As it was asked for: ``6.12``; unique among those compared."""
    run: Run
    verdicts: tuple[Verdict, ...]
    side: Side

    @property
    def release(self) -> str:
        """As uname -r says it; empty when it was not recorded."""
        return str(self.run.document["kernel"].get("release") or "")

    @property
    def capabilities(self) -> Mapping[str, Any]:
        """What was found there, by JSON's values; empty when nobody asked."""
        found: Mapping[str, Any] = json.loads((self.run.document.get("ran_on") or {}).get("capabilities", "{}"))
        return found


@dataclass(frozen=True, slots=True)
class Cell:
    """One measure on one kernel."""

    value: Interval | None
    """Over its valid trials: median, of counts of events the mean; None: it was not measured."""
    missing: str
    """Why there is none."""
    contrast: Contrast | None
    """Against the first kernel; None of the first itself, and where the two could not be compared."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One measure of a variant on all kernels."""

    variant: str
    flow: str
    """Empty for what belongs to no flow."""
    metric: str
    unit: str
    cells: tuple[Cell, ...]

    @property
    def is_headline(self) -> bool:
        """Whether it is shown at first: what the applications of the flows got, and whatever changed."""
        return ":" not in self.metric or any(cell.contrast and cell.contrast.is_change for cell in self.cells)


@dataclass(frozen=True, slots=True)
class Expected:
    """One expectation and what became of it on each kernel."""

    expectation: Mapping[str, Any]
    verdicts: tuple[Verdict | None, ...]
    """None: there it was not an expectation; of what breaks off or loses bytes: nothing did."""

    @property
    def differs(self) -> bool:
        """Whether the kernels are not of one mind."""
        return len({verdict.outcome if verdict else "" for verdict in self.verdicts}) > 1


@dataclass(frozen=True, slots=True)
class Ability:
    """One thing that the kernels were asked."""

    name: str
    """``sysctl net.mptcp.scheduler``, ``counter MPJoinSynTx``, ``mptcp_info_bytes``."""
    values: tuple[Any, ...]
    """Of JSON; a counter is there or not; None: not known."""

    @property
    def differs(self) -> bool:
        """Whether the kernels that were asked differ in it."""
        return any(value != self.values[0] for value in self.values[1:])


class KernelComparison:
    """Several kernels; the first is what the others are compared with."""

    def __init__(
        self,
        kernels: Sequence[KernelRun],
        against: Sequence[Comparison | str],
        absent: Sequence[tuple[str, str]] = (),
    ) -> None:
        self.kernels = tuple(kernels)
        self.against = tuple(against)
        """Of each but the first: the comparison with it, or why there is none."""
        self.absent = tuple(absent)
        """Kernels without a run, and why."""

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """Those that could be made."""
        return tuple(each for each in self.against if isinstance(each, Comparison))

    @cached_property
    def measures(self) -> tuple[Measure, ...]:
        """Variant by variant all that was measured on any kernel, or counted where it differs."""
        found: list[Measure] = []
        for variant, flows in self._variants.items():
            keys = [(variant, flow, text) for flow in flows for text in self._metrics(variant, flow)]
            keys += [(one.variant, one.flow, one.metric) for one in self._contrasts.values() if one.variant == variant]
            found += [self._measure(*key) for key in dict.fromkeys(keys)]
        return tuple(found)

    @cached_property
    def expected(self) -> tuple[Expected, ...]:
        """Every expectation, in the experiment's order."""
        rows: dict[str, tuple[Mapping[str, Any], list[Verdict | None]]] = {}
        for number, kernel in enumerate(self.kernels):
            for verdict in kernel.verdicts:
                bound = {key: value for key, value in verdict.expectation.items() if key not in _WORDS_ONLY}
                blank: list[Verdict | None] = [None] * len(self.kernels)
                _, row = rows.setdefault(repr(sorted(bound.items())), (verdict.expectation, blank))
                row[number] = verdict
        return tuple(Expected(expectation, tuple(row)) for expectation, row in rows.values())

    @cached_property
    def abilities(self) -> tuple[Ability, ...]:
        """All that any of the kernels was asked, or has: settings and structures, then counters."""
        found = [kernel.capabilities for kernel in self.kernels]
        names = sorted(set().union(*map(_names, found)), key=lambda name: (name.startswith("counter "), name))
        return tuple(Ability(name, tuple(_value(name, each) for each in found)) for name in names)

    # --- inside ---

    @cached_property
    def _variants(self) -> Mapping[str, list[str]]:
        """Variant -> its flows, of all kernels."""
        found: dict[str, dict[str, None]] = {}
        for kernel in self.kernels:
            for name, variant in kernel.run.variants.items():
                found.setdefault(name, {}).update((flow["name"], None) for flow in variant["flows"])
        return {name: list(flows) for name, flows in found.items()}

    def _metrics(self, variant: str, flow: str) -> list[str]:
        sides = [(kernel.side, variant) for kernel in self.kernels if variant in kernel.run.variants]
        return [text for text in usual_metrics(sides, flow) if ":" not in text]

    @cached_property
    def _contrasts(self) -> Mapping[tuple[int, str, str, str], Contrast]:
        """(kernel, variant, flow, metric) -> against the first."""
        return {
            (number, one.variant, one.flow, one.metric): one
            for number, comparison in enumerate(self.against, start=1)
            if isinstance(comparison, Comparison)
            for one in comparison.contrasts
        }

    def _measure(self, variant: str, flow: str, text: str) -> Measure:
        cells, units = [], []
        for number, kernel in enumerate(self.kernels):
            contrast = self._contrasts.get((number, variant, flow, text))
            if variant not in kernel.run.variants:
                cells.append(Cell(None, "not in its plan", contrast))
                continue
            found = kernel.side.of(text, variant, flow)
            values = list(found.values.values())
            units.append(found.unit)
            if not values:
                cells.append(Cell(None, found.broken or found.missing, contrast))
            elif kind_of(text) == "ratio":
                cells.append(Cell(median_interval(values), "", contrast))
            else:
                cells.append(Cell(statistic_interval(values, "mean"), "", contrast))
        return Measure(variant, flow, text, next((unit for unit in units if unit), ""), tuple(cells))


def compare_kernels(
    runs: Sequence[Run],
    absent: Sequence[tuple[str, str]] = (),
    *,
    fdr: float = FDR,
    smallest: float = SMALLEST,
) -> KernelComparison:
    """Runs of one experiment, the reference first; each other one against it.

    Each comparison is a family of its own: the share of changes that may be false holds for each by itself, so that a
    further kernel changes no verdict on those before.

    Parameters
    ----------
    runs : sequence of Run
        At least one.
    absent : sequence of (str, str)
        Kernels that have none, and why.
    fdr, smallest : float
        As in :func:`analysis.comparison.contrast.adjudicate`.
    """
    kernels = [
        KernelRun(label, run, tuple(evaluate(run)), Side(run)) for label, run in zip(labels(runs), runs, strict=True)
    ]
    against: list[Comparison | str] = []
    for run in runs[1:]:
        try:
            against.append(compare_runs(runs[0], run, fdr=fdr, smallest=smallest))
        except NothingToCompare as error:
            against.append(str(error))
    return KernelComparison(kernels, against, absent)


def labels(runs: Sequence[Run]) -> list[str]:
    """What each kernel is called: as it was asked for, else its release; with the release, or a number, where that is
    not enough to tell them apart."""
    short = [_label(run.document) for run in runs]
    full = [
        name if short.count(name) == 1 else f"{name} ({run.document['kernel'].get('release')})"
        for name, run in zip(short, runs, strict=True)
    ]
    return [
        name if full.count(name) == 1 else f"{name} #{full[: number + 1].count(name)}"
        for number, name in enumerate(full)
    ]


def _label(document: Mapping[str, Any]) -> str:
    """``vm:6.12`` -> ``6.12``; ``vm:bzimage:boot/bzImage`` -> ``bzImage``; the newest one by what it is."""
    backend = str((document.get("ran_on") or {}).get("backend", ""))
    word = backend.removeprefix("vm:")
    release = str(document["kernel"].get("release") or "not known")
    if word == backend:
        return release
    if word in ("newest", "debian:newest"):  # another one next month
        return ".".join(release.split(".")[:2])
    return PurePosixPath(word.rpartition(":")[2]).name if "/" in word else word.rpartition(":")[2]


def _names(capabilities: Mapping[str, Any]) -> set[str]:
    """Counters and settings each with a name of its own."""
    found = {name for name in capabilities if name not in (*_OF_A_KERNEL, "counters", "sysctls")}
    found |= {f"counter {name}" for name in capabilities.get("counters") or ()}
    return found | {f"sysctl {_SYSCTLS}{name}" for name in capabilities.get("sysctls") or ()}


def _value(name: str, capabilities: Mapping[str, Any]) -> Any:
    """A counter or a setting that is not among those of its kernel is not there; without those nothing is known."""
    kind, _, rest = name.partition(" ")
    if kind == "counter":
        counters = capabilities.get("counters")
        return None if counters is None else rest in counters
    if kind == "sysctl":
        settings = capabilities.get("sysctls")
        return None if settings is None else settings.get(rest.removeprefix(_SYSCTLS), False)
    return capabilities.get(name)
