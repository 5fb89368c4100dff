"""Actions on the packets that match an expression: drop, delay, duplicate, hold, mark."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from topologies import match as matches
from topologies import quantity
from topologies.match import All, AnyOf, Counted, Not, Word
from topologies.middlebox.base import Middlebox, MiddleboxError, canonical, read_match
from topologies.words import Words

CODEPOINTS = ("ce", "ect0", "ect1", "not-ect")
"""Of the ECN field (RFC 3168 section 5)."""

HOLD_NS = 1_000_000_000
"""How long a packet is held at most if nothing is said."""


@dataclass(frozen=True, slots=True)
class Drop(Middlebox):
    """Drops the packets that match."""

    match: str
    kind: Literal["drop"] = field(default="drop", kw_only=True)

    keyword: ClassVar[str] = "drop"
    usage: ClassVar[str] = "drop EXPR"
    summary: ClassVar[str] = "drops what matches"
    example: ClassVar[str] = "drop mptcp.add_addr nth 1"

    def __post_init__(self) -> None:
        object.__setattr__(self, "match", canonical("drop", self.match))

    @classmethod
    def read(cls, words: Words) -> Drop:
        """As Middlebox; also the older ``drop OPTION [on CLASS+CLASS] [nth N+N]``."""
        if words.word.isascii() and words.word.isdecimal():
            expression: matches.Match = matches.Carries(words.number(2, 255))
        else:
            expression = matches.read(words)
        if words.word == "on":
            words.take()
            classes = matches.parse(of_classes(words.word.split("+"))) if words.word else matches.read(words)
            words.take()
            expression = All((expression, classes))
        if not isinstance(expression, Counted):
            expression = matches.read_count(words, expression)
        return cls(expression.text())

    def text(self) -> str:
        """As Middlebox."""
        return f"drop {self.match}"


@dataclass(frozen=True, slots=True)
class Delay(Middlebox):
    """Lets the packets that match wait; others overtake them."""

    delay_ns: int
    match: str
    kind: Literal["delay"] = field(default="delay", kw_only=True)

    keyword: ClassVar[str] = "delay"
    usage: ClassVar[str] = "delay TIME EXPR"
    summary: ClassVar[str] = "lets what matches wait, while the others overtake"
    example: ClassVar[str] = "delay 50ms mptcp.dss.map every 10"

    def __post_init__(self) -> None:
        object.__setattr__(self, "match", canonical("delay", self.match))
        if self.delay_ns < 1:
            raise MiddleboxError(f"delay is at least 1ns, not {self.delay_ns}ns")

    @classmethod
    def read(cls, words: Words) -> Delay:
        """As Middlebox."""
        return cls(words.quantity(quantity.parse_time, "a time, such as 50ms"), read_match(words))

    def text(self) -> str:
        """As Middlebox."""
        return f"delay {quantity.format_time(self.delay_ns)} {self.match}"


@dataclass(frozen=True, slots=True)
class Duplicate(Middlebox):
    """Lets an exact copy follow each packet that matches."""

    match: str
    kind: Literal["duplicate"] = field(default="duplicate", kw_only=True)

    keyword: ClassVar[str] = "duplicate"
    usage: ClassVar[str] = "duplicate EXPR"
    summary: ClassVar[str] = "lets an exact copy follow what matches"
    example: ClassVar[str] = "duplicate data every 100"

    def __post_init__(self) -> None:
        object.__setattr__(self, "match", canonical("duplicate", self.match))

    @classmethod
    def read(cls, words: Words) -> Duplicate:
        """As Middlebox."""
        return cls(read_match(words))

    def text(self) -> str:
        """As Middlebox."""
        return f"duplicate {self.match}"


@dataclass(frozen=True, slots=True)
class Hold(Middlebox):
    """Keeps the packets that match until another one has passed, and lets them follow it: deterministic reordering."""

    match: str
    until: str
    """What releases them; a packet that is itself held releases those held before it, and stays."""
    at_most_ns: int = HOLD_NS
    kind: Literal["hold"] = field(default="hold", kw_only=True)

    keyword: ClassVar[str] = "hold"
    usage: ClassVar[str] = "hold EXPR until EXPR [for TIME]"
    summary: ClassVar[str] = "keeps what matches until another match has passed, or for a time (1s): reorders exactly"
    example: ClassVar[str] = "hold data nth 3 until data nth 6 for 500ms"

    def __post_init__(self) -> None:
        object.__setattr__(self, "match", canonical("hold", self.match))
        object.__setattr__(self, "until", canonical("until", self.until))
        if self.at_most_ns < 1:
            raise MiddleboxError(f"hold lasts at least 1ns, not {self.at_most_ns}ns")

    @classmethod
    def read(cls, words: Words) -> Hold:
        """As Middlebox."""
        held = read_match(words)
        words.expect("until")
        until = read_match(words)
        at_most_ns = HOLD_NS
        if words.took("for"):
            at_most_ns = words.quantity(quantity.parse_time, "a time, such as 500ms")
        return cls(held, until, at_most_ns)

    def text(self) -> str:
        """As Middlebox."""
        limit = "" if self.at_most_ns == HOLD_NS else f" for {quantity.format_time(self.at_most_ns)}"
        return f"hold {self.match} until {self.until}{limit}"


@dataclass(frozen=True, slots=True)
class Mark(Middlebox):
    """Sets the ECN field of the packets that match, whatever it was."""

    codepoint: str
    match: str
    kind: Literal["mark"] = field(default="mark", kw_only=True)

    keyword: ClassVar[str] = "mark"
    usage: ClassVar[str] = f"mark {'|'.join(CODEPOINTS)} EXPR"
    summary: ClassVar[str] = "sets the ECN field of what matches, whatever it was"
    example: ClassVar[str] = "mark ce data and chance 1%"

    def __post_init__(self) -> None:
        object.__setattr__(self, "match", canonical("mark", self.match))
        if self.codepoint not in CODEPOINTS:
            raise MiddleboxError(f"mark is one of {', '.join(CODEPOINTS)}, not {self.codepoint!r}")

    @classmethod
    def read(cls, words: Words) -> Mark:
        """As Middlebox."""
        return cls(words.expect(*CODEPOINTS), read_match(words))

    def text(self) -> str:
        """As Middlebox."""
        return f"mark {self.codepoint} {self.match}"


# --- the older lists of classes ---

_CLASSES = {
    "syn": Word("syn"),
    "syn-ack": Word("syn_ack"),
    "third-ack": Word("third_ack"),
    "data": Word("data"),
    "ack": Not(AnyOf((Word("tcp.syn"), Word("third_ack"), Word("data")))),  # was: all the rest
}


def of_classes(names: list[str]) -> str:
    """The match that a list of classes meant before there were expressions. Raises MiddleboxError."""
    for name in names:
        if name not in _CLASSES:
            raise MiddleboxError(f"a class of segments is one of {', '.join(_CLASSES)}, not {name!r}")
    parts = tuple(_CLASSES[name] for name in names)
    return (AnyOf(parts) if len(parts) > 1 else parts[0]).text()


def read_classes(words: Words) -> str:
    """After ``on``: a match, or the older ``syn+syn-ack``. Raises MiddleboxError."""
    names = words.word.split("+")
    if len(names) > 1 and set(names) <= set(_CLASSES):
        words.take()
        return of_classes(names)
    return read_match(words)


def of_carrying(option: str, on: list[str], nth: list[int]) -> Drop:
    """What ``drop-carrying`` was in JSON before there were expressions. Raises MiddleboxError."""
    expression = matches.parse(f"option {option}" if option.isdecimal() else option)
    if on:
        expression = All((expression, matches.parse(of_classes(on))))
    return Drop((Counted(expression, "nth", tuple(nth)) if nth else expression).text())
