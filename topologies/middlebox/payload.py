"""Middleboxes that look into the payload: rewriting of it, and normalisation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from topologies.middlebox.base import Middlebox, MiddleboxError, canonical, read_match
from topologies.words import Words, quote

MOST_TEXT_OCTETS = 1000
"""Of what is looked for, and of what takes its place."""
KEEP_OCTETS = 1 << 20


@dataclass(frozen=True, slots=True)
class RewritePayload(Middlebox):
    """An application-level gateway: puts one text in the place of another (RFC 8684 section 6, checklist L3)."""

    old: str
    new: str
    """Of the same length or not: with another one the numbers of all that follows are translated, and back."""
    on: str = ""
    """A match; empty: every segment is searched."""
    kind: Literal["rewrite-payload"] = field(default="rewrite-payload", kw_only=True)

    keyword: ClassVar[str] = "rewrite-payload"
    usage: ClassVar[str] = 'rewrite-payload "OLD" "NEW" [on EXPR]'
    summary: ClassVar[str] = (
        "puts one text in place of another; of another length: translates SEQ, ACK and SACK after it"
    )
    example: ClassVar[str] = 'rewrite-payload "PORT 10,0,0,1" "PORT 192,0,2,17" on forward'
    two_way: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.old:
            raise MiddleboxError("the text that is looked for is not empty")
        for text in (self.old, self.new):
            if len(text.encode()) > MOST_TEXT_OCTETS:
                raise MiddleboxError(f"a text has at most {MOST_TEXT_OCTETS} octets")
        if self.on:
            object.__setattr__(self, "on", canonical("on", self.on))

    @classmethod
    def read(cls, words: Words) -> RewritePayload:
        """As Middlebox."""
        old, new = words.quoted(), words.quoted()
        return cls(old, new, read_match(words) if words.took("on") else "")

    def text(self) -> str:
        """As Middlebox."""
        return f"rewrite-payload {quote(self.old)} {quote(self.new)}{f' on {self.on}' if self.on else ''}"


@dataclass(frozen=True, slots=True)
class Normalise(Middlebox):
    """Lets each byte pass once, in order: no holes, and no other bytes the second time (RFC 8684 section 6)."""

    keep_octets: int = KEEP_OCTETS
    """Of each direction of a connection, at most: behind a hole, and as many of those that have passed. What is behind
    a hole and does not fit is dropped."""
    kind: Literal["normalise"] = field(default="normalise", kw_only=True)

    keyword: ClassVar[str] = "normalise"
    usage: ClassVar[str] = "normalise [keep N]"
    summary: ClassVar[str] = (
        "keeps what comes behind a hole until it is closed; repeats carry the bytes that passed first"
    )
    example: ClassVar[str] = "normalise"

    def __post_init__(self) -> None:
        if self.keep_octets < 1:
            raise MiddleboxError(f"keep is at least 1 octet, not {self.keep_octets}")

    @classmethod
    def read(cls, words: Words) -> Normalise:
        """As Middlebox."""
        return cls(words.number(1)) if words.took("keep") else cls()

    def text(self) -> str:
        """As Middlebox."""
        return "normalise" if self.keep_octets == KEEP_OCTETS else f"normalise keep {self.keep_octets}"
