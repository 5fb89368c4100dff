"""A comparison for programs: compare.json and compare.csv, numbers with units, n, interval, test and q."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from analysis.comparison.contrast import Contrast
from analysis.comparison.likeness import machine_fingerprint
from analysis.comparison.runs import Comparison
from analysis.report import compare_words as words
from analysis.report.compare_page import notes
from analysis.runs import Run
from analysis.statistics import Interval

COMPARE_VERSION = 1

COLUMNS = (
    "series",
    "variant",
    "flow",
    "metric",
    "words",
    "unit",
    "better",
    "kind",
    "paired",
    "n",
    "without_value",
    "reference",
    "reference_low",
    "reference_high",
    "candidate",
    "candidate_low",
    "candidate_high",
    "ratio",
    "ratio_low",
    "ratio_high",
    "difference",
    "difference_low",
    "difference_high",
    "effect",
    "test",
    "p",
    "q",
    "dispersion",
    "detectable",
    "verdict",
    "regression",
    "reason",
    "note",
)
"""Of compare.csv, and the keys of a series in compare.json. Empty (null): there is none."""


def as_json(comparison: Comparison, command: Sequence[str]) -> str:
    """The document; the same runs give the same text."""
    said = words.answer(comparison)
    content = {
        "compare_version": COMPARE_VERSION,
        "answer": said.line,
        "numbers": said.numbers,
        "reference": _run(comparison.reference),
        "candidate": _run(comparison.candidate),
        "same_run": comparison.same_run,
        "unlike": list(comparison.unlike),
        "kernels": list(comparison.kernels),
        "notes": notes(comparison),
        "fdr": comparison.fdr,
        "smallest": comparison.smallest,
        "command": list(command),
        "variants": [
            {
                "reference": pair.reference,
                "candidate": pair.candidate,
                "name": pair.name,
                "paired": pair.paired,
                "planned": list(pair.planned),
                "valid": list(pair.valid),
                "n": pair.n,
                "lost": list(pair.lost),
                "differences": list(pair.differences),
            }
            for pair in comparison.pairs
        ],
        "left_out": list(comparison.left_out),
        "counts": {
            "series": len(comparison.contrasts),
            "compared": len(comparison.compared),
            "changes": len(comparison.changes),
            "regressions": len(comparison.regressions),
        },
        "series": [row(one) for one in words.in_order(comparison)],
    }
    return json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def as_csv(comparison: Comparison) -> str:
    """One line a series, in the order of the page."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for one in words.in_order(comparison):
        writer.writerow(row(one))
    return text.getvalue()


def row(one: Contrast) -> Mapping[str, Any]:
    """A series as a flat object with the keys :data:`COLUMNS`."""
    return {
        "series": one.series,
        "variant": one.variant,
        "flow": one.flow,
        "metric": one.metric,
        "words": words.subject(one),
        "unit": one.unit,
        "better": one.better,
        "kind": one.kind,
        "paired": one.paired,
        "n": one.n,
        "without_value": one.without_value,
        **_three("reference", one.reference if one.n else None),
        **_three("candidate", one.candidate if one.n else None),
        **_three("ratio", one.ratio),
        **_three("difference", one.difference),
        "effect": _finite(one.effect),
        "test": one.test,
        "p": _finite(one.p),
        "q": _finite(one.q),
        "dispersion": _finite(one.dispersion),
        "detectable": _finite(one.detectable),
        "verdict": one.verdict,
        "regression": one.is_regression,
        "reason": one.reason,
        "note": one.note,
    }


def _three(name: str, interval: Interval | None) -> Mapping[str, float | None]:
    if interval is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    return {
        name: _finite(interval.estimate),
        f"{name}_low": _finite(interval.low),
        f"{name}_high": _finite(interval.high),
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _run(run: Run) -> Mapping[str, Any]:
    document = run.document
    return {
        "path": str(run.path),
        "experiment": run.experiment["name"],
        **{name: document.get(name) for name in ("digest", "state", "started_utc", "backend", "seed", "source")},
        "kernel": document["kernel"].get("release"),
        "machine_fingerprint": machine_fingerprint(document),
    }
