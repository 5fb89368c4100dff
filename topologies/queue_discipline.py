"""Queue disciplines as values: what manages the waiting room of a line, beside its limit.

Without one a queue is drop-tail. What they do to packets is in ``testbed/net/queues``. With ``ecn`` a packet of an
ECN-capable transport is marked (CE, RFC 3168) where another one would be dropped; whatever finds the queue full is
dropped. The words and defaults are those of the RFCs and of tc.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal, TypeVar, get_args

from topologies import quantity
from topologies.words import Words

Unit = Literal["packets", "bytes"]
T = TypeVar("T", bound="QueueDiscipline")


class DisciplineError(ValueError):
    """A value of a queue discipline is out of range."""


def _within(name: str, value: object, least: int, most: int | None = None) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise DisciplineError(f"{name} is an integer in base units, not {value!r}")
    if value < least or (most is not None and value > most):
        raise DisciplineError(f"{name} is at least {least}{f' and at most {most}' if most else ''}, not {value}")


def _share(name: str, value: object) -> None:
    if not isinstance(value, int | float) or not 0.0 < value <= 1.0:
        raise DisciplineError(f"{name} is in (0, 1], not {value!r}")


def _flag(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise DisciplineError(f"{name} is true or false, not {value!r}")


def _time(words: Words, keyword: str, default_ns: int) -> int:
    """``5ms`` or ``target 5ms``, if it is there."""
    if words.took(keyword) or words.word[:1].isdigit():
        return words.quantity(quantity.parse_time, "a time, such as 5ms")
    return default_ns


def _named_time(words: Words, keyword: str, default_ns: int) -> int:
    """``update 15ms``, if it is there."""
    return words.quantity(quantity.parse_time, "a time, such as 15ms") if words.took(keyword) else default_ns


@dataclass(frozen=True, slots=True)
class QueueDiscipline:
    """One of :data:`DISCIPLINES`."""

    keyword: ClassVar[str] = ""
    usage: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    example: ClassVar[str] = ""

    @classmethod
    def read(cls: type[T], words: Words) -> T:
        """From the words after the keyword, up to ``limit``. Raises WordError."""
        raise NotImplementedError

    def text(self) -> str:
        """What is read back as this value."""
        raise NotImplementedError

    def usual_limit(self) -> tuple[int | None, int | None]:
        """(packets, bytes), one of them, of a queue for which no limit is given."""
        return 1000, None


@dataclass(frozen=True, slots=True)
class CoDel(QueueDiscipline):
    """RFC 8289: drops at the head once packets have waited longer than ``target_ns`` for a whole ``interval_ns``."""

    keyword: ClassVar[str] = "codel"
    usage: ClassVar[str] = "codel [TARGET [INTERVAL]] [ecn]"
    summary: ClassVar[str] = "CoDel (RFC 8289): packets wait about TARGET (5ms); INTERVAL (100ms) is a usual round trip"
    example: ClassVar[str] = "codel 5ms 100ms ecn limit 1000packets"

    target_ns: int = 5_000_000
    interval_ns: int = 100_000_000
    ecn: bool = False
    kind: Literal["codel"] = field(default="codel", kw_only=True)

    def __post_init__(self) -> None:
        _within("codel.target_ns", self.target_ns, 1)
        _within("codel.interval_ns", self.interval_ns, 1)
        _flag("codel.ecn", self.ecn)

    @classmethod
    def read(cls, words: Words) -> CoDel:
        """See the base class."""
        target_ns = _time(words, "target", cls().target_ns)
        interval_ns = _time(words, "interval", cls().interval_ns)
        return cls(target_ns, interval_ns, bool(words.took("ecn")))

    def text(self) -> str:
        """See the base class."""
        times = f"{quantity.format_time(self.target_ns)} {quantity.format_time(self.interval_ns)}"
        return f"codel {times}{' ecn' if self.ecn else ''}"


@dataclass(frozen=True, slots=True)
class FqCoDel(QueueDiscipline):
    """RFC 8290: a CoDel queue for each of ``flows`` hash values of the 5-tuple, served by deficit round robin."""

    keyword: ClassVar[str] = "fq_codel"
    usage: ClassVar[str] = "fq_codel [TARGET [INTERVAL]] [flows N] [quantum SIZE] [ecn]"
    summary: ClassVar[str] = (
        "FQ-CoDel (RFC 8290): each flow (5-tuple) has a CoDel queue of its own; all share the line, sparse ones first"
    )
    example: ClassVar[str] = "fq_codel 5ms 100ms flows 1024 quantum 1514B limit 10240packets"

    target_ns: int = 5_000_000
    interval_ns: int = 100_000_000
    flows: int = 1024
    quantum_bytes: int = 1514
    ecn: bool = False
    kind: Literal["fq_codel"] = field(default="fq_codel", kw_only=True)

    def __post_init__(self) -> None:
        _within("fq_codel.target_ns", self.target_ns, 1)
        _within("fq_codel.interval_ns", self.interval_ns, 1)
        _within("fq_codel.flows", self.flows, 1, 65536)
        _within("fq_codel.quantum_bytes", self.quantum_bytes, 256)
        _flag("fq_codel.ecn", self.ecn)

    @classmethod
    def read(cls, words: Words) -> FqCoDel:
        """See the base class."""
        usual = cls()
        target_ns = _time(words, "target", usual.target_ns)
        interval_ns = _time(words, "interval", usual.interval_ns)
        flows = words.number(1, 65536) if words.took("flows") else usual.flows
        quantum = usual.quantum_bytes
        if words.took("quantum"):
            quantum = words.quantity(quantity.parse_size, "a size, such as 1514B")
        return cls(target_ns, interval_ns, flows, quantum, bool(words.took("ecn")))

    def text(self) -> str:
        """See the base class."""
        times = f"{quantity.format_time(self.target_ns)} {quantity.format_time(self.interval_ns)}"
        quantum = quantity.format_size(self.quantum_bytes)
        return f"fq_codel {times} flows {self.flows} quantum {quantum}{' ecn' if self.ecn else ''}"

    def usual_limit(self) -> tuple[int | None, int | None]:
        """RFC 8290 section 4.1.3."""
        return 10240, None


@dataclass(frozen=True, slots=True)
class Pie(QueueDiscipline):
    """RFC 8033: drops at the tail, as often as keeps the queueing delay near ``target_ns``."""

    keyword: ClassVar[str] = "pie"
    usage: ClassVar[str] = "pie [TARGET] [update TIME] [burst TIME] [ecn]"
    summary: ClassVar[str] = (
        "PIE (RFC 8033): a controller, every 15ms, keeps the delay at TARGET (15ms); bursts of 150ms are let through"
    )
    example: ClassVar[str] = "pie 15ms ecn limit 1000packets"

    target_ns: int = 15_000_000
    update_ns: int = 15_000_000
    """``T_UPDATE``."""
    burst_ns: int = 150_000_000
    """``MAX_BURST``."""
    ecn: bool = False
    kind: Literal["pie"] = field(default="pie", kw_only=True)

    def __post_init__(self) -> None:
        _within("pie.target_ns", self.target_ns, 1)
        _within("pie.update_ns", self.update_ns, 1)
        _within("pie.burst_ns", self.burst_ns, 0)
        _flag("pie.ecn", self.ecn)

    @classmethod
    def read(cls, words: Words) -> Pie:
        """See the base class."""
        usual = cls()
        target_ns = _time(words, "target", usual.target_ns)
        update_ns = _named_time(words, "update", usual.update_ns)
        burst_ns = _named_time(words, "burst", usual.burst_ns)
        return cls(target_ns, update_ns, burst_ns, bool(words.took("ecn")))

    def text(self) -> str:
        """See the base class."""
        usual = Pie()
        update = f" update {quantity.format_time(self.update_ns)}" if self.update_ns != usual.update_ns else ""
        burst = f" burst {quantity.format_time(self.burst_ns)}" if self.burst_ns != usual.burst_ns else ""
        return f"pie {quantity.format_time(self.target_ns)}{update}{burst}{' ecn' if self.ecn else ''}"


@dataclass(frozen=True, slots=True)
class Red(QueueDiscipline):
    """Floyd and Jacobson 1993 with Floyd's "gentle" (2000): drops at the tail, by the average length of the queue."""

    keyword: ClassVar[str] = "red"
    usage: ClassVar[str] = "red MINIMUM MAXIMUM PROBABILITY [weight SHARE] [ecn]"
    summary: ClassVar[str] = (
        "gentle RED (Floyd and Jacobson 1993): drops rise from none at an average queue of MINIMUM (30packets, 45kB) "
        "to PROBABILITY at MAXIMUM and all at twice that; an arrival has the weight SHARE (0.2%) in the average"
    )
    example: ClassVar[str] = "red 30packets 90packets 10% ecn limit 360packets"

    minimum: int
    maximum: int
    probability: float = 0.1
    weight: float = 0.002
    unit: Unit = "packets"
    ecn: bool = False
    kind: Literal["red"] = field(default="red", kw_only=True)

    def __post_init__(self) -> None:
        if self.unit not in get_args(Unit):
            raise DisciplineError(f"red.unit is packets or bytes, not {self.unit!r}")
        _within("red.minimum", self.minimum, 1)
        _within("red.maximum", self.maximum, self.minimum + 1)
        _share("red.probability", self.probability)
        _share("red.weight", self.weight)
        _flag("red.ecn", self.ecn)

    @classmethod
    def read(cls, words: Words) -> Red:
        """See the base class."""
        example = "an average queue, such as 30packets or 45kB"
        minimum, minimum_bytes = words.quantity(parse_limit, example)
        place = words.token
        maximum, maximum_bytes = words.quantity(parse_limit, example)
        if (maximum is None) != (minimum is None):
            raise words.refusal("both thresholds are in packets, or both in bytes", place)
        chance = words.quantity(quantity.parse_probability, "a probability, such as 10%")
        weight = words.quantity(quantity.parse_probability, "a share, such as 0.2%") if words.took("weight") else 0.002
        least, most = (minimum, maximum) if minimum is not None else (minimum_bytes, maximum_bytes)
        unit: Unit = "bytes" if minimum is None else "packets"
        return cls(least or 0, most or 0, chance, weight, unit, bool(words.took("ecn")))

    def text(self) -> str:
        """See the base class."""
        least, most = (
            f"{each}packets" if self.unit == "packets" else quantity.format_size(each)
            for each in (self.minimum, self.maximum)
        )
        weight = f" weight {quantity.format_probability(self.weight)}" if self.weight != 0.002 else ""
        return f"red {least} {most} {quantity.format_probability(self.probability)}{weight}{' ecn' if self.ecn else ''}"

    def usual_limit(self) -> tuple[int | None, int | None]:
        """Four times the maximum: above twice that, gentle RED drops everything on average."""
        return (4 * self.maximum, None) if self.unit == "packets" else (None, max(4 * self.maximum, 1514))


DISCIPLINES: Mapping[str, type[QueueDiscipline]] = {each.keyword: each for each in (CoDel, FqCoDel, Pie, Red)}
"""Keyword, which is also the ``kind`` in JSON -> discipline."""


def parse(text: str) -> tuple[QueueDiscipline, int | None, int | None]:
    """(discipline, limit in packets, limit in bytes), one of the two; brackets and commas are allowed, as in
    ``codel(5ms, 100ms)``. Raises WordError, DisciplineError."""
    words = Words(text.translate(_PLAIN))
    discipline = DISCIPLINES[words.expect(*DISCIPLINES)].read(words)
    packets, size_bytes = discipline.usual_limit()
    if words.took("limit"):
        packets, size_bytes = words.quantity(parse_limit, "a limit, such as 1000packets or 64KiB")
    words.finish()
    return discipline, packets, size_bytes


def parse_limit(text: str) -> tuple[int | None, int | None]:
    """(packets, bytes) of ``"100packets"`` or ``"64KiB"``. Raises QuantityError."""
    try:
        return quantity.parse_packets(text), None
    except quantity.QuantityError:
        pass
    try:
        return None, quantity.parse_size(text)
    except quantity.QuantityError:
        raise quantity.QuantityError(f"{text!r} is not a queue limit: write '100packets' or '64KiB'") from None


def is_discipline(text: str) -> bool:
    """Whether a text begins like one."""
    first = text.translate(_PLAIN).split()
    return bool(first) and first[0] in DISCIPLINES


def to_dict(discipline: QueueDiscipline) -> dict[str, Any]:
    """JSON-ready."""
    return asdict(discipline)


def from_dict(data: Mapping[str, Any]) -> QueueDiscipline:
    """The inverse. Raises DisciplineError, TypeError."""
    kind = data.get("kind")
    if not isinstance(kind, str) or kind not in DISCIPLINES:
        raise DisciplineError(f"queue.discipline.kind is one of {', '.join(DISCIPLINES)}, not {kind!r}")
    return DISCIPLINES[kind](**data)


_PLAIN = str.maketrans("(),", "   ")
