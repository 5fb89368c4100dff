"""What became of the connections of a grid's cells: their fate, the bytes that were lost or wrong, and the verdict.

A trial whose connection broke is a result here. What could not be measured (INVALID) says nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from analysis.runs import Run

Row = Mapping[str, Any]
Outcome = Literal["met", "FAILED", "not evaluated"]


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of the connection of one VALID trial."""

    trial: int
    repetition: int
    seed: int
    fate: str
    """As :data:`testbed.orchestrator.grid.Fate`."""
    subflows: int | None
    sent_bytes: int
    """Of both directions, as those below."""
    missing_bytes: int
    """That did not arrive: of a connection that came to its end they are lost."""
    surplus_bytes: int
    """That arrived beyond what was sent: something came twice."""
    wrong: bool
    """Whether what arrived was not what was sent, or was the end of the stream when more had been sent."""
    first_wrong: int | None
    """Offset in the stream of the first byte that is not the one that was sent, or of the first one that is missing."""
    error: str | None

    @property
    def ended(self) -> bool:
        """Whether the stream was read to its end, so that what is missing is lost."""
        return self.fate in ("mptcp", "fallback", "tcp")


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of the grid with all its trials."""

    expected: Row
    """As in run.json: variant, row, column, fates, altered."""
    fates: tuple[Fate, ...]
    outcome: Outcome
    bad: tuple[Fate, ...]
    """The trials that are not as expected."""
    reason: str
    """Why it was not evaluated; empty otherwise."""
    excused: bool
    """Not evaluated because its trials are UNSUPPORTED here."""

    @property
    def worst(self) -> Fate | None:
        """The trial to look at: one that lost or changed bytes unexpectedly, else one of another unexpected fate."""
        wrong = [fate for fate in self.bad if fate.wrong]
        return next(iter([*wrong, *self.bad, *self.fates]), None)

    @property
    def counts(self) -> Counter[str]:
        """Fate -> trials."""
        return Counter(fate.fate for fate in self.fates)


def cells(run: Run) -> list[Cell]:
    """Every cell of the experiment's grid that the plan has, in order; none without a grid."""
    grid = run.experiment.get("grid")
    if not grid:
        return []
    trials = {row["trial"]: row for row in run.directory.read_table("trials").to_pylist()}
    flows: dict[str, list[tuple[Row, Row]]] = defaultdict(list)
    firsts = {name: variant["flows"][0]["name"] for name, variant in run.variants.items()}
    for row in run.directory.read_table("flows").sort_by("trial").to_pylist():
        trial = trials.get(row["trial"])
        if trial is not None and trial["verdict"] == "VALID" and row["flow"] == firsts.get(trial["variant"]):
            flows[trial["variant"]].append((trial, row))
    verdicts: dict[str, set[str]] = defaultdict(set)
    for trial in trials.values():
        verdicts[trial["variant"]].add(trial["verdict"])
    return [
        _cell(expected, flows[expected["variant"]], verdicts[expected["variant"]])
        for expected in grid["cells"]
        if expected["variant"] in run.variants
    ]


def _cell(expected: Row, rows: Sequence[tuple[Row, Row]], verdicts: set[str]) -> Cell:
    fates = tuple(fate_of(trial, flow) for trial, flow in rows)
    if not fates:
        reason = f"no valid trial ({', '.join(sorted(verdicts))})" if verdicts else "it has not run yet"
        return Cell(expected, (), "not evaluated", (), reason, verdicts == {"UNSUPPORTED"})
    bad = tuple(fate for fate in fates if not _is_right(expected, fate))
    return Cell(expected, fates, "FAILED" if bad else "met", bad, "", False)


def _is_right(expected: Row, fate: Fate) -> bool:
    return fate.fate in expected["fates"] and (not fate.wrong or fate.fate in expected["altered"])


def fate_of(trial: Row, flow: Row) -> Fate:
    """The fate of a flow from its row of ``flows`` and that of ``trials``."""
    ways = [(flow[f"bytes_sent_{way}"], flow[f"bytes_received_{way}"], flow[f"first_wrong_{way}"]) for way in _WAYS]
    missing = [max(0, (sent or 0) - (received or 0)) for sent, received, _ in ways]
    wrong = flow["integrity"] == "mismatch"
    return Fate(
        trial=trial["trial"],
        repetition=trial["repetition"],
        seed=int(trial["seed"]),
        fate=_word(flow, wrong),
        subflows=flow["subflows"],
        sent_bytes=sum(sent or 0 for sent, _, _ in ways),
        missing_bytes=sum(missing),
        surplus_bytes=sum(max(0, (received or 0) - (sent or 0)) for sent, received, _ in ways),
        wrong=wrong,
        first_wrong=_first_wrong(ways, missing) if wrong else None,
        error=flow["error"],
    )


_WAYS = ("upload", "download")


def _first_wrong(ways: Sequence[tuple[int | None, int | None, int | None]], missing: Sequence[int]) -> int | None:
    """Of the direction that has one; a stream that ended early is wrong from its end on."""
    known = [first for _, _, first in ways if first is not None]
    short = [received or 0 for (_, received, _), count in zip(ways, missing, strict=True) if count]
    return next(iter([*known, *short]), None)


def _word(flow: Row, wrong: bool) -> str:
    """What became of the connection; one whose stream was read to its end, whatever was in it, has come to its end."""
    first_wrong = flow["first_wrong_upload"] is not None or flow["first_wrong_download"] is not None
    cut_short = wrong and not first_wrong  # all that arrived was right, and the end of the stream came too early
    if flow["error_kind"] == "connect":
        return "no connection"
    if not flow["complete"] and not cut_short and flow["error_kind"] != "integrity":
        return "reset" if flow["error_kind"] == "peer" else "unfinished"
    if str(flow["implementation"]).endswith("-tcp"):
        return "tcp"
    return "fallback" if flow["fallback"] or flow["in_force"] == "fallback" else "mptcp"
