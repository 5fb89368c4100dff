"""Several kernels for programs: compare.json and compare.csv, numbers with units, n, interval, verdict and q."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from analysis.comparison.kernels import Cell, KernelComparison, KernelRun, Measure
from analysis.comparison.likeness import machine_fingerprint
from analysis.report.compare_kernels_page import KernelsPage
from analysis.report.wording import metric_name
from analysis.statistics import Interval
from analysis.verdict import Verdict, exit_code

COMPARE_KERNELS_VERSION = 1

COLUMNS = (
    "variant",
    "flow",
    "metric",
    "words",
    "unit",
    "kernel",
    "n",
    "value",
    "low",
    "high",
    "missing",
    "ratio",
    "ratio_low",
    "ratio_high",
    "verdict",
    "regression",
    "q",
    "reason",
)
"""Of compare.csv: one line for a measure on a kernel; the ratio, the verdict and q are against the first kernel. Empty:
there is none."""


def as_json(comparison: KernelComparison, page: KernelsPage) -> str:
    """The document; the same runs give the same text."""
    content = {
        "compare_kernels_version": COMPARE_KERNELS_VERSION,
        "experiment": comparison.kernels[0].run.experiment["name"],
        "answer": page.line,
        "sentences": list(page.sentences),
        "notes": list(page.notes),
        "kernels": [_kernel(kernel) for kernel in comparison.kernels],
        "without_a_run": [{"kernel": label, "reason": why} for label, why in comparison.absent],
        "against_the_first": [
            {
                "kernel": each.label,
                "answer": each.answer.line,
                "numbers": each.answer.numbers,
                "page": each.page or None,
            }
            for each in page.against
        ],
        "measures": [_measure(comparison, each) for each in comparison.measures],
        "expectations": [
            {
                **each.expectation,
                "differs": each.differs,
                "outcomes": {
                    kernel.label: _outcome(verdict)
                    for kernel, verdict in zip(comparison.kernels, each.verdicts, strict=True)
                },
            }
            for each in comparison.expected
        ],
        "capabilities": [
            {
                "name": each.name,
                "differs": each.differs,
                "values": dict(zip(page.labels, each.values, strict=True)),
            }
            for each in comparison.abilities
        ],
        "commands": list(page.commands),
    }
    return json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def as_csv(comparison: KernelComparison) -> str:
    """One line for each measure on each kernel."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for measure in comparison.measures:
        for kernel, cell in zip(comparison.kernels, measure.cells, strict=True):
            writer.writerow({**_of(measure), "kernel": kernel.label, **_cell(cell)})
    return text.getvalue()


def _kernel(kernel: KernelRun) -> Mapping[str, Any]:
    document = kernel.run.document
    told = {name: value for name, value in (document.get("ran_on") or {}).items() if name != "capabilities"}
    return {
        "kernel": kernel.label,
        "release": kernel.release or None,
        "build": document["kernel"].get("version"),
        "path": str(kernel.run.path),
        **{name: document.get(name) for name in ("digest", "state", "started_utc", "seed", "source")},
        "ran_on": told or None,
        "machine_fingerprint": machine_fingerprint(document),
        "exit_code": exit_code(kernel.run, kernel.verdicts),
    }


def _of(measure: Measure) -> dict[str, Any]:
    return {
        "variant": measure.variant,
        "flow": measure.flow,
        "metric": measure.metric,
        "words": metric_name(measure.metric),
        "unit": measure.unit,
    }


def _measure(comparison: KernelComparison, measure: Measure) -> Mapping[str, Any]:
    cells = zip(comparison.kernels, measure.cells, strict=True)
    return {**_of(measure), "kernels": {kernel.label: _cell(cell) for kernel, cell in cells}}


def _cell(cell: Cell) -> Mapping[str, Any]:
    one = cell.contrast
    return {
        "n": cell.value.n if cell.value else 0,
        **_three(("value", "low", "high"), cell.value),
        "missing": cell.missing,
        **_three(("ratio", "ratio_low", "ratio_high"), one.ratio if one else None),
        "verdict": one.verdict if one else None,
        "regression": one.is_regression if one else None,
        "q": _finite(one.q) if one else None,
        "reason": one.reason if one else None,
    }


def _outcome(verdict: Verdict | None) -> Mapping[str, Any] | None:
    if verdict is None:
        return None
    return {
        "outcome": verdict.outcome,
        "value": _finite(verdict.value),
        "unit": verdict.unit,
        "n": verdict.n,
        "reason": verdict.reason,
    }


def _three(names: Sequence[str], interval: Interval | None) -> Mapping[str, float | None]:
    found = (interval.estimate, interval.low, interval.high) if interval else (None, None, None)
    return {name: _finite(value) for name, value in zip(names, found, strict=True)}


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
