"""Address and port translation (RFC 3022; behaviour as RFC 5382 asks of NATs for TCP), checklist L2.

A mapping is of an inner address and port, whatever the destination (REQ-1); what comes from outside passes only if the
inner end has spoken to exactly that address and port (address and port-dependent filtering). Nothing is answered.
"""

from __future__ import annotations

import ipaddress
import math

from testbed.net.chance import stream
from testbed.net.middlebox.behaviour import FORWARD, Behaviour, Output
from testbed.net.middlebox.flows import Restarts, Session
from testbed.net.middlebox.segments import changed
from testbed.wire.segment import ACK, RST, SYN, Segment, SocketAddress
from topologies.middlebox.flows import Nat


class _Mapping:
    __slots__ = ("inner", "outer", "sessions")

    def __init__(self, inner: SocketAddress, outer: SocketAddress) -> None:
        self.inner = inner
        self.outer = outer
        self.sessions: dict[SocketAddress, Session] = {}
        """By the end on the other side."""

    def prune(self, now: int, timeout_ns: int) -> None:
        """Without the sessions that have been silent for too long."""
        over = [remote for remote, session in self.sessions.items() if session.is_over(now, timeout_ns)]
        for remote in over:
            del self.sessions[remote]


class PortPool:
    """Ports in a seeded order, without end; each comes again only after all others."""

    __slots__ = ("_first", "_position", "_stride", "size")

    def __init__(self, first: int, last: int, seed: int) -> None:
        self._first = first
        self.size = last - first + 1
        chance = stream(seed, "ports")
        self._position = int(chance.random() * self.size)
        self._stride = int(chance.random() * self.size) + 1
        while math.gcd(self._stride, self.size) != 1:
            self._stride += 1

    def next(self) -> int:
        """The next port."""
        self._position = (self._position + self._stride) % self.size
        return self._first + self._position


class AddressTranslator(Behaviour):
    """Hides what is at the link's a."""

    __slots__ = ("_by_inner", "_by_outer", "_host", "_pool", "_restarts", "_timeout_ns")

    def __init__(self, value: Nat, seed: int) -> None:
        super().__init__()
        self._host = ipaddress.ip_address(value.address).packed if value.address else b""
        self._timeout_ns = value.timeout_ns
        self._restarts = Restarts(value.rebind_ns)
        self._pool = PortPool(value.first_port, value.last_port, seed)
        self._by_inner: dict[SocketAddress, _Mapping] = {}
        self._by_outer: dict[SocketAddress, _Mapping] = {}

    def process(self, segment: Segment, way: int, now: int, out: Output) -> None:
        """As Behaviour."""
        if self._host and len(self._host) != len(segment.source.host):
            out.pass_on(segment, way)  # it translates the other family
            return
        if self._restarts.since_last(now):
            self._by_inner.clear()
            self._by_outer.clear()
        mapping = self._mapping_out(segment, now) if way == FORWARD else self._mapping_in(segment, now)
        if mapping is None:
            return
        self.counters[way].matched += 1
        if mapping.inner != mapping.outer:
            if way == FORWARD:
                segment = changed(segment, source=mapping.outer)
            else:
                segment = changed(segment, destination=mapping.inner)
        out.pass_on(segment, way)

    def _mapping_out(self, segment: Segment, now: int) -> _Mapping | None:
        """For a packet from inside, which makes one unless it is a RST or the pool is empty."""
        mapping = self._alive(self._by_inner.get(segment.source), now)
        remote = segment.destination
        session = mapping.sessions.get(remote) if mapping is not None else None
        if session is None or (session.is_closing and segment.flags & (SYN | ACK) == SYN):
            if segment.flags & RST:
                return None
            if mapping is None:
                mapping = self._made(segment.source, now)
                if mapping is None:
                    return None
            session = mapping.sessions[remote] = Session(now)
        session.sees(segment, FORWARD, now)
        return mapping

    def _mapping_in(self, segment: Segment, now: int) -> _Mapping | None:
        """For a packet from outside."""
        mapping = self._alive(self._by_outer.get(segment.destination), now)
        if mapping is None:
            return None
        session = mapping.sessions.get(segment.source)
        if session is None:
            return None
        session.sees(segment, 1 - FORWARD, now)
        return mapping

    def _alive(self, mapping: _Mapping | None, now: int) -> _Mapping | None:
        """The mapping, if a session of it is left; otherwise it is forgotten."""
        if mapping is None:
            return None
        mapping.prune(now, self._timeout_ns)
        if mapping.sessions:
            return mapping
        del self._by_inner[mapping.inner]
        del self._by_outer[mapping.outer]
        return None

    def _made(self, inner: SocketAddress, now: int) -> _Mapping | None:
        host = self._host or inner.host
        outer = self._free(host)
        if outer is None:
            for old in list(self._by_inner.values()):
                self._alive(old, now)
            outer = self._free(host)
            if outer is None:
                return None
        mapping = self._by_inner[inner] = self._by_outer[outer] = _Mapping(inner, outer)
        return mapping

    def _free(self, host: bytes) -> SocketAddress | None:
        for _ in range(self._pool.size):
            outer = SocketAddress(host, self._pool.next())
            if outer not in self._by_outer:
                return outer
        return None
