"""The table at the end of a run."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.matrix import Matrix, matrix_of
from analysis.report import machine
from analysis.report.answer import distinct, headline, sentence_of, trial_line
from analysis.report.claim_lines import claim_lines
from analysis.report.contention_table import contention_lines
from analysis.report.findings import MOST_VARIANTS, VariantFinding, find
from analysis.report.matrix_section import matrix_section
from analysis.report.subflow_goodput import subflow_goodputs
from analysis.report.wording import interval, quantity, significant
from analysis.runs import Run
from analysis.verdict import Verdict
from testbed.cli.console import console, table

COLUMNS = (
    ("goodput_bit_s", "goodput", "bit/s"),
    ("completion_time_ns", "completion", "ns"),
    ("longest_stall_ns", "longest stall", "ns"),
    ("latency_p50_ns", "latency p50", "ns"),
    ("block_delay_p99_ns", "block delay p99", "ns"),
    ("flow_completion_p50_ns", "flow completion p50", "ns"),
)
"""Metrics that are shown when a variant has them."""
MOST_MET = 12
"""Expectations that are met are told one by one up to this many; the report has them all."""


def print_result(run: Run, verdicts: Sequence[Verdict]) -> None:
    """Question, numbers, verdicts, where the report is."""
    matrix = matrix_of(run)
    if matrix is not None and len(run.variants) > MOST_VARIANTS:
        _print_matrix(run, matrix)
        _print_verdicts(run, verdicts)
        return
    findings = find(run)
    present = [column for column in COLUMNS if any(finding.metric(column[0]) for finding in findings)]
    rows = []
    for finding in findings:
        valid = f"{finding.counts['VALID']}/{finding.counts.total()}"
        subflows = finding.metric("subflows")
        rows.append(
            [
                finding.name,
                valid,
                f"{subflows.interval.estimate:g}" if subflows else "-",
                *(_cell(finding, name, unit) for name, _, unit in present),
            ]
        )
    heads = ["variant", "valid", "subflows", *(word for _, word, _ in present)]
    output = console()
    output.print(f"\n{run.experiment['question']}", markup=False)
    output.print(table(heads, rows, right=heads[1:]))
    for finding in findings:
        if finding.fallback_text:
            output.print(f"! {finding.name} {finding.fallback_text}", markup=False, soft_wrap=True)
    _print_subflows(run, findings)
    _print_contention(run)
    _print_verdicts(run, verdicts)


def _print_matrix(run: Run, matrix: Matrix) -> None:
    """What each level of the first factor costs; the report has it by the other factors, too."""
    section = matrix_section(matrix)
    output = console()
    output.print(f"\n{run.experiment['question']}", markup=False)
    rows = [[row.level, *row.cells] for row in section.rows]
    output.print(table([section.compared, *section.heads], rows, right=section.heads))
    for sentence in section.answers:
        output.print(sentence, markup=False, soft_wrap=True)


def _print_verdicts(run: Run, verdicts: Sequence[Verdict]) -> None:
    """Each expectation, what they say of claims, the line that sums them up, where the report is."""
    output = console()
    several = distinct(verdicts)
    is_short = sum(verdict.outcome == "met" for verdict in several) <= MOST_MET
    for verdict in several:
        if verdict.outcome != "FAILED" and verdict.expectation["metric"] == "fate":
            continue  # a grid has hundreds of cells; the report shows them
        if verdict.outcome == "met" and not is_short:
            continue
        finding_ = sentence_of(verdict)
        sentence = f"{finding_.sign} {finding_.word}: {finding_.subject} {finding_.measured}, expected {finding_.bound}"
        output.print(sentence, markup=False, soft_wrap=True)
    for line in claim_lines(run, verdicts):
        output.print(f"{line.sign} {line.id} {line.word} ({line.count}): {line.title}", markup=False, soft_wrap=True)
    for sentence in machine.sentences(run):
        output.print(f"! {sentence}", markup=False, soft_wrap=True)
    _, text = headline(run, verdicts)
    output.print(f"{text} ({trial_line(run)})", markup=False, soft_wrap=True)
    output.print(f"report: {run.path / 'report.html'}", markup=False, soft_wrap=True)


def _print_subflows(run: Run, findings: Sequence[VariantFinding]) -> None:
    """Who carried how much, and what the paths gained together."""
    carried = subflow_goodputs(run)
    for finding in findings:
        subflows = carried.get(finding.name, [])
        words = " + ".join(subflow.in_words() for subflow in subflows) if len(subflows) > 1 else ""
        benefit = finding.derived.get("aggregation_benefit")
        if benefit is not None and len(subflows) > 1:
            words += f"; aggregation benefit {significant(benefit.interval.estimate)}"
        if words:
            console().print(f"  {finding.name}: {words}", markup=False, soft_wrap=True)


def _print_contention(run: Run) -> None:
    """Where options competed for the 40 octets; the report has every row."""
    lines = [line for line in contention_lines(run) if line.is_contended]
    if not lines:
        return
    heads = ["variant", "side", "segments", "number", "contended", "SACK blocks wanted", "sent", "displaced"]
    heads += ["by class", "displaced by"]
    rows = [
        [
            line.variant,
            line.side,
            line.kind,
            line.segments,
            line.contended,
            line.wanted,
            line.sent,
            line.displaced,
            line.classes,
            line.blame,
        ]
        for line in lines
    ]
    console().print(table(heads, rows, title="Option contention (40 octets of TCP options)", right=heads[3:8]))


def _cell(finding: VariantFinding, name: str, unit: str) -> str:
    metric = finding.metric(name)
    if metric is None:
        return "-"
    spread = interval(metric.interval.low, metric.interval.high, unit)
    return f"{quantity(metric.interval.estimate, unit)}" + (f" ({spread})" if spread else "")
