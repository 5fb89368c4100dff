"""matrix.json: the shape that programs know from the QUIC interop runner, with numbers instead of words.

``results`` and ``measurements`` have a list for each pair, the servers of the first client first. Beyond that shape a
result says why, in which trials of which of ``runs``, and how to do it again; a measurement has ``value``, ``unit``,
``n``, the interval of its median and all its values.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from typing import Any

from analysis.interop import evidence
from analysis.interop.cells import CellResult, MatrixResult, Result

WORDS: Mapping[Result, str] = {
    "pass": "succeeded",
    "fail": "failed",
    "unsupported": "unsupported",
    "invalid": "invalid",
}
"""Result -> the interop runner's word; it has none for what could not be measured."""


def matrix_json(matrix: MatrixResult) -> str:
    """The document, as text."""
    return json.dumps(_document(matrix), indent=1, ensure_ascii=False) + "\n"


def _document(matrix: MatrixResult) -> Mapping[str, Any]:
    ends = (*matrix.clients, *matrix.servers)
    pairs = [(client["name"], server["name"]) for client in matrix.clients for server in matrix.servers]
    documents = [run.document for run in matrix.runs]
    starts = [_epoch_s(document["started_utc"]) for document in documents]
    ends_s = [_epoch_s(document.get("finished_utc")) for document in documents]
    finished = [end_s for end_s in ends_s if end_s is not None]
    return {
        "start_time": min((start for start in starts if start is not None), default=None),
        "end_time": max(finished) if finished and len(finished) == len(documents) else None,
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
        "results": [[_result(matrix, cell) for cell in matrix.of_pair(*pair, "test")] for pair in pairs],
        "measurements": [[_measured(matrix, cell) for cell in matrix.of_pair(*pair, "measurement")] for pair in pairs],
        "summary": matrix.counts(),
        **(_of_one(documents[0]) if len(documents) == 1 else {}),
        "command": list(matrix.command),
        "notes": list(matrix.notes),
        "runs": [
            {"path": link or ".", **_of_one(document), "started_utc": document["started_utc"]}
            for link, document in zip(matrix.links, documents, strict=True)
        ],
    }


def _of_one(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Whose numbers they are. ``ran_on``: the other machine, null when it was this one."""
    kept = {name: document[name] for name in ("backend", "seed", "kernel", "source")}
    return {**kept, "ran_on": document.get("ran_on")}


def _result(matrix: MatrixResult, cell: CellResult) -> Mapping[str, Any]:
    return {
        "abbr": cell.test["abbreviation"],
        "name": cell.test["name"],
        "result": WORDS[cell.result],
        "reason": cell.reason,
        "flaky": cell.is_flaky,
        "passed": cell.passed,
        "n": len(cell.trials),
        "trials": [trial.trial for trial in cell.trials],
        "run": cell.run,
        "captures": list(evidence.captures(matrix, cell)),
        "logs": list(evidence.logs(matrix, cell)),
        "command": evidence.replay_command(matrix, cell) if cell.is_asked else None,
    }


def _measured(matrix: MatrixResult, cell: CellResult) -> Mapping[str, Any]:
    found = cell.measurement
    if found is None:
        return {**_result(matrix, cell), "details": cell.reason, "value": None}
    low, high = found.median.low, found.median.high
    return {
        **_result(matrix, cell),
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
