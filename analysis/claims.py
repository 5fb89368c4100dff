"""What the evidence says of a claim: holds, holds partly, does not hold, depends, or not measured.

Each expectation that names a claim is a piece of evidence. It supports the claim when it was met and speaks for it, or
when it FAILED and speaks against it; else it contradicts it. What was not evaluated is no evidence. All support: the
claim holds. None: it does not hold. When both occur and the conditions under which the pieces speak decide which
(``Expectation.under``; none is a condition, too), or the stacks do where none is named: it depends. Else it holds
partly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from analysis.runs import Run
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
        sides = [("holds", self.holds_with), ("does not hold", self.fails_with)]
        sides.sort(key=lambda side: OTHERWISE in side[1])
        parts = [
            f"{word} otherwise" if conditions == (OTHERWISE,) else f"{word} ({_listed(conditions)})"
            for word, conditions in sides
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
    named = [each for each in conditions if each != OTHERWISE]
    more = len(named) - MOST_CONDITIONS
    parts = named[:MOST_CONDITIONS] + ([f"{more} more"] if more > 0 else [])
    return "; ".join(parts + (["and otherwise"] if OTHERWISE in conditions else []))


def supports(verdict: Verdict) -> bool | None:
    """Whether a verdict supports the claim that its expectation names; None: it was not evaluated."""
    if verdict.outcome == "not evaluated":
        return None
    speaks_for: bool = verdict.expectation.get("speaks", "for") == "for"
    return speaks_for if verdict.outcome == "met" else not speaks_for


@dataclass(frozen=True, slots=True)
class Piece:
    """What of a piece of evidence the verdict needs."""

    supports: bool | None
    """None: it was not evaluated."""
    under: str = ""
    stacks: str = ""
    """Whose behaviour it was: ``linux``, ``userspace``, ``script/linux``."""

    @property
    def whose(self) -> str:
        """Its condition, or the stack that was looked at: a script is nobody's."""
        names = {name.removesuffix("-tcp") for name in self.stacks.split("/")} - {"script", ""}
        words = sorted(_STACKS.get(name, name) for name in names)
        return self.under or " and ".join(words) or OTHERWISE


_STACKS = {"linux": "Linux", "userspace": "our stack"}


def judge(pieces: Sequence[Piece]) -> Judgement:
    """The verdict over pieces of evidence."""
    decided = [piece for piece in pieces if piece.supports is not None]
    yes = sum(bool(piece.supports) for piece in decided)
    no, unknown = len(decided) - yes, len(pieces) - len(decided)
    if not decided:
        return Judgement("not measured", 0, 0, unknown)
    named = tuple(dict.fromkeys(piece.under for piece in decided))
    named = named if all(named) else ()
    if not no:
        return Judgement("holds", yes, no, unknown, holds_with=named)
    if not yes:
        return Judgement("does not hold", yes, no, unknown, fails_with=named)
    for conditions in ([piece.under or OTHERWISE for piece in decided], [piece.whose for piece in decided]):
        answers: dict[str, set[bool]] = {}
        for condition, piece in zip(conditions, decided, strict=True):
            answers.setdefault(condition, set()).add(bool(piece.supports))
        if all(len(found) == 1 for found in answers.values()):
            holds = tuple(condition for condition, found in answers.items() if True in found)
            fails = tuple(condition for condition, found in answers.items() if False in found)
            return Judgement("depends", yes, no, unknown, holds, fails)
    return Judgement("holds partly", yes, no, unknown)


def by_claim(verdicts: Sequence[Verdict]) -> Mapping[str, list[Verdict]]:
    """Id of a claim -> the verdicts that are evidence of it, in order."""
    found: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        name = verdict.expectation.get("claim")
        if name:
            found.setdefault(name, []).append(verdict)
    return found


def judge_verdicts(run: Run, verdicts: Sequence[Verdict]) -> Judgement:
    """The verdict over the evidence that a run has of one claim."""
    return judge(
        [
            Piece(
                supports(verdict),
                verdict.expectation.get("under") or "",
                stacks(run.variants[verdict.expectation["variant"]]),
            )
            for verdict in verdicts
        ]
    )


def judge_documented(evidence: Sequence[Mapping[str, Any]]) -> Judgement:
    """The same over evidence as a claims document keeps it (analysis/report/claim_evidence.py)."""
    return judge([Piece(piece["supports"], piece["under"], piece["stacks"]) for piece in evidence])


def stacks(variant: Mapping[str, Any]) -> str:
    """``"userspace/linux"``: of client and server of the first flow; one word when they are the same."""
    flow = variant["flows"][0]
    names = [str(flow[side]["implementation"]) for side in ("client", "server")]
    return names[0] if names[0] == names[1] else "/".join(names)
