"""What the evidence says of a claim: holds, holds partly, does not hold, depends, or not measured.

Each expectation that names a claim is a piece of evidence. It supports the claim when it was met and speaks for it, or
when it FAILED and speaks against it; else it contradicts it. What was not evaluated is no evidence. All support: the
claim holds. None: it does not hold. When both occur and the conditions under which the pieces speak decide which
(``Expectation.under``; none is a condition, too): it depends. Else it holds partly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from analysis.verdict import Verdict

Word = Literal["holds", "holds partly", "does not hold", "depends", "not measured"]
OTHERWISE = "otherwise"
"""The condition of evidence that names none, beside evidence that does."""
MOST_CONDITIONS = 6
"""Named in the text of a verdict."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict of a claim, and what it was counted from."""

    word: Word
    supporting: int
    contradicting: int
    open: int
    """Pieces that were not evaluated."""
    holds_with: tuple[str, ...] = ()
    fails_with: tuple[str, ...] = ()
    """The conditions that decide it; of ``holds`` and ``does not hold`` those that it was measured under, when every
    piece names one."""

    @property
    def text(self) -> str:
        """``"depends: holds (with timestamps); does not hold (without timestamps)"``."""
        parts = [
            f"{word} ({_listed(conditions)})"
            for word, conditions in (("holds", self.holds_with), ("does not hold", self.fails_with))
            if conditions
        ]
        if self.word == "depends":
            return f"depends: {'; '.join(parts)}"
        return parts[0] if parts else self.word

    @property
    def count(self) -> str:
        """``"3 of 4"`` pieces that were evaluated support it; a dash when none was."""
        whole = self.supporting + self.contradicting
        return f"{self.supporting} of {whole}" if whole else "–"


def _listed(conditions: Sequence[str]) -> str:
    more = len(conditions) - MOST_CONDITIONS
    return ", ".join(conditions[:MOST_CONDITIONS]) + (f" and {more} more" if more > 0 else "")


def supports(verdict: Verdict) -> bool | None:
    """Whether a verdict supports the claim that its expectation names; None: it was not evaluated."""
    if verdict.outcome == "not evaluated":
        return None
    speaks_for: bool = verdict.expectation.get("speaks", "for") == "for"
    return speaks_for if verdict.outcome == "met" else not speaks_for


def judge(pieces: Sequence[tuple[str, bool | None]]) -> Judgement:
    """The verdict over pieces of evidence: (condition, whether it supports)."""
    decided = [(under, bool(answer)) for under, answer in pieces if answer is not None]
    yes = sum(answer for _, answer in decided)
    no, unknown = len(decided) - yes, len(pieces) - len(decided)
    if not decided:
        return Judgement("not measured", 0, 0, unknown)
    named = tuple(dict.fromkeys(under for under, _ in decided))
    named = named if all(named) else ()
    if not no:
        return Judgement("holds", yes, no, unknown, holds_with=named)
    if not yes:
        return Judgement("does not hold", yes, no, unknown, fails_with=named)
    answers: dict[str, set[bool]] = {}
    for under, answer in decided:
        answers.setdefault(under or OTHERWISE, set()).add(answer)
    if any(len(found) > 1 for found in answers.values()):
        return Judgement("holds partly", yes, no, unknown)
    holds, fails = (tuple(under for under, found in answers.items() if found == {answer}) for answer in (True, False))
    return Judgement("depends", yes, no, unknown, holds, fails)


def by_claim(verdicts: Sequence[Verdict]) -> Mapping[str, list[Verdict]]:
    """Id of a claim -> the verdicts that are evidence of it, in order."""
    found: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        name = verdict.expectation.get("claim")
        if name:
            found.setdefault(name, []).append(verdict)
    return found


def judge_verdicts(verdicts: Sequence[Verdict]) -> Judgement:
    """The verdict over the evidence of one claim."""
    return judge([(verdict.expectation.get("under") or "", supports(verdict)) for verdict in verdicts])


def judge_documented(evidence: Sequence[Mapping[str, Any]]) -> Judgement:
    """The same over evidence as a claims document keeps it (analysis/report/claim_evidence.py)."""
    return judge([(piece["under"], piece["supports"]) for piece in evidence])
