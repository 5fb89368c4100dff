"""What an expectation found, as a sentence with numbers: ``Expectation.says`` filled in, or one made of its parts."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.report.answer import sentence_of
from analysis.report.wording import NOT_MEASURED, interval, quantity, share
from analysis.verdict import Verdict

_COUNTS = ("subflows", "segments", "blocks")
"""Units with a singular."""


@dataclass(frozen=True, slots=True)
class _Number:
    """``{value}`` is a quantity with its unit, ``{value:%}`` a share in percent. Of packets that a watch counted it is
    the number alone: the sentence says what they were."""

    value: float | None
    unit: str

    def __format__(self, form: str) -> str:
        if form == "%":
            return share(self.value)
        text = quantity(self.value, "" if self.unit == "packets" else self.unit)
        return text.removesuffix("s") if self.value == 1 and self.unit in _COUNTS else text


def sentence(verdict: Verdict, repetitions: int = 2) -> str:
    """What was found. A sentence of ``says`` states what was expected to be so: of a FAILED one it would be untrue, so
    what was expected and what was measured stand instead."""
    if verdict.outcome == "not evaluated":
        return f"Not evaluated: {verdict.reason}."
    text = verdict.expectation.get("says") or ""
    if verdict.outcome == "met" and text:
        return str(
            text.format(
                value=_Number(verdict.value, verdict.unit),
                absolute=_Number(verdict.absolute, verdict.base_unit),
                reference=_Number(verdict.reference, verdict.base_unit),
                interval=spread(verdict),
                n=verdict.n,
            )
        )
    finding = sentence_of(verdict, repetitions)
    opening = "" if verdict.outcome == "met" else "Not as expected: "
    return f"{opening}{finding.subject}: {finding.measured}; expected {finding.bound}."


def spread(verdict: Verdict) -> str:
    """How sure the number is: ``"34.1 – 34.9 Mbit/s, range of 3 trials"``."""
    found, n = verdict.interval, verdict.n
    if verdict.value is None or found is None:
        return NOT_MEASURED
    if n == 1:
        return "one trial"
    if found.low is None or found.high is None:
        return f"{n} trials, no interval"
    if found.low == found.high:
        return "the same in both trials" if n == 2 else f"the same in all {n} trials"
    ends = interval(found.low, found.high, verdict.unit)
    if found.method == "range":
        return f"{ends}, range of {n} trials"
    return f"{ends}, {100 * (found.level or 0):.4g} % interval, {n} trials"


def doubt(verdict: Verdict) -> str:
    """What makes the outcome less than sure: ``"the bound (at most 0.950 × dense) is within it"``; empty: nothing."""
    found = verdict.interval
    if found is None or found.low is None or found.high is None:
        return ""
    bounds = [verdict.expectation.get(name) for name in ("at_least", "at_most")]
    crossed = any(bound is not None and found.low < bound < found.high for bound in bounds)
    return f"the bound ({sentence_of(verdict).bound}) is within it" if crossed else ""


def says_its_spread(verdict: Verdict) -> bool:
    """Whether the sentence has the interval in it."""
    return verdict.outcome == "met" and "{interval" in (verdict.expectation.get("says") or "")
