"""One 4-tuple of a scripted peer: which numbers it has used, what has arrived, where its data was sent.

Numbers are relative: 0 is the SYN, 1 the first octet of data, as the SSN of a mapping counts.
"""

from __future__ import annotations

from testbed.endpoint.script.actions import Octets
from testbed.wire.segment import FIN, SYN, Segment, SocketAddress

M32 = 0xFFFFFFFF
HALF = 1 << 31


class Runs:
    """Disjoint half-open runs of numbers, in order."""

    def __init__(self) -> None:
        self.runs: list[tuple[int, int]] = []

    def add(self, start: int, end: int) -> None:
        """These numbers, too."""
        if end <= start:
            return
        kept = []
        for low, high in self.runs:
            if high < start or low > end:
                kept.append((low, high))
            else:
                start, end = min(start, low), max(end, high)
        self.runs = sorted([*kept, (start, end)])

    def has(self, start: int, end: int) -> bool:
        """Whether all of them are in."""
        return any(low <= start and end <= high for low, high in self.runs)

    def end_from(self, start: int) -> int:
        """Up to where there is no gap from ``start`` on."""
        return next((high for low, high in self.runs if low <= start < high), start)


class Subflow:
    """What is known of it."""

    def __init__(self, number: int, own: SocketAddress, other: SocketAddress, isn: int) -> None:
        self.number = number
        self.own = own
        self.other = other
        self.isn = isn
        self.next = 0
        """Relative number of the next segment."""
        self.other_isn: int | None = None
        self.arrived = Runs()
        """Relative numbers of the other end."""
        self.newest: tuple[int, int] | None = None
        """The run that arrived last, for the first SACK block (RFC 2018 §4)."""
        self.acked = 0
        """Relative number that the other end wants next."""
        self.timestamps = False
        self.sack = False
        self.timestamp_heard = 0
        self.window_scale = 0
        """Of the other end."""
        self.joins = False
        self.address_id = 0
        self.nonce = 0
        self.other_nonce = 0
        self.other_mptcp = False
        """Its part of the handshake carried MPTCP."""
        self.syn_answered = False
        self.established = False
        self.confirmed = False
        """Something after the handshake has come: a third ACK has arrived over there."""
        self.reset = False
        self.fin_at: int | None = None
        """Relative number of our FIN."""
        self.other_fin_at: int | None = None
        self._sent: list[tuple[Octets, int]] = []

    @property
    def expected(self) -> int:
        """Relative number that we want next."""
        return self.arrived.end_from(0)

    @property
    def octets_received(self) -> int:
        """Of payload, in order."""
        expected = self.expected
        return max(0, expected - 1 - (self.other_fin_at is not None and expected > self.other_fin_at))

    @property
    def octets_acked(self) -> int:
        """Of our payload."""
        acked = min(self.acked, self.next)
        return max(0, acked - 1 - (self.fin_at is not None and acked > self.fin_at))

    def relative(self, number: int, isn: int) -> int:
        """A sequence number of the wire as an offset from ``isn``, near the beginning."""
        offset = (number - isn) & M32
        return offset - (1 << 32) if offset >= HALF else offset

    def wire_seq(self, relative: int) -> int:
        """Our number as it is on the wire."""
        return (self.isn + relative) & M32

    def wire_ack(self, relative: int) -> int:
        """The other end's number as it is on the wire."""
        return ((self.other_isn or 0) + relative) & M32

    def take(self, segment: Segment) -> tuple[int, bool]:
        """Note its numbers; its relative sequence number, and whether it brought none that is new."""
        if segment.flags & SYN and self.other_isn is None:
            self.other_isn = segment.seq
        start = self.relative(segment.seq, self.other_isn or 0)
        end = start + segment.seq_length
        old = segment.seq_length > 0 and self.arrived.has(start, end)
        if segment.flags & FIN:
            self.other_fin_at = end - 1
        if self.other_isn is not None and segment.seq_length and start >= 0:
            self.arrived.add(start, end)
            self.newest = next((run for run in self.arrived.runs if run[0] <= start < run[1]), None)
        return start, old

    def sack_blocks(self) -> list[tuple[int, int]]:
        """Runs above the first gap, the newest first, as relative numbers."""
        expected = self.expected
        above = [run for run in self.arrived.runs if run[0] > expected]
        return sorted(above, key=lambda run: (run != self.newest, -run[0]))

    # --- where data is ---

    def note_sent(self, octets: Octets, at: int) -> None:
        """These octets left at that number."""
        self._sent.append((octets, at))

    def ssn_of(self, octet: int) -> int | None:
        """Where an octet was sent first; None: not on this subflow."""
        for octets, at in self._sent:
            if octets.first <= octet <= octets.last:
                return at + octet - octets.first
        return None
