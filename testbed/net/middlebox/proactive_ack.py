"""A proxy that acknowledges data before their receiver does (RFC 3135; protocol.md L2).

An acknowledgement without DATA_ACK tells an MPTCP sender that options are lost: RFC 8684 section 3.7 has it fall back
on the first subflow (K3) and reset another one (K2).
"""

from __future__ import annotations

from typing import Final

from testbed.net.middlebox.behaviour import Matching, Output
from testbed.net.middlebox.flows import FLOWS_LIMIT, FlowKey, flow_key
from testbed.net.middlebox.proxied import Side
from testbed.net.middlebox.segments import changed, padded
from testbed.wire.options import NOP, Option, Sack, Timestamps
from testbed.wire.segment import ACK, PSH, RST, SYN, Segment
from testbed.wire.serial import widen
from topologies.middlebox.proxy import ProactiveAck

_MASK: Final = 0xFFFFFFFF
_MOST_WINDOW: Final = 0xFFFF


class EarlyAcknowledger(Matching):
    """Acknowledges data that come in order, keeps them until their receiver has acknowledged them, too, and sends them
    again after three duplicate acknowledgements of it or when its own timer says so.

    It has a congestion window of its own, and lets the sender send no more than that, its buffer and the receiver's
    window take. FIN it leaves to the ends. What comes behind a hole passes and is neither kept nor acknowledged.
    Acknowledgements of the receiver are raised to what was said before; one that says nothing more then is dropped.
    ``matched`` counts the segments that it has acknowledged.
    """

    __slots__ = ("_buffer_octets", "_busy", "_flows", "_has_data_ack")

    def __init__(self, value: ProactiveAck, seed: int) -> None:
        super().__init__(value.on, seed)
        self._has_data_ack = value.data_ack
        self._buffer_octets = value.buffer_octets
        self._flows: dict[FlowKey, tuple[Side, Side]] = {}
        """The sender of each direction."""
        self._busy: dict[FlowKey, tuple[Side, Side]] = {}
        """Those that wait for a receiver."""

    def process(self, segment: Segment, way: int, now: int, out: Output) -> None:
        """As Behaviour."""
        is_meant = self._matcher.matches(segment, way, now)
        flow = self._flow(segment, way)
        if flow is None or segment.flags & (SYN | RST):
            out.pass_on(segment, way)
            return
        self._handle(flow, segment, way, now, is_meant, out)
        if flow[way].due_ns >= 0 or flow[1 - way].due_ns >= 0:
            self._busy[flow_key(segment, way)] = flow
        else:
            self._busy.pop(flow_key(segment, way), None)

    def _handle(
        self, flow: tuple[Side, Side], segment: Segment, way: int, now: int, is_meant: bool, out: Output
    ) -> None:
        mine, others = flow[way], flow[1 - way]
        first = mine.says(segment)
        if mine.isn < 0 or others.isn < 0 or not segment.flags & ACK:
            out.pass_on(segment, way)
            return
        repeats = self._hears(segment, now, mine, others)
        left = self._raised(segment, mine, others)
        if left is not None:
            mine.ack, mine.window = left.ack, left.window
            out.pass_on(left, way)
        if repeats:
            out.pass_on(others.repeat(), 1 - way)
        if left is not None and segment.payload:
            self._has_come(left, first, way, now, is_meant, mine, others, out)

    def next_timeout(self) -> int | None:
        """As Behaviour."""
        least = -1
        for flow in self._busy.values():
            for side in flow:
                if side.due_ns >= 0 and (least < 0 or side.due_ns < least):
                    least = side.due_ns
        return None if least < 0 else least

    def handle_timeout(self, now: int, out: Output) -> None:
        """As Behaviour."""
        for flow in self._busy.values():
            for way, side in enumerate(flow):
                if 0 <= side.due_ns <= now and side.timed_out(now):
                    out.pass_on(side.repeat(), way)

    def _has_come(
        self, segment: Segment, first: int, way: int, now: int, is_meant: bool, mine: Side, others: Side, out: Output
    ) -> None:
        """Data: kept if they are the next ones, and acknowledged with those before them."""
        octets = len(segment.payload)
        end = first + octets
        mine.is_proxied = is_meant and self._knows_answer(others)
        if first <= mine.next < end and mine.kept_octets + octets <= self._buffer_octets:
            mine.keep(segment, end, now)
            self.counters[way].matched += mine.is_proxied
        if mine.is_proxied and first <= mine.next:
            mine.vouch(now)
        if end <= mine.said and mine.received < mine.said:  # else the receiver says so itself
            out.pass_on(self._acknowledgement(segment, mine, others), 1 - way)

    def _knows_answer(self, others: Side) -> bool:
        return not self._has_data_ack or not others.is_mptcp or others.data_ack is not None

    def _acknowledgement(self, segment: Segment, mine: Side, others: Side) -> Segment:
        """In the name of the receiver."""
        options: list[Option] = []
        if segment.timestamps is not None and others.timestamp is not None:
            options += [NOP, NOP, Timestamps(others.timestamp.val, segment.timestamps.val)]
        if self._has_data_ack and others.data_ack is not None:
            options.append(others.data_ack)
        window = self._window(mine, others)
        mine.told = (mine.said, window)
        return Segment(
            segment.destination,
            segment.source,
            others.end & _MASK,
            mine.said & _MASK,
            ACK,
            window,
            padded(options),
        )

    def _hears(self, segment: Segment, now: int, mine: Side, others: Side) -> bool:
        """What a segment acknowledges: whether the first that is kept of the other side is to be sent again."""
        ack = widen(segment.ack, others.said)
        edge = ack + (segment.window << _shift(mine, others))
        is_repeat = not segment.seq_length and (edge == others.edge or segment.sack is not None)
        if ack >= others.received:
            others.edge = edge
        return others.acknowledged(ack, now, is_repeat)

    def _raised(self, segment: Segment, mine: Side, others: Side) -> Segment | None:
        """The segment with the acknowledgement that its receiver has heard already; None: it says nothing more."""
        ack = others.said
        window = self._window(others, mine) if others.is_proxied else segment.window
        if ack & _MASK == segment.ack and window >= segment.window:
            others.told = (ack, segment.window)
            return segment
        options = _with_sack_above(segment.options, ack)
        if (
            others.received < ack
            and others.told == (ack, window)
            and not segment.seq_length
            and not segment.flags & ~(ACK | PSH)
            and not segment.mptcp
            and not any(isinstance(option, Sack) for option in options)
        ):
            return None
        others.told = (ack, window)
        return changed(segment, ack=ack, window=window, options=options)

    def _window(self, sender: Side, receiver: Side) -> int:
        """The field that ends where ``sender`` may send to, seen from what it has been told is acknowledged."""
        offered = max(0, sender.offers(self._buffer_octets) - sender.said)
        return min(_MOST_WINDOW, offered >> _shift(receiver, sender))

    def _flow(self, segment: Segment, way: int) -> tuple[Side, Side] | None:
        """None where no SYN has passed."""
        key = flow_key(segment, way)
        flow = self._flows.get(key)
        if segment.flags & RST:
            if flow is not None and flow[way].may_reset(segment.seq):
                self._forget(key)
        elif segment.flags & SYN:
            if not segment.flags & ACK and (flow is None or flow[way].isn not in (-1, segment.seq)):
                self._forget(key)
                flow = self._flows[key] = (Side(), Side())
                if len(self._flows) > FLOWS_LIMIT:
                    self._forget(next(iter(self._flows)))
            if flow is not None:
                self._opens(segment, flow[way], flow[1 - way])
        return flow

    def _opens(self, syn: Segment, mine: Side, others: Side) -> None:
        if mine.isn != syn.seq:
            mine.begin(syn)
            if syn.flags & ACK and others.isn >= 0:
                others.edge = others.end + syn.window  # never scaled on a SYN (RFC 7323 section 2.2)

    def _forget(self, key: FlowKey) -> None:
        self._flows.pop(key, None)
        self._busy.pop(key, None)


def _shift(receiver: Side, sender: Side) -> int:
    """Of the window that ``receiver`` offers: both have to have said that they scale."""
    return receiver.scale if receiver.scale >= 0 and sender.scale >= 0 else 0


def _with_sack_above(options: tuple[Option, ...], ack: int) -> tuple[Option, ...]:
    """Without the blocks, or parts of them, that are acknowledged."""
    made: list[Option] = []
    differs = False
    for option in options:
        if isinstance(option, Sack):
            blocks: list[tuple[int, int]] = []
            for left, right in option.blocks:
                if widen(right, ack) > ack:
                    blocks.append((max(widen(left, ack), ack) & _MASK, right))
            if tuple(blocks) != option.blocks:
                differs = True
                if not blocks:
                    continue
                option = Sack(tuple(blocks))
        made.append(option)
    return padded(made) if differs else options
