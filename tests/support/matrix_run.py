"""Run directories of the matrix whose trials were never run: each is as its experiment wants it, or as is told.

``outcomes``: variant -> what becomes of it, one word for all trials or a sequence, one for each: ``pass``;
``fallback``, ``reset`` and other fates; ``untold`` (neither end says what it was); ``wrong`` (a byte); ``unmet`` (its
first bound is not met); ``INVALID``, ``UNSUPPORTED``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from synthetic_run import Rows, run_json

from testbed.orchestrator import plan as planning
from testbed.orchestrator.plan import Trial
from testbed.orchestrator.spec import Experiment, Variant, digest
from testbed.record import RunDirectory, TrialRecord
from topologies.middlebox import Watch

Outcomes = Mapping[str, str | Sequence[str]]
SECOND = 1_000_000_000


def make_matrix_run(
    parent: Path,
    experiment: Experiment,
    outcomes: Outcomes | None = None,
    *,
    stop_after: int | None = None,
    document: Mapping[str, Any] | None = None,
) -> Path:
    """Its path; it is complete unless it stops early. ``document``: keys of run.json that are otherwise."""
    trials = planning.trials(experiment)
    content = run_json(experiment) | {"plan": [trial.as_row() for trial in trials], "overrides": {}}
    content["command"] = ["testbed", "matrix", "--backend", "mininet"]
    run = RunDirectory.create(parent, experiment.name, digest(experiment), {**content, **(document or {})})
    for trial in trials[:stop_after]:
        told = (outcomes or {}).get(trial.variant, "pass")
        word = told if isinstance(told, str) else told[trial.repetition % len(told)]
        folder = run.begin_trial(trial.number)
        (folder / "logs" / "commands.txt").write_text("ip link add client-eth0 type veth\n")
        for name in ("client-eth0", "server-eth0"):
            (folder / "captures" / f"{name}.pcap").write_bytes(b"\xa1\xb2\xc3\xd4" + bytes(20))
        run.store_trial(TrialRecord(trial.number, rows(experiment, trial, word)))
    if stop_after is None:
        run.complete()
    run.close()
    return run.path


def rows(experiment: Experiment, trial: Trial, word: str) -> Rows:
    variant = experiment.variant(trial.variant)
    verdict = word if word in ("INVALID", "UNSUPPORTED") else "VALID"
    reasons = {"INVALID": "calibration: path1 has 8.8 instead of 10 Mbit/s", "UNSUPPORTED": "this kernel is too old"}
    row = {
        **trial.as_row(),
        "experiment": experiment.name,
        "verdict": verdict,
        "reason": reasons.get(verdict, ""),
        "backend": "mininet",
        "started_utc": "2026-01-01T12:00:00.000Z",
        "duration_ns": 2 * SECOND,
    }
    if verdict != "VALID":
        return {"trials": [row]}
    return {
        "trials": [row],
        "flows": [_flow(experiment, variant, trial, word)],
        "middleboxes": _watches(experiment, variant, trial, word == "unmet"),
    }


def _flow(experiment: Experiment, variant: Variant, trial: Trial, word: str) -> dict[str, Any]:
    assert experiment.grid is not None
    (cell,) = [cell for cell in experiment.grid.cells if cell.variant == variant.name]
    fates = ("mptcp", "fallback", "tcp", "reset", "unfinished")
    fate = word if word in fates else "mptcp" if word == "untold" else cell.fates[0]
    flow = variant.flows[0]
    goodput = 18e6 + 1e5 * trial.repetition if not flow.client.is_plain_tcp else 9.4e6
    return {
        "trial": trial.number,
        "flow": flow.name,
        "implementation": flow.client.implementation,
        "server_implementation": flow.server.implementation,
        "application": flow.application.kind,
        "client_host": "client",
        "server_host": "server",
        "family": 4,
        "integrity": "mismatch" if word == "wrong" else "ok",
        "first_wrong_upload": 700 if word == "wrong" else None,
        "bytes_sent_upload": 1_000_000,
        "bytes_received_upload": 1_000_000,
        "goodput_bit_s": goodput,
        "fallback": None if word == "untold" else fate == "fallback",
        "in_force": flow.client.implementation,
        "complete": fate in ("mptcp", "fallback", "tcp") and word != "wrong",
        "error_kind": {"reset": "peer", "unfinished": "deadline"}.get(fate, "integrity" if word == "wrong" else None),
        "error": "server: the connection broke: Connection reset by peer" if fate == "reset" else None,
    }


def _watches(experiment: Experiment, variant: Variant, trial: Trial, unmet: bool) -> list[dict[str, Any]]:
    """Counts with which every bound is met, or the first one is not."""
    bounds = [each for each in experiment.expectations if each.variant == variant.name]
    counts = {each.metric: int(each.at_least if each.at_least is not None else 0) for each in bounds}
    if unmet:
        counts[bounds[0].metric] = 0 if bounds[0].at_least is not None else 1
    return [
        {
            "trial": trial.number,
            "link": link.name,
            "place": "link",
            "number": number,
            "middlebox": box.text(),
            "direction": "forward",
            "seen": 500,
            "matched": counts.get(f"watched:{box.name}@{link.name}", 0),
            "changed": 0,
            "dropped": 0,
            "made": 0,
            "delayed": 0,
        }
        for link in variant.topology.links
        for number, box in enumerate(link.middleboxes, start=1)
        if isinstance(box, Watch)
    ]
