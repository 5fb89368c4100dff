"""What a run says of the claims that its experiment is about: the first thing its report tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.claims import Word, by_claim, judge_verdicts, supports
from analysis.report.answer import Tone
from analysis.report.says import doubt, says_its_spread, sentence, spread
from analysis.report.wording import source_in_words
from analysis.runs import Run
from analysis.verdict import Verdict

MOST_SENTENCES, FEW_CLAIMS = 3, 4
"""Of a claim on the first screen, where it has few claims; else one. What contradicts comes first, and the table of
expectations has all."""
NO_EVIDENCE = "– the variants of this run are no evidence of it; those of another backend may be"
_SIGNS: Mapping[Word, tuple[str, Tone]] = {
    "holds": ("✓", "met"),
    "holds partly": ("±", "open"),
    "depends": ("±", "open"),
    "does not hold": ("✗", "open"),
    "not measured": ("–", "open"),
}
"""A claim that does not hold is a result, not a failure: only FAILED expectations have that colour."""


@dataclass(frozen=True, slots=True)
class ClaimLine:
    """One claim and what the run found of it."""

    id: str
    title: str
    statement: str
    who: str
    when: str
    word: str
    """The verdict."""
    sign: str
    tone: Tone
    count: str
    """``"3 of 4"`` pieces of evidence support it."""
    sentences: tuple[str, ...]
    more: int
    """Sentences left out."""


def claim_lines(run: Run, verdicts: Sequence[Verdict]) -> list[ClaimLine]:
    """One line for each claim of the experiment, in its order."""
    found = by_claim(verdicts)
    claims = run.experiment.get("claims", ())
    most = MOST_SENTENCES if len(claims) <= FEW_CLAIMS else 1
    return [_line(run, claim, found.get(claim["id"], ()), most) for claim in claims]


def _line(run: Run, claim: Mapping[str, Any], verdicts: Sequence[Verdict], most: int) -> ClaimLine:
    judgement, repetitions = judge_verdicts(run, verdicts), run.experiment.get("repetitions", 2)
    sign, tone = _SIGNS[judgement.word]
    ordered = sorted(verdicts, key=lambda verdict: {False: 0, True: 1, None: 2}[supports(verdict)])
    sentences = list(dict.fromkeys(_found(verdict, repetitions) for verdict in ordered)) or [NO_EVIDENCE]
    return ClaimLine(
        claim["id"],
        claim["title"],
        claim["statement"],
        claim["who"],
        claim["when"],
        judgement.text,
        sign,
        tone,
        judgement.count,
        tuple(sentences[:most]),
        max(0, len(sentences) - most),
    )


def _found(verdict: Verdict, repetitions: int) -> str:
    """``"✗ with timestamps: no SACK block on 812 data segments (the same in all 3 trials)"``."""
    mark = {True: "✓", False: "✗", None: "–"}[supports(verdict)]
    under = verdict.expectation.get("under")
    text = sentence(verdict, repetitions).rstrip(".")
    told = verdict.value is None or says_its_spread(verdict)
    details = [] if told else [spread(verdict)]
    details += [doubt(verdict)] if doubt(verdict) else []
    details += [source_in_words(verdict.source)] if verdict.source and verdict.expectation.get("says") else []
    return f"{mark} {f'{under}: ' if under else ''}{text}" + (f" ({'; '.join(details)})" if details else "")
