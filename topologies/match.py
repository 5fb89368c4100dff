"""Match expressions: which packets a middlebox is about, as values, with their text.

``mptcp.add_addr nth 1``, ``data and subflow 2 and not retransmission``, ``(payload > 0 every 100) or tcp.rst``.
``not`` binds before ``and``, ``and`` before ``or``. A count (``nth 3+7``, ``first 5``, ``every 100``) stands at the end
of the whole or of a bracket and is about all that matches what is before it, counted from 1.

``parse(describe(value)) == value`` for every value. What a match holds for is in ``testbed/net/match.py``.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from topologies import quantity
from topologies.match_words import (
    CLASSES,
    COUNTS,
    ECN,
    FLAGS,
    NUMBERS,
    OPTIONS,
    OTHERS,
    PARTS,
    SIGNS,
    SPELLINGS,
    SUBTYPES,
    WITH_VALUE,
    WORDS,
    meanings,
)
from topologies.words import WordError, Words

__all__ = [
    "CLASSES",
    "COUNTS",
    "ECN",
    "FLAGS",
    "NUMBERS",
    "OPTIONS",
    "OTHERS",
    "PARTS",
    "SIGNS",
    "SPELLINGS",
    "SUBTYPES",
    "WITH_VALUE",
    "WORDS",
    "All",
    "AnyOf",
    "Carries",
    "Chance",
    "Compared",
    "Counted",
    "Host",
    "Match",
    "Not",
    "Port",
    "Subflow",
    "Time",
    "Word",
    "canonical",
    "describe",
    "meanings",
    "parse",
    "read",
    "read_count",
]

DEEPEST: Final = 50
"""Brackets and negations within each other."""


class Match:
    """Base of all."""

    __slots__ = ()

    def text(self) -> str:
        """What :func:`parse` reads back as this value."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Word(Match):
    """One of :data:`WORDS`."""

    word: str

    def __post_init__(self) -> None:
        if self.word not in WORDS:
            raise WordError(f"{self.word!r} is no word of a match")

    def text(self) -> str:
        """The word."""
        return self.word


@dataclass(frozen=True, slots=True)
class Carries(Match):
    """Carries an option of that kind: ``option 253``."""

    kind: int

    def text(self) -> str:
        """As Match."""
        return f"option {self.kind}"


@dataclass(frozen=True, slots=True)
class Compared(Match):
    """A number of the packet, one of :data:`NUMBERS`: ``payload >= 1000``, ``reset_reason = 6``."""

    what: str
    sign: str
    number: int

    def __post_init__(self) -> None:
        if self.what not in NUMBERS or self.sign not in SIGNS:
            raise WordError(f"{self.what} {self.sign} is no comparison of a match")

    def text(self) -> str:
        """As Match."""
        return f"{self.what} {self.sign} {self.number}"


@dataclass(frozen=True, slots=True)
class Subflow(Match):
    """Of the n-th TCP connection, from 1, by the first packet that passed here: ``subflow 2``."""

    number: int

    def text(self) -> str:
        """As Match."""
        return f"subflow {self.number}"


@dataclass(frozen=True, slots=True)
class Host(Match):
    """``from 10.0.1.1``, ``to fd00:1::1``."""

    end: str
    address: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "address", _address(self.address))

    def text(self) -> str:
        """As Match."""
        return f"{self.end} {self.address}"


@dataclass(frozen=True, slots=True)
class Port(Match):
    """Source or destination port: ``port 5001``."""

    number: int

    def text(self) -> str:
        """As Match."""
        return f"port {self.number}"


@dataclass(frozen=True, slots=True)
class Time(Match):
    """``after 2s``, ``before 5s``: since the start of the traffic; the instant itself is after."""

    when: str
    time_ns: int

    def text(self) -> str:
        """As Match."""
        return f"{self.when} {quantity.format_time(self.time_ns)}"


@dataclass(frozen=True, slots=True)
class Chance(Match):
    """``chance 5%``: seeded; the n-th packet of a direction meets the n-th draw of that direction."""

    probability: float

    def text(self) -> str:
        """As Match."""
        return f"chance {quantity.format_probability(self.probability)}"


@dataclass(frozen=True, slots=True)
class Not(Match):
    """What does not match."""

    operand: Match

    def text(self) -> str:
        """As Match."""
        return f"not {_within(self.operand, All, AnyOf, Counted)}"


@dataclass(frozen=True, slots=True)
class All(Match):
    """``and``; one that is an operand of another is the same as its operands."""

    operands: tuple[Match, ...]

    def __post_init__(self) -> None:
        flat = [each for one in self.operands for each in (one.operands if isinstance(one, All) else (one,))]
        object.__setattr__(self, "operands", tuple(flat))

    def text(self) -> str:
        """As Match."""
        return " and ".join(_within(each, AnyOf, Counted) for each in self.operands)


@dataclass(frozen=True, slots=True)
class AnyOf(Match):
    """``or``; one that is an operand of another is the same as its operands."""

    operands: tuple[Match, ...]

    def __post_init__(self) -> None:
        flat = [each for one in self.operands for each in (one.operands if isinstance(one, AnyOf) else (one,))]
        object.__setattr__(self, "operands", tuple(flat))

    def text(self) -> str:
        """As Match."""
        return " or ".join(_within(each, Counted) for each in self.operands)


@dataclass(frozen=True, slots=True)
class Counted(Match):
    """Of the packets that match ``operand``, counted from 1: these (``nth``), the ``first`` so many, ``every`` n-th."""

    operand: Match
    count: str
    numbers: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "numbers", tuple(sorted(set(self.numbers))))
        if not self.numbers or self.numbers[0] < 1:
            raise WordError(f"{self.count} is of numbers from 1")
        if self.count != "nth" and len(self.numbers) > 1:
            raise WordError(f"{self.count} is of one number")

    def text(self) -> str:
        """As Match."""
        return f"{_within(self.operand, Counted)} {self.count} {'+'.join(map(str, self.numbers))}"


@lru_cache(maxsize=1024)
def parse(text: str) -> Match:
    """The match that ``text`` describes. Raises WordError at the exact word."""
    words = Words(text)
    match = read(words)
    words.finish()
    return match


def describe(match: Match) -> str:
    """The canonical text."""
    return match.text()


def canonical(text: str) -> str:
    """The canonical text of what ``text`` describes. Raises WordError."""
    return parse(text).text()


def read(words: Words, depth: int = 0) -> Match:
    """The longest match that begins at the next word; what follows is left. Raises WordError."""
    return read_count(words, _any_of(words, depth))


def read_count(words: Words, match: Match) -> Match:
    """``match``, counted if the next word is a count. Raises WordError."""
    count = words.took(*COUNTS)
    if not count:
        return match
    place = words.token
    numbers = _numbers(words)
    try:
        match = Counted(match, count, numbers)
    except WordError as error:
        raise words.refusal(error.reason, place) from None
    if words.word in ("and", "or", *COUNTS):
        raise words.refusal(f"a count ends a match: write ({match.text()}) {words.word}")
    return match


def _any_of(words: Words, depth: int) -> Match:
    operands = [_all(words, depth)]
    while words.took("or"):
        operands.append(_all(words, depth))
    return AnyOf(tuple(operands)) if len(operands) > 1 else operands[0]


def _all(words: Words, depth: int) -> Match:
    operands = [_not(words, depth)]
    while words.took("and"):
        operands.append(_not(words, depth))
    return All(tuple(operands)) if len(operands) > 1 else operands[0]


def _not(words: Words, depth: int) -> Match:
    if depth > DEEPEST:
        raise words.refusal(f"brackets and negations more than {DEEPEST} deep")
    if words.took("not"):
        return Not(_not(words, depth + 1))
    if words.took("("):
        match = read(words, depth + 1)
        words.expect(")")
        return match
    return _single(words)


def _single(words: Words) -> Match:
    word = SPELLINGS.get(words.word, words.word)
    if word in WORDS:
        words.take()
        return Word(word)
    if word not in WITH_VALUE:
        raise words.error((*WORDS, *WITH_VALUE))
    words.take()
    if word in NUMBERS:
        sign = words.expect(*SIGNS, "==")
        return Compared(word, "=" if sign == "==" else sign, words.number(0, 65535))
    match word:
        case "subflow":
            return Subflow(words.number(1))
        case "option":
            return Carries(words.number(0, 255))
        case "port":
            return Port(words.number(0, 65535))
        case "from" | "to":
            return Host(word, words.quantity(_address, WITH_VALUE[word]))
        case "after" | "before":
            return Time(word, words.quantity(quantity.parse_time, "a time, such as 2s"))
    return Chance(words.quantity(quantity.parse_probability, "a probability, such as 5%"))


def _numbers(words: Words) -> tuple[int, ...]:
    """After ``nth``: ``3+7``; after the other counts one number."""
    place = words.token
    parts = place.word.split("+")
    if not all(part.isascii() and part.isdecimal() and len(part) < 20 for part in parts):
        raise words.error(("a number from 1, or several: 3+7",))
    words.take()
    return tuple(map(int, parts))


def _within(match: Match, *weaker: type[Match]) -> str:
    """The text of an operand, in brackets where it would come apart."""
    return f"({match.text()})" if isinstance(match, weaker) else match.text()


def _address(text: str) -> str:
    """Raises WordError."""
    try:
        if "%" not in text:
            return str(ipaddress.ip_address(text))
    except ValueError:
        pass
    raise WordError(f"{text!r} is no IP address: write one such as 10.0.1.1 or fd00:1::1")
