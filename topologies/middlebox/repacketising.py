"""Middleboxes that cut segments, and that put several together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from topologies import quantity
from topologies.middlebox.base import Middlebox, MiddleboxError, canonical, read_match
from topologies.words import Words

PIECES = ("copy", "first", "last")
KEPT = ("first", "last")

MOST_OCTETS = 65000
"""Of payload in one IP packet, with room for all headers."""
HOLD_NS = 1_000_000


@dataclass(frozen=True, slots=True)
class Split(Middlebox):
    """Cuts segments with more payload (RFC 8684 section 6, checklist L2)."""

    octets: int
    """Payload of a piece, at most."""
    options: Literal["copy", "first", "last"] = "copy"
    """Which pieces carry them. Timestamps are on all, since a receiver that has agreed on them may refuse what has
    none (RFC 7323 section 3.2)."""
    on: str = ""
    """A match; empty: every segment. A SYN is never cut."""
    kind: Literal["split"] = field(default="split", kw_only=True)

    keyword: ClassVar[str] = "split"
    usage: ClassVar[str] = "split N [options copy|first|last] [on EXPR]"
    summary: ClassVar[str] = "cuts payloads at N octets; the options on every piece, or on the first or last one alone"
    example: ClassVar[str] = "split 500 options first on mptcp.dss.map"

    def __post_init__(self) -> None:
        if not 1 <= self.octets <= MOST_OCTETS:
            raise MiddleboxError(f"octets are 1 to {MOST_OCTETS}, not {self.octets}")
        if self.options not in PIECES:
            raise MiddleboxError(f"options is one of {', '.join(PIECES)}, not {self.options!r}")
        if self.on:
            object.__setattr__(self, "on", canonical("on", self.on))

    @classmethod
    def read(cls, words: Words) -> Split:
        """As Middlebox."""
        octets, options, on = words.number(1, MOST_OCTETS), "copy", ""
        if words.took("options"):
            options = words.expect(*PIECES)
        if words.took("on"):
            on = read_match(words)
        return cls(octets, options, on)  # type: ignore[arg-type]

    def text(self) -> str:
        """As Middlebox."""
        options = "" if self.options == "copy" else f" options {self.options}"
        return f"split {self.octets}{options}{f' on {self.on}' if self.on else ''}"


@dataclass(frozen=True, slots=True)
class Coalesce(Middlebox):
    """Puts the payloads of segments that follow each other into one (RFC 8684 section 6, checklist L2)."""

    octets: int
    """Payload of what leaves, at most. More than fits into the MTU is large receive offload: on real packets it goes on
    as one super-segment, in virtual time as one long packet."""
    options: Literal["first", "last"] = "first"
    """Whose options remain. Number and ECN field are those of the first, acknowledgement and window of the last."""
    hold_ns: int = HOLD_NS
    """How long the first waits for others, at most."""
    on: str = ""
    """A match; empty: every segment with payload, but SYN, RST and URG."""
    kind: Literal["coalesce"] = field(default="coalesce", kw_only=True)

    keyword: ClassVar[str] = "coalesce"
    usage: ClassVar[str] = "coalesce N [options first|last] [for TIME] [on EXPR]"
    summary: ClassVar[str] = "puts following segments together, up to N octets (1ms); the options of one remain"
    example: ClassVar[str] = "coalesce 1400 options last for 2ms"

    def __post_init__(self) -> None:
        if not 2 <= self.octets <= MOST_OCTETS:
            raise MiddleboxError(f"octets are 2 to {MOST_OCTETS}, not {self.octets}")
        if self.options not in KEPT:
            raise MiddleboxError(f"options is first or last, not {self.options!r}")
        if self.hold_ns < 1:
            raise MiddleboxError(f"for is a time above 0, not {self.hold_ns}ns")
        if self.on:
            object.__setattr__(self, "on", canonical("on", self.on))

    @classmethod
    def read(cls, words: Words) -> Coalesce:
        """As Middlebox."""
        octets, options, hold_ns, on = words.number(2, MOST_OCTETS), "first", HOLD_NS, ""
        if words.took("options"):
            options = words.expect(*KEPT)
        if words.took("for"):
            hold_ns = words.quantity(quantity.parse_time, "a time, such as 2ms")
        if words.took("on"):
            on = read_match(words)
        return cls(octets, options, hold_ns, on)  # type: ignore[arg-type]

    def text(self) -> str:
        """As Middlebox."""
        options = "" if self.options == "first" else f" options {self.options}"
        hold = "" if self.hold_ns == HOLD_NS else f" for {quantity.format_time(self.hold_ns)}"
        return f"coalesce {self.octets}{options}{hold}{f' on {self.on}' if self.on else ''}"
