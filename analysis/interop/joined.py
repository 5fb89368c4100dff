"""The matrices of several runs as one: each kernel asked its own cells, in a machine of its own.

Read from run directories alone. An end that is *the kernel of the machine* (``linux``) is called by that kernel
(``linux@6.12``), for in a matrix of several there is more than one. A cell is test, client and server; where two runs
have it, the one that asked counts before the one that could not, then the later one. What no run has is unsupported, or
what the caller says of it.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.interop.cells import CellResult, MatrixResult, Result, Row, matrix_of
from analysis.runs import Run
from testbed.record import RecordError

OF_A_KERNEL = ("linux", "linux-tcp")
"""Ends that are of the kernel of the machine, as experiments/interop calls them."""
NOT_ASKED = "none of these runs asked it"
Pair = tuple[str, str]
_Place = tuple[str, str, str]
"""Name of a test, client and server."""


@dataclass(frozen=True, slots=True)
class Absent:
    """Why no run has the cells of a pair."""

    result: Result
    """``unsupported``, or ``invalid``: it ought to have been asked."""
    reason: str


def joined(
    runs: Sequence[Run],
    directory: Path,
    *,
    absent: Mapping[Pair, Absent] | None = None,
    command: Sequence[str] = (),
) -> MatrixResult:
    """The matrix of all of them, for files in ``directory``.

    Raises RecordError when a run has no matrix, or when one test asks different things in two runs.
    """
    parts = [_part(number, run) for number, run in enumerate(runs)]
    if not parts:
        raise RecordError("no run was given that has a matrix: name run directories of testbed matrix")
    found: dict[_Place, CellResult] = {}
    twice = 0
    for part in parts:
        for cell in part.cells:
            place = cell.test["name"], cell.client, cell.server
            other = found.get(place)
            if other is not None and other.is_asked and cell.is_asked:
                twice += 1
            if other is None or _counts_before(cell, other, runs):
                found[place] = cell
    tests = _united([part.tests for part in parts], [run.path for run in runs])
    clients = _in_order([part.clients for part in parts], absent or {}, 0)
    servers = _in_order([part.servers for part in parts], absent or {}, 1)
    cells = tuple(
        found.get((test["name"], client["name"], server["name"]))
        or _absent(test, client["name"], server["name"], absent or {})
        for client in clients
        for server in servers
        for test in tests
    )
    notes = [f"{twice} cells were asked in more than one of these runs: the later one counts."] if twice else []
    notes += [f"{run.path.name} is not complete." for run in runs if not run.is_complete]
    return MatrixResult(
        tests=tests,
        clients=clients,
        servers=servers,
        cells=cells,
        runs=tuple(runs),
        links=tuple(f"{os.path.relpath(run.path.resolve(), directory.resolve())}/" for run in runs),
        command=tuple(command),
        notes=tuple(notes),
    )


def name_at(name: str, run: Mapping[str, Any], side: int) -> str:
    """By what a matrix of several runs knows an end: ``linux`` of a run in vm:6.12 is ``linux@6.12``.

    ``run`` is its run.json; ``side`` 0 is the client, 1 the server (of two machines each has its own kernel).
    """
    if name not in OF_A_KERNEL:
        return name
    there = (run.get("ran_on") or {}).get("backend") or run["backend"]
    kind, _, rest = str(there).partition(":")
    if kind == "vm":
        word = rest.removesuffix("/mininet")
        words = [word] if "/" in word else word.split("+")
        return f"{name}@{_lasting(words[min(side, len(words) - 1)], run, is_away=side == 1 and len(words) == 2)}"
    return f"{name}@{run['kernel'].get('release') or 'unknown'}"


def _lasting(word: str, run: Mapping[str, Any], *, is_away: bool) -> str:
    """``newest`` is another kernel next month: by its release it is ``7.3``."""
    if word.removeprefix("debian:") != "newest":
        return word
    kernel = ((run.get("away") or {}) if is_away else run).get("kernel") or {}
    found = re.match(r"\d+\.\d+", str(kernel.get("release")))
    return found[0] if found else word


def age(kernel: str) -> tuple[int, ...]:
    """For sorting, the oldest first: the numbers that a word for a kernel begins with; one without comes last."""
    found = re.match(r"\d+(\.\d+)*", kernel)
    return tuple(int(part) for part in found[0].split(".")) if found else (1 << 30,)


def began(run: Run) -> str:
    """When, in UTC, by the clock of the machine that asked for it: that of a guest on virtual time is fiction."""
    heard = run.directory.read_table("trials")["host_started_utc"].drop_null()
    return str(heard[0]) if len(heard) else str(run.document["started_utc"])


def _part(number: int, run: Run) -> MatrixResult:
    """The matrix of one run, with names that hold beside those of others."""
    matrix = matrix_of(run)
    if matrix is None:
        raise RecordError(f"{run.path} has no matrix: it is a run of {run.experiment['name']}, not of testbed matrix")
    names = [{end["name"]: name_at(end["name"], run.document, side) for end in ends} for side, ends in _sides(matrix)]
    return dataclasses.replace(
        matrix,
        clients=tuple({**end, "name": names[0][end["name"]]} for end in matrix.clients),
        servers=tuple({**end, "name": names[1][end["name"]]} for end in matrix.servers),
        cells=tuple(
            dataclasses.replace(cell, client=names[0][cell.client], server=names[1][cell.server], run=number)
            for cell in matrix.cells
        ),
    )


def _sides(matrix: MatrixResult) -> Iterable[tuple[int, tuple[Row, ...]]]:
    return enumerate((matrix.clients, matrix.servers))


def _counts_before(cell: CellResult, other: CellResult, runs: Sequence[Run]) -> bool:
    if cell.is_asked != other.is_asked:
        return cell.is_asked
    assert cell.run is not None
    assert other.run is not None
    return began(runs[cell.run]) >= began(runs[other.run])


def _united(groups: Sequence[Sequence[Row]], paths: Sequence[Path]) -> tuple[Row, ...]:
    """The tests of all, in order. Raises RecordError when one of them asks different things."""
    found: dict[str, tuple[Row, Path]] = {}
    for group, path in zip(groups, paths, strict=True):
        for test in group:
            known, where = found.setdefault(test["name"], (test, path))
            if known != test:
                key = next(key for key in {**known, **test} if known.get(key) != test.get(key))
                raise RecordError(
                    f"test {test['name']} asks different things in {where} and {path} ({key}): they were made by "
                    "different versions of the testbed; run the older one again"
                )
    return tuple(test for test, _ in found.values())


def _in_order(groups: Sequence[Sequence[Row]], absent: Mapping[Pair, Absent], side: int) -> tuple[Row, ...]:
    """Kernels before what is of none, the oldest first, ``linux`` of all before ``linux-tcp``; else as they come."""
    found = {end["name"]: end for group in groups for end in group}
    for pair in absent:
        found.setdefault(pair[side], {"name": pair[side], "summary": "not in these runs", "url": ""})
    first = {name: number for number, name in enumerate(found)}

    def place(name: str) -> tuple[int, int, tuple[int, ...], int]:
        base, _, kernel = name.partition("@")
        is_kernel = bool(kernel) and base in OF_A_KERNEL
        return (0, OF_A_KERNEL.index(base), age(kernel), first[name]) if is_kernel else (1, 0, (), first[name])

    return tuple(found[name] for name in sorted(found, key=place))


def _absent(test: Row, client: str, server: str, absent: Mapping[Pair, Absent]) -> CellResult:
    told = absent.get((client, server), Absent("unsupported", NOT_ASKED))
    return CellResult(test, client, server, "", told.result, told.reason, ())
