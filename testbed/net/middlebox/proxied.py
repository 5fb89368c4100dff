"""What a proxy keeps of one sender's data, has acknowledged in the receiver's place, and repeats to the receiver."""

from __future__ import annotations

from collections import deque
from typing import Final

from testbed.net.middlebox.headers import LARGEST_SHIFT
from testbed.net.middlebox.segments import changed
from testbed.wire.options import Dss, Timestamps, WindowScale
from testbed.wire.segment import Segment
from testbed.wire.serial import widen

FIRST_TIMEOUT_NS: Final = 1_000_000_000
LEAST_TIMEOUT_NS: Final = 200_000_000
MOST_TIMEOUT_NS: Final = 60_000_000_000
"""RFC 6298 sections 2 and 5.5, with the least one of Linux."""
MOST_TIMEOUTS: Final = 15
"""In a row; then the receiver is not there any more."""
_SEGMENT_OCTETS: Final = 1460
FIRST_ROOM_OCTETS: Final = 10 * _SEGMENT_OCTETS
"""RFC 6928."""
_DUPLICATES: Final = 3


class _Kept:
    """A segment that its receiver has not yet acknowledged."""

    __slots__ = ("end", "repeated", "segment", "sent_ns")

    def __init__(self, segment: Segment, end: int, sent_ns: int) -> None:
        self.segment = segment
        self.end = end
        """Behind its payload."""
        self.sent_ns = sent_ns
        self.repeated = False


class Side:
    """One sender, and what is known of its data. Numbers are unbounded integers."""

    __slots__ = (
        "_backed_off",
        "_duplicates",
        "_offered",
        "_recover",
        "_room_octets",
        "_rto_ns",
        "_rttvar_ns",
        "_srtt_ns",
        "_threshold_octets",
        "ack",
        "data_ack",
        "due_ns",
        "edge",
        "end",
        "is_mptcp",
        "is_proxied",
        "isn",
        "kept",
        "kept_octets",
        "next",
        "received",
        "said",
        "scale",
        "timestamp",
        "told",
        "window",
    )

    def __init__(self) -> None:
        self.isn = -1
        """-1: its SYN has not passed."""
        self.scale = -1
        """Window scale that its SYN offers; -1: none."""
        self.end = 0
        """Behind the highest number that it has used."""
        self.next = 0
        """Up to here its data have come in order, and are kept where the receiver has not acknowledged them."""
        self.received = 0
        """Up to here the receiver itself has acknowledged."""
        self.said = 0
        """Up to here the sender has been told so, by the receiver or for it."""
        self.edge = 0
        """Right edge of the receiver's window."""
        self.told = (-1, -1)
        """Acknowledgement and window field that it has seen last."""
        self.ack = 0
        self.window = 0
        """Fields of what the receiver has seen of it last."""
        self.timestamp: Timestamps | None = None
        """The last of its own."""
        self.is_mptcp = False
        """Its SYN said so."""
        self.data_ack: Dss | None = None
        """The last DATA_ACK of its own, alone."""
        self.kept: deque[_Kept] = deque()
        self.kept_octets = 0
        self.due_ns = -1
        """When the first of them is sent again; -1: there is none."""
        self.is_proxied = False
        """Its last data were of those that are to be acknowledged early."""
        self._offered = 0
        """The highest right edge that it has been offered while it was."""
        self._room_octets = FIRST_ROOM_OCTETS
        self._threshold_octets = -1
        """Congestion control for what is acknowledged early, as RFC 5681 has it; -1: slow start."""
        self._rto_ns = FIRST_TIMEOUT_NS
        self._srtt_ns = -1
        self._rttvar_ns = 0
        self._duplicates = 0
        self._backed_off = 0
        self._recover = -1

    def begin(self, syn: Segment) -> None:
        """Its SYN has passed."""
        self.isn = syn.seq
        self.end = self.next = self.received = self.said = syn.seq + 1
        self.edge = self.end
        self.is_mptcp = bool(syn.mptcp)
        self.timestamp = syn.timestamps
        self.scale = -1
        for option in syn.options:
            if isinstance(option, WindowScale):
                self.scale = min(option.shift, LARGEST_SHIFT)

    def says(self, segment: Segment) -> int:
        """Another segment of it has come; its number."""
        first = widen(segment.seq, self.end)
        if first + segment.seq_length > self.end:
            self.end = first + segment.seq_length
        if segment.timestamps is not None:
            self.timestamp = segment.timestamps
        dss = segment.dss
        if dss is not None and dss.data_ack is not None:
            self.data_ack = Dss(dss.data_ack, dss.ack_octets)
        return first

    def may_reset(self, seq: int) -> bool:
        """Whether a RST of it with this number is one for its receiver (RFC 5961 section 3.2), as far as is known."""
        return self.received <= widen(seq, self.end) <= self.end

    def offers(self, buffer_octets: int) -> int:
        """How far it may send: up to the receiver's edge, and where it is proxied no more than path and proxy take."""
        if not self.is_proxied:
            return self.edge
        self._offered = max(self._offered, min(self.edge, self.received + min(buffer_octets, self._room_octets)))
        return self._offered

    def keep(self, segment: Segment, end: int, now: int) -> None:
        """It is the next one, up to ``end``."""
        self.kept.append(_Kept(segment, end, now))
        self.kept_octets += len(segment.payload)
        self.next = end

    def vouch(self, now: int) -> None:
        """All that has come in order is acknowledged in the receiver's place."""
        self.said = self.next
        if self.due_ns < 0 and self.said > self.received:
            self.due_ns = now + self._rto_ns

    def acknowledged(self, ack: int, now: int, is_repeat: bool) -> bool:
        """The receiver says so; ``is_repeat``: and nothing else. Whether the first kept is to be sent again."""
        if ack > self.received:
            self._advance(ack, now)
            return self.said > ack and self._recover > ack
        if ack < self.received or not is_repeat or self.said <= ack:
            return False
        self._duplicates += 1
        if self._duplicates != _DUPLICATES or self._recover > ack:
            return False
        self._recover = self.next
        self._room_octets = self._threshold_octets = max(self.kept_octets // 2, 2 * _SEGMENT_OCTETS)
        return True

    def timed_out(self, now: int) -> bool:
        """The time is over: whether the first kept is to be repeated, or all given up."""
        self._backed_off += 1
        if self._backed_off > MOST_TIMEOUTS:
            self.forget()
            return False
        self._threshold_octets = max(self.kept_octets // 2, 2 * _SEGMENT_OCTETS)
        self._room_octets = _SEGMENT_OCTETS
        self._rto_ns = min(2 * self._rto_ns, MOST_TIMEOUT_NS)
        self._recover = self.next
        self.due_ns = now + self._rto_ns
        return True

    def repeat(self) -> Segment:
        """The first kept once more, with what its sender says of itself now."""
        first = self.kept[0]
        first.repeated = True
        options = first.segment.options
        newest = self.timestamp
        if newest is not None:
            options = tuple([newest if isinstance(option, Timestamps) else option for option in options])
        return changed(first.segment, ack=self.ack, window=self.window, options=options)

    def forget(self) -> None:
        """What is kept."""
        self.kept.clear()
        self.kept_octets = 0
        self.received = self.said
        self.due_ns = -1

    def _advance(self, ack: int, now: int) -> None:
        if self._recover <= self.received:
            octets = ack - self.received
            if 0 <= self._threshold_octets <= self._room_octets:
                octets = _SEGMENT_OCTETS * octets // self._room_octets
            self._room_octets += octets
        self.received = ack
        self.next = max(self.next, ack)
        self.said = max(self.said, ack)
        self._duplicates = 0
        self._backed_off = 0
        kept = self.kept
        measured = -1
        while kept and kept[0].end <= ack:
            one = kept.popleft()
            self.kept_octets -= len(one.segment.payload)
            if not one.repeated:  # Karn
                measured = now - one.sent_ns
        if measured >= 0:
            self._measure(measured)
        self.due_ns = now + self._rto_ns if self.said > ack else -1

    def _measure(self, rtt_ns: int) -> None:
        """RFC 6298 section 2."""
        if self._srtt_ns < 0:
            self._srtt_ns, self._rttvar_ns = rtt_ns, rtt_ns // 2
        else:
            self._rttvar_ns = (3 * self._rttvar_ns + abs(self._srtt_ns - rtt_ns)) // 4
            self._srtt_ns = (7 * self._srtt_ns + rtt_ns) // 8
        self._rto_ns = max(LEAST_TIMEOUT_NS, self._srtt_ns + 4 * self._rttvar_ns)
