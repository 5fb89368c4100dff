"""Evidence by kernel: a row for each expectation, cell of a grid and cell of a matrix, a column for each kernel.

Of a matrix those cells count that have the kernel at one end at least: ``join: linux to userspace``.

A row has *changed* when one kernel meets its bound and another does not (``verdict``), is *known of some* when a kernel
could not be asked it (it has no such counter, its trials are not valid), and has *other numbers* when those of every
trial on one kernel lie outside those of every trial on another. What was not measured is None and not known; no number
stands for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

from analysis.claims import Judgement, Piece, judge, stacks, supports
from analysis.interop.cells import Result, matrix_of
from analysis.interop.joined import OF_A_KERNEL, age, began, name_at
from analysis.runs import Run
from analysis.verdict import Outcome, Verdict, evaluate
from testbed.record import RecordError

Change = Literal["verdict", "known of some", "numbers", "none"]
CHANGES: tuple[Change, ...] = ("verdict", "known of some", "numbers", "none")
"""In the order of the rows."""
MATRIX = "matrix"
"""The metric of a cell of a matrix."""
_OUTCOMES: Mapping[Result, Outcome] = {
    "pass": "met",
    "fail": "FAILED",
    "invalid": "not evaluated",
    "unsupported": "not evaluated",
}
_WORDS = ("because", "says", "text", "claim", "speaks", "under")
"""Of an expectation: how it is told, and what it is evidence of."""
_Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Kernel:
    """A column."""

    name: str
    """As it was asked for: ``6.12``; of a machine that was not made for it, its release."""
    release: str
    """As uname -r says it."""
    runs: tuple[Run, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """What one kernel says to one row."""

    verdict: Verdict
    run: Run

    @property
    def is_known(self) -> bool:
        """Whether it was measured."""
        return self.verdict.outcome != "not evaluated"

    @property
    def word(self) -> str:
        """What two kernels are compared by: the outcome, and of a cell of a grid what became of the connection."""
        fates = self.verdict.reason.partition("; trial")[0] if self.verdict.expectation["metric"] == "fate" else ""
        return f"{self.verdict.outcome} {fates}".strip()


@dataclass(frozen=True, slots=True)
class Row:
    """One expectation, or one cell of a grid, on every kernel."""

    experiment: str
    claims: tuple[str, ...]
    """Those that it is evidence of."""
    expectation: Mapping[str, Any]
    """As in run.json of the first kernel that has it."""
    found: tuple[Found | None, ...]
    """In the order of the kernels; None: that kernel has no run of the experiment."""

    @property
    def change(self) -> Change:
        """What differs between the kernels that ran it."""
        there = [found for found in self.found if found is not None]
        known = [found for found in there if found.is_known]
        if len({found.word for found in known}) > 1:
            return "verdict"
        if known and len(known) < len(there):
            return "known of some"
        return "numbers" if any(_apart(one, other) for one, other in combinations(known, 2)) else "none"


@dataclass(frozen=True, slots=True)
class ClaimRow:
    """One claim on every kernel."""

    claim: Mapping[str, Any]
    judgements: tuple[Judgement, ...]
    has_changed: bool
    """Whether a piece of its evidence has: that what one kernel was asked is not known of another changes nothing."""


@dataclass(frozen=True, slots=True)
class KernelTable:
    """All of it."""

    kernels: tuple[Kernel, ...]
    claims: tuple[ClaimRow, ...]
    rows: tuple[Row, ...]
    """Those that changed first; within one kind of change as the experiments have them."""

    def of_change(self, change: Change) -> tuple[Row, ...]:
        """The rows that changed in that way."""
        return tuple(row for row in self.rows if row.change == change)


def table_of(runs: Sequence[Run]) -> KernelTable:
    """Of runs of one experiment on one kernel the newest counts. Raises RecordError without runs that have claims."""
    chosen = _newest(runs)
    if not chosen:
        raise RecordError("none of these runs has claims, a grid or a matrix: run experiments of the group 'kernel'")
    kernels = _kernels(chosen)
    columns = {kernel.name: number for number, kernel in enumerate(kernels)}
    found: dict[_Key, list[Found | None]] = {}
    named: dict[_Key, list[str]] = {}
    texts: dict[str, Mapping[str, Any]] = {}
    pieces: dict[tuple[str, int], list[Piece]] = {}
    for (kernel, experiment), run in chosen.items():
        texts |= {claim["id"]: claim for claim in run.experiment.get("claims", ()) if claim["id"] not in texts}
        for verdict in _of_matrix(run) if run.experiment.get("interop") else evaluate(run):
            key = _key(experiment, verdict)
            found.setdefault(key, [None] * len(kernels))[columns[kernel]] = Found(verdict, run)
            if claim := verdict.expectation.get("claim"):
                named.setdefault(key, []).append(claim)
                pieces.setdefault((claim, columns[kernel]), []).append(_piece(run, verdict))
    rows = [_row(key, cells, named.get(key, ())) for key, cells in found.items()]
    order = {claim: number for number, claim in enumerate(texts)}
    claims = sorted({claim for claim, _ in pieces}, key=lambda claim: order.get(claim, len(order)))
    changed = {claim for row in rows if row.change == "verdict" for claim in row.claims}
    judged = (
        ClaimRow(
            texts[claim],
            tuple(judge(pieces.get((claim, number), [])) for number in range(len(kernels))),
            claim in changed,
        )
        for claim in claims
    )
    return KernelTable(
        kernels=kernels,
        claims=tuple(sorted(judged, key=lambda row: not row.has_changed)),
        rows=tuple(sorted(rows, key=lambda row: CHANGES.index(row.change))),
    )


def kernel_of(run: Run) -> str:
    """``6.12`` of a run in vm:6.12."""
    return name_at("linux", run.document, 0).partition("@")[2]


def _newest(runs: Sequence[Run]) -> dict[tuple[str, str], Run]:
    """(kernel, experiment) -> the newest run that was asked something; kernels and experiments as they come."""
    found: dict[tuple[str, str], Run] = {}
    for run in runs:
        if not (run.experiment.get("claims") or run.experiment.get("grid")) or _is_of_two(run):
            continue
        key = kernel_of(run), str(run.experiment["name"])
        if key not in found or began(found[key]) < began(run):
            found[key] = run
    return found


def _is_of_two(run: Run) -> bool:
    """Whether two kernels talk to each other in it: what differs is then of neither."""
    return name_at("linux", run.document, 0) != name_at("linux", run.document, 1)


def _of_matrix(run: Run) -> Iterator[Verdict]:
    """The cells of a matrix as verdicts, named by what each end is on any kernel."""
    matrix = matrix_of(run)
    for cell in matrix.cells if matrix is not None else ():
        ends = [name.partition("@")[0] for name in (cell.client, cell.server)]
        if not set(ends) & set(OF_A_KERNEL):
            continue
        number = cell.measurement
        expectation = {
            "variant": f"{cell.test['name']}: {ends[0]} to {ends[1]}",
            "metric": MATRIX,
            "text": cell.test["summary"],
            "bound": cell.test["judged"],
            "because": cell.test["source"],
        }
        yield Verdict(
            expectation,
            _OUTCOMES[cell.result],
            number.median.estimate if number is not None else None,
            number.unit if number is not None else "",
            None,
            None,
            None,
            len(cell.trials),
            cell.reason or f"{cell.passed} of {len(cell.trials)} trials pass",
            base_unit=number.unit if number is not None else "",
            interval=number.median if number is not None else None,
            values=number.values if number is not None else (),
        )


def _kernels(chosen: Mapping[tuple[str, str], Run]) -> tuple[Kernel, ...]:
    """The oldest first, as far as their names are numbers."""
    by_name: dict[str, list[Run]] = {}
    for (kernel, _), run in chosen.items():
        by_name.setdefault(kernel, []).append(run)
    return tuple(
        Kernel(name, str(by_name[name][0].document["kernel"].get("release") or "unknown"), tuple(by_name[name]))
        for name in sorted(by_name, key=lambda name: (age(name), name))
    )


def _key(experiment: str, verdict: Verdict) -> _Key:
    """What is the same thing on another kernel, and for another claim: all of the expectation but its words."""
    words = {name: value for name, value in verdict.expectation.items() if name not in _WORDS}
    return (experiment, *(f"{name}={words[name]}" for name in sorted(words)))


def _row(key: _Key, cells: Sequence[Found | None], claims: Sequence[str]) -> Row:
    first = next(_there(cells))
    return Row(key[0], tuple(dict.fromkeys(claims)), first.verdict.expectation, tuple(cells))


def _there(cells: Sequence[Found | None]) -> Iterator[Found]:
    return (found for found in cells if found is not None)


def _piece(run: Run, verdict: Verdict) -> Piece:
    expectation = verdict.expectation
    return Piece(supports(verdict), expectation.get("under") or "", stacks(run.variants[expectation["variant"]]))


def _apart(one: Found, other: Found) -> bool:
    """Whether no trial of the one has a number within those of the other, both ways."""
    first, second = one.verdict.values, other.verdict.values
    if not first or not second:
        return False
    return max(first) < min(second) or max(second) < min(first)
