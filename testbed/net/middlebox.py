"""Middleboxes on segment values: what handles a packet as it arrives at a link. Both drivers use them.

Virtual time has the values at hand; the live relay decodes a packet, asks, and encodes what comes out, on links that
have a middlebox and on no others. A further kind is a class here, a line in :data:`BEHAVIOURS` and its value in
``topologies/middlebox.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from testbed.wire.options import KIND_MPTCP, KIND_NOP, NOP, MptcpOption, Option, Unknown
from testbed.wire.segment import ACK, RST, SYN, Segment, SocketAddress
from topologies.middlebox import DropCarrying, Middlebox, StripOption, option_numbers

FLOWS_LIMIT: Final = 65536
"""Opening flows that a classifier remembers; beyond it the oldest is forgotten."""


class Behaviour:
    """What a middlebox does to the packets of one direction, in their order."""

    __slots__ = ()

    def process(self, segment: Segment) -> tuple[Segment, ...]:
        """What leaves in place of ``segment``: most often just itself."""
        raise NotImplementedError


class Classifier:
    """Tells the classes of segments apart (``topologies.middlebox.SegmentClass``)."""

    __slots__ = ("_opening",)

    def __init__(self) -> None:
        self._opening: dict[tuple[SocketAddress, SocketAddress], None] = {}
        """Flows whose SYN has passed in this direction, and nothing after it."""

    def class_of(self, segment: Segment) -> str:
        """The class; to be asked once for every segment."""
        flags = segment.flags
        if flags & SYN:
            if flags & ACK:
                return "syn-ack"
            self._opening[segment.source, segment.destination] = None
            if len(self._opening) > FLOWS_LIMIT:
                del self._opening[next(iter(self._opening))]
            return "syn"
        if self._opening and (segment.source, segment.destination) in self._opening:
            del self._opening[segment.source, segment.destination]
            if not flags & RST:
                return "third-ack"
        return "data" if segment.payload else "ack"


class _Matching(Behaviour):
    """Looks for an option on some classes of segments."""

    __slots__ = ("_classifier", "_kind", "_on", "_subtype", "matched")

    def __init__(self, option: str, on: tuple[str, ...]) -> None:
        self._kind, self._subtype = option_numbers(option)
        self._on = frozenset(on)
        self._classifier = Classifier() if on else None
        self.matched = 0
        """Segments of a class asked for that carried the option."""

    def _matches(self, segment: Segment) -> bool:
        # the classifier has to see every segment, whether or not it carries the option
        if self._classifier is not None and self._classifier.class_of(segment) not in self._on:
            return False
        for option in segment.options:
            if self._is_wanted(option):
                self.matched += 1
                return True
        return False

    def _is_wanted(self, option: Option) -> bool:
        kind = option.number if isinstance(option, Unknown) else option.kind
        if kind != self._kind:
            return False
        if self._subtype is None:
            return True
        if isinstance(option, MptcpOption):
            return option.subtype == self._subtype
        # an MPTCP option that could not be read still has its subtype in the first four bits
        return (
            kind == KIND_MPTCP
            and isinstance(option, Unknown)
            and option.body[:1] != b""
            and (option.body[0] >> 4 == self._subtype)
        )


class OptionStripper(_Matching):
    """Takes an option out (RFC 8684 section 6, checklist L1)."""

    __slots__ = ("_closes_gap",)

    def __init__(self, value: StripOption) -> None:
        super().__init__(value.option, value.on)
        self._closes_gap = value.gap == "close"

    def process(self, segment: Segment) -> tuple[Segment, ...]:
        """As Behaviour."""
        if not self._matches(segment):
            return (segment,)
        options: list[Option] = []
        octets = 0
        for option in segment.options:
            if self._is_wanted(option):
                if not self._closes_gap:
                    options += [NOP] * option.size
                    octets += option.size
            else:
                options.append(option)
                octets += option.size
        if self._closes_gap:
            while options and options[-1].kind == KIND_NOP:
                octets -= options.pop().size
            options += [NOP] * (-octets & 3)
        return (with_options(segment, tuple(options)),)


class CarrierDropper(_Matching):
    """Drops segments that carry an option."""

    __slots__ = ("_nth",)

    def __init__(self, value: DropCarrying) -> None:
        super().__init__(value.option, value.on)
        self._nth = frozenset(value.nth)

    def process(self, segment: Segment) -> tuple[Segment, ...]:
        """As Behaviour."""
        if self._matches(segment) and (not self._nth or self.matched in self._nth):
            return ()
        return (segment,)


BEHAVIOURS: Mapping[type[Any], Callable[[Any], Behaviour]] = {
    StripOption: OptionStripper,
    DropCarrying: CarrierDropper,
}
"""Value -> behaviour."""


class Chain:
    """The middleboxes of one direction, one after the other."""

    __slots__ = ("_behaviours", "changed", "dropped")

    def __init__(self, values: Sequence[Middlebox]) -> None:
        self._behaviours = tuple(BEHAVIOURS[type(value)](value) for value in values)
        self.changed = 0
        """Packets in whose place another one left."""
        self.dropped = 0

    def process(self, segment: Segment) -> tuple[Segment, ...]:
        """What leaves the last one in place of ``segment``, which has just arrived."""
        packets: tuple[Segment, ...] = (segment,)
        for behaviour in self._behaviours:
            packets = tuple(out for packet in packets for out in behaviour.process(packet))
        if not packets:
            self.dropped += 1
        elif packets[0] is not segment:
            self.changed += 1
        return packets


def with_options(segment: Segment, options: tuple[Option, ...]) -> Segment:
    """The same segment with another option area."""
    return Segment(
        segment.source,
        segment.destination,
        segment.seq,
        segment.ack,
        segment.flags,
        segment.window,
        options,
        segment.payload,
        segment.urgent,
        segment.ecn,
        segment.gso_octets,
    )
