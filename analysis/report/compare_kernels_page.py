"""Several kernels against each other as the values that compare_kernels.html.j2 and .md.j2 show; no layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.comparison.contrast import SMALLEST_PAIRS, Contrast
from analysis.comparison.kernels import Cell, Expected, KernelComparison, KernelRun, Measure
from analysis.comparison.runs import Comparison
from analysis.report import compare_words as words
from analysis.report import machine
from analysis.report.answer import Tone, distinct, sentence_of, trial_line
from analysis.report.wording import NOT_MEASURED, count, interval, metric_name, quantity

MOST_ROWS = 60
"""Of the table of measures; of more those that changed, and the first of each variant. All are in compare.csv."""
MOST_TOLD = 3
_FIRST = ("goodput_bit_s", "completion_time_ns")


@dataclass(frozen=True, slots=True)
class Number:
    """One measure on one kernel."""

    text: str
    spread: str
    sign: str
    """Of the verdict against the first kernel; empty without one."""
    ratio: str
    verdict: str
    tone: str
    why: str
    """Why there is no number, or no verdict."""


@dataclass(frozen=True, slots=True)
class MeasureLine:
    """One measure of a variant."""

    variant: str
    begins: bool
    """Whether it is the first of its variant."""
    name: str
    metric: str
    numbers: tuple[Number, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One expectation on one kernel."""

    sign: str
    word: str
    tone: Tone
    measured: str


@dataclass(frozen=True, slots=True)
class ExpectedLine:
    """One expectation."""

    subject: str
    bound: str
    differs: bool
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True, slots=True)
class AbilityLine:
    """One thing in which the kernels differ."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Against:
    """A kernel against the first one."""

    label: str
    page: str
    """Where all series are, relative to this page; empty where there is no comparison."""
    answer: words.Answer


@dataclass(frozen=True, slots=True)
class KernelsPage:
    """Everything that the page shows."""

    title: str
    question: str
    tone: Tone
    line: str
    sentences: tuple[str, ...]
    labels: tuple[str, ...]
    measures: tuple[MeasureLine, ...]
    left_out: int
    expected: tuple[ExpectedLine, ...]
    abilities: tuple[AbilityLine, ...]
    alike: int
    """Things that the kernels were asked and answered alike."""
    against: tuple[Against, ...]
    facts: tuple[tuple[str, tuple[str, ...]], ...]
    notes: tuple[str, ...]
    fdr: str
    smallest: str
    commands: tuple[str, ...]


def gather(comparison: KernelComparison, pages: Sequence[str], commands: Sequence[str]) -> KernelsPage:
    """The page; ``pages``: of each kernel but the first, where its comparison lies; ``commands`` make it again."""
    labels = tuple(kernel.label for kernel in comparison.kernels)
    shown = _shown(comparison.measures)
    against = tuple(
        Against(label, page, answer_of(each))
        for label, page, each in zip(labels[1:], pages, comparison.against, strict=True)
    )
    differing = [each for each in comparison.abilities if each.differs]
    first = comparison.kernels[0]
    judged = next(iter(comparison.comparisons), None)
    return KernelsPage(
        title(comparison),
        str(first.run.experiment["question"]),
        tone(comparison, against),
        expectations_line(comparison),
        tuple(sentences(comparison, against)),
        labels,
        tuple(_lines(shown)),
        len(comparison.measures) - len(shown),
        tuple(_expected(each, comparison) for each in comparison.expected),
        tuple(AbilityLine(each.name, tuple(_ability(each.name, value) for value in each.values)) for each in differing),
        len(comparison.abilities) - len(differing),
        against,
        tuple(_facts(comparison.kernels)),
        tuple(_notes(comparison)),
        words.size(judged.fdr) if judged else NOT_MEASURED,
        words.size(judged.smallest) if judged else NOT_MEASURED,
        tuple(commands),
    )


def title(comparison: KernelComparison) -> str:
    """``"aggregation on Linux 6.1, 6.12 and 7.3"``."""
    return f"{comparison.kernels[0].run.experiment['name']} on Linux {_listed([k.label for k in comparison.kernels])}"


def expectations_line(comparison: KernelComparison) -> str:
    """The one line that stands below the question: what was expected, and where it was met."""
    if not comparison.expected:
        return "The experiment states no expectation; the numbers stand below."
    failed = {kernel.label: _outcomes(kernel, "FAILED") for kernel in comparison.kernels}
    unknown = {kernel.label: _outcomes(kernel, "not evaluated") for kernel in comparison.kernels}
    parts = []
    for found, word in ((failed, "FAILED"), (unknown, "could not be evaluated")):
        parts += [f"{number} {word} on {label}" for label, number in found.items() if number]
    many = len(comparison.expected)
    if not parts:
        whom = _listed([kernel.label for kernel in comparison.kernels])
        return f"{'The expectation is' if many == 1 else f'All {many} expectations are'} met on {whom}."
    if many == 1:
        return f"The expectation {_listed([part.partition(' ')[2] for part in parts])}."
    return f"Of {many} expectations, {_listed(parts)}; the others are met."


def sentences(comparison: KernelComparison, against: Sequence[Against]) -> list[str]:
    """What each kernel does otherwise than the first; and which kernels have no run."""
    first = comparison.kernels[0].label
    told = [f"{each.label} against {first}. {each.answer.line} {each.answer.numbers}".rstrip() for each in against]
    return told + [f"{label}: {why}" for label, why in comparison.absent]


def answer_of(compared: Comparison | str) -> words.Answer:
    """As of two runs; where too few pairs decide nothing, the numbers all the same, and that they are not sure."""
    if isinstance(compared, str):
        return words.Answer("open", "Not compared.", compared)
    said = words.answer(compared, "It")
    few = max((one.n for one in compared.contrasts), default=0)
    if compared.is_decided or not 0 < few < SMALLEST_PAIRS:
        return said
    line = f"{count(few, 'pair')} of trials cannot show that anything changed (--repeat {SMALLEST_PAIRS} or more can)."
    flows = [one for one in compared.contrasts if one.metric in _FIRST[:1] and one.ratio is not None]
    largest = sorted(flows, key=lambda one: -(one.magnitude or 0))[:MOST_TOLD]
    numbers = "; ".join(f"{words.subject(one)} {words.change(one)}" for one in largest)
    return words.Answer("open", line, f"Largest differences: {numbers}." if numbers else "")


def tone(comparison: KernelComparison, against: Sequence[Against]) -> Tone:
    """Of the whole: an expectation that FAILED, else what is not known, else met."""
    if any(_outcomes(kernel, "FAILED") for kernel in comparison.kernels):
        return "failed"
    unknown = any(_outcomes(kernel, "not evaluated") for kernel in comparison.kernels)
    return "open" if unknown or comparison.absent or any(each.answer.tone == "open" for each in against) else "met"


def number_of(cell: Cell, measure: Measure) -> Number:
    """A cell in words."""
    if cell.value is None:
        return Number(NOT_MEASURED, "", "", "", "", "open", cell.missing)
    text = quantity(cell.value.estimate, measure.unit)
    ends = interval(cell.value.low, cell.value.high, measure.unit)
    spread = "" if cell.value.low is None or cell.value.low == cell.value.high else ends
    one = cell.contrast
    if one is None:
        return Number(text, spread, "", "", "", "soft", "")
    verdict = one.verdict if one.verdict != "not comparable" else ""
    return Number(text, spread, words.SIGNS[one.verdict], words.ratio_words(one), verdict, words.tone(one), _why(one))


# --- inside ---


def _why(one: Contrast) -> str:
    return "" if one.is_change or one.identical else one.reason


def _shown(measures: Sequence[Measure]) -> list[Measure]:
    headlines = [each for each in measures if each.is_headline]
    if len(headlines) <= MOST_ROWS:
        return headlines
    return [
        each
        for each in headlines
        if each.metric == _FIRST[0] or any(cell.contrast and cell.contrast.is_change for cell in each.cells)
    ]


def _lines(measures: Sequence[Measure]) -> list[MeasureLine]:
    found: list[MeasureLine] = []
    before = None
    for each in measures:
        of_flow = f" of flow {each.flow}" if each.flow not in ("", "main") else ""
        numbers = tuple(number_of(cell, each) for cell in each.cells)
        name = f"{metric_name(each.metric)}{of_flow}"
        found.append(MeasureLine(each.variant, each.variant != before, name, each.metric, numbers))
        before = each.variant
    return found


def _expected(each: Expected, comparison: KernelComparison) -> ExpectedLine:
    repetitions = int(comparison.kernels[0].run.experiment.get("repetitions", 2))
    told = [sentence_of(verdict, repetitions) if verdict else None for verdict in each.verdicts]
    some = next(finding for finding in told if finding is not None)
    outcomes = tuple(
        Outcome(finding.sign, finding.word, finding.tone, finding.measured)
        if finding
        else Outcome("✓", "met", "met", "")
        if each.expectation["metric"] == "integrity"
        else Outcome("–", "not expected", "open", "")
        for finding in told
    )
    return ExpectedLine(some.subject, some.bound, each.differs, outcomes)


def _outcomes(kernel: KernelRun, outcome: str) -> int:
    return sum(verdict.outcome == outcome for verdict in distinct(kernel.verdicts))


def _ability(name: str, value: Any) -> str:
    """A value of JSON as people say it; what was not found out is not a no."""
    if value is None:
        return NOT_MEASURED
    if isinstance(value, bool):
        return "yes" if value else "not there" if name.startswith(("counter ", "sysctl ")) else "no"
    return str(value)


def _facts(kernels: Sequence[KernelRun]) -> list[tuple[str, tuple[str, ...]]]:
    documents = [kernel.run.document for kernel in kernels]
    return [
        ("release", tuple(kernel.release or NOT_MEASURED for kernel in kernels)),
        ("build", tuple(str(each["kernel"].get("version") or NOT_MEASURED) for each in documents)),
        ("machine", tuple(_machine(each) for each in documents)),
        ("trials", tuple(trial_line(kernel.run) for kernel in kernels)),
        ("run", tuple(str(kernel.run.path) for kernel in kernels)),
        ("started", tuple(str(each["started_utc"]) for each in documents)),
        ("seed", tuple(str(each["seed"]) for each in documents)),
    ]


def _machine(document: Mapping[str, Any]) -> str:
    """``"virtual time, an instruction takes 1 ns, 1 processor (tcg), 1536 MiB"``."""
    told = document.get("ran_on") or {}
    parts = [f"{told['clock']} time"] if "clock" in told else []
    if str(told.get("shift", "null")).isdecimal():
        parts.append(f"an instruction takes {2 ** int(told['shift'])} ns")
    if "cpus" in told:
        parts.append(f"{count(int(told['cpus']), 'processor')} ({told.get('acceleration', 'not known')})")
    if "memory_mib" in told:
        parts.append(f"{told['memory_mib']} MiB")
    return ", ".join(parts) or str(document["machine"].get("processor") or NOT_MEASURED)


def _notes(comparison: KernelComparison) -> list[str]:
    told = []
    virtual = [kernel.label for kernel in comparison.kernels if _clock(kernel) == "virtual"]
    if len(virtual) == len(comparison.kernels):
        told.append(
            "All times are those of the machines, whose clock counts instructions: what was measured does not depend "
            "on how busy the host was, and where the processor is the limit it tells instructions, not a speed."
        )
    told += [f"{kernel.label}: {doubt}" for kernel in comparison.kernels for doubt in machine.doubts(kernel.run)]
    unfinished = [kernel.label for kernel in comparison.kernels if not kernel.run.is_complete]
    return told + [f"The run on {label} is not complete." for label in unfinished]


def _clock(kernel: KernelRun) -> str:
    return str((kernel.run.document.get("ran_on") or {}).get("clock", "real"))


def _listed(texts: Sequence[str]) -> str:
    """``"6.1, 6.12 and 7.3"``."""
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"
