"""matrix.json: the shape that programs know from the QUIC interop runner, with numbers instead of words.

``results`` and ``measurements`` have a list for each pair, the servers of the first client first. Beyond that shape a
result says why, in which trials, and how to do it again; a measurement has ``value``, ``unit``, ``n``, the interval of
its median and all its values.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from typing import Any

from analysis.interop import evidence
from analysis.interop.cells import CellResult, MatrixResult, Result
from analysis.runs import Run

WORDS: Mapping[Result, str] = {
    "pass": "succeeded",
    "fail": "failed",
    "unsupported": "unsupported",
    "invalid": "invalid",
}
"""Result -> the interop runner's word; it has none for what could not be measured."""


def matrix_json(run: Run, matrix: MatrixResult) -> str:
    """The document, as text."""
    return json.dumps(_document(run, matrix), indent=1, ensure_ascii=False) + "\n"


def _document(run: Run, matrix: MatrixResult) -> Mapping[str, Any]:
    ends = (*matrix.clients, *matrix.servers)
    pairs = [(client["name"], server["name"]) for client in matrix.clients for server in matrix.servers]
    document = run.document
    return {
        "start_time": _epoch_s(document["started_utc"]),
        "end_time": _epoch_s(document.get("finished_utc")),
        "log_dir": "logs",
        "servers": [server["name"] for server in matrix.servers],
        "clients": [client["name"] for client in matrix.clients],
        "urls": {end["name"]: end["url"] for end in ends if end["url"]},
        "tests": {
            test["abbreviation"]: {
                "name": test["name"],
                "desc": test["summary"],
                "source": test["source"],
                "judged": test["judged"],
                "kind": test["kind"],
            }
            for test in matrix.tests
        },
        "results": [[_result(run, cell) for cell in matrix.of_pair(*pair, "test")] for pair in pairs],
        "measurements": [[_measured(run, cell) for cell in matrix.of_pair(*pair, "measurement")] for pair in pairs],
        "summary": matrix.counts(),
        "backend": document["backend"],
        "seed": document["seed"],
        "kernel": document["kernel"],
        "source": document["source"],
        "command": document["command"],
    }


def _result(run: Run, cell: CellResult) -> Mapping[str, Any]:
    shown = cell.shown
    return {
        "abbr": cell.test["abbreviation"],
        "name": cell.test["name"],
        "result": WORDS[cell.result],
        "reason": cell.reason,
        "flaky": cell.is_flaky,
        "passed": cell.passed,
        "n": len(cell.trials),
        "trials": [trial.trial for trial in cell.trials],
        "captures": list(evidence.captures(run, shown)) if shown is not None else [],
        "logs": list(evidence.logs(run, shown)) if shown is not None else [],
        "command": evidence.replay_command(run, cell) if cell.variant else None,
    }


def _measured(run: Run, cell: CellResult) -> Mapping[str, Any]:
    found = cell.measurement
    if found is None:
        return {**_result(run, cell), "details": cell.reason, "value": None}
    low, high = found.median.low, found.median.high
    return {
        **_result(run, cell),
        "details": f"{found.median.estimate:g} {found.unit}, n = {found.median.n}",
        "value": found.median.estimate,
        "unit": found.unit,
        "better": found.better or None,
        "low": low,
        "high": high,
        "interval": found.median.method,
        "values": list(found.values),
        "measure": found.measure,
        "source": found.source or None,
    }


def _epoch_s(utc: str | None) -> float | None:
    return datetime.datetime.fromisoformat(utc).timestamp() if utc else None
