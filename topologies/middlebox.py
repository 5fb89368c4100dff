"""Middleboxes of one direction of a link, as values: what they look for and what they do to it.

A middlebox handles packets as they arrive at the link, before anything else of the link's profile. The behaviour is in
``testbed/net/middlebox.py``. The text form: ``strip mptcp on syn``, ``strip timestamps close``,
``drop mptcp/add_addr``, ``drop mptcp on third-ack nth 1``; several are separated by commas.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

SegmentClass = Literal["syn", "syn-ack", "third-ack", "data", "ack"]
"""Every TCP segment is of exactly one class. ``third-ack``: the first segment after its sender's SYN, in the direction
of the SYN, whatever it carries; ``data``: carries payload; ``ack``: all the rest."""
SEGMENT_CLASSES: tuple[str, ...] = get_args(SegmentClass)

OPTION_KINDS: Mapping[str, int] = {
    "mss": 2,
    "window-scale": 3,
    "sack-permitted": 4,
    "sack": 5,
    "timestamps": 8,
    "mptcp": 30,
    "fast-open": 34,
}
"""Word -> option kind (IANA, TCP option kind numbers)."""
MPTCP_SUBTYPES: Mapping[str, int] = {
    "mp_capable": 0x0,
    "mp_join": 0x1,
    "dss": 0x2,
    "add_addr": 0x3,
    "remove_addr": 0x4,
    "mp_prio": 0x5,
    "mp_fail": 0x6,
    "mp_fastclose": 0x7,
    "mp_tcprst": 0x8,
}
"""Word -> subtype of option 30 (RFC 8684 section 8.1)."""


class MiddleboxError(ValueError):
    """A middlebox that does not make sense; the message names the part."""


def option_numbers(option: str) -> tuple[int, int | None]:
    """(kind, MPTCP subtype or None for every one) that ``mptcp/dss``, ``sack`` or ``253`` names."""
    word, slash, subtype = option.partition("/")
    if slash:
        if word != "mptcp" or subtype not in MPTCP_SUBTYPES:
            raise MiddleboxError(f"option {option!r}: after mptcp/ comes one of {', '.join(MPTCP_SUBTYPES)}")
        return OPTION_KINDS["mptcp"], MPTCP_SUBTYPES[subtype]
    if word in OPTION_KINDS:
        return OPTION_KINDS[word], None
    if word.isdecimal() and 2 <= int(word) <= 255:
        return int(word), None
    raise MiddleboxError(f"option {option!r} is one of {', '.join(OPTION_KINDS)}, mptcp/SUBTYPE or a number 2 to 255")


def _check(option: str, on: tuple[str, ...]) -> None:
    option_numbers(option)
    for word in on:
        if word not in SEGMENT_CLASSES:
            raise MiddleboxError(f"on is of {', '.join(SEGMENT_CLASSES)}, not {word!r}")


@dataclass(frozen=True, slots=True)
class StripOption:
    """Takes an option out of the segments that have it."""

    option: str = "mptcp"
    on: tuple[SegmentClass, ...] = ()
    """Classes of segments; empty: every segment."""
    gap: Literal["nop", "close"] = "nop"
    """``nop``: its octets become NOPs, the segment keeps its length; ``close``: the options behind it move up."""
    kind: Literal["strip-option"] = field(default="strip-option", kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "on", tuple(self.on))
        _check(self.option, self.on)
        if self.gap not in ("nop", "close"):
            raise MiddleboxError(f"gap is nop or close, not {self.gap!r}")


@dataclass(frozen=True, slots=True)
class DropCarrying:
    """Drops segments that carry an option."""

    option: str = "mptcp"
    on: tuple[SegmentClass, ...] = ()
    """Classes of segments; empty: every segment."""
    nth: tuple[int, ...] = ()
    """Of the segments that match, only these, counted from 1; empty: all of them."""
    kind: Literal["drop-carrying"] = field(default="drop-carrying", kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "on", tuple(self.on))
        object.__setattr__(self, "nth", tuple(sorted(set(self.nth))))
        _check(self.option, self.on)
        if self.nth and self.nth[0] < 1:
            raise MiddleboxError(f"nth counts from 1, not {self.nth[0]}")


Middlebox = StripOption | DropCarrying
MIDDLEBOX_KINDS: Mapping[str, type[Any]] = {
    cls.__dataclass_fields__["kind"].default: cls for cls in get_args(Middlebox)
}
"""The word that tells them apart in JSON -> the class."""


SUMMARIES: Mapping[str, tuple[str, str]] = {
    "strip-option": (
        "strip OPTION [on CLASS+CLASS] [close]",
        "takes an option out: NOPs in its place, or the gap closed",
    ),
    "drop-carrying": (
        "drop OPTION [on CLASS+CLASS] [nth N+N]",
        "drops segments that carry an option, or the n-th of them",
    ),
}
"""Kind -> (text form, what it does)."""


def from_dict(data: Mapping[str, Any]) -> Middlebox:
    """The middlebox that ``dataclasses.asdict`` wrote. Raises MiddleboxError."""
    kind = data.get("kind")
    if not isinstance(kind, str) or kind not in MIDDLEBOX_KINDS:
        raise MiddleboxError(f"middlebox.kind is one of {', '.join(MIDDLEBOX_KINDS)}, not {kind!r}")
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in data.items()}
    middlebox: Middlebox = MIDDLEBOX_KINDS[kind](**values)
    return middlebox


def parse(text: str) -> tuple[Middlebox, ...]:
    """The text form; ``none``: no middlebox. Raises MiddleboxError."""
    if text.strip() == "none":
        return ()
    return tuple(_parse_one(part.split()) for part in text.split(","))


def describe(middlebox: Middlebox) -> str:
    """What :func:`parse` reads back."""
    words = ["strip" if isinstance(middlebox, StripOption) else "drop", middlebox.option]
    if middlebox.on:
        words += ["on", "+".join(middlebox.on)]
    if isinstance(middlebox, StripOption):
        words += ["close"] if middlebox.gap == "close" else []
    elif middlebox.nth:
        words += ["nth", "+".join(map(str, middlebox.nth))]
    return " ".join(words)


def _parse_one(words: list[str]) -> Middlebox:
    usage = "write 'strip OPTION [on CLASS+CLASS] [close]' or 'drop OPTION [on CLASS+CLASS] [nth N+N]'"
    if len(words) < 2 or words[0] not in ("strip", "drop"):
        raise MiddleboxError(f"{' '.join(words)!r} is no middlebox: {usage}")
    middlebox: Middlebox = (StripOption if words[0] == "strip" else DropCarrying)(words[1])
    rest = words[2:]
    while rest:
        changed: dict[str, Any]
        if rest[0] == "on" and len(rest) > 1:
            changed, rest = {"on": tuple(rest[1].split("+"))}, rest[2:]
        elif rest[0] == "close" and isinstance(middlebox, StripOption):
            changed, rest = {"gap": "close"}, rest[1:]
        elif rest[0] == "nth" and len(rest) > 1 and isinstance(middlebox, DropCarrying):
            numbers = rest[1].split("+")
            if not all(number.isdecimal() for number in numbers):
                raise MiddleboxError(f"nth {rest[1]!r} is not a list of numbers: {usage}")
            changed, rest = {"nth": tuple(map(int, numbers))}, rest[2:]
        else:
            raise MiddleboxError(f"{' '.join(words)!r}: {rest[0]!r} is not understood; {usage}")
        middlebox = dataclasses.replace(middlebox, **changed)
    return middlebox
