"""summary.json: the numbers of a report for programs; numeric values, units, n, interval."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from analysis.matrix import matrix_of
from analysis.report import machine
from analysis.report.answer import headline
from analysis.report.claim_lines import claim_lines
from analysis.report.findings import MOST_VARIANTS, Metric, VariantFinding
from analysis.report.grid_table import grid_summary
from analysis.report.matrix_section import matrix_summary
from analysis.runs import Run
from analysis.verdict import Verdict, exit_code

SUMMARY_VERSION = 1


def summary_json(run: Run, findings: Sequence[VariantFinding], verdicts: Sequence[Verdict]) -> str:
    """The document, as text; the same run gives the same text."""
    document = run.document
    matrix = matrix_of(run)
    crowded = matrix is not None and len(findings) > MOST_VARIANTS
    content = {
        "summary_version": SUMMARY_VERSION,
        "experiment": run.experiment["name"],
        "question": run.experiment["question"],
        "answer": headline(run, verdicts)[1],
        "exit_code": exit_code(run, verdicts),
        "run": {
            name: document.get(name)
            for name in ("digest", "state", "started_utc", "finished_utc", "backend", "seed", "source", "kernel")
        },
        "trials": {
            "planned": len(document["plan"]),
            **{word: sum(finding.counts[word] for finding in findings) for word in _WORDS},
        },
        "machine": machine.as_json(run),
        "claims": [
            {"id": line.id, "title": line.title, "verdict": line.word, "evidence": line.count}
            for line in claim_lines(run, verdicts)
        ],
        "expectations": [_expectation(verdict) for verdict in verdicts],
        "grid": grid_summary(run),
        "matrix": None if matrix is None else matrix_summary(matrix),
        "variants": [] if crowded else [_variant(finding) for finding in findings],
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


_WORDS = ("VALID", "INVALID", "UNSUPPORTED", "missing")


def _expectation(verdict: Verdict) -> Mapping[str, Any]:
    return {
        **verdict.expectation,
        "outcome": verdict.outcome,
        "value": verdict.value,
        "unit": verdict.unit,
        "absolute": verdict.absolute,
        "reference": verdict.reference,
        "reference_variant": verdict.reference_variant,
        "reference_trial": verdict.reference_trial,
        "n": verdict.n,
        "low": None if verdict.interval is None else verdict.interval.low,
        "high": None if verdict.interval is None else verdict.interval.high,
        "source": verdict.source,
        "reason": verdict.reason,
    }


def _variant(finding: VariantFinding) -> Mapping[str, Any]:
    return {
        "name": finding.name,
        "summary": finding.summary,
        "trials": {word: finding.counts[word] for word in _WORDS},
        "fallback": {"n": len(finding.fallbacks), "of": finding.counts["VALID"], "trials": list(finding.fallbacks)},
        "flows": {
            flow: {name: _metric(metric) for name, metric in metrics.items()} for flow, metrics in finding.flows.items()
        },
        "derived": {name: _metric(metric) for name, metric in finding.derived.items()},
        "aggregation_benefit_against": list(finding.alone),
    }


def _metric(metric: Metric) -> Mapping[str, Any]:
    interval = metric.interval
    return {
        "unit": metric.unit,
        "n": interval.n,
        "median": interval.estimate,
        "low": interval.low,
        "high": interval.high,
        "level": interval.level,
        "method": interval.method,
        "trials": list(metric.trials),
        "values": list(metric.values),
    }
