"""Other sequence numbers than the ends chose: checklist L2, as found on the Internet (Honda et al., IMC 2011).

MPTCP counts subflow sequence numbers from the SYN for its sake (RFC 8684 section 3.3.1).
"""

from __future__ import annotations

from typing import Final

from testbed.net.chance import stream
from testbed.net.middlebox.behaviour import BACKWARD, FORWARD, Behaviour, Output
from testbed.net.middlebox.flows import FLOWS_LIMIT, FlowKey, flow_key
from testbed.net.middlebox.segments import changed
from testbed.wire.options import Option, Sack
from testbed.wire.segment import ACK, SYN, Segment
from topologies.middlebox.flows import RewriteIsn

_MASK: Final = 0xFFFFFFFF


class _Flow:
    """A connection: what its senders began with, and how far their numbers are moved."""

    __slots__ = ("isns", "shifts")

    def __init__(self, shifts: tuple[int, int]) -> None:
        self.isns = [-1, -1]
        """By direction; -1: its SYN has not passed."""
        self.shifts = shifts


class IsnRewriter(Behaviour):
    """Moves all sequence numbers of a sender by what its SYN was moved; a flow whose SYN it has not seen passes."""

    __slots__ = ("_flows", "_moved", "_random", "_with_sack")

    def __init__(self, value: RewriteIsn, seed: int) -> None:
        super().__init__()
        self._random = stream(seed, "isn")
        self._moved = (value.of != "backward", value.of != "forward")
        self._with_sack = value.sack
        self._flows: dict[FlowKey, _Flow] = {}

    def process(self, segment: Segment, way: int, now: int, out: Output) -> None:
        """As Behaviour."""
        flow = self._flow(segment, way)
        if flow is not None:
            self.counters[way].matched += 1
            segment = self._moved_segment(segment, flow.shifts[way], flow.shifts[1 - way])
        out.pass_on(segment, way)

    def _moved_segment(self, segment: Segment, own: int, others: int) -> Segment:
        """``own``: how far the numbers of its sender are moved, ``others``: those of its receiver."""
        options: tuple[Option, ...] | None = None
        if others and self._with_sack and segment.sack is not None:
            options = tuple([_moved_sack(option, -others) for option in segment.options])
        ack = segment.ack - others if segment.flags & ACK else segment.ack
        if own == 0 and ack == segment.ack and options is None:
            return segment
        return changed(segment, seq=segment.seq + own, ack=ack, options=options)

    def _flow(self, segment: Segment, way: int) -> _Flow | None:
        key = flow_key(segment, way)
        flow = self._flows.get(key)
        if not segment.flags & SYN:
            return flow
        if not segment.flags & ACK and (flow is None or flow.isns[way] not in (-1, segment.seq)):
            self._flows.pop(key, None)
            flow = self._flows[key] = _Flow((self._shift(FORWARD), self._shift(BACKWARD)))
            if len(self._flows) > FLOWS_LIMIT:
                del self._flows[next(iter(self._flows))]
        if flow is not None:
            flow.isns[way] = segment.seq
        return flow

    def _shift(self, way: int) -> int:
        """Other than 0 if this direction is moved; each connection takes a draw for both."""
        drawn = int(self._random.random() * _MASK) + 1
        return drawn if self._moved[way] else 0


def _moved_sack(option: Option, by: int) -> Option:
    if not isinstance(option, Sack):
        return option
    return Sack(tuple([((left + by) & _MASK, (right + by) & _MASK) for left, right in option.blocks]))
