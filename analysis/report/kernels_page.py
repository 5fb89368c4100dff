"""What kernels.html and kernels.md show: what changed between versions of the kernel, and what did not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from analysis.claims import Judgement, Word
from analysis.kernels import Change, ClaimRow, Found, Kernel, KernelTable, Row
from analysis.report.answer import sentence_of
from analysis.report.machine import doubts
from analysis.report.says import spread
from analysis.report.wording import count, interval, quantity
from analysis.verdict import Verdict

NOT_KNOWN = "not known"
HEADINGS: Mapping[Change, tuple[str, str]] = {
    "verdict": (
        "What changed",
        "One kernel meets the bound and another does not, or the connection became something else.",
    ),
    "known of some": (
        "Known of some kernels alone",
        "A kernel has no such counter, or its trials are not valid: that is not known, and no 0.",
    ),
    "numbers": (
        "Other numbers, the same verdict",
        "The numbers of every trial on one kernel lie outside those of every trial on another.",
    ),
    "none": ("What is the same", "Every kernel that ran it says the same."),
}
_SIGNS: Mapping[Word, str] = {
    "holds": "✓",
    "holds partly": "±",
    "depends": "±",
    "does not hold": "✗",
    "not measured": "–",
}


@dataclass(frozen=True, slots=True)
class CellText:
    """One kernel's answer."""

    sign: str
    text: str
    detail: str
    """Spread and number of trials, or why it is not known."""
    tone: str
    """Of the colour: ``met``, ``failed``, ``open``."""


@dataclass(frozen=True, slots=True)
class RowText:
    """One row."""

    claim: str
    experiment: str
    variant: str
    measured: str
    bound: str
    because: str
    cells: tuple[CellText, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """The rows of one kind of change."""

    id: str
    heading: str
    note: str
    rows: tuple[RowText, ...]
    is_open: bool


@dataclass(frozen=True, slots=True)
class ClaimText:
    """A claim by kernel."""

    id: str
    title: str
    statement: str
    has_changed: bool
    cells: tuple[CellText, ...]


@dataclass(frozen=True, slots=True)
class KernelsPage:
    """All of it."""

    headline: str
    tally: str
    kernels: tuple[Kernel, ...]
    claims: tuple[ClaimText, ...]
    sections: tuple[Section, ...]
    runs: tuple[tuple[str, str, str, str], ...]
    """Kernel, experiment, trials, link."""
    command: str
    notes: tuple[str, ...]
    """What may have made the numbers of a kernel what they are, beside the kernel."""


def gather(table: KernelTable, links: Mapping[str, str], command: Sequence[str]) -> KernelsPage:
    """``links``: path of a run -> how the page reaches its directory."""
    changed = [claim for claim in table.claims if claim.has_changed]
    counts = {change: len(table.of_change(change)) for change in HEADINGS}
    names = ", ".join(f"Linux {kernel.name}" for kernel in table.kernels)
    return KernelsPage(
        headline=f"Between {names}: {count(counts['verdict'], 'piece')} of evidence changed, "
        f"of {count(len(changed), 'claim')}.",
        tally=f"{counts['verdict']} changed, {counts['known of some']} known of some alone, {counts['numbers']} with "
        f"other numbers, {counts['none']} the same; {count(len(table.claims), 'claim')}",
        kernels=table.kernels,
        claims=tuple(_claim(claim) for claim in table.claims),
        sections=tuple(
            Section(change.replace(" ", "-"), *HEADINGS[change], tuple(_row(row) for row in rows), change == "verdict")
            for change in HEADINGS
            if (rows := table.of_change(change))
        ),
        runs=tuple(
            (kernel.name, str(run.experiment["name"]), count(len(run.document["plan"]), "trial"), links[str(run.path)])
            for kernel in table.kernels
            for run in kernel.runs
        ),
        command=" ".join(command),
        notes=tuple(
            f"{kernel.name}, {run.experiment['name']}: {sentence}"
            for kernel in table.kernels
            for run in kernel.runs
            for sentence in doubts(run)
        ),
    )


def _claim(row: ClaimRow) -> ClaimText:
    claim = row.claim
    cells = tuple(_judged(each) for each in row.judgements)
    return ClaimText(claim["id"], claim["title"], claim["statement"], row.has_changed, cells)


def _judged(found: Judgement) -> CellText:
    if found.count == "–":
        return CellText("–", NOT_KNOWN, "no evidence on this kernel", "open")
    tone = "met" if found.word == "holds" else "open"
    return CellText(_SIGNS[found.word], found.text, f"{found.count} pieces of evidence", tone)


def _row(row: Row) -> RowText:
    first = next(found for found in row.found if found is not None)
    finding = sentence_of(first.verdict, 1)
    expectation = row.expectation
    return RowText(
        claim=", ".join(row.claims),
        experiment=row.experiment,
        variant=expectation["variant"],
        measured=expectation.get("text") or finding.subject.removeprefix(f"{expectation['variant']}: "),
        bound=finding.bound,
        because=expectation.get("because", ""),
        cells=tuple(_cell(found) for found in row.found),
    )


def _cell(found: Found | None) -> CellText:
    if found is None:
        return CellText("–", NOT_KNOWN, "it did not run on this kernel", "open")
    verdict = found.verdict
    if not found.is_known:
        return CellText("–", NOT_KNOWN, _why_unknown(verdict), "open")
    sign, tone = ("✓", "met") if verdict.outcome == "met" else ("✗", "failed")
    if verdict.value is None:  # a cell of a grid, or what never occurred
        return CellText(sign, verdict.reason, f"n = {verdict.n}" if verdict.n else "", tone)
    return CellText(sign, quantity(verdict.value, verdict.unit), _spread(found), tone)


def _why_unknown(verdict: Verdict) -> str:
    """Beside a kernel that has the counter a list of near names is no help."""
    if verdict.expectation["metric"].startswith("counter:") and "no counter of that name" in verdict.reason:
        return "this kernel has no such counter"
    return verdict.reason.removeprefix(f"{verdict.expectation['metric']}: ")


def _spread(found: Found) -> str:
    verdict = found.verdict
    if verdict.reference is not None or not verdict.values:
        return spread(verdict)
    low, high = min(verdict.values), max(verdict.values)
    ends = "" if low == high else f"{interval(low, high, verdict.base_unit)}, "
    return f"{ends}n = {len(verdict.values)}"
