"""What matrix.html and matrix.md show: values for the templates, no layout.

A result is a sign and a word; colour only repeats them. In the grid the abbreviations of the tests stand behind the
sign of their result, so that a pair of twenty tests is a few lines.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.interop import evidence
from analysis.interop.cells import CellResult, MatrixResult, Measurement, Result, exit_code
from analysis.report.answer import Tone
from analysis.report.machine import doubts
from analysis.report.wording import count, interval, metric_name, quantity, source_in_words
from analysis.runs import Run

SIGNS: Mapping[Result, str] = {"pass": "✓", "fail": "✗", "invalid": "?", "unsupported": "–"}
WORDS: Mapping[Result, str] = {
    "pass": "pass",
    "fail": "FAIL",
    "invalid": "INVALID",
    "unsupported": "unsupported",
}
TONES: Mapping[Result, Tone] = {"pass": "met", "fail": "failed", "invalid": "open", "unsupported": "open"}
ORDER: tuple[Result, ...] = ("fail", "invalid", "pass", "unsupported")
"""In a cell of the grid: what needs looking at first."""


@dataclass(frozen=True, slots=True)
class Letters:
    """The tests of a pair with one result."""

    result: Result
    sign: str
    word: str
    tests: tuple[tuple[str, str, str], ...]
    """(abbreviation, name of the test, id of its section); a flaky one has ``~`` behind its letters."""


@dataclass(frozen=True, slots=True)
class PairCell:
    """One client with one server."""

    lines: tuple[Letters, ...]
    nothing: str
    """Why not one test could be asked; empty: one could."""


@dataclass(frozen=True, slots=True)
class Number:
    """A measurement of a pair; a dash and the reason where there is none."""

    text: str
    spread: str
    is_best: bool


@dataclass(frozen=True, slots=True)
class NumberTable:
    """One measurement, client by server."""

    id: str
    name: str
    summary: str
    unit_note: str
    rows: tuple[tuple[str, tuple[Number, ...]], ...]


@dataclass(frozen=True, slots=True)
class File:
    """A link into the run directory."""

    label: str
    path: str


@dataclass(frozen=True, slots=True)
class CellLine:
    """One cell with what it takes to look at it."""

    pair: str
    test: str
    tone: Tone
    sign: str
    word: str
    reason: str
    known: str
    trials: str
    files: tuple[File, ...]
    command: str


@dataclass(frozen=True, slots=True)
class TestSection:
    """One test with all pairs that it was asked of."""

    id: str
    name: str
    abbreviation: str
    summary: str
    source: str
    judged: str
    tally: str
    needs_a_look: bool
    lines: tuple[CellLine, ...]
    not_asked: tuple[tuple[str, tuple[str, ...]], ...]
    """Reason -> pairs."""


@dataclass(frozen=True, slots=True)
class RunLine:
    """One of several runs."""

    place: str
    kernel: str
    trials: str
    started: str
    link: str


@dataclass(frozen=True, slots=True)
class MatrixPage:
    """All of it."""

    question: str
    tone: Tone
    headline: str
    tally: str
    kicker: str
    exit_code: int
    clients: tuple[Mapping[str, Any], ...]
    servers: tuple[str, ...]
    implementations: tuple[Mapping[str, Any], ...]
    grid: tuple[tuple[str, tuple[PairCell, ...]], ...]
    legend: tuple[tuple[str, str], ...]
    numbers: tuple[NumberTable, ...]
    to_look_at: tuple[CellLine, ...]
    sections: tuple[TestSection, ...]
    command: str
    runs: tuple[RunLine, ...]
    """Of a matrix that was joined."""
    notes: tuple[str, ...]


def gather(matrix: MatrixResult) -> MatrixPage:
    """The page of a run, or of several that were joined."""
    lines = {id(cell): _line(matrix, cell) for cell in matrix.cells}
    counts = matrix.counts()
    ends = {end["name"]: end for end in (*matrix.clients, *matrix.servers)}
    tests = [test for test in matrix.tests if test["kind"] == "test"]
    measurements = [test for test in matrix.tests if test["kind"] == "measurement"]
    tone, headline = _headline(matrix)
    return MatrixPage(
        question=matrix.runs[0].experiment["question"],
        tone=tone,
        headline=headline,
        tally=", ".join(f"{counts[result]} {WORDS[result]}" for result in ("pass", "fail", "invalid", "unsupported")),
        kicker=_kicker(matrix),
        exit_code=exit_code(matrix),
        clients=matrix.clients,
        servers=tuple(server["name"] for server in matrix.servers),
        implementations=tuple(ends.values()),
        grid=tuple(
            (client["name"], tuple(_pair_cell(matrix, client["name"], server["name"]) for server in matrix.servers))
            for client in matrix.clients
        ),
        legend=tuple((test["abbreviation"], test["name"]) for test in tests),
        numbers=tuple(_number_table(matrix, test) for test in measurements),
        to_look_at=tuple(
            lines[id(cell)] for result in ("fail", "invalid") for cell in matrix.cells if cell.result == result
        ),
        sections=tuple(_section(matrix, test, lines) for test in matrix.tests),
        command=" ".join(matrix.command),
        runs=tuple(_run_line(run, link) for run, link in zip(matrix.runs, matrix.links, strict=True) if link),
        notes=(*matrix.notes, *_doubts(matrix)),
    )


def _doubts(matrix: MatrixResult) -> list[str]:
    """What may have made the results of a machine what they are; of one run its report says it."""
    if len(matrix.runs) == 1:
        return []
    told = ((_place(run.document), doubts(run)) for run in matrix.runs)
    return [f"{place}: {sentence}" for place, sentences in told for sentence in sentences]


def _kicker(matrix: MatrixResult) -> str:
    kernels = dict.fromkeys(str(run.document["kernel"].get("release", "")) for run in matrix.runs)
    named = f"{'kernels' if len(kernels) > 1 else 'kernel'} {', '.join(kernels)}"
    started = min(run.document["started_utc"] for run in matrix.runs)
    several = [count(len(matrix.runs), "run")] if len(matrix.runs) > 1 else []
    return " · ".join([_where(matrix), named, *several, started])


def _where(matrix: MatrixResult) -> str:
    in_simulator = all(run.document["backend"] == "sim" for run in matrix.runs)
    return "in virtual time" if in_simulator else "between real kernels and stacks"


def _place(document: Mapping[str, Any]) -> str:
    """As ``--backend`` says it."""
    return str((document.get("ran_on") or document)["backend"])


def _run_line(run: Run, link: str) -> RunLine:
    document = run.document
    verdicts = Counter(run.directory.read_table("trials")["verdict"].to_pylist())
    trials = ", ".join(f"{number} {word}" for word, number in sorted(verdicts.items(), reverse=True))
    clock = (document.get("ran_on") or {}).get("clock")
    return RunLine(
        f"{_place(document)}{f', {clock} time' if clock else ''}",
        str(document["kernel"].get("release", "")),
        trials,
        document["started_utc"],
        link,
    )


def _headline(matrix: MatrixResult) -> tuple[Tone, str]:
    counts = matrix.counts()
    asked = len(matrix.cells) - counts["unsupported"]
    flaky = sum(cell.is_flaky for cell in matrix.cells)
    if not asked:
        return "open", "Nothing of it can run here."
    parts = [f"{counts['pass']} of {count(asked, 'cell')} that can be asked pass"]
    if counts["fail"]:
        parts.append(f"{counts['fail']} fail{'s' if counts['fail'] == 1 else ''}")
    if flaky:
        parts.append(f"{flaky} of them only now and then (flaky)")
    if counts["invalid"]:
        parts.append(f"{counts['invalid']} could not be measured")
    tone: Tone = "failed" if counts["fail"] else "open" if counts["invalid"] else "met"
    return tone, ", ".join(parts) + "."


def _pair_cell(matrix: MatrixResult, client: str, server: str) -> PairCell:
    cells = matrix.of_pair(client, server, "test")
    asked = [cell for cell in cells if cell.result != "unsupported"]
    reasons = dict.fromkeys(cell.reason for cell in cells)
    if not asked and len(reasons) == 1:
        return PairCell((), next(iter(reasons)))
    lines = []
    for result in ORDER:
        tests = tuple(_letter(cell) for cell in cells if cell.result == result)
        if tests:
            lines.append(Letters(result, SIGNS[result], WORDS[result], tests))
    return PairCell(tuple(lines), "")


def _letter(cell: CellResult) -> tuple[str, str, str]:
    letters = cell.test["abbreviation"] + ("~" if cell.is_flaky else "")
    return letters, cell.test["name"], _section_id(cell.test["name"])


def _section_id(name: str) -> str:
    return f"test-{name}"


def _number_table(matrix: MatrixResult, test: Mapping[str, Any]) -> NumberTable:
    cells = {(cell.client, cell.server): cell for cell in matrix.of_test(test["name"])}
    found = [cell.measurement for cell in cells.values() if cell.measurement is not None]
    best = _best(found)
    sources = sorted({source_in_words(each.source) for each in found if each.source})
    note = metric_name(test["measure"]) + (f", {', '.join(sources)}" if sources else "")
    if test["better"]:
        note += f"; ◆ the {test['better']}"
    return NumberTable(
        id=_section_id(test["name"]),
        name=test["name"],
        summary=test["summary"],
        unit_note=note,
        rows=tuple(
            (
                client["name"],
                tuple(_number(cells.get((client["name"], server["name"])), best) for server in matrix.servers),
            )
            for client in matrix.clients
        ),
    )


def _best(found: Sequence[Measurement]) -> float | None:
    if not found or not found[0].better:
        return None
    values = [each.median.estimate for each in found]
    return max(values) if found[0].better == "largest" else min(values)


def _number(cell: CellResult | None, best: float | None) -> Number:
    if cell is None:
        return Number("–", "", False)
    if cell.measurement is None:
        return Number(f"{SIGNS[cell.result]} {WORDS[cell.result]}", "", False)
    found = cell.measurement
    spread = interval(min(found.values), max(found.values), found.unit)
    text = quantity(found.median.estimate, found.unit)
    return Number(text, f"{spread}, n = {found.median.n}", found.median.estimate == best)


def _section(matrix: MatrixResult, test: Mapping[str, Any], lines: Mapping[int, CellLine]) -> TestSection:
    cells = matrix.of_test(test["name"])
    counts = matrix.counts(cells)
    asked = [cell for cell in cells if cell.is_asked]
    reasons: dict[str, list[str]] = {}
    for cell in cells:
        if not cell.is_asked:
            reasons.setdefault(cell.reason, []).append(f"{cell.client} → {cell.server}")
    return TestSection(
        id=_section_id(test["name"]) if test["kind"] == "test" else f"pairs-{test['name']}",
        name=test["name"],
        abbreviation=test["abbreviation"],
        summary=test["summary"],
        source=test["source"],
        judged=test["judged"],
        tally=", ".join(
            f"{SIGNS[result]} {counts[result]} {WORDS[result]}"
            for result in ("fail", "invalid", "pass", "unsupported")
            if counts[result]
        ),
        needs_a_look=bool(counts["fail"] or counts["invalid"]),
        lines=tuple(lines[id(cell)] for cell in asked),
        not_asked=tuple((reason, tuple(pairs)) for reason, pairs in reasons.items()),
    )


def _line(matrix: MatrixResult, cell: CellResult) -> CellLine:
    files = [File(_label(path), path) for path in (*evidence.captures(matrix, cell), *evidence.logs(matrix, cell))]
    trials = f"{cell.passed} of {count(len(cell.trials), 'trial')}" if len(cell.trials) > 1 else ""
    if cell.measurement is not None:
        trials = (
            quantity(cell.measurement.median.estimate, cell.measurement.unit) + f", n = {cell.measurement.median.n}"
        )
    return CellLine(
        pair=f"{cell.client} → {cell.server}",
        test=cell.test["name"],
        tone=TONES[cell.result],
        sign=SIGNS[cell.result],
        word=WORDS[cell.result] + (" (flaky)" if cell.is_flaky else ""),
        reason=cell.reason,
        known=cell.known if cell.result == "fail" else "",
        trials=trials,
        files=tuple(files),
        command=evidence.replay_command(matrix, cell) if cell.is_asked else "",
    )


def _label(path: str) -> str:
    """``captures/0013/client-eth0.pcap`` -> ``client-eth0``."""
    name = path.rpartition("/")[2]
    return name.rpartition(".")[0] or name
