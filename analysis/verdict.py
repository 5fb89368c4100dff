"""Expectations against measured values: met, FAILED, or not evaluated; and the exit code of a run.

Only VALID trials speak. What could not be measured (INVALID) or cannot run here (UNSUPPORTED) never makes an
expectation fail, and never lets it pass.

Precedence of the exit code, when several hold: 4 when not one trial could run here; 1 when an expectation FAILED, since
valid trials are evidence whatever happened to the others; 3 when something could not be measured (an INVALID trial, a
planned trial that is missing, an expectation without a number); else 0. Trials that are UNSUPPORTED beside others that
ran do not change it, as skipped tests do not.

Beside the experiment's own expectations stands one that every experiment has: what arrives is what was sent, and a
conversation on a true network comes to its end. It is mentioned only where a valid trial broke it. An experiment with a
grid says of each cell what may become of the connection and of its bytes, and that is judged instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from analysis.better import best_is
from analysis.fate import Cell, Fate, cells
from analysis.load import Run
from testbed.record import TABLES

Outcome = Literal["met", "FAILED", "not evaluated"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one expectation."""

    expectation: Mapping[str, Any]
    """As in run.json."""
    outcome: Outcome
    value: float | None
    """The statistic, divided by ``reference`` if relative."""
    unit: str
    """Of ``value``; ``x`` when relative."""
    absolute: float | None
    """The statistic itself; with ``relative_to_flow`` the metric in trial ``reference_trial``."""
    reference: float | None
    """The statistic of the best variant in ``relative_to``, or the metric of ``relative_to_flow`` in that trial."""
    reference_variant: str | None
    """The name of that variant, or flow."""
    n: int
    """Valid trials behind it."""
    reason: str
    """Why it was not evaluated; empty otherwise."""
    excused: bool = False
    """Not evaluated because the trials are UNSUPPORTED here."""
    reference_trial: int | None = None
    """With ``relative_to_flow``: the trial whose ratio is nearest to ``value``; the two flows' numbers are its."""


def evaluate(run: Run) -> list[Verdict]:
    """Each expectation of the experiment on variants of the plan, in order; then its grid, or what lost bytes or broke
    off."""
    flows = run.flows()
    verdicts = {name: set(group["verdict"]) for name, group in run.table("trials").groupby("variant")}
    own = [
        _evaluate_one(expectation, flows, verdicts)
        for expectation in run.experiment.get("expectations", ())
        if expectation["variant"] in run.variants
    ]
    if run.experiment.get("grid"):
        return [*own, *(_of_cell(run, cell) for cell in cells(run))]
    return own if run.experiment.get("any_outcome") else [*own, *_broken(flows)]


def _evaluate_one(expectation: Mapping[str, Any], flows: pd.DataFrame, verdicts: Mapping[Any, set[str]]) -> Verdict:
    variant, metric, flow = expectation["variant"], expectation["metric"], expectation.get("flow", "main")
    others = tuple(expectation.get("relative_to") or ())
    other_flow = expectation.get("relative_to_flow")

    def undecided(reason: str, n: int = 0, outcome: Outcome = "not evaluated") -> Verdict:
        excused = any(verdicts.get(name) == {"UNSUPPORTED"} for name in (variant, *others))
        return Verdict(expectation, outcome, None, unit, None, None, None, n, reason, excused)

    column = {column.name: column for column in TABLES["flows"].columns}.get(metric)
    unit = "x" if others or other_flow else (column.unit if column else "")
    if column is None or column.type == "text":
        return undecided(f"{metric} is not a number of the flows table")
    if unfinished := _without_value(flows, variant, flow, metric):
        return undecided(unfinished, outcome="FAILED")
    values = valid_values(flows, variant, flow, metric)
    if not values:
        return undecided(_why_no_values(variant, metric, verdicts))
    statistic = expectation.get("statistic", "median")
    if other_flow:
        return _against_flow(expectation, flows, undecided)
    absolute = reduce(values, statistic)
    candidates: dict[str, float] = {}
    for other in others:
        other_values = valid_values(flows, other, flow, metric)
        if not other_values:
            return undecided(_why_no_values(other, metric, verdicts), len(values))
        candidates[other] = reduce(other_values, statistic)
    if not candidates:
        return Verdict(
            expectation, _outcome(expectation, absolute), absolute, unit, absolute, None, None, len(values), ""
        )
    named = (max if best_is(metric) == "largest" else min)(candidates, key=lambda name: candidates[name])
    reference = candidates[named]
    if reference == 0:
        return undecided(f"the reference, {metric} of {named}, is 0", len(values))
    value = absolute / reference
    return Verdict(expectation, _outcome(expectation, value), value, unit, absolute, reference, named, len(values), "")


def _against_flow(expectation: Mapping[str, Any], flows: pd.DataFrame, undecided: Callable[..., Verdict]) -> Verdict:
    """The statistic of the ratios of two flows, trial by trial."""
    flow, other, metric = expectation.get("flow", "main"), expectation["relative_to_flow"], expectation["metric"]
    rows = flows[(flows["variant"] == expectation["variant"]) & (flows["verdict"] == "VALID")]
    first, second = _by_trial(rows, flow, metric), _by_trial(rows, other, metric)
    both = sorted(first.keys() & second.keys())
    if not both:
        return undecided(f"no valid trial has {metric} of both {flow} and {other}")
    if zeros := [trial for trial in both if second[trial] == 0]:
        return undecided(f"the reference, {metric} of flow {other}, is 0 in trial {zeros[0]}", len(both))
    ratios = {trial: first[trial] / second[trial] for trial in both}
    value = reduce(list(ratios.values()), expectation.get("statistic", "median"))
    shown = min(both, key=lambda trial: abs(ratios[trial] - value))
    outcome = _outcome(expectation, value)
    return Verdict(
        expectation, outcome, value, "x", first[shown], second[shown], other, len(both), "", reference_trial=shown
    )


def _outcome(expectation: Mapping[str, Any], value: float) -> Outcome:
    low, high = expectation.get("at_least"), expectation.get("at_most")
    return "met" if (low is None or value >= low) and (high is None or value <= high) else "FAILED"


FATES: Mapping[str, str] = {
    "mptcp": "MPTCP",
    "fallback": "fell back to TCP",
    "tcp": "TCP",
    "reset": "reset",
    "unfinished": "not finished",
    "no connection": "no connection",
}
"""Fate -> words."""


def _of_cell(run: Run, cell: Cell) -> Verdict:
    """A cell of the grid as a verdict, whose expectation has its words."""
    expected = cell.expected
    because = next(row["because"] for row in run.experiment["grid"]["rows"] if row["name"] == expected["row"])
    expectation = {
        "variant": expected["variant"],
        "flow": run.variants[expected["variant"]]["flows"][0]["name"],
        "metric": "fate",
        "fates": list(expected["fates"]),
        "altered": list(expected["altered"]),
        "bound": bound_in_words(expected),
        "because": because,
    }
    reason = cell.reason or found_in_words(cell)
    return Verdict(expectation, cell.outcome, None, "", None, None, None, len(cell.fates), reason, cell.excused)


def bound_in_words(expected: Mapping[str, Any]) -> str:
    """``"MPTCP, or fell back to TCP; every byte as it was sent"``."""
    may = ", or ".join(FATES[fate] for fate in expected["fates"])
    altered = expected["altered"]
    if not altered:
        return f"{may}; every byte as it was sent"
    if set(altered) == set(expected["fates"]):
        return f"{may}; the bytes may differ"
    return f"{may}; the bytes may differ only with {' or '.join(FATES[fate] for fate in altered)}"


def found_in_words(cell: Cell) -> str:
    """``"MPTCP, 3 of 5; fell back to TCP, 2 of 5; trial 4: 264 200 bytes lost, wrong from byte 35 306 on"``."""
    total = len(cell.fates)
    parts = [FATES[fate] if total == 1 else f"{FATES[fate]}, {n} of {total}" for fate, n in cell.counts.items()]
    worst = cell.worst
    if worst is not None and (worst.wrong or cell.bad) and (words := damage_in_words(worst) or worst.error):
        parts.append(f"trial {worst.trial}: {words}")
    return "; ".join(parts)


def damage_in_words(fate: Fate) -> str:
    """``"264200 of 300000 bytes lost, wrong from byte 35306 on"``; empty when all arrived as it was sent."""
    parts = []
    if fate.missing_bytes:
        became = "lost" if fate.ended else "did not arrive"
        parts.append(f"{fate.missing_bytes} of {fate.sent_bytes} bytes {became}")
    if fate.surplus_bytes:
        parts.append(f"{fate.surplus_bytes} bytes more than the {fate.sent_bytes} that were sent")
    if fate.wrong:
        parts.append(f"wrong from byte {fate.first_wrong} on" if fate.first_wrong is not None else "the hashes differ")
    return ", ".join(parts)


def _broken(flows: pd.DataFrame) -> list[Verdict]:
    """A FAILED verdict for each variant and flow of which a valid trial lost or changed bytes, or broke off."""
    valid = flows[flows["verdict"] == "VALID"]
    broken = valid[(valid["integrity"] == "mismatch") | valid["error"].notna()]
    found = []
    for (variant, flow), rows in broken.groupby(["variant", "flow"], sort=False):
        expectation = {"variant": variant, "flow": flow, "metric": "integrity", "because": "TCP is a reliable protocol"}
        n = int(((valid["variant"] == variant) & (valid["flow"] == flow)).sum())
        first = rows.iloc[0]
        words = first["error"] if isinstance(first["error"], str) else "the bytes received are not the bytes sent"
        reason = f"{len(rows)} of {n} valid trials; trial {first['trial']}: {words}"
        found.append(Verdict(expectation, "FAILED", None, "", None, None, None, n, reason))
    return found


def _without_value(flows: pd.DataFrame, variant: str, flow: str, metric: str) -> str:
    """Why a valid trial has no value although it should: it broke off; empty when none did."""
    rows = flows[(flows["variant"] == variant) & (flows["flow"] == flow) & (flows["verdict"] == "VALID")]
    broken = rows[rows[metric].isna() & rows["error"].notna()]
    return "" if broken.empty else f"trial {broken.iloc[0]['trial']} has none: {broken.iloc[0]['error']}"


def _by_trial(rows: pd.DataFrame, flow: str, metric: str) -> dict[int, float]:
    """Trial -> the metric of that flow, where it has one."""
    known = rows[(rows["flow"] == flow) & rows[metric].notna()]
    return {int(trial): float(value) for trial, value in zip(known["trial"], known[metric], strict=True)}


def valid_values(flows: pd.DataFrame, variant: str, flow: str, metric: str) -> list[float]:
    """The metric in each VALID trial of a variant that has it; in order of the trials."""
    rows = flows[(flows["variant"] == variant) & (flows["flow"] == flow) & (flows["verdict"] == "VALID")]
    return [float(value) for value in rows.sort_values("trial")[metric].dropna()]


def reduce(values: Sequence[float], statistic: str) -> float:
    """``median``, ``mean``, ``min`` or ``max`` of the values. Raises KeyError."""
    functions: Mapping[str, Callable[[Sequence[float]], Any]] = {
        "median": np.median,
        "mean": np.mean,
        "min": min,
        "max": max,
    }
    return float(functions[statistic](values))


def _why_no_values(variant: str, metric: str, verdicts: Mapping[Any, set[str]]) -> str:
    states = verdicts.get(variant)
    if not states:
        return f"{variant} has not run yet"
    if "VALID" not in states:
        return f"{variant} has no valid trial ({', '.join(sorted(states))})"
    return f"{metric} was not measured in {variant}"


def exit_code(run: Run, verdicts: Sequence[Verdict]) -> int:
    """Exit code of the command line for this run: 0, 1, 3 or 4, in the precedence that the module's text states."""
    states = list(run.table("trials")["verdict"])
    if states and set(states) == {"UNSUPPORTED"}:
        return 4
    if any(verdict.outcome == "FAILED" for verdict in verdicts):
        return 1
    unmeasured = any(verdict.outcome == "not evaluated" and not verdict.excused for verdict in verdicts)
    return 3 if "INVALID" in states or run.directory.remaining_trials() or unmeasured else 0
