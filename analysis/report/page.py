"""Everything that report.html and report.md show, gathered once: values for the templates, no layout."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from analysis.matrix import matrix_of
from analysis.report import dot_plot, tables
from analysis.report.answer import Finding, Tone, distinct, headline, medians, sentence_of, trial_line
from analysis.report.carried import CarriedTable, carried_tables
from analysis.report.claim_lines import ClaimLine, claim_lines
from analysis.report.contention_table import ContentionLine, WaitLine, contention_lines, wait_lines
from analysis.report.distribution_figures import DistributionFigure, distribution_figures
from analysis.report.findings import MOST_VARIANTS, Metric, VariantFinding
from analysis.report.grid_table import GridTable, grid_table
from analysis.report.matrix_section import MatrixSection, matrix_section
from analysis.report.outage_table import OutageRow, outage_rows
from analysis.report.scale import linear_axis
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
from analysis.report.wording import NOT_MEASURED, interval, metric_name, quantity, share, significant
from analysis.runs import Run
from analysis.statistics import SMALLEST_BOOTSTRAP
from analysis.verdict import Verdict, exit_code
from testbed.record import TABLES, drawing_stem

MOST_PLOTS = 4
"""Metrics that get a plot of their own: goodput and those of the expectations."""
MOST_DRAWINGS = 4
"""Networks drawn in the page; a sweep has one per point, and they differ in a number only."""
PLOTTED_UNITS = ("bit/s", "ns", "bytes", "segments")
"""What is counted in ones and twos, such as subflows, needs no plot."""
MOST_OTHER_TRIALS = 120
"""With more trials than this the page draws only the representative one of each variant."""


@dataclass(frozen=True, slots=True)
class PlotRow:
    """One variant in a dot plot, with its numbers."""

    variant: str
    summary: str
    drawing: Markup
    median: str
    spread: str
    method: str
    n: int
    extra: tuple[str, ...]
    fallback: str


@dataclass(frozen=True, slots=True)
class MetricPlot:
    """One metric of all variants."""

    name: str
    unit: str
    rows: tuple[PlotRow, ...]
    scale: Markup
    extra_heads: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Drawing:
    """One network: its name, the variants on it, its SVG and its text (empty: none stored)."""

    name: str
    variants: tuple[str, ...]
    svg: Markup
    text: str


@dataclass(frozen=True, slots=True)
class TrialRow:
    """One trial as a row of text."""

    trial: int
    variant: str
    repetition: int
    seed: str
    verdict: str
    reason: str
    goodput: str
    duration: str
    setup: str


@dataclass(frozen=True, slots=True)
class Page:
    """The content of a report."""

    experiment: str
    question: str
    tone: Tone
    headline: str
    claims: tuple[ClaimLine, ...]
    findings: tuple[Finding, ...]
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
    benefit_against: Mapping[str, tuple[str, ...]]
    outages: tuple[OutageRow, ...]
    carried: tuple[CarriedTable, ...]
    figures: tuple[TimeFigure, ...]
    other_figures: tuple[TimeFigure, ...]
    others_left_out: int
    distributions: tuple[DistributionFigure, ...]
    subflows: Mapping[str, tuple[str, ...]]
    """Variant -> goodput of each subflow in words, of variants that have several."""
    contention: tuple[ContentionLine, ...]
    waits: tuple[WaitLine, ...]
    links: tuple[tables.LinkGroup, ...]
    middleboxes: tuple[tables.MiddleboxRow, ...]
    middlebox_counts: tuple[str, ...]
    counters: tables.CounterTable
    trials: tuple[TrialRow, ...]
    warnings: tuple[tuple[int, str, str], ...]
    """(trial, subject, text)."""
    environment: tuple[tuple[str, str], ...]
    sysctls: tuple[tuple[str, str, str], ...]
    command: str
    commit: str | None
    dirty: bool
    small_n: bool

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
    drawings = _drawings(run)
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
    return Page(
        experiment=run.experiment["name"],
        question=run.experiment["question"],
        tone=tone,
        headline=line,
        claims=tuple(claim_lines(run, verdicts)),
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
        notes=tuple(run.document.get("notes", ())),
        drawings=tuple(drawings[:MOST_DRAWINGS]),
        drawings_left_out=max(0, len(drawings) - MOST_DRAWINGS),
        variants=() if crowded else tuple(findings),
        grid=grid,
        matrix=None if matrix is None else matrix_section(matrix),
        crowded=crowded,
        sweep=sweep_figure(run.variants, findings) if single else None,
        plots=tuple(_plots(findings, verdicts)) if single else (),
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
        contention=() if crowded else tuple(contention_lines(run)),
        waits=() if crowded else tuple(wait_lines(run)),
        links=() if crowded else tuple(tables.link_groups(run)),
        middleboxes=() if crowded else tuple(tables.middlebox_rows(run)),
        middlebox_counts=tables.MIDDLEBOX_COUNTS,
        counters=tables.counter_table(run) if single else tables.CounterTable((), ()),
        trials=tuple(_trial_rows(run)),
        warnings=tuple(_warnings(events)),
        environment=tuple(tables.environment(run)),
        sysctls=tuple(tables.sysctls(run)),
        command=tables.command_line(run),
        commit=source.get("commit"),
        dirty=bool(source.get("dirty")),
        small_n=single and any(len(trials) < SMALLEST_BOOTSTRAP for trials in valid.values()),
    )


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


def _plots(findings: Sequence[VariantFinding], verdicts: Sequence[Verdict]) -> list[MetricPlot]:
    names = dict.fromkeys(["goodput_bit_s", *(verdict.expectation["metric"] for verdict in verdicts)])
    units = {column.name: column.unit for column in TABLES["flows"].columns}
    plots = []
    for name in names:
        values = [value for finding in findings if (metric := finding.metric(name)) for value in metric.values]
        if values and units.get(name) in PLOTTED_UNITS:
            plots.append(_plot(name, units[name], values, findings))
    return plots[:MOST_PLOTS]


def _plot(name: str, unit: str, values: Sequence[float], findings: Sequence[VariantFinding]) -> MetricPlot:
    axis = linear_axis(values, unit)
    derived = ("aggregation_benefit", "fill_rate", "jain_index") if name == "goodput_bit_s" else ()
    shown = [key for key in derived if any(key in finding.derived for finding in findings)]
    heads = {"aggregation_benefit": "aggregation benefit", "fill_rate": "fill rate", "jain_index": "Jain’s index"}
    rows = []
    for finding in findings:
        metric = finding.metric(name)
        title = f"{metric_name(name)} of {finding.name}"
        drawing = dot_plot.row(metric.values if metric else (), metric.interval if metric else None, axis, title)
        extra = tuple(_derived_text(key, finding.derived.get(key)) for key in shown)
        rows.append(_plot_row(finding, metric, drawing, extra))
    return MetricPlot(
        metric_name(name), axis.unit.name, tuple(rows), dot_plot.scale_row(axis), tuple(heads[key] for key in shown)
    )


def _plot_row(finding: VariantFinding, metric: Metric | None, drawing: Markup, extra: tuple[str, ...]) -> PlotRow:
    if metric is None:
        return PlotRow(
            finding.name, finding.summary, drawing, NOT_MEASURED, NOT_MEASURED, "no valid trial", 0, extra, ""
        )
    found = metric.interval
    return PlotRow(
        finding.name,
        finding.summary,
        drawing,
        quantity(found.estimate, metric.unit),
        interval(found.low, found.high, metric.unit),
        found.in_words(),
        found.n,
        extra,
        finding.fallback_text,
    )


def _derived_text(key: str, metric: Metric | None) -> str:
    if metric is None:
        return NOT_MEASURED
    estimate = metric.interval.estimate
    return share(estimate) if key == "fill_rate" else significant(estimate)


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


def _trial_rows(run: Run) -> list[TrialRow]:
    return [
        TrialRow(
            row["trial"],
            row["variant"],
            row["repetition"],
            str(row["seed"]),
            row["verdict"],
            row["reason"],
            quantity(row["goodput_bit_s"], "bit/s"),
            quantity(row["duration_ns"], "ns"),
            quantity(row["setup_ns"], "ns"),
        )
        for row in run.directory.read_table("trials").sort_by("trial").to_pylist()
    ]


def _drawings(run: Run) -> list[Drawing]:
    """One per distinct network, as stored: ``drawings/<variant>`` of its first variant, or ``drawings/<topology>``."""
    folder = run.path / "drawings"
    networks: dict[str, list[str]] = defaultdict(list)
    for name, variant in run.variants.items():
        networks[json.dumps(variant["topology"], sort_keys=True)].append(name)
    drawings = []
    for number, variants in enumerate(networks.values()):
        topology = run.variants[variants[0]]["topology"]["name"]
        names = (drawing_stem(variants[0]).removeprefix("drawings/"), topology)
        stems = [stem for stem in names if (folder / f"{stem}.svg").is_file()]
        image = _inline((folder / f"{stems[0]}.svg").read_text(), number) if stems else Markup("")
        text = folder / f"{stems[0] if stems else topology}.txt"
        drawings.append(Drawing(topology, tuple(variants), image, text.read_text() if text.is_file() else ""))
    return drawings


_ID = re.compile(r'\bid="([^"]+)"')
_ACTIVE = re.compile(r"<script\b.*?</script>|\son\w+=(\"[^\"]*\"|'[^']*')|<\?.*?\?>|<!.*?>", re.DOTALL | re.IGNORECASE)


def _inline(text: str, number: int) -> Markup:
    """A stored SVG made fit to stand in a page: nothing active, ids that are unique in the page."""
    text = _ACTIVE.sub("", text).replace("@media (prefers-color-scheme", "@media screen and (prefers-color-scheme")
    for name in set(_ID.findall(text)):
        unique = f"drawing{number}-{name}"
        text = text.replace(f'id="{name}"', f'id="{unique}"').replace(f"#{name})", f"#{unique})")
        text = text.replace(f'href="#{name}"', f'href="#{unique}"').replace(f'="{name}"', f'="{unique}"')
        text = re.sub(rf'(aria-\w+="(?:[^"]* )?){re.escape(name)}(?=[ "])', rf"\g<1>{unique}", text)
    return Markup(text[text.index("<svg") :] if "<svg" in text else "")
