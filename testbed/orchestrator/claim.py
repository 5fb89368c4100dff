"""A claim that an experiment answers: who said it and when, and what would confirm or refute it.

Expectations are its evidence (``Expectation.claim``): each says whether it speaks for the claim or against it, and
under which condition. The verdict is counted from what was measured (``analysis/claims.py``), never written down.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Speaks = Literal["for", "against"]

_ID = re.compile(r"[A-Z][0-9]{1,3}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One statement that can be tested."""

    id: str
    """``S7`` (the seed thread), ``N2`` (novel), ``V3`` (validation), ``L4`` (a mechanism of Linux)."""
    title: str
    """A few words."""
    statement: str
    """The claim itself, one or two sentences."""
    who: str
    """Whose it is."""
    when: str
    """Of the message or paper: ``6 February 2020``."""
    method: str
    """How it is tested here, one or two sentences."""
    confirmed_by: str
    refuted_by: str
    """What would have to be measured."""

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.id):
            raise ValueError(f"the id of a claim is a letter and a number, not {self.id!r}")
        for name in ("title", "statement", "who", "when", "method", "confirmed_by", "refuted_by"):
            if not getattr(self, name).strip():
                raise ValueError(f"claim {self.id} has no {name}")
