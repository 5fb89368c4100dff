"""A stateful packet filter: what has not begun before its eyes does not pass (RFC 8684 section 6, RFC 5382)."""

from __future__ import annotations

from testbed.net.middlebox.behaviour import BACKWARD, FORWARD, Behaviour, Output
from testbed.net.middlebox.flows import FLOWS_LIMIT, FlowKey, Restarts, Session, flow_key
from testbed.wire.options import MpJoin
from testbed.wire.segment import ACK, RST, SYN, Segment
from topologies.middlebox.flows import Firewall


class StatefulFilter(Behaviour):
    """Drops what belongs to no connection that it knows, or answers it with RST; ``matched`` counts what it refused."""

    __slots__ = ("_drops_join", "_open_ways", "_rejects", "_restarts", "_sessions", "_timeout_ns")

    def __init__(self, value: Firewall, seed: int) -> None:
        super().__init__()
        self._drops_join = value.drop_join
        self._rejects = value.reject
        self._open_ways = (value.opens != "backward", value.opens != "forward")
        self._restarts = Restarts(value.forget_ns)
        self._timeout_ns = value.timeout_ns
        self._sessions: dict[FlowKey, Session] = {}

    def process(self, segment: Segment, way: int, now: int, out: Output) -> None:
        """As Behaviour."""
        if self._restarts.since_last(now):
            self._sessions.clear()
        session = self._session(segment, way, now)
        if session is not None:
            session.sees(segment, way, now)
            out.pass_on(segment, way)
            return
        self.counters[way].matched += 1
        if self._rejects and not segment.flags & RST:
            out.pass_on(_reset(segment), BACKWARD if way == FORWARD else FORWARD)

    def _session(self, segment: Segment, way: int, now: int) -> Session | None:
        """What the packet belongs to; None: it is refused."""
        key = flow_key(segment, way)
        session = self._sessions.get(key)
        if session is not None and session.is_over(now, self._timeout_ns):
            del self._sessions[key]
            session = None
        if segment.flags & (SYN | ACK) != SYN:
            return session
        if self._drops_join:
            for option in segment.mptcp:
                if isinstance(option, MpJoin):
                    return None
        if (session is None or session.is_closing) and self._open_ways[way]:
            self._sessions.pop(key, None)
            session = self._sessions[key] = Session(now)
            if len(self._sessions) > FLOWS_LIMIT:
                del self._sessions[next(iter(self._sessions))]
        return session


def _reset(segment: Segment) -> Segment:
    """What a closed port answers (RFC 9293 section 3.10.7.1)."""
    there, back = segment.destination, segment.source
    if segment.flags & ACK:
        return Segment(there, back, segment.ack, 0, RST, 0)
    return Segment(there, back, 0, (segment.seq + segment.seq_length) & 0xFFFFFFFF, RST | ACK, 0)
