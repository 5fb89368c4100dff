"""Which trials of two variants are pairs: those of one seed, where both are VALID; and why others do not count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.comparison.likeness import specification_differences
from analysis.comparison.series import Side
from analysis.runs import Run

MOST_LOST = 5
"""Trials that are named with their reasons; of more the number is told."""


@dataclass(frozen=True, slots=True)
class VariantPair:
    """A variant of the reference and one of the candidate, and how their trials became pairs."""

    reference: str
    candidate: str
    differences: tuple[str, ...]
    """What they ask for differently; () of two runs of the same thing."""
    paired: bool
    planned: tuple[int, int]
    """Trials in the plan of the reference, of the candidate."""
    valid: tuple[int, int]
    n: int
    """Pairs of valid trials; of groups the size of the smaller one."""
    lost: tuple[str, ...]
    """Why trials do not count: ``"trial 4 of the candidate is INVALID: ..."``."""

    @property
    def name(self) -> str:
        """``"mptcp"``, or ``"mptcp against tcp"``."""
        return self.candidate if self.candidate == self.reference else f"{self.candidate} against {self.reference}"


class Matching:
    """Which trials of two variants are pairs."""

    def __init__(self, reference: tuple[Side, str], candidate: tuple[Side, str], paired: bool | None) -> None:
        self.sides = reference, candidate
        planned = [_seeds(side.run, variant) for side, variant in self.sides]
        if paired is None:
            paired = bool(planned[0].keys() & planned[1].keys())
        valid = [{row["trial"] for row in side.measurements.trials(variant)} for side, variant in self.sides]
        common = [key for key in planned[0] if key in planned[1]]
        self.trials = [
            (planned[0][key], planned[1][key])
            for key in common
            if planned[0][key] in valid[0] and planned[1][key] in valid[1]
        ]
        lost = [
            reason
            for word, (side, variant) in zip(("reference", "candidate"), self.sides, strict=True)
            for reason in _why_lost(side, variant, word)
        ]
        if paired and (alone := sum(len(each) for each in planned) - 2 * len(common)):
            lost.append(f"{alone} trials have a seed that the other one lacks")
        self.pair = VariantPair(
            reference[1],
            candidate[1],
            specification_differences(reference[0].run, candidate[0].run, reference[1], candidate[1]),
            paired,
            (len(planned[0]), len(planned[1])),
            (len(valid[0]), len(valid[1])),
            len(self.trials) if paired else min(len(valid[0]), len(valid[1])),
            tuple(lost),
        )

    def values(self, text: str, flow: str) -> tuple[list[float], list[float], str]:
        """The values of the pairs (or of the groups), and why some or all are missing."""
        first, second = (side.of(text, variant, flow) for side, variant in self.sides)
        missing = "; ".join(
            f"{word}: {found.broken or found.missing}"
            for word, found in (("reference", first), ("candidate", second))
            if not found.values
        )
        if not self.pair.paired:
            return list(first.values.values()), list(second.values.values()), missing
        both = [(a, b) for a, b in self.trials if a in first.values and b in second.values]
        if not both and first.values and second.values:
            missing = missing or "no pair of trials has a value on both sides"
        return [first.values[a] for a, _ in both], [second.values[b] for _, b in both], missing

    def unlike_sources(self, text: str, flow: str) -> str:
        """``"reference by ledger, candidate by capture"``: two ways to know a number may differ by themselves."""
        first, second = (side.of(text, variant, flow).source for side, variant in self.sides)
        return "" if first == second or not (first and second) else f"reference by {first}, candidate by {second}"

    def common_flows(self) -> list[str]:
        """Names of the flows that both variants have, in the reference's order."""
        first, second = ([flow["name"] for flow in side.run.variants[variant]["flows"]] for side, variant in self.sides)
        return [name for name in first if name in second]


def _seeds(run: Run, variant: str) -> dict[tuple[int, int], int]:
    """(seed, how many trials had it before) -> trial, of the plan."""
    seen: Counter[int] = Counter()
    found = {}
    for entry in run.document["plan"]:
        if entry["variant"] == variant:
            found[entry["seed"], seen[entry["seed"]]] = entry["trial"]
            seen[entry["seed"]] += 1
    return found


def _why_lost(side: Side, variant: str, word: str) -> list[str]:
    """Why trials of the plan do not count, with the first reasons; of an unfinished run how many are missing."""
    stored = side.stored.get(variant, {})
    bad = [row for row in stored.values() if row["verdict"] != "VALID"]
    told = [f"trial {row['trial']} of the {word} is {row['verdict']}: {row['reason']}" for row in bad[:MOST_LOST]]
    if len(bad) > MOST_LOST:
        told.append(f"{len(bad) - MOST_LOST} more of the {word} are {_words(bad[MOST_LOST:])}")
    missing = sum(entry["variant"] == variant and entry["trial"] not in stored for entry in side.run.document["plan"])
    if missing:
        trials = "1 trial" if missing == 1 else f"{missing} trials"
        told.append(f"{trials} of the {word} did not run: the run is not complete")
    return told


def _words(rows: Sequence[Mapping[str, Any]]) -> str:
    return " or ".join(sorted({row["verdict"] for row in rows}))
