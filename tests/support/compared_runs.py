"""Small run directories for comparisons: only what a comparison reads, with numbers that the test says."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from synthetic_run import run_json

from testbed.orchestrator.spec import Experiment, Flow, Variant, digest
from testbed.record import RunDirectory, TrialRecord
from topologies.two_path import two_path

Numbers = Callable[[str, int, int], Mapping[str, Any]]
"""(variant, repetition, seed) -> columns of ``flows``, and ``counters``: (host, name) -> growth."""

MPTCP = ("userspace",)


def experiment(names: Sequence[str] = MPTCP, repetitions: int = 8, **changes: Any) -> Experiment:
    network = two_path()
    made = Experiment(
        name="compared",
        question="What does it carry?",
        variants=tuple(Variant(name=name, summary=name, topology=network, flows=(Flow(),)) for name in names),
        repetitions=repetitions,
    )
    return dataclasses.replace(made, **changes)


def make(
    parent: Path,
    numbers: Numbers,
    asked: Experiment | None = None,
    *,
    document: Mapping[str, Any] | None = None,
    verdicts: Mapping[int, tuple[str, str]] | None = None,
    stop_after: int | None = None,
    trial: Mapping[str, Any] | None = None,
) -> Path:
    """A run of the simulator, unless ``document`` (keys of run.json) says otherwise; ``trial``: columns of each."""
    asked = asked or experiment()
    content = {**run_json(asked), "backend": "sim", **(document or {})}
    run = RunDirectory.create(parent, asked.name, digest(asked), content)
    for entry in content["plan"][:stop_after]:
        verdict, reason = (verdicts or {}).get(entry["trial"], ("VALID", ""))
        found = dict(numbers(entry["variant"], entry["repetition"], entry["seed"])) if verdict == "VALID" else {}
        tables = _tables(entry, verdict, reason, content["backend"], found)
        tables["trials"][0].update(trial or {})
        run.store_trial(TrialRecord(entry["trial"], tables))
    if stop_after is None:
        run.complete()
    run.close()
    return run.path


def _tables(
    entry: Mapping[str, Any], verdict: str, reason: str, backend: str, found: dict[str, Any]
) -> dict[str, list[dict[str, Any]]]:
    trial = entry["trial"]
    counters = found.pop("counters", {})
    row = {
        "trial": trial,
        "experiment": "compared",
        "variant": entry["variant"],
        "repetition": entry["repetition"],
        "seed": entry["seed"],
        "verdict": verdict,
        "reason": reason,
        "backend": backend,
        "realisation": "virtual time",
        "started_utc": "2026-01-01T12:00:00.000Z",
        "duration_ns": 1,
    }
    flow = {
        "trial": trial,
        "flow": "main",
        "implementation": "userspace",
        "client_host": "client",
        "server_host": "server",
        "integrity": "ok",
        "complete": True,
        **found,
    }
    counted = [
        {"trial": trial, "host": host, "counter": name, "before": 0, "after": growth}
        for (host, name), growth in counters.items()
    ]
    return {"trials": [row], "flows": [flow] if verdict == "VALID" else [], "counters": counted}
