"""The first screen of a report: the question's answer in words, and the one figure that shows it.

Which figure, follows from what the experiment asks: the costs of a matrix, the evidence of claims, the fates of a grid,
the curve of a sweep; else the dots of the metric that is expected of, with what was expected.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.claims import judge_verdicts, supports
from analysis.fate import cells
from analysis.report.answer import distinct, sentence_of
from analysis.report.capture_bars import Bar, Part, bars
from analysis.report.capture_contention import BarFigure
from analysis.report.claim_lines import ClaimLine
from analysis.report.dot_plots import MetricPlot, metric_plot
from analysis.report.findings import VariantFinding
from analysis.report.grid_table import GridTable
from analysis.report.matrix_section import MatrixSection
from analysis.report.says import sentence
from analysis.report.scale import linear_axis
from analysis.report.sweep_figure import SweepFigure
from analysis.report.wording import count, metric_name, quantity
from analysis.runs import Run
from analysis.verdict import FATES, Verdict

MOST_ANSWERS = 4
"""Sentences; the rest stand below."""
MOST_ROWS = 10
"""Rows of dots on the first screen; with more variants only those that something was expected of, or compared with."""


@dataclass(frozen=True, slots=True)
class FirstFigure:
    """One of ``plot``, ``sweep`` and ``bars``, or with none of them the ladder of the matrix."""

    title: str
    note: str
    plot: MetricPlot | None = None
    sweep: SweepFigure | None = None
    bars: BarFigure | None = None
    heads: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    """The numbers of ``bars``."""


def answers(
    run: Run,
    verdicts: Sequence[Verdict],
    *,
    matrix: MatrixSection | None,
    claims: Sequence[ClaimLine],
    grid: GridTable | None,
    sweep: SweepFigure | None,
) -> list[str]:
    """What was found, in a few sentences; failures first."""
    if matrix is not None:
        return list(matrix.answers)
    repetitions = run.experiment.get("repetitions", 2)
    failed = [_told(verdict, repetitions) for verdict in distinct(verdicts) if verdict.outcome == "FAILED"]
    if claims:
        groups: dict[str, list[str]] = {}
        for line in claims:
            groups.setdefault(line.word.partition(" (")[0].partition(":")[0], []).append(f"{line.id} ({line.title})")
        found = [f"{word[:1].upper()}{word[1:]}: {'; '.join(named)}." for word, named in groups.items()]
        return _limited([*found, *failed])
    if grid is not None:
        return _limited([_fates_in_words(run), *failed])
    found = list(sweep.ends) if sweep is not None else []
    others = [_told(verdict, repetitions) for verdict in distinct(verdicts) if verdict.outcome != "FAILED"]
    return _limited([*failed, *found, *others])


def _limited(sentences: Sequence[str]) -> list[str]:
    if len(sentences) <= MOST_ANSWERS:
        return list(sentences)
    more = len(sentences) - MOST_ANSWERS + 1
    return [*sentences[: MOST_ANSWERS - 1], f"And {more} more, below."]


def _told(verdict: Verdict, repetitions: int) -> str:
    """``"mptcp: goodput 1.94 × that of tcp-path1 (36.8 Mbit/s against 18.9 Mbit/s)."``"""
    expectation = verdict.expectation
    if verdict.outcome == "not evaluated" or (verdict.outcome == "met" and expectation.get("says")):
        text = sentence(verdict, repetitions)
        return text if verdict.outcome == "met" else f"{expectation['variant']}: {text[:1].lower()}{text[1:]}"
    finding = sentence_of(verdict, repetitions)
    if verdict.value is None:
        return f"{finding.subject}: {finding.measured}."
    flow = expectation.get("flow", "main")
    what = metric_name(expectation["metric"]) + ("" if flow == "main" else f" of flow {flow}")
    value = quantity(verdict.value, verdict.unit)
    found = (
        f"{expectation['variant']}: {value}" if what == verdict.unit else f"{expectation['variant']}: {what} {value}"
    )
    if verdict.reference is not None and verdict.absolute is not None:
        pair = [quantity(each, verdict.base_unit) for each in (verdict.absolute, verdict.reference)]
        found += f" that of {verdict.reference_variant} ({pair[0]} against {pair[1]})"
    return f"{found}; expected {finding.bound}." if verdict.outcome == "FAILED" else f"{found}."


def first_figure(
    run: Run,
    findings: Sequence[VariantFinding],
    verdicts: Sequence[Verdict],
    plots: Sequence[MetricPlot],
    *,
    matrix: MatrixSection | None,
    sweep: SweepFigure | None,
) -> FirstFigure | None:
    """None when nothing was measured."""
    if matrix is not None:
        title = f"Goodput and displaced SACK blocks, by {matrix.compared} and {matrix.by}"
        return FirstFigure(title, "") if any(row.cells for row in matrix.rows) else None
    if run.experiment.get("claims"):
        evidence = _evidence(run, verdicts)
        if evidence is not None:
            return evidence
    if run.experiment.get("grid"):
        return _fates(run)
    if sweep is not None:
        return FirstFigure(f"Goodput against {sweep.parameter}", "", sweep=sweep)
    return _dots(findings, verdicts, plots)


def _dots(
    findings: Sequence[VariantFinding], verdicts: Sequence[Verdict], plots: Sequence[MetricPlot]
) -> FirstFigure | None:
    if not plots:
        return None
    asked = [verdict.expectation["metric"] for verdict in sorted(verdicts, key=lambda one: one.outcome != "FAILED")]
    by_metric = {plot.metric: plot for plot in plots}
    plot = next((by_metric[metric] for metric in asked if metric in by_metric), plots[0])
    note = ""
    if len(plot.rows) > MOST_ROWS:
        named = _named(plot.metric, verdicts)
        chosen = [row.variant for row in plot.rows if not named or row.variant in named][:MOST_ROWS]
        fewer = metric_plot(plot.metric, findings, verdicts, chosen)
        if fewer is not None:
            note, plot = f"{len(chosen)} of {count(len(plot.rows), 'variant')}; all of them stand below.", fewer
    return FirstFigure(plot.name[:1].upper() + plot.name[1:], note, plot=plot)


def _named(metric: str, verdicts: Sequence[Verdict]) -> set[str]:
    """Variants of which something was expected in that metric, and those they were compared with."""
    found: set[str] = set()
    for verdict in verdicts:
        if verdict.expectation["metric"] == metric:
            found |= {verdict.expectation["variant"], *(verdict.expectation.get("relative_to") or ())}
    return found


_SPEAKS = {"e-for": "supports the claim", "e-against": "contradicts it", "e-open": "not measured here"}


def _evidence(run: Run, verdicts: Sequence[Verdict]) -> FirstFigure | None:
    """A bar per claim: its pieces of evidence by what they say."""
    lines, rows = [], []
    for claim in run.experiment["claims"]:
        of_it = [verdict for verdict in verdicts if verdict.expectation.get("claim") == claim["id"]]
        counts = Counter({True: "e-for", False: "e-against", None: "e-open"}[supports(verdict)] for verdict in of_it)
        if not of_it:
            continue
        parts = tuple(Part(_short(css), counts[css], css) for css in _SPEAKS)
        lines.append(Bar(f"{claim['id']}: {claim['title']}", judge_verdicts(run, of_it).word, parts))
        rows.append((f"{claim['id']}: {claim['title']}", *(str(counts[css]) for css in _SPEAKS)))
    if not lines:
        return None
    most = max(sum(part.value for part in line.parts) for line in lines)
    axis = linear_axis([0.0, float(most)], "pieces", count=min(5, int(most)) or 1, tight=True)
    described = "; ".join(
        f"{line.label}: {line.note}, " + ", ".join(f"{part.value:.0f} {part.name}" for part in line.parts if part.value)
        for line in lines
    )
    drawing = bars("Evidence for and against each claim", described, lines, axis)
    return FirstFigure(
        "Evidence for and against each claim",
        "Each piece is an expectation that was measured in this run.",
        bars=BarFigure(drawing, tuple(_SPEAKS.items())),
        heads=("claim", *_SPEAKS.values()),
        rows=tuple(rows),
    )


def _short(css: str) -> str:
    return {"e-for": "for", "e-against": "against", "e-open": "not measured"}[css]


def _fates(run: Run) -> FirstFigure | None:
    """A bar per column of the grid: its situations by what became of the connection."""
    found = cells(run)
    columns: dict[str, list[Any]] = {}
    for cell in found:
        column = cell.expected["column"]
        columns.setdefault(f"{column['pair']}, {column['role']}", []).append(cell)
    words: Mapping[str, str] = {
        **{f"f-{name.replace(' ', '-')}": word for name, word in FATES.items()},
        "f-bad": "not as expected",
        "f-open": "not measured",
    }
    counted = {name: Counter(_fate_css(cell) for cell in of_it) for name, of_it in columns.items()}
    used = [css for css in words if any(counts[css] for counts in counted.values())]
    if not used:
        return None
    lines = [
        Bar(
            name,
            f"{counts.total() - counts['f-bad'] - counts['f-open']} of {counts.total()} as expected",
            tuple(Part(words[css], counts[css], css) for css in used),
        )
        for name, counts in counted.items()
    ]
    axis = linear_axis(
        [0.0, *(float(counts.total()) for counts in counted.values())], "situations", count=4, tight=True
    )
    described = "; ".join(
        f"{line.label}: " + ", ".join(f"{part.name} {part.value:.0f}" for part in line.parts if part.value)
        for line in lines
    )
    title = (
        f"What became of the connection, by who talks to whom: rows of the grid ({run.experiment['grid']['heading']})"
    )
    return FirstFigure(
        title,
        "",
        bars=BarFigure(bars(title, described, lines, axis), tuple((css, words[css]) for css in used)),
        heads=("client/server, who sends", *(words[css] for css in used)),
        rows=tuple((name, *(str(counts[css]) for css in used)) for name, counts in counted.items()),
    )


def _fates_in_words(run: Run) -> str:
    """``"As expected in 124 of 126 cells: MPTCP in 90, fell back to TCP in 34; bytes lost or wrong in 2."``"""
    shown = [cell for cell in cells(run) if cell.worst is not None and cell.outcome != "not evaluated"]
    expected = sum(not cell.bad for cell in shown)
    counts = Counter(cell.worst.fate for cell in shown if cell.worst is not None)
    found = ", ".join(f"{FATES[name]} in {counts[name]}" for name in FATES if counts[name])
    wrong = sum(any(fate.wrong for fate in cell.bad) for cell in shown)
    borne = sum(any(fate.wrong for fate in cell.fates) for cell in shown) - wrong
    damage = f"; bytes lost or wrong in {wrong}" if wrong else ""
    damage += f"; in {borne} bytes were lost or changed where nothing could tell" if borne else ""
    return f"As expected in {expected} of {count(len(shown), 'cell')}: {found or 'nothing was measured'}{damage}."


def _fate_css(cell: Any) -> str:
    if cell.worst is None or cell.outcome == "not evaluated":
        return "f-open"
    return "f-bad" if cell.bad else f"f-{cell.worst.fate.replace(' ', '-')}"
