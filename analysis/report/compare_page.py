"""A comparison as the values that compare.html.j2 and compare.md.j2 show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from analysis.comparison.contrast import Contrast
from analysis.comparison.likeness import machine_fingerprint
from analysis.comparison.runs import Comparison, VariantPair, different_in_words
from analysis.report import compare_words as words
from analysis.report import machine
from analysis.report.compare_figure import ratio_axis, ratio_row
from analysis.report.dot_plot import scale_row
from analysis.report.wording import NOT_MEASURED, count
from analysis.runs import Run

MOST_ROWS = 14
"""Of the figure: what fits on a first screen. All series stand in the tables."""


@dataclass(frozen=True, slots=True)
class Line:
    """One series in words."""

    subject: str
    measured: str
    """The subject without the variant."""
    metric: str
    """As in run.json: ``ledger:displaced_share@client/all``."""
    reference: str
    candidate: str
    ratio: str
    effect: str
    sign: str
    verdict: str
    tone: str
    evidence: str
    reason: str
    drawing: Markup


@dataclass(frozen=True, slots=True)
class Group:
    """All series of one pair of variants."""

    pair: VariantPair
    trials: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class ComparePage:
    """Everything that the page shows."""

    title: str
    question: str
    answer: words.Answer
    figure: tuple[Line, ...]
    scale: Markup
    band: str
    not_shown: int
    groups: tuple[Group, ...]
    facts: tuple[tuple[str, str, str], ...]
    """Word, of the reference, of the candidate."""
    notes: tuple[str, ...]
    fdr: str
    series: str
    command: str


def gather(comparison: Comparison, command: Sequence[str]) -> ComparePage:
    """The page of a comparison; ``command`` is what makes it again."""
    ordered = words.in_order(comparison)
    shown = [one for one in ordered if words.is_headline(comparison, one) and (one.ratio is not None or one.is_change)]
    rows = shown[:MOST_ROWS]
    axis = ratio_axis(rows, comparison.smallest)

    def line(one: Contrast, *, drawn: bool = False) -> Line:
        return Line(
            words.name_in(comparison, one),
            words.measured(one),
            one.metric,
            words.value(one.reference, one.unit),
            words.value(one.candidate, one.unit),
            words.ratio_words(one),
            words.effect(one),
            words.SIGNS[one.verdict],
            one.verdict,
            words.tone(one),
            words.evidence(one),
            one.note if one.is_change else one.reason,
            ratio_row(one, axis, comparison.smallest) if drawn else Markup(),
        )

    groups = tuple(
        Group(pair, _trials(pair), tuple(line(one) for one in ordered if one.variant == pair.name))
        for pair in comparison.pairs
    )
    return ComparePage(
        title(comparison),
        _question(comparison),
        words.answer(comparison),
        tuple(line(one, drawn=True) for one in rows),
        scale_row(axis),
        words.size(comparison.smallest),
        len(comparison.contrasts) - len(rows),
        groups,
        tuple(_facts(comparison)),
        tuple(notes(comparison)),
        words.size(comparison.fdr),
        count(len(comparison.compared), "series", "series"),
        " ".join(command),
    )


def notes(comparison: Comparison) -> list[str]:
    """What a reader has to know beside the numbers."""
    told = []
    if comparison.same_run and not comparison.of_variants:
        told.append("Both are the same run, or copies of it.")
    if comparison.unlike:
        told.append(f"Compared although the runs were not made alike: {'; '.join(comparison.unlike)}.")
    if comparison.kernels:
        alike = "Both ran in virtual machines that are alike but for the kernel, which is what is compared"
        told.append(f"{alike}: {'; '.join(comparison.kernels)}.")
    told += [f"Not compared: {reason}." for reason in comparison.left_out]
    if any(not pair.paired for pair in comparison.pairs):
        told.append(
            "The runs have no seed in common, or were not to be paired: their trials are compared as groups, which "
            "takes several times as many trials as pairs of one seed do."
        )
    different: dict[tuple[str, ...], list[str]] = {}
    for pair in comparison.pairs:
        if pair.differences and not comparison.of_variants:
            different.setdefault(pair.differences, []).append(pair.name)
    told += [f"{different_in_words(names, differences)}." for differences, names in different.items()]
    for run, word in ((comparison.reference, "reference"), (comparison.candidate, "candidate")):
        if not (comparison.of_variants and word == "candidate"):
            told += [f"Of the {'run' if comparison.of_variants else word}: {each}" for each in machine.doubts(run)]
        if not run.is_complete and not (comparison.of_variants and word == "candidate"):
            told.append(f"The {'run' if comparison.of_variants else word} is not complete.")
    return told


def title(comparison: Comparison) -> str:
    """What is compared with what."""
    if comparison.of_variants:
        others = ", ".join(pair.candidate for pair in comparison.pairs)
        return f"{others} against {comparison.pairs[0].reference}"
    if comparison.kernels:
        return f"{_kernel(comparison.candidate)} against {_kernel(comparison.reference)}"
    return f"{_name(comparison.candidate)} against {_name(comparison.reference)}"


def _question(comparison: Comparison) -> str:
    if comparison.of_variants:
        return f"What differs from {comparison.pairs[0].reference}?"
    if comparison.kernels:
        return f"What does the one kernel do differently in {comparison.reference.experiment['name']}?"
    return "What changed between the two runs?"


def _name(run: Run) -> str:
    return f"{run.path.resolve().parent.name}/{run.path.resolve().name}"


def _kernel(run: Run) -> str:
    return f"Linux {run.document['kernel'].get('release') or NOT_MEASURED}"


def _trials(pair: VariantPair) -> str:
    """``"12 pairs of valid trials with the same seed"``."""
    if pair.paired:
        planned = min(pair.planned)
        of = f" of {planned} planned" if pair.n < planned else ""
        return f"{count(pair.n, 'pair')}{of}: valid trials with the same seed"
    return f"{pair.valid[0]} and {count(pair.valid[1], 'valid trial')}, compared as groups"


def _facts(comparison: Comparison) -> list[tuple[str, str, str]]:
    sides = comparison.reference, comparison.candidate
    rows: list[tuple[str, ...]] = [
        ("run", *(str(run.path) for run in sides)),
        ("experiment", *(run.experiment["name"] for run in sides)),
        ("started", *(str(run.document["started_utc"]) for run in sides)),
        ("backend", *(run.document["backend"] for run in sides)),
        ("source", *(_source(run) for run in sides)),
        ("seed", *(str(run.document["seed"]) for run in sides)),
        ("machine", *(_machine(run) for run in sides)),
        ("kernel", *(str(run.document["kernel"].get("release") or NOT_MEASURED) for run in sides)),
        ("fingerprint", *(machine_fingerprint(run.document) for run in sides)),
    ]
    return [(row[0], row[1], row[2]) for row in rows]


def _source(run: Run) -> str:
    source = run.document.get("source") or {}
    commit = str(source.get("commit") or "not known")[:12]
    return f"{commit}, with changes that were not committed" if source.get("dirty") else commit


def _machine(run: Run) -> str:
    machine = run.document["machine"]
    parts = [
        machine.get("processor"),
        machine.get("cores") and f"{machine['cores']} cores",
        machine.get("architecture"),
    ]
    return ", ".join(str(part) for part in parts if part) or NOT_MEASURED
