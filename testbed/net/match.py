"""Match expressions on segments: evaluated packet for packet, with what has to be remembered of the past.

Every part of an expression that counts or draws sees every packet that comes to it, whatever the rest of the
expression says: ``port 80 and (data nth 3)`` is the third data packet of all, if it is of port 80. Chance has a stream
for each direction, so that the n-th packet of a direction meets the n-th draw however the directions interleave.
Memory is bounded: the oldest connection is forgotten beyond :data:`CONNECTIONS_LIMIT`, and what is known of the
sequence numbers that have passed is at most :data:`RANGES_LIMIT` ranges for each direction of a connection.
"""

from __future__ import annotations

import ipaddress
from typing import Final

from testbed.net.chance import stream
from testbed.wire.options import KIND_MPTCP, AddAddr, Dss, MptcpOption, Option, Unknown
from testbed.wire.segment import ACK, FIN, RST, SYN, Segment, SocketAddress
from testbed.wire.serial import widen
from topologies import match as values

FORWARD: Final = 0
"""From the link's a to its b."""
BACKWARD: Final = 1

CONNECTIONS_LIMIT: Final = 65536
RANGES_LIMIT: Final = 64


class _Half:
    """One direction of a connection: the segments of one sender."""

    __slots__ = ("connection", "isn", "opening", "ranges")

    def __init__(self, connection: int) -> None:
        self.connection = connection
        self.isn = -1
        """Sequence number of its SYN; -1: none has passed."""
        self.opening = False
        """Its SYN has passed, and nothing after it."""
        self.ranges: list[tuple[int, int]] = []
        """What has passed of its sequence space, widened; ascending, apart from each other."""

    def repeats(self, seq: int, length: int) -> bool:
        """Whether the first number of a segment has passed before; all of it has passed from now on."""
        ranges = self.ranges
        first = widen(seq, ranges[-1][1]) if ranges else seq
        end = first + length
        if not ranges or first > ranges[-1][1]:
            ranges.append((first, end))
            self._bound()
            return False
        if first == ranges[-1][1]:
            ranges[-1] = (ranges[-1][0], end)
            return False
        return self._repeats_within(first, end)

    def _repeats_within(self, first: int, end: int) -> bool:
        """The same for a segment that begins before the highest number."""
        repeated = False
        before: list[tuple[int, int]] = []
        after: list[tuple[int, int]] = []
        low, high = first, end
        for begin, stop in self.ranges:
            if begin <= first < stop:
                repeated = True
            if stop < low:
                before.append((begin, stop))
            elif begin > high:
                after.append((begin, stop))
            else:
                low = min(low, begin)
                high = max(high, stop)
        self.ranges = [*before, (low, high), *after]
        self._bound()
        return repeated

    def _bound(self) -> None:
        """The oldest hole counts as passed where there are too many."""
        if len(self.ranges) > RANGES_LIMIT:
            self.ranges[:2] = [(self.ranges[0][0], self.ranges[1][1])]


class Connections:
    """The TCP connections whose segments come by: which one, which class of segment, and what is sent again."""

    __slots__ = ("_count", "_halves")

    def __init__(self) -> None:
        self._count = 0
        self._halves: dict[tuple[SocketAddress, SocketAddress], _Half] = {}
        """In the order in which connections began; the two directions of one side by side."""

    def half_of(self, segment: Segment) -> _Half:
        """The direction of a connection to which the segment belongs."""
        half = self._halves.get((segment.source, segment.destination))
        if half is None:
            return self._begin(segment)
        if segment.flags & (SYN | ACK) == SYN and half.isn >= 0 and half.isn != segment.seq:
            return self._begin(segment)  # another connection of the same addresses and ports
        return half

    def class_of(self, half: _Half, segment: Segment) -> str:
        """One of ``topologies.match.CLASSES``, or empty; to be asked once for every segment."""
        flags = segment.flags
        if flags & SYN:
            half.isn = segment.seq
            if flags & ACK:
                return "syn_ack"
            half.opening = True
            return "syn"
        if half.opening:
            half.opening = False
            if not flags & RST:
                return "third_ack"
        if segment.payload:
            return "data"
        return "ack" if flags & (ACK | FIN | RST) == ACK else ""

    def _begin(self, segment: Segment) -> _Half:
        halves = self._halves
        there, back = (segment.source, segment.destination), (segment.destination, segment.source)
        halves.pop(there, None)
        halves.pop(back, None)
        self._count += 1
        half = halves[there] = _Half(self._count)
        halves[back] = _Half(self._count)
        if len(halves) > 2 * CONNECTIONS_LIMIT:
            oldest = next(iter(halves))
            del halves[oldest]
            halves.pop((oldest[1], oldest[0]), None)
        return half


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


class _Any(Part):
    __slots__ = ()

    def holds(self, sight: Sight) -> bool:
        return True


class _Class(Part):
    __slots__ = ("_kind",)

    def __init__(self, kind: str) -> None:
        super().__init__()
        self._kind = kind

    def holds(self, sight: Sight) -> bool:
        return sight.kind == self._kind


class _Repeated(Part):
    __slots__ = ()

    def holds(self, sight: Sight) -> bool:
        return sight.repeated


class _Way(Part):
    __slots__ = ("_way",)

    def __init__(self, way: int) -> None:
        super().__init__()
        self._way = way

    def holds(self, sight: Sight) -> bool:
        return sight.way == self._way


class _Flag(Part):
    __slots__ = ("_bit",)

    def __init__(self, bit: int) -> None:
        super().__init__()
        self._bit = bit

    def holds(self, sight: Sight) -> bool:
        return sight.segment.flags & self._bit != 0


class _Ecn(Part):
    __slots__ = ("_field",)

    def __init__(self, field: int) -> None:
        super().__init__()
        self._field = field

    def holds(self, sight: Sight) -> bool:
        return sight.segment.ecn == self._field


class _Carries(Part):
    __slots__ = ("_kind", "_subtype")

    def __init__(self, kind: int, subtype: int = -1) -> None:
        super().__init__()
        self._kind = kind
        self._subtype = subtype

    def holds(self, sight: Sight) -> bool:
        return any(is_of(option, self._kind, self._subtype) for option in sight.segment.options)


class _DssPart(Part):
    __slots__ = ("_part",)

    def __init__(self, part: str) -> None:
        super().__init__()
        self._part = part

    def holds(self, sight: Sight) -> bool:
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


class _Echo(Part):
    __slots__ = ()

    def holds(self, sight: Sight) -> bool:
        return any(isinstance(option, AddAddr) and option.echo for option in sight.segment.mptcp)


class _Compared(Part):
    __slots__ = ("_number", "_of_window", "_sign")

    def __init__(self, what: str, sign: str, number: int) -> None:
        super().__init__()
        self._of_window = what == "window"
        self._sign = sign
        self._number = number

    def holds(self, sight: Sight) -> bool:
        value = sight.segment.window if self._of_window else len(sight.segment.payload)
        sign = self._sign
        if sign[0] == ">":
            return value > self._number or (len(sign) == 2 and value == self._number)
        if sign[0] == "<":
            return value < self._number or (len(sign) == 2 and value == self._number)
        return (value == self._number) == (sign == "=")


class _Subflow(Part):
    __slots__ = ("_number",)

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def holds(self, sight: Sight) -> bool:
        return sight.connection == self._number


class _Host(Part):
    __slots__ = ("_address", "_at_source")

    def __init__(self, at_source: bool, address: bytes) -> None:
        super().__init__()
        self._at_source = at_source
        self._address = address

    def holds(self, sight: Sight) -> bool:
        segment = sight.segment
        return (segment.source if self._at_source else segment.destination).host == self._address


class _Port(Part):
    __slots__ = ("_number",)

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def holds(self, sight: Sight) -> bool:
        return self._number in (sight.segment.source.port, sight.segment.destination.port)


class _Time(Part):
    __slots__ = ("_after", "_time_ns")

    def __init__(self, after: bool, time_ns: int) -> None:
        super().__init__()
        self._after = after
        self._time_ns = time_ns

    def holds(self, sight: Sight) -> bool:
        return (sight.now >= self._time_ns) == self._after


class _Chance(Part):
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
        return self._streams[sight.way].random() < self._probability


class _Not(Part):
    __slots__ = ("_operand",)

    def __init__(self, operand: Part) -> None:
        super().__init__()
        self.remembers = operand.remembers
        self._operand = operand

    def holds(self, sight: Sight) -> bool:
        return not self._operand.holds(sight)


class _Joined(Part):
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


class _Counted(Part):
    __slots__ = ("_count", "_matched", "_numbers", "_operand")

    def __init__(self, operand: Part, count: str, numbers: tuple[int, ...]) -> None:
        super().__init__()
        self.remembers = True
        self._operand = operand
        self._count = count
        self._numbers = frozenset(numbers)
        self._matched = 0

    def holds(self, sight: Sight) -> bool:
        if not self._operand.holds(sight):
            return False
        self._matched += 1
        if self._count == "nth":
            return self._matched in self._numbers
        number = max(self._numbers)
        return self._matched <= number if self._count == "first" else self._matched % number == 0


class Matcher:
    """An expression at one place, with its memory; to be asked once for every packet that comes there."""

    __slots__ = ("_chances", "_connections", "_seed", "_sees_repeats", "_whole")

    def __init__(self, match: values.Match, seed: int = 0) -> None:
        self._seed = seed
        self._chances = 0
        self._connections: Connections | None = None
        self._sees_repeats = False
        self._whole = self._part(match)

    def matches(self, segment: Segment, way: int, now: int) -> bool:
        """Whether this packet matches, which comes now."""
        sight = Sight(segment, way, now)
        connections = self._connections
        if connections is not None:
            half = connections.half_of(segment)
            sight.connection = half.connection
            sight.kind = connections.class_of(half, segment)
            if self._sees_repeats and (length := segment.seq_length):
                sight.repeated = half.repeats(segment.seq, length)
        return self._whole.holds(sight)

    def _part(self, value: values.Match) -> Part:
        if isinstance(value, values.Word):
            return self._word(value.word)
        if isinstance(value, values.Counted):
            return _Counted(self._part(value.operand), value.count, value.numbers)
        if isinstance(value, values.Not):
            return _Not(self._part(value.operand))
        if isinstance(value, values.All):
            return _Joined([self._part(each) for each in value.operands], False)
        if isinstance(value, values.AnyOf):
            return _Joined([self._part(each) for each in value.operands], True)
        if isinstance(value, values.Subflow):
            self._see_connections()
            return _Subflow(value.number)
        if isinstance(value, values.Chance):
            self._chances += 1
            return _Chance(value.probability, self._seed, self._chances)
        return _plain(value)

    def _word(self, word: str) -> Part:
        if word in values.CLASSES:
            self._see_connections()
            return _Class(word)
        if word == "retransmission":
            self._see_connections()
            self._sees_repeats = True
            return _Repeated()
        if word == "any":
            return _Any()
        if word in ("forward", "backward"):
            return _Way(FORWARD if word == "forward" else BACKWARD)
        if word in values.FLAGS:
            return _Flag(values.FLAGS[word])
        if word in values.OPTIONS:
            return _Carries(values.OPTIONS[word])
        if word in values.SUBTYPES:
            return _Carries(KIND_MPTCP, values.SUBTYPES[word])
        if word in values.ECN:
            return _Ecn(values.ECN[word])
        return _Echo() if word == "mptcp.add_addr.echo" else _DssPart(word)

    def _see_connections(self) -> None:
        if self._connections is None:
            self._connections = Connections()


def _plain(value: values.Match) -> Part:
    """The parts that need no memory and have a value."""
    if isinstance(value, values.Carries):
        return _Carries(value.kind)
    if isinstance(value, values.Compared):
        return _Compared(value.what, value.sign, value.number)
    if isinstance(value, values.Host):
        return _Host(value.end == "from", ipaddress.ip_address(value.address).packed)
    if isinstance(value, values.Port):
        return _Port(value.number)
    assert isinstance(value, values.Time), value
    return _Time(value.when == "after", value.time_ns)


def matcher(text: str, seed: int = 0) -> Matcher:
    """The matcher of an expression's text."""
    return Matcher(values.parse(text), seed)


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
