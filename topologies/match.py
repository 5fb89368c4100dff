"""Match expressions: which packets a middlebox is about, as values, with their text.

``mptcp.add_addr nth 1``, ``data and subflow 2 and not retransmission``, ``(payload > 0 every 100) or tcp.rst``.
``not`` binds before ``and``, ``and`` before ``or``. A count (``nth 3+7``, ``first 5``, ``every 100``) stands at the end
of the whole or of a bracket and is about all that matches what is before it, counted from 1.

``parse(describe(value)) == value`` for every value. What a match holds for is in ``testbed/net/match.py``.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from topologies import quantity
from topologies.words import WordError, Words

DEEPEST: Final = 50
"""Brackets and negations within each other."""

FLAGS: Mapping[str, int] = {
    "tcp.fin": 0x01,
    "tcp.syn": 0x02,
    "tcp.rst": 0x04,
    "tcp.psh": 0x08,
    "tcp.ack": 0x10,
    "tcp.urg": 0x20,
    "tcp.ece": 0x40,
    "tcp.cwr": 0x80,
}
"""Word -> bit of the TCP header (RFC 9293 section 3.1)."""

OPTIONS: Mapping[str, int] = {
    "tcp.mss": 2,
    "tcp.window_scale": 3,
    "tcp.sack_permitted": 4,
    "tcp.sack": 5,
    "tcp.timestamps": 8,
    "tcp.fast_open": 34,
    "mptcp": 30,
}
"""Word -> kind of the option that the segment carries (IANA, TCP option kind numbers)."""

SUBTYPES: Mapping[str, int] = {
    "mptcp.mp_capable": 0x0,
    "mptcp.mp_join": 0x1,
    "mptcp.dss": 0x2,
    "mptcp.add_addr": 0x3,
    "mptcp.remove_addr": 0x4,
    "mptcp.mp_prio": 0x5,
    "mptcp.mp_fail": 0x6,
    "mptcp.mp_fastclose": 0x7,
    "mptcp.mp_tcprst": 0x8,
}
"""Word -> subtype of option 30 that the segment carries (RFC 8684 section 8.1)."""

PARTS: Mapping[str, str] = {
    "mptcp.dss.map": "a DSS with a mapping",
    "mptcp.dss.ack": "a DSS with a DATA_ACK",
    "mptcp.dss.fin": "a DSS with DATA_FIN",
    "mptcp.dss.checksum": "a DSS with a checksum",
    "mptcp.add_addr.echo": "an ADD_ADDR that is an echo",
}
"""Word -> which options of MPTCP it means."""

CLASSES: Mapping[str, str] = {
    "syn": "SYN without ACK",
    "syn_ack": "SYN with ACK",
    "third_ack": "the first segment after its sender's SYN, whatever it carries, unless it is a RST",
    "data": "any other segment with payload",
    "ack": "any other segment with ACK and without FIN and RST: a pure ACK",
}
"""Word -> what it means. No segment is of two classes; a FIN or RST without payload is of none."""

ECN: Mapping[str, int] = {"ip.not_ect": 0, "ip.ect1": 1, "ip.ect0": 2, "ip.ce": 3}
"""Word -> ECN field of the IP header (RFC 3168 section 5)."""

OTHERS: Mapping[str, str] = {
    "any": "every TCP segment",
    "retransmission": "its first octet of payload, its SYN or its FIN has passed here before",
    "forward": "from the link's a to its b",
    "backward": "from the link's b to its a",
}
"""Word -> what it means."""

WORDS: Final = (*CLASSES, *OTHERS, *FLAGS, *OPTIONS, *SUBTYPES, *PARTS, *ECN)
"""Every word that is a match by itself."""

WITH_VALUE: Mapping[str, str] = {
    "payload": "payload > 0",
    "window": "window < 1000",
    "subflow": "subflow 2",
    "option": "option 253",
    "from": "from 10.0.1.1",
    "to": "to 10.0.2.2",
    "port": "port 5001",
    "after": "after 2s",
    "before": "before 5s",
    "chance": "chance 5%",
}
"""First word of the others -> example."""

VALUE_MEANINGS: Mapping[str, str] = {
    "payload": "octets of payload",
    "window": "the window field as it is on the wire, without its scale",
    "subflow": "the n-th TCP connection by its first packet here, from 1",
    "option": "carries an option of that kind",
    "from": "source address",
    "to": "destination address",
    "port": "source or destination port",
    "after": "from that time after the start of the traffic on",
    "before": "until then",
    "chance": "seeded; the n-th packet of a direction meets its n-th draw",
}
"""First word of those with a value -> what it means."""

COUNTS: Final = ("nth", "first", "every")
SIGNS: Final = (">", ">=", "<", "<=", "=", "!=")

SPELLINGS: Mapping[str, str] = {
    "syn-ack": "syn_ack",
    "third-ack": "third_ack",
    "mss": "tcp.mss",
    "window-scale": "tcp.window_scale",
    "sack-permitted": "tcp.sack_permitted",
    "sack": "tcp.sack",
    "timestamps": "tcp.timestamps",
    "fast-open": "tcp.fast_open",
    **{word.replace(".", "/"): word for word in SUBTYPES},
}
"""Older word -> word."""


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
    """Octets of payload, or the 16-bit window field as it is on the wire: ``payload >= 1000``."""

    what: str
    sign: str
    number: int

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


def meanings() -> dict[str, str]:
    """Every word, or example of one with a value -> what it means."""
    flags = {word: f"the flag {word.partition('.')[2].upper()} is set" for word in FLAGS}
    options = {word: f"carries option {kind}" for word, kind in OPTIONS.items()}
    subtypes = {word: f"carries {word.partition('.')[2].upper()}" for word in SUBTYPES}
    parts = {word: f"carries {what}" for word, what in PARTS.items()}
    fields = {word: f"the ECN field is {value:02b}" for word, value in ECN.items()}
    valued = {example: VALUE_MEANINGS[word] for word, example in WITH_VALUE.items()}
    counts = {"data nth 3+7": "these of the packets that match, counted from 1"}
    counts |= {"data first 5": "the first so many", "data every 100": "every so many"}
    joined = {"not syn and (data or ack)": "not binds before and, and before or"}
    return {**CLASSES, **OTHERS, **flags, **options, **subtypes, **parts, **fields, **valued, **counts, **joined}


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
    match word:
        case "payload" | "window":
            sign = words.expect(*SIGNS, "==")
            return Compared(word, "=" if sign == "==" else sign, words.number(0, 65535))
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
