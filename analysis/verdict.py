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

import pandas as pd

from analysis.better import best_is
from analysis.fate import Cell, Fate, cells
from analysis.measured import Measured, Measurements
from analysis.runs import Run
from analysis.statistics import Interval, ratio_interval, statistic_interval

Outcome = Literal["met", "FAILED", "not evaluated"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one expectation."""

    expectation: Mapping[str, Any]
    """As in run.json."""
    outcome: Outcome
    value: float | None
    """The statistic, divided by ``reference`` if relative; with ``among`` the share."""
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
    base_unit: str = ""
    """Of ``absolute`` and ``reference``."""
    interval: Interval | None = None
    """Of ``value``."""
    values: tuple[float, ...] = ()
    """The numbers of the trials, not yet divided by anything."""
    source: str = ""
    """Who says so, of the ledger: ``ledger``, ``kernel``, ``capture``; ``kernel against ledger`` when relative."""


def evaluate(run: Run) -> list[Verdict]:
    """Each expectation of the experiment on variants of the plan, in order; then its grid, or what lost bytes or broke
    off."""
    measurements = Measurements(run)
    own = [
        _evaluate_one(expectation, measurements)
        for expectation in run.experiment.get("expectations", ())
        if expectation["variant"] in run.variants
    ]
    if run.experiment.get("grid"):
        return [*own, *(_of_cell(run, cell) for cell in cells(run))]
    return own if run.experiment.get("any_outcome") else [*own, *_broken(run.with_trial("flows"))]


def _evaluate_one(expectation: Mapping[str, Any], measurements: Measurements) -> Verdict:
    variant, metric, flow = expectation["variant"], expectation["metric"], expectation.get("flow", "main")
    others = tuple(expectation.get("relative_to") or ())
    other_flow = expectation.get("relative_to_flow")
    found = measurements.of(metric, variant, flow)
    unit = "ratio" if expectation.get("among") else "x" if others or other_flow else found.unit

    def undecided(reason: str, n: int = 0, outcome: Outcome = "not evaluated") -> Verdict:
        excused = any(measurements.is_unsupported(name) for name in (variant, *others))
        return Verdict(expectation, outcome, None, unit, None, None, None, n, reason, excused, source=found.source)

    if found.broken:
        return undecided(found.broken, outcome="FAILED")
    if not found.values:
        return undecided(found.missing)
    if other_flow:
        return _against_flow(expectation, found, measurements.of(metric, variant, other_flow), undecided)
    values, statistic = tuple(found.values.values()), expectation.get("statistic", "median")
    if expectation.get("among"):
        return _share(expectation, measurements, undecided)
    if others:
        compared = {other: measurements.of(metric, other, flow) for other in others}
        return _against_variants(expectation, found, compared, measurements, undecided)
    interval = statistic_interval(values, statistic)
    value = interval.estimate
    return Verdict(
        expectation,
        _outcome(expectation, value),
        value,
        unit,
        value,
        None,
        None,
        len(values),
        "",
        base_unit=found.unit,
        interval=interval,
        values=values,
        source=found.source,
    )


def _against_variants(
    expectation: Mapping[str, Any],
    found: Measured,
    compared: Mapping[str, Measured],
    measurements: Measurements,
    undecided: Callable[..., Verdict],
) -> Verdict:
    """The statistic, divided by that of the best of other variants."""
    metric, statistic = expectation["metric"], expectation.get("statistic", "median")
    values = tuple(found.values.values())
    for other in compared.values():
        if not other.values:
            return undecided(other.broken or other.missing, len(values))
    candidates = {
        name: statistic_interval(tuple(other.values.values()), statistic).estimate for name, other in compared.items()
    }
    named = (max if best_is(metric) == "largest" else min)(candidates, key=lambda name: candidates[name])
    if candidates[named] == 0:
        return undecided(f"the reference, {metric} of {named}, is 0", len(values))
    pairs = measurements.paired(found.values, compared[named].values)
    first, second = pairs or (list(values), list(compared[named].values.values()))
    interval = ratio_interval(first, second, statistic, paired=pairs is not None)
    other_source = compared[named].source
    return Verdict(
        expectation,
        _outcome(expectation, interval.estimate),
        interval.estimate,
        "x",
        statistic_interval(values, statistic).estimate,
        candidates[named],
        named,
        len(values),
        "",
        base_unit=found.unit,
        interval=interval,
        values=values,
        source=found.source if found.source == other_source else f"{found.source} against {other_source}",
    )


def _share(expectation: Mapping[str, Any], measurements: Measurements, undecided: Callable[..., Verdict]) -> Verdict:
    """The share of several variants that are better than the best of those that each is compared with."""
    pairs = [(expectation["variant"], expectation["relative_to"]), *expectation["among"]]
    alone = {**expectation, "among": (), "at_least": None, "at_most": None}
    better: list[float] = []
    for variant, others in pairs:
        one = _evaluate_one({**alone, "variant": variant, "relative_to": others}, measurements)
        if one.value is None:
            return undecided(f"{variant}: {one.reason}", len(better))
        wins = one.value < 1 if best_is(expectation["metric"]) == "smallest" else one.value > 1
        better.append(float(wins))
    interval = statistic_interval(better, "mean")
    value = interval.estimate
    outcome = _outcome(expectation, value)
    return Verdict(
        expectation,
        outcome,
        value,
        "ratio",
        sum(better),
        None,
        None,
        len(better),
        "",
        interval=interval,
        values=tuple(better),
    )


def _against_flow(
    expectation: Mapping[str, Any], found: Measured, against: Measured, undecided: Callable[..., Verdict]
) -> Verdict:
    """The statistic of the ratios of two flows, trial by trial."""
    flow, other, metric = expectation.get("flow", "main"), expectation["relative_to_flow"], expectation["metric"]
    first, second = found.values, against.values
    both = sorted(first.keys() & second.keys())
    if not both:
        return undecided(f"no valid trial has {metric} of both {flow} and {other}")
    if zeros := [trial for trial in both if second[trial] == 0]:
        return undecided(f"the reference, {metric} of flow {other}, is 0 in trial {zeros[0]}", len(both))
    ratios = {trial: first[trial] / second[trial] for trial in both}
    interval = statistic_interval(tuple(ratios.values()), expectation.get("statistic", "median"))
    value = interval.estimate
    shown = min(both, key=lambda trial: abs(ratios[trial] - value))
    return Verdict(
        expectation,
        _outcome(expectation, value),
        value,
        "x",
        first[shown],
        second[shown],
        other,
        len(both),
        "",
        reference_trial=shown,
        base_unit=found.unit,
        interval=interval,
        values=tuple(first[trial] for trial in both),
        source=found.source,
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


def exit_code(run: Run, verdicts: Sequence[Verdict]) -> int:
    """Exit code of the command line for this run: 0, 1, 3 or 4, in the precedence that the module's text states."""
    states = list(run.table("trials")["verdict"])
    if states and set(states) == {"UNSUPPORTED"}:
        return 4
    if any(verdict.outcome == "FAILED" for verdict in verdicts):
        return 1
    unmeasured = any(verdict.outcome == "not evaluated" and not verdict.excused for verdict in verdicts)
    return 3 if "INVALID" in states or run.directory.remaining_trials() or unmeasured else 0
