"""Rewriting of payloads, as application-level gateways do it (protocol.md L3; RFC 8684 sections 3.7 and 6, N10).

Options are not touched: a DSS mapping goes on saying what it said, and its checksum what the bytes were.
"""

from __future__ import annotations

from typing import Final

from testbed.net.middlebox.behaviour import Matching, Output
from testbed.net.middlebox.edits import Edits
from testbed.net.middlebox.flows import FLOWS_LIMIT, FlowKey, flow_key
from testbed.net.middlebox.pieces import pieces
from testbed.net.middlebox.segments import changed, padded
from testbed.wire.options import Option, Sack
from testbed.wire.segment import ACK, SYN, Segment
from topologies.link_profile import MTU_BYTES
from topologies.middlebox.payload import RewritePayload

_IPV4_TCP_OCTETS: Final = 40
_IPV6_TCP_OCTETS: Final = 60


class _Flow:
    """A connection: the SYNs that have passed, and what was exchanged of each direction."""

    __slots__ = ("edits", "isns")

    def __init__(self) -> None:
        self.isns = [-1, -1]
        self.edits: list[Edits | None] = [None, None]


class PayloadRewriter(Matching):
    """Puts one text in the place of another.

    It is looked for within a segment, not across two, and only in what is beyond all that its sender has sent before;
    what is sent again gets the same bytes and numbers, wherever it is cut. A segment that no longer fits into the MTU
    leaves in pieces with the options on each; one of which nothing is left becomes a probe that the receiver answers,
    so that its sender hears of its acknowledgement. ``matched`` counts the segments with new edits.
    """

    __slots__ = ("_flows", "_new", "_old")

    def __init__(self, value: RewritePayload, seed: int) -> None:
        super().__init__(value.on, seed)
        self._old = value.old.encode()
        self._new = value.new.encode()
        self._flows: dict[FlowKey, _Flow] = {}

    def process(self, segment: Segment, way: int, now: int, out: Output) -> None:
        """As Behaviour."""
        is_meant = self._matcher.matches(segment, way, now)
        flow = self._flow(segment, way)
        edits = flow.edits[way]
        if edits is None:
            edits = flow.edits[way] = Edits(len(self._old), self._new, segment.seq)
        first = edits.widened(segment.seq)
        if is_meant and segment.payload and not segment.flags & SYN:
            self._search(edits, segment.payload, first, way)
        if first + segment.seq_length > edits.high:
            edits.high = first + segment.seq_length
        left = self._translated(segment, edits, first, flow.edits[1 - way])
        most = _most_payload(left, len(segment.payload))
        if len(left.payload) > most:
            for piece in pieces(left, most):
                out.pass_on(piece, way)
        else:
            out.pass_on(left, way)

    def _search(self, edits: Edits, payload: bytes, first: int, way: int) -> None:
        old, found = self._old, False
        place = payload.find(old, max(0, edits.high - first))
        while place >= 0 and not edits.is_full:
            found = True
            edits.add(first + place)
            place = payload.find(old, place + len(old))
        if found:
            self.counters[way].matched += 1

    def _translated(self, segment: Segment, edits: Edits, first: int, others: Edits | None) -> Segment:
        """The segment with the bytes and numbers of the other side; itself if they are its own."""
        seq, payload = edits.after(first), edits.rewritten(segment.payload, first)
        if segment.payload and not payload and segment.seq_length == len(segment.payload):
            seq -= 1  # a number that the receiver has, so that it answers (RFC 9293 section 3.10.7.4)
        ack, options = segment.ack, segment.options
        if others is not None and segment.flags & ACK:
            ack = others.before_down(others.widened_after(ack)) & 0xFFFFFFFF
            if segment.sack is not None:
                options = _with_sack_before(options, others)
        seq &= 0xFFFFFFFF
        if seq == segment.seq and ack == segment.ack and payload is segment.payload and options == segment.options:
            return segment
        return changed(segment, seq=seq, ack=ack, payload=payload, options=options)

    def _flow(self, segment: Segment, way: int) -> _Flow:
        key = flow_key(segment, way)
        flow = self._flows.get(key)
        if segment.flags & (SYN | ACK) == SYN and flow is not None and flow.isns[way] not in (-1, segment.seq):
            del self._flows[key]
            flow = None
        if flow is None:
            flow = self._flows[key] = _Flow()
            if len(self._flows) > FLOWS_LIMIT:
                del self._flows[next(iter(self._flows))]
        if segment.flags & SYN:
            flow.isns[way] = segment.seq
        return flow


def _with_sack_before(options: tuple[Option, ...], edits: Edits) -> tuple[Option, ...]:
    """SACK blocks in the numbers of the sender; what was put in is in none, and a block that is empty then goes."""
    made: list[Option] = []
    differs = False
    for option in options:
        if isinstance(option, Sack):
            blocks: list[tuple[int, int]] = []
            for left, right in option.blocks:
                first = edits.before_up(edits.widened_after(left))
                end = edits.before_down(edits.widened_after(right))
                if first < end:
                    blocks.append((first & 0xFFFFFFFF, end & 0xFFFFFFFF))
            if tuple(blocks) != option.blocks:
                differs = True
                if not blocks:
                    continue
                option = Sack(tuple(blocks))
        made.append(option)
    return padded(made) if differs else options


def _most_payload(segment: Segment, before: int) -> int:
    """What fits into the MTU, or what it had."""
    octets = _IPV4_TCP_OCTETS if len(segment.source.host) == 4 else _IPV6_TCP_OCTETS
    for option in segment.options:
        octets += option.size
    return max(before, MTU_BYTES - octets)
