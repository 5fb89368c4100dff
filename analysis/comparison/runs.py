"""Two runs, or variants of one run, against each other: which trials are pairs, which series there are, the verdicts.

Trials are pairs when they have the same seed: the same losses met both. Only VALID trials count, and what that cost is
said. Two runs without a common seed are compared as groups, which is said, too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from analysis.comparison.contrast import FDR, SMALLEST, Contrast, adjudicate, contrast
from analysis.comparison.likeness import (
    kernel_differences,
    machine_fingerprint,
    same_run,
    specification_differences,
    unlikeness,
)
from analysis.comparison.matching import Matching, VariantPair
from analysis.comparison.series import Side, better_is, kind_of, usual_counters, usual_metrics
from analysis.runs import Run
from testbed.record.measure import parse_measure

__all__ = [
    "Comparison",
    "NothingToCompare",
    "Unlike",
    "VariantPair",
    "compare_runs",
    "compare_variants",
    "machine_fingerprint",
    "unlikeness",
]

MOST_TOLD = 5
"""Variants and differences that a sentence names; of more the number is told."""


class NothingToCompare(Exception):
    """The two have nothing in common; the message says what each has and what to do."""


class Unlike(NothingToCompare):
    """The two were not measured on machines that are alike; ``reasons`` says what differs."""

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__(f"the two runs were not made alike: {'; '.join(reasons)}")
        self.reasons = tuple(reasons)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What became of a comparison."""

    reference: Run
    candidate: Run
    same_run: bool
    """Whether both are one run, or copies of it; true of variants of a run, too."""
    of_variants: bool
    """Whether variants of one run were compared."""
    unlike: tuple[str, ...]
    """How the machines differ, when that was to be overlooked."""
    pairs: tuple[VariantPair, ...]
    contrasts: tuple[Contrast, ...]
    left_out: tuple[str, ...]
    """Variants that were not compared, and why."""
    fdr: float
    smallest: float
    metrics: tuple[str, ...] = ()
    """Those that were asked for; () the usual ones."""
    kernels: tuple[str, ...] = ()
    """Of virtual machines that are alike but for their kernels: what differs with the kernel."""

    @property
    def changes(self) -> tuple[Contrast, ...]:
        """The confirmed ones."""
        return tuple(one for one in self.contrasts if one.is_change)

    @property
    def regressions(self) -> tuple[Contrast, ...]:
        """The confirmed changes for the worse."""
        return tuple(one for one in self.contrasts if one.is_regression)

    @property
    def is_decided(self) -> bool:
        """Whether anything can be said: a series was tested, or not one value differs."""
        tested = any(one.q is not None for one in self.contrasts)
        valued = [one for one in self.contrasts if one.n]
        return tested or (bool(valued) and all(one.identical for one in valued))

    @property
    def compared(self) -> tuple[Contrast, ...]:
        """The series of which something can be said."""
        return tuple(one for one in self.contrasts if one.verdict != "not comparable")


def compare_runs(
    reference: Run,
    candidate: Run,
    *,
    variants: Sequence[str | tuple[str, str]] = (),
    metrics: Sequence[str] = (),
    fdr: float = FDR,
    smallest: float = SMALLEST,
    unlike: bool = False,
    paired: bool | None = None,
    seed: int = 1,
) -> Comparison:
    """Two runs against each other, variant by variant.

    Parameters
    ----------
    reference, candidate : Run
        Complete or not.
    variants : sequence of str or (str, str)
        Names of variants that are to be compared whatever their specifications say, or (name in the reference, name in
        the candidate). Empty: all of the same name and the same specification.
    metrics : sequence of str
        Texts of measures (testbed/record/measure.py). Empty: the usual ones that the runs have.
    fdr, smallest : float
        As in :func:`analysis.comparison.contrast.adjudicate`.
    unlike : bool
        Compare although the machines are not alike.
    paired : bool, optional
        None: pairs where there are common seeds, else groups.
    seed : int
        Of the resampling.

    Raises
    ------
    Unlike, NothingToCompare
    testbed.record.measure.MeasureError
        A text of ``metrics`` names no measure.
    """
    reasons = unlikeness(reference, candidate)
    if reasons and not unlike:
        raise Unlike(reasons)
    named = [(each, each) if isinstance(each, str) else each for each in variants]
    chosen, left_out = _checked(reference, candidate, named) if named else _alike(reference, candidate)
    return _compared(reference, candidate, chosen, left_out, metrics, fdr, smallest, paired, seed, unlike=reasons)


def compare_variants(
    run: Run,
    reference: str,
    candidates: str | Sequence[str],
    *,
    metrics: Sequence[str] = (),
    fdr: float = FDR,
    smallest: float = SMALLEST,
    paired: bool | None = None,
    seed: int = 1,
) -> Comparison:
    """Variants of one run against one of them; its repetitions are pairs, for they have the same seeds.

    Parameters
    ----------
    run : Run
    reference : str
        The variant that the others are compared with.
    candidates : str or sequence of str
    metrics, fdr, smallest, paired, seed
        As of :func:`compare_runs`.

    Raises
    ------
    NothingToCompare
    """
    others = [candidates] if isinstance(candidates, str) else list(candidates)
    chosen, _ = _checked(run, run, [(reference, other) for other in others])
    if not chosen:
        raise NothingToCompare(f"{run.path} has no other variant than {reference}")
    return _compared(run, run, chosen, (), metrics, fdr, smallest, paired, seed, of_variants=True)


def _checked(
    reference: Run, candidate: Run, named: Sequence[tuple[str, str]]
) -> tuple[list[tuple[str, str]], tuple[str, ...]]:
    for name, run in ((name, run) for pair in named for name, run in zip(pair, (reference, candidate), strict=True)):
        if name not in run.variants:
            raise NothingToCompare(f"{run.path} has no variant {name!r}; it has {', '.join(run.variants)}")
    return list(dict.fromkeys(named)), ()


def _alike(reference: Run, candidate: Run) -> tuple[list[tuple[str, str]], tuple[str, ...]]:
    """Variants of the same name and specification; why each other one is left out."""
    chosen: list[tuple[str, str]] = []
    left_out: list[str] = []
    different: dict[tuple[str, ...], list[str]] = {}
    for name in dict.fromkeys((*reference.variants, *candidate.variants)):
        if name not in candidate.variants or name not in reference.variants:
            where = "reference" if name in reference.variants else "candidate"
            left_out.append(f"{name} is only in the {where}")
        elif differences := specification_differences(reference, candidate, name, name):
            different.setdefault(differences, []).append(name)
        else:
            chosen.append((name, name))
    left_out += (different_in_words(names, differences) for differences, names in different.items())
    if not chosen:
        told = "; ".join(left_out[:MOST_TOLD])
        both = [name for name in reference.variants if name in candidate.variants]
        hint = f". Compared all the same when named: --variants {','.join(both)}" if both else ""
        raise NothingToCompare(f"the two runs have no variant in common that is specified alike: {told}{hint}")
    return chosen, tuple(left_out)


def different_in_words(names: Sequence[str], differences: Sequence[str]) -> str:
    """``"tcp and mptcp are specified differently: duration_ns: 4000000000 -> 5000000000"``."""
    few = f"{', '.join(names[:MOST_TOLD])} and {len(names) - MOST_TOLD} more" if len(names) > MOST_TOLD else ""
    said = few or " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    more = f"; and {len(differences) - MOST_TOLD} more" if len(differences) > MOST_TOLD else ""
    verb = "is" if len(names) == 1 else "are"
    return f"{said} {verb} specified differently: {'; '.join(differences[:MOST_TOLD])}{more}"


def _compared(
    reference: Run,
    candidate: Run,
    chosen: Sequence[tuple[str, str]],
    left_out: Sequence[str],
    metrics: Sequence[str],
    fdr: float,
    smallest: float,
    paired: bool | None,
    seed: int,
    *,
    unlike: tuple[str, ...] = (),
    of_variants: bool = False,
) -> Comparison:
    first = Side(reference)
    second = first if candidate is reference else Side(candidate)
    pairs, contrasts = [], []
    for names in chosen:
        matching = Matching((first, names[0]), (second, names[1]), paired)
        pairs.append(matching.pair)
        contrasts += _contrasts(matching, metrics, seed)
    judged = adjudicate(contrasts, fdr=fdr, smallest=smallest)
    same = of_variants or same_run(reference, candidate)
    return Comparison(
        reference,
        candidate,
        same,
        of_variants,
        unlike,
        tuple(pairs),
        judged,
        tuple(left_out),
        fdr,
        smallest,
        tuple(metrics),
        () if same else kernel_differences(reference, candidate),
    )


def _contrasts(matching: Matching, metrics: Sequence[str], seed: int) -> list[Contrast]:
    flows = matching.common_flows()
    texts = {flow: list(metrics) or usual_metrics(matching.sides, flow) for flow in flows}
    found = [
        _contrast(matching, text, flow, seed)
        for index, flow in enumerate(flows)
        for text in texts[flow]
        if index == 0 or parse_measure(text).source not in _OF_NO_FLOW
    ]
    if not metrics:
        found += [_contrast(matching, text, "", seed) for text in usual_counters(matching.sides)]
    return found


_OF_NO_FLOW = ("counter", "watched", "sampled")


def _contrast(matching: Matching, text: str, flow: str, seed: int) -> Contrast:
    measure = parse_measure(text)
    reference, candidate, missing = matching.values(text, flow)
    of_flow = "" if measure.source in _OF_NO_FLOW else flow
    unit = matching.sides[0][0].of(text, matching.sides[0][1], flow).unit
    made = contrast(
        " ".join(word for word in (matching.pair.name, of_flow, text) if word),
        reference,
        candidate,
        variant=matching.pair.name,
        flow=of_flow,
        metric=text,
        unit=unit,
        better=better_is(measure),
        kind=kind_of(measure),
        paired=matching.pair.paired,
        seed=seed,
    )
    return dataclasses.replace(_with_missing(made, matching.pair.n, missing), note=matching.unlike_sources(text, flow))


def _with_missing(made: Contrast, pairs: int, missing: str) -> Contrast:
    if made.n == 0:
        return dataclasses.replace(made, reason=missing or made.reason)
    return dataclasses.replace(made, without_value=max(0, pairs - made.n))
