"""Where to look and what to type: captures, logs, and the command that carries out exactly this cell again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from analysis.interop.cells import CellResult, TrialResult
from analysis.runs import Run


def replay_command(run: Run, cell: CellResult) -> str:
    """``testbed matrix ... --clients linux --servers userspace --tests join``: seed and repetitions included."""
    there = run.document.get("ran_on") or run.document  # on another machine: its name, too
    words = ["testbed", "matrix", "--backend", there["backend"]]
    words += ["--clients", cell.client, "--servers", cell.server, "--tests", cell.test["name"]]
    words += ["--seed", str(run.document["seed"])]
    shown = cell.shown
    if shown is not None and shown.repetition:
        words += ["--repeat", str(shown.repetition + 1)]
    for end in _adapters(run, cell):
        words += ["--adapter", f"{end['adapter']}={shlex.join(end['command'])}"]
    return shlex.join(words)


def _adapters(run: Run, cell: CellResult) -> list[Mapping[str, Any]]:
    if cell.variant not in run.variants:
        return []
    flow = run.variants[cell.variant]["flows"][0]
    ends = {flow[side].get("adapter"): flow[side] for side in ("client", "server")}
    return [end for name, end in ends.items() if name]


def captures(run: Run, trial: TrialResult) -> tuple[str, ...]:
    """Files in the run directory; none when none were taken."""
    return _files(run, "captures", trial, "*.pcap*")


def logs(run: Run, trial: TrialResult) -> tuple[str, ...]:
    """The commands that built the network, and what an endpoint wrote down; none in virtual time."""
    return _files(run, "logs", trial, "*")


def _files(run: Run, kind: str, trial: TrialResult, pattern: str) -> tuple[str, ...]:
    folder = run.path / kind / f"{trial.trial:04d}"
    return tuple(
        str(path.relative_to(run.path))
        for path in sorted(folder.rglob(pattern))
        if path.is_file() and path.stat().st_size
    )
