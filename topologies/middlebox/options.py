"""Middleboxes that take options out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from topologies.match import OPTIONS, SPELLINGS, SUBTYPES
from topologies.middlebox.actions import read_classes
from topologies.middlebox.base import Middlebox, MiddleboxError, canonical
from topologies.words import Words

GAPS = ("nop", "close")


def option_numbers(option: str) -> tuple[int, int]:
    """(kind, MPTCP subtype or -1 for every one) that ``mptcp.dss``, ``tcp.sack`` or ``253`` names."""
    if option in SUBTYPES:
        return OPTIONS["mptcp"], SUBTYPES[option]
    if option in OPTIONS:
        return OPTIONS[option], -1
    if option.isascii() and option.isdecimal() and 2 <= int(option) <= 255:
        return int(option), -1
    names = ", ".join((*OPTIONS, *SUBTYPES))
    raise MiddleboxError(f"option {option!r} is one of {names} or a number 2 to 255")


def read_option(words: Words) -> str:
    """The name or number of an option. Raises MiddleboxError."""
    word = SPELLINGS.get(words.word, words.word)
    if word.isascii() and word.isdecimal():
        return str(words.number(2, 255))
    if word not in OPTIONS and word not in SUBTYPES:
        raise words.error((*OPTIONS, *SUBTYPES, "a number from 2 to 255"))
    words.take()
    return word


@dataclass(frozen=True, slots=True)
class StripOption(Middlebox):
    """Takes an option out of the segments that have it."""

    option: str = "mptcp"
    on: str = ""
    """A match; empty: every segment."""
    gap: Literal["nop", "close"] = "nop"
    """``nop``: its octets become NOPs, the segment keeps its length; ``close``: the options behind it move up."""
    kind: Literal["strip-option"] = field(default="strip-option", kw_only=True)

    keyword: ClassVar[str] = "strip"
    usage: ClassVar[str] = "strip OPTION [on EXPR] [close]"
    summary: ClassVar[str] = "takes an option out: NOPs in its place, or the gap closed"
    example: ClassVar[str] = "strip mptcp on syn_ack"

    def __post_init__(self) -> None:
        object.__setattr__(self, "option", SPELLINGS.get(self.option, self.option))
        option_numbers(self.option)
        if self.on:
            object.__setattr__(self, "on", canonical("on", self.on))
        if self.gap not in GAPS:
            raise MiddleboxError(f"gap is nop or close, not {self.gap!r}")

    @classmethod
    def read(cls, words: Words) -> StripOption:
        """As Middlebox."""
        option, on, gap = read_option(words), "", "nop"
        while word := words.took(*([] if on else ["on"]), *(["close"] if gap == "nop" else [])):
            if word == "on":
                on = read_classes(words)
            else:
                gap = "close"
        return cls(option, on, "close" if gap == "close" else "nop")

    def text(self) -> str:
        """As Middlebox."""
        on = f" on {self.on}" if self.on else ""
        return f"strip {self.option}{on}{' close' if self.gap == 'close' else ''}"
