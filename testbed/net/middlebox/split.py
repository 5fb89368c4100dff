"""Segments cut on their way, as NICs and proxies do it (protocol.md L2, S23).

A DSS mapping that is copied still counts from the number that it names, and holds for all pieces; on one piece alone
it maps bytes that come without it (RFC 8684 section 3.3.1).
"""

from __future__ import annotations

from testbed.net.middlebox.behaviour import Matching, Output
from testbed.net.middlebox.pieces import pieces
from testbed.wire.segment import SYN, Segment
from topologies.middlebox.repacketising import Split


class Splitter(Matching):
    """Cuts what has more payload; ``matched`` counts what was cut."""

    __slots__ = ("_octets", "_options")

    def __init__(self, value: Split, seed: int) -> None:
        super().__init__(value.on, seed)
        self._octets = value.octets
        self._options: str = value.options

    def process(self, segment: Segment, way: int, now: int, out: Output) -> None:
        """As Behaviour."""
        is_meant = self._matcher.matches(segment, way, now)
        if not is_meant or len(segment.payload) <= self._octets or segment.flags & SYN:
            out.pass_on(segment, way)
            return
        self.counters[way].matched += 1
        for piece in pieces(segment, self._octets, self._options):
            out.pass_on(piece, way)
