"""Where to look and what to type: captures, logs, and the command that carries out exactly this cell again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from analysis.interop.cells import CellResult, MatrixResult
from analysis.runs import Run


def replay_command(matrix: MatrixResult, cell: CellResult) -> str:
    """``testbed matrix ... --clients linux --servers userspace --tests join``: seed and repetitions included."""
    words = ["testbed", "matrix"]
    if cell.run is None:  # the names say where
        words += ["--clients", cell.client, "--servers", cell.server, "--tests", cell.test["name"]]
        return shlex.join(words)
    document = matrix.runs[cell.run].document
    there = document.get("ran_on") or document  # on another machine: its name, too
    words += ["--backend", there["backend"]]
    words += ["--clients", cell.asked_as[0], "--servers", cell.asked_as[1], "--tests", cell.test["name"]]
    words += ["--seed", str(document["seed"])]
    shown = cell.shown
    if shown is not None and shown.repetition:
        words += ["--repeat", str(shown.repetition + 1)]
    for end in _adapters(matrix.runs[cell.run], cell):
        words += ["--adapter", f"{end['adapter']}={shlex.join(end['command'])}"]
    return shlex.join(words)


def _adapters(run: Run, cell: CellResult) -> list[Mapping[str, Any]]:
    if cell.variant not in run.variants:
        return []
    flow = run.variants[cell.variant]["flows"][0]
    ends = {flow[side].get("adapter"): flow[side] for side in ("client", "server")}
    return [end for name, end in ends.items() if name]


def captures(matrix: MatrixResult, cell: CellResult) -> tuple[str, ...]:
    """Of the trial that is shown, as seen from the files of the matrix; none when none were taken."""
    return _files(matrix, cell, "captures", "*.pcap*")


def logs(matrix: MatrixResult, cell: CellResult) -> tuple[str, ...]:
    """The commands that built the network, and what an endpoint wrote down; none in virtual time."""
    return _files(matrix, cell, "logs", "*")


def _files(matrix: MatrixResult, cell: CellResult, kind: str, pattern: str) -> tuple[str, ...]:
    if cell.run is None or cell.shown is None:
        return ()
    run, link = matrix.runs[cell.run], matrix.links[cell.run]
    folder = run.path / kind / f"{cell.shown.trial:04d}"
    return tuple(
        f"{link}{path.relative_to(run.path)}"
        for path in sorted(folder.rglob(pattern))
        if path.is_file() and path.stat().st_size
    )
