"""The question's answer in words with numbers: one headline, one sentence per expectation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from analysis.better import best_is
from analysis.report.findings import VariantFinding
from analysis.report.wording import count, interval, metric_name, quantity, source_in_words
from analysis.runs import Run
from analysis.verdict import Verdict

Tone = Literal["met", "failed", "open"]
SIGNS = {"met": "✓", "failed": "✗", "open": "–"}
"""A verdict is a sign and a word; colour only repeats it."""

_STATISTICS = {"median": "median", "mean": "mean", "min": "smallest", "max": "largest"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence of the answer."""

    tone: Tone
    word: str
    subject: str
    """``mptcp: goodput, median of the trials``."""
    measured: str
    bound: str
    n: int
    because: str

    @property
    def sign(self) -> str:
        """The tone as a sign."""
        return SIGNS[self.tone]


def sentence_of(verdict: Verdict, repetitions: int = 2) -> Finding:
    """An expectation and what became of it; with one repetition there is no statistic to speak of."""
    expectation = verdict.expectation
    tones: dict[str, Tone] = {"met": "met", "FAILED": "failed", "not evaluated": "open"}
    several = repetitions > 1 and expectation["metric"] not in ("integrity", "fate")
    statistic = f", {_STATISTICS[expectation.get('statistic', 'median')]} of the trials" if several else ""
    flow = expectation.get("flow", "main")
    of_flow = "" if flow == "main" else f" of flow {flow}"
    return Finding(
        tones[verdict.outcome],
        verdict.outcome,
        f"{expectation['variant']}: {metric_name(expectation['metric'])}{of_flow}{statistic}",
        _measured(verdict),
        _bound(verdict),
        verdict.n,
        expectation.get("because", ""),
    )


def distinct(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Each bound once: one that is evidence of several claims is as many expectations."""
    found: dict[str, Verdict] = {}
    for verdict in verdicts:
        words = {name: value for name, value in verdict.expectation.items() if name not in _OF_CLAIMS}
        found.setdefault(repr(sorted(words.items())), verdict)
    return list(found.values())


_OF_CLAIMS = ("claim", "speaks", "under", "says", "because")


def headline(run: Run, verdicts: Sequence[Verdict]) -> tuple[Tone, str]:
    """The one line that stands below the question."""
    verdicts = distinct(verdicts)
    outcomes = Counter(verdict.outcome for verdict in verdicts)
    valid = int((run.table("trials")["verdict"] == "VALID").sum())
    if not valid:
        return "open", "Nothing was measured: no trial is valid."
    if not verdicts:
        return "open", "The experiment states no expectation; the numbers stand below."
    failed, unknown, many = outcomes["FAILED"], outcomes["not evaluated"], len(verdicts)
    if failed:
        return "failed", "The expectation FAILED." if many == 1 else f"{failed} of {many} expectations FAILED."
    if unknown:
        several = f"{outcomes['met']} of {many} expectations met; {unknown} could not be evaluated."
        return "open", "The expectation could not be evaluated." if many == 1 else several
    return "met", {1: "The expectation is met.", 2: "Both expectations are met."}.get(
        many, f"All {many} expectations are met."
    )


def medians(findings: Sequence[VariantFinding], limit: int = 6) -> list[str]:
    """``"mptcp 34.6 Mbit/s"`` for each variant: the numbers in a nutshell when there are few variants."""
    texts = []
    for finding in findings[:limit]:
        metric = finding.metric("goodput_bit_s")
        if metric:
            texts.append(f"{finding.name} {quantity(metric.interval.estimate, 'bit/s')}")
    return texts if len(findings) <= limit else []


def trial_line(run: Run) -> str:
    """``"8 of 9 trials valid, 1 INVALID"``."""
    counts = Counter(run.table("trials")["verdict"])
    planned = len(run.document["plan"])
    parts = [f"{counts['VALID']} of {count(planned, 'trial')} valid"]
    parts += [f"{counts[word]} {word}" for word in ("INVALID", "UNSUPPORTED") if counts[word]]
    if missing := planned - counts.total():
        parts.append(f"{missing} not run yet")
    return ", ".join(parts)


def _measured(verdict: Verdict) -> str:
    if verdict.value is None:
        return verdict.reason
    text = quantity(verdict.value, verdict.unit)
    if verdict.reference is not None:
        absolute, reference = (quantity(each, verdict.base_unit) for each in (verdict.absolute, verdict.reference))
        where = "" if verdict.reference_trial is None else f"trial {verdict.reference_trial}: "
        text = f"{text} ({where}{absolute} against {reference} of {verdict.reference_variant})"
    return f"{text} [{source_in_words(verdict.source)}]" if verdict.source else text


def _bound(verdict: Verdict) -> str:
    if "bound" in verdict.expectation:
        return str(verdict.expectation["bound"])
    low, high = verdict.expectation.get("at_least"), verdict.expectation.get("at_most")
    if low is None and high is None:
        return "every byte as it was sent, to the end"
    if low is not None and high is not None:
        text = f"exactly {quantity(low, verdict.unit)}" if low == high else interval(low, high, verdict.unit)
    elif low is not None:
        text = f"at least {quantity(low, verdict.unit)}"
    else:
        text = f"at most {quantity(high, verdict.unit)}"
    if among := verdict.expectation.get("among"):
        return f"{text} of {len(among) + 1}, each against its own"
    others = verdict.expectation.get("relative_to") or ()
    if other_flow := verdict.expectation.get("relative_to_flow"):
        return f"{text} flow {other_flow}, trial by trial"
    if not others:
        return text
    best = f"the best ({best_is(verdict.expectation['metric'])}) of "
    return f"{text} {others[0] if len(others) == 1 else best + ', '.join(others)}"
