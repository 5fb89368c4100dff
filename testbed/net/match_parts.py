"""The parts of a match expression at work: each says whether it holds for a packet. Numbers: :mod:`match_numbers`."""

from __future__ import annotations

import ipaddress
from typing import Final

from testbed.net.chance import stream
from testbed.net.match_numbers import ABSENT, number_of
from testbed.wire.options import KIND_MPTCP, AddAddr, Dss, MptcpOption, MpTcprst, Option, Unknown
from testbed.wire.segment import Segment
from topologies import match as values

FORWARD: Final = 0
"""From the link's a to its b."""
BACKWARD: Final = 1


class Sight:
    """A packet and what is known of it."""

    __slots__ = ("connection", "kind", "now", "repeated", "segment", "way")

    def __init__(self, segment: Segment, way: int, now: int) -> None:
        self.segment = segment
        self.way = way
        self.now = now
        self.kind = ""
        self.connection = 0
        self.repeated = False


class Part:
    """Part of an expression."""

    __slots__ = ("remembers",)

    def __init__(self) -> None:
        self.remembers = False
        """Whether it has to see every packet."""

    def holds(self, sight: Sight) -> bool:
        """Whether the packet matches; to be asked once for every packet if it remembers."""
        raise NotImplementedError


class Any(Part):
    """Every packet."""

    __slots__ = ()

    def holds(self, sight: Sight) -> bool:
        """As Part."""
        return True


class Class(Part):
    """Of a class."""

    __slots__ = ("_kind",)

    def __init__(self, kind: str) -> None:
        super().__init__()
        self._kind = kind

    def holds(self, sight: Sight) -> bool:
        """As Part."""
        return sight.kind == self._kind


class Repeated(Part):
    """Has passed before."""

    __slots__ = ()

    def holds(self, sight: Sight) -> bool:
        """As Part."""
        return sight.repeated


class Way(Part):
    """In a direction."""

    __slots__ = ("_way",)

    def __init__(self, way: int) -> None:
        super().__init__()
        self._way = way

    def holds(self, sight: Sight) -> bool:
        """As Part."""
        return sight.way == self._way


class Flag(Part):
    """Has a flag."""

    __slots__ = ("_bit",)

    def __init__(self, bit: int) -> None:
        super().__init__()
        self._bit = bit

    def holds(self, sight: Sight) -> bool:
        """As Part."""
        return sight.segment.flags & self._bit != 0


class Ecn(Part):
    """Has an ECN field."""

    __slots__ = ("_field",)

    def __init__(self, field: int) -> None:
        super().__init__()
        self._field = field

    def holds(self, sight: Sight) -> bool:
        """As Part."""
        return sight.segment.ecn == self._field


class Carries(Part):
    """Carries an option."""

    __slots__ = ("_kind", "_subtype")

    def __init__(self, kind: int, subtype: int = -1) -> None:
        super().__init__()
        self._kind = kind
        self._subtype = subtype

    def holds(self, sight: Sight) -> bool:
        """As Part."""
        return any(is_of(option, self._kind, self._subtype) for option in sight.segment.options)


class DssPart(Part):
    """Carries a DSS with a part."""

    __slots__ = ("_part",)

    def __init__(self, part: str) -> None:
        super().__init__()
        self._part = part

    def holds(self, sight: Sight) -> bool:
        """As Part."""
        part = self._part
        for option in sight.segment.mptcp:
            if isinstance(option, Dss) and (
                (part == "mptcp.dss.map" and option.dsn is not None)
                or (part == "mptcp.dss.ack" and option.data_ack is not None)
                or (part == "mptcp.dss.fin" and option.data_fin)
                or (part == "mptcp.dss.checksum" and option.checksum is not None)
            ):
                return True
        return False


class Echo(Part):
    """Carries an echo of ADD_ADDR."""

    __slots__ = ()

    def holds(self, sight: Sight) -> bool:
        """As Part."""
        return any(isinstance(option, AddAddr) and option.echo for option in sight.segment.mptcp)


class Transient(Part):
    """Carries an MP_TCPRST with T=1."""

    __slots__ = ()

    def holds(self, sight: Sight) -> bool:
        """As Part."""
        return any(isinstance(option, MpTcprst) and option.transient for option in sight.segment.mptcp)


class Compared(Part):
    """A number of the packet against one that is given; holds for no packet that has no such number."""

    __slots__ = ("_number", "_sign", "_what")

    def __init__(self, what: str, sign: str, number: int) -> None:
        super().__init__()
        self._what = what
        self._sign = sign
        self._number = number

    def holds(self, sight: Sight) -> bool:
        """As Part."""
        value = number_of(sight.segment, self._what)
        if value == ABSENT:
            return False
        sign = self._sign
        if sign[0] == ">":
            return value > self._number or (len(sign) == 2 and value == self._number)
        if sign[0] == "<":
            return value < self._number or (len(sign) == 2 and value == self._number)
        return (value == self._number) == (sign == "=")


class Subflow(Part):
    """Of the n-th connection."""

    __slots__ = ("_number",)

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def holds(self, sight: Sight) -> bool:
        """As Part."""
        return sight.connection == self._number


class Host(Part):
    """From or to an address."""

    __slots__ = ("_address", "_at_source")

    def __init__(self, at_source: bool, address: bytes) -> None:
        super().__init__()
        self._at_source = at_source
        self._address = address

    def holds(self, sight: Sight) -> bool:
        """As Part."""
        segment = sight.segment
        return (segment.source if self._at_source else segment.destination).host == self._address


class Port(Part):
    """From or to a port."""

    __slots__ = ("_number",)

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def holds(self, sight: Sight) -> bool:
        """As Part."""
        return self._number in (sight.segment.source.port, sight.segment.destination.port)


class Time(Part):
    """After or before a time."""

    __slots__ = ("_after", "_time_ns")

    def __init__(self, after: bool, time_ns: int) -> None:
        super().__init__()
        self._after = after
        self._time_ns = time_ns

    def holds(self, sight: Sight) -> bool:
        """As Part."""
        return (sight.now >= self._time_ns) == self._after


class Chance(Part):
    """By chance."""

    __slots__ = ("_probability", "_streams")

    def __init__(self, probability: float, seed: int, number: int) -> None:
        super().__init__()
        self.remembers = True
        self._probability = probability
        self._streams = (
            stream(seed, "match", str(number), "forward"),
            stream(seed, "match", str(number), "backward"),
        )

    def holds(self, sight: Sight) -> bool:
        """As Part."""
        return self._streams[sight.way].random() < self._probability


class Not(Part):
    """Does not match."""

    __slots__ = ("_operand",)

    def __init__(self, operand: Part) -> None:
        super().__init__()
        self.remembers = operand.remembers
        self._operand = operand

    def holds(self, sight: Sight) -> bool:
        """As Part."""
        return not self._operand.holds(sight)


class Joined(Part):
    """``and`` (all hold) and ``or`` (one holds)."""

    __slots__ = ("_decides", "_forgetful", "_remembering")

    def __init__(self, operands: list[Part], decides: bool) -> None:
        super().__init__()
        self._decides = decides
        """What one operand has to say so that the others do not matter."""
        self._remembering = [part for part in operands if part.remembers]
        self._forgetful = [part for part in operands if not part.remembers]
        self.remembers = bool(self._remembering)

    def holds(self, sight: Sight) -> bool:
        """As Part."""
        decides = self._decides
        decided = False
        for part in self._remembering:
            if part.holds(sight) is decides:
                decided = True
        if not decided:
            for part in self._forgetful:
                if part.holds(sight) is decides:
                    return decides
            return not decides
        return decides


class Counted(Part):
    """Counts what matches."""

    __slots__ = ("_count", "_matched", "_numbers", "_operand")

    def __init__(self, operand: Part, count: str, numbers: tuple[int, ...]) -> None:
        super().__init__()
        self.remembers = True
        self._operand = operand
        self._count = count
        self._numbers = frozenset(numbers)
        self._matched = 0

    def holds(self, sight: Sight) -> bool:
        """As Part."""
        if not self._operand.holds(sight):
            return False
        self._matched += 1
        if self._count == "nth":
            return self._matched in self._numbers
        number = max(self._numbers)
        return self._matched <= number if self._count == "first" else self._matched % number == 0


def of_word(word: str) -> Part:
    """The part of a word that needs no memory of connections."""
    if word == "any":
        return Any()
    if word in ("forward", "backward"):
        return Way(FORWARD if word == "forward" else BACKWARD)
    if word in values.FLAGS:
        return Flag(values.FLAGS[word])
    if word in values.OPTIONS:
        return Carries(values.OPTIONS[word])
    if word in values.SUBTYPES:
        return Carries(KIND_MPTCP, values.SUBTYPES[word])
    if word in values.ECN:
        return Ecn(values.ECN[word])
    if word == "mptcp.add_addr.echo":
        return Echo()
    return Transient() if word == "mptcp.mp_tcprst.transient" else DssPart(word)


def of_value(value: values.Match) -> Part:
    """The part of a value that needs no memory."""
    if isinstance(value, values.Carries):
        return Carries(value.kind)
    if isinstance(value, values.Compared):
        return Compared(value.what, value.sign, value.number)
    if isinstance(value, values.Host):
        return Host(value.end == "from", ipaddress.ip_address(value.address).packed)
    if isinstance(value, values.Port):
        return Port(value.number)
    assert isinstance(value, values.Time), value
    return Time(value.when == "after", value.time_ns)


def is_of(option: Option, kind: int, subtype: int = -1) -> bool:
    """Whether an option is of this kind, and of this MPTCP subtype unless it is -1."""
    number = option.number if isinstance(option, Unknown) else option.kind
    if number != kind:
        return False
    if subtype < 0:
        return True
    if isinstance(option, MptcpOption):
        return option.subtype == subtype
    # an MPTCP option that could not be read still has its subtype in the first four bits
    return isinstance(option, Unknown) and option.body[:1] != b"" and option.body[0] >> 4 == subtype
