"""Everything that report.html and report.md show, gathered once: values for the templates, no layout."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.matrix import matrix_of
from analysis.report import machine, tables
from analysis.report.answer import Finding, Tone, distinct, headline, medians, sentence_of, trial_line
from analysis.report.carried import CarriedTable, carried_tables
from analysis.report.claim_lines import ClaimLine, claim_lines
from analysis.report.contention_section import ContentionSection, contention_section
from analysis.report.distribution_figures import DistributionFigure, distribution_figures
from analysis.report.dot_plots import MetricPlot, metric_plots
from analysis.report.drawings import Drawing, drawings
from analysis.report.findings import MOST_VARIANTS, VariantFinding
from analysis.report.first_screen import FirstFigure, answers, first_figure
from analysis.report.grid_table import GridTable, grid_table
from analysis.report.matrix_section import MatrixSection, matrix_section
from analysis.report.outage_table import OutageRow, outage_rows
from analysis.report.sequence_section import SequencePlot, sequence_plots
from analysis.report.subflow_goodput import subflow_goodputs
from analysis.report.sweep_figure import SweepFigure, sweep_figure
from analysis.report.time_figures import (
    METRICS,
    AllSeries,
    TimeFigure,
    TrialCurves,
    curves_of,
    figure_of,
    subflows_of,
)
from analysis.report.trial_rows import TrialRow, command_line, specified, trial_command, trial_rows
from analysis.runs import Run
from analysis.statistics import SMALLEST_BOOTSTRAP
from analysis.verdict import Verdict, exit_code

MOST_DRAWINGS = 4
"""Networks drawn in the page; a sweep has one per point, and they differ in a number only."""
MOST_OTHER_TRIALS = 120
"""With more trials than this the page draws only the representative one of each variant."""


@dataclass(frozen=True, slots=True)
class Page:
    """The content of a report."""

    experiment: str
    question: str
    tone: Tone
    headline: str
    claims: tuple[ClaimLine, ...]
    findings: tuple[Finding, ...]
    answers: tuple[str, ...]
    first: FirstFigure | None
    medians: tuple[str, ...]
    trial_line: str
    state: str
    exit_code: int
    backend: str
    kernel: str
    notes: tuple[str, ...]
    drawings: tuple[Drawing, ...]
    drawings_left_out: int
    variants: tuple[VariantFinding, ...]
    grid: GridTable | None
    """Instead of plots, figures over time and counters: it has a hundred small trials and another question."""
    matrix: MatrixSection | None
    """Comparison along the factors of the variants."""
    crowded: bool
    """Whether the matrix stands alone."""
    sweep: SweepFigure | None
    plots: tuple[MetricPlot, ...]
    """Without the one on the first screen."""
    benefit_against: Mapping[str, tuple[str, ...]]
    outages: tuple[OutageRow, ...]
    carried: tuple[CarriedTable, ...]
    figures: tuple[TimeFigure, ...]
    other_figures: tuple[TimeFigure, ...]
    others_left_out: int
    distributions: tuple[DistributionFigure, ...]
    subflows: Mapping[str, tuple[str, ...]]
    """Variant -> goodput of each subflow in words, of variants that have several."""
    contention: ContentionSection | None
    sequences: tuple[SequencePlot, ...]
    links: tuple[tables.LinkGroup, ...]
    middleboxes: tuple[tables.MiddleboxRow, ...]
    middlebox_counts: tuple[str, ...]
    counters: tables.CounterTable
    trials: tuple[TrialRow, ...]
    warnings: tuple[tuple[int, str, str], ...]
    """(trial, subject, text)."""
    environment: tuple[tuple[str, str], ...]
    sysctls: tuple[tuple[str, str, str], ...]
    capabilities: machine.CapabilityTable | None
    """What was found on the machines that were booted for the run."""
    command: str
    specified: bool
    """The experiment came as JSON."""
    one_trial: tuple[TrialRow, str] | None
    """A trial, and the command that runs it alone."""
    commit: str | None
    dirty: bool
    small_n: bool

    @property
    def all_plots(self) -> tuple[MetricPlot, ...]:
        """With the one on the first screen."""
        first = self.first.plot if self.first is not None and not self.first.note else None
        return (*([first] if first is not None else []), *self.plots)

    @property
    def uncounted(self) -> list[tuple[str, str, str, str]]:
        """(verdict, variant, reason, trials) of the trials that are not VALID; those with one reason in one row."""
        groups: dict[tuple[str, str, str], list[str]] = defaultdict(list)
        for trial in self.trials:
            if trial.verdict != "VALID":
                groups[trial.verdict, trial.variant, trial.reason].append(str(trial.trial))
        return [(*key, ", ".join(numbers)) for key, numbers in groups.items()]


def gather(run: Run, findings: Sequence[VariantFinding], verdicts: Sequence[Verdict]) -> Page:
    """The content of the report of ``run``."""
    tone, line = headline(run, verdicts)
    networks = drawings(run)
    valid = tables.valid_trials(run)
    events: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for event in run.directory.read_table("events").to_pylist():
        events[event["trial"]].append(event)
    representative = {finding.name: _representative(finding, valid[finding.name]) for finding in findings}
    grid = grid_table(run)
    matrix = matrix_of(run)
    crowded = matrix is not None and len(findings) > MOST_VARIANTS
    single = grid is None and not crowded
    everything = grid is not None or sum(map(len, valid.values())) <= MOST_OTHER_TRIALS
    chosen = [trial for trials in valid.values() for trial in trials] if everything else list(representative.values())
    chosen = chosen if single else []
    series = run.series(METRICS, [trial for trial in chosen if trial is not None])
    curves = _curves(run, valid, series)
    figures, others = _time_figures(run, valid, representative, events, curves)
    source = run.document["source"]
    section = None if matrix is None else matrix_section(matrix)
    sweep = sweep_figure(run.variants, findings) if single else None
    plots = metric_plots(findings, verdicts) if single else []
    claims = claim_lines(run, verdicts)
    first = first_figure(run, findings, verdicts, plots, matrix=section, sweep=sweep)
    trials = trial_rows(run)
    told = answers(run, verdicts, matrix=section, claims=claims, grid=grid, sweep=sweep)
    if told and not verdicts:
        line = "The experiment states no expectation; this was measured:"
    shown = first.plot.metric if first is not None and first.plot is not None and not first.note else None
    return Page(
        experiment=run.experiment["name"],
        question=run.experiment["question"],
        tone=tone,
        headline=line,
        claims=tuple(claims),
        answers=tuple(told),
        first=first,
        findings=tuple(
            sentence_of(verdict, run.experiment.get("repetitions", 2))
            for verdict in distinct(verdicts)
            if grid is None or verdict.expectation["metric"] != "fate" or verdict.outcome == "FAILED"
        ),
        medians=tuple(medians(findings)),
        trial_line=trial_line(run),
        state=run.document["state"],
        exit_code=exit_code(run, verdicts),
        backend=run.document["backend"],
        kernel=str(run.document["kernel"].get("release", "unknown kernel")),
        notes=(*run.document.get("notes", ()), *machine.sentences(run)),
        drawings=tuple(networks[:MOST_DRAWINGS]),
        drawings_left_out=max(0, len(networks) - MOST_DRAWINGS),
        variants=() if crowded else tuple(findings),
        grid=grid,
        matrix=section,
        crowded=crowded,
        sweep=sweep if first is None or first.sweep is None else None,
        plots=tuple(plot for plot in plots if plot.metric != shown),
        benefit_against={finding.name: finding.alone for finding in findings if finding.alone},
        outages=tuple(outage_rows(run, findings, events, series)),
        carried=tuple(
            carried_tables(
                {
                    name: curves[trial]
                    for name, trial in representative.items()
                    if trial is not None and trial in curves
                },
                events,
            )
        ),
        figures=tuple(figures),
        other_figures=tuple(others),
        others_left_out=0 if everything or crowded else sum(map(len, valid.values())) - len(figures),
        distributions=() if crowded else tuple(distribution_figures(run, list(run.variants))),
        subflows={
            variant: tuple(subflow.in_words() for subflow in subflows)
            for variant, subflows in (subflow_goodputs(run) if single else {}).items()
            if len(subflows) > 1
        },
        contention=None if crowded else contention_section(run),
        sequences=() if crowded else tuple(sequence_plots(run, representative, _asked_first(findings, verdicts))),
        links=() if crowded else tuple(tables.link_groups(run)),
        middleboxes=() if crowded else tuple(tables.middlebox_rows(run)),
        middlebox_counts=tables.MIDDLEBOX_COUNTS,
        counters=tables.counter_table(run) if single else tables.CounterTable((), ()),
        trials=tuple(trials),
        warnings=tuple(_warnings(events)),
        environment=tuple(tables.environment(run)),
        sysctls=tuple(tables.sysctls(run)),
        capabilities=machine.capability_table(run),
        command=command_line(run),
        specified=specified(run),
        one_trial=_one_trial(run, trials, representative),
        commit=source.get("commit"),
        dirty=bool(source.get("dirty")),
        small_n=single and any(len(trials) < SMALLEST_BOOTSTRAP for trials in valid.values()),
    )


def _asked_first(findings: Sequence[VariantFinding], verdicts: Sequence[Verdict]) -> list[str]:
    """Variants, those that something was expected of before the others."""
    asked = dict.fromkeys(verdict.expectation["variant"] for verdict in verdicts)
    return [*asked, *(finding.name for finding in findings if finding.name not in asked)]


def _one_trial(
    run: Run, trials: Sequence[TrialRow], representative: Mapping[str, int | None]
) -> tuple[TrialRow, str] | None:
    """The last variant's representative trial: experiments begin with what they compare with."""
    last = next((trial for trial in reversed(list(representative.values())) if trial is not None), None)
    row = next((row for row in trials if row.trial == last), trials[0] if trials else None)
    return None if row is None else (row, trial_command(run, row.variant, row.repetition))


def _warnings(events: Mapping[int, Sequence[Mapping[str, Any]]]) -> list[tuple[int, str, str]]:
    """(trial, subject, text) of each warning; one that came several times in a trial once, with how often."""
    seen = Counter(
        (trial, str(event["subject"]), str(event["detail"]))
        for trial, found in sorted(events.items())
        for event in found
        if event["kind"] == "warning"
    )
    return [(trial, of, text if times == 1 else f"{text} ({times} times)") for (trial, of, text), times in seen.items()]


def _representative(finding: VariantFinding, trials: Sequence[int]) -> int | None:
    """The trial with the (lower) median goodput of the first flow; the first one when there is no goodput."""
    goodput = finding.metric("goodput_bit_s")
    if goodput is None:
        return trials[0] if trials else None
    ordered = sorted(zip(goodput.values, goodput.trials, strict=True))
    return ordered[(len(ordered) - 1) // 2][1]


def _curves(run: Run, valid: Mapping[str, Sequence[int]], series: AllSeries) -> dict[int, TrialCurves]:
    """Trial -> its curves, of the valid trials that have series."""
    subflows = subflows_of(run)
    flows: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for row in run.directory.read_table("flows").to_pylist():
        flows[row["trial"]].append(row)
    with_series = {trial for trial, _, _ in series}
    return {
        trial: curves_of(trial, flows[trial], subflows, series)
        for trials in valid.values()
        for trial in trials
        if trial in with_series
    }


def _time_figures(
    run: Run,
    valid: Mapping[str, Sequence[int]],
    representative: Mapping[str, int | None],
    events: Mapping[int, Sequence[Mapping[str, Any]]],
    curves: Mapping[int, TrialCurves],
) -> tuple[list[TimeFigure], list[TimeFigure]]:
    repetition = {entry["trial"]: entry["repetition"] for entry in run.document["plan"]}
    peak = max((found.peak() for found in curves.values()), default=0.0)
    main: list[TimeFigure] = []
    others: list[TimeFigure] = []
    for variant, trials in valid.items():
        for trial in trials:
            if trial in curves and (curves[trial].rates or curves[trial].rtts):
                brief = trial != representative[variant]
                figure = figure_of(curves[trial], variant, repetition[trial], events.get(trial, ()), peak, brief=brief)
                (others if brief else main).append(figure)
    return main, others
