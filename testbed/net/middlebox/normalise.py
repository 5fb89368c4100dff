"""Traffic normaliser (protocol.md L2; RFC 8684 section 6: no holes, and repeats that carry what passed first).

The receiver never sees a hole, so its sender hears of a loss before here by its own timer alone. An MPTCP sender that
sent other data with a number again would be overruled here; RFC 8684 section 3.3.6 forbids it for that.
"""

from __future__ import annotations

from collections import deque

from testbed.net.middlebox.behaviour import Behaviour, Output
from testbed.net.middlebox.flows import FLOWS_LIMIT
from testbed.net.middlebox.segments import changed, with_options
from testbed.wire.options import Option, Timestamps
from testbed.wire.segment import RST, SYN, Segment, SocketAddress
from testbed.wire.serial import is_before, widen
from topologies.middlebox.payload import Normalise


class _Stream:
    """What one sender has sent: how far without a hole, the last of these bytes, and what is behind a hole."""

    __slots__ = ("_passed", "_passed_octets", "bytes_end", "isn", "next", "stamp", "waiting", "waiting_octets")

    def __init__(self, isn: int, first: int) -> None:
        self.isn = isn
        """Of its SYN; -1: not seen."""
        self.next = first
        """The number that has to come; unbounded."""
        self.bytes_end = first
        """The same without FIN: behind the last byte."""
        self.stamp: Timestamps | None = None
        """The newest that has passed."""
        self.waiting: dict[int, Segment] = {}
        """By number."""
        self.waiting_octets = 0
        self._passed: deque[bytes] = deque()
        """The bytes before ``bytes_end``, by segments."""
        self._passed_octets = 0

    def remember(self, octets: bytes, keep_octets: int) -> None:
        """They have passed, in order."""
        self._passed.append(octets)
        self._passed_octets += len(octets)
        while self._passed_octets > keep_octets:
            self._passed_octets -= len(self._passed.popleft())

    def first_version(self, payload: bytes, first: int) -> bytes:
        """The payload from ``first`` on, with what is known of the bytes that have passed."""
        known_first = self.bytes_end - self._passed_octets
        begin, end = max(first, known_first), min(first + len(payload), self.bytes_end)
        if begin >= end:
            return payload
        known = self._slice(begin - known_first, end - known_first)
        if known == payload[begin - first : end - first]:
            return payload
        return b"".join((payload[: begin - first], known, payload[end - first :]))

    def _slice(self, begin: int, end: int) -> bytes:
        """Of the bytes that are remembered, which a repeat wants from the end, mostly."""
        parts: list[bytes] = []
        stop = self._passed_octets
        for octets in reversed(self._passed):
            start = stop - len(octets)
            if start < end:
                parts.append(octets[max(0, begin - start) : end - start])
            if start <= begin:
                break
            stop = start
        parts.reverse()
        return b"".join(parts)


class Normaliser(Behaviour):
    """Lets every byte pass in order, and the same each time; ``matched`` counts what it kept, changed or dropped.

    What has no sequence numbers of its own, such as an ACK, and RST pass at once.
    """

    __slots__ = ("_keep_octets", "_streams")

    def __init__(self, value: Normalise, seed: int) -> None:
        super().__init__()
        self._keep_octets = value.keep_octets
        self._streams: dict[tuple[SocketAddress, SocketAddress], _Stream] = {}

    def process(self, segment: Segment, way: int, now: int, out: Output) -> None:
        """As Behaviour."""
        if not segment.seq_length or segment.flags & RST:
            out.pass_on(segment, way)
            return
        stream = self._stream(segment)
        first = widen(segment.seq, stream.next)
        if first > stream.next:
            self._wait(stream, segment, first, way, out)
            return
        passed = self._in_order(stream, segment, first)
        self.counters[way].matched += passed is not segment
        out.pass_on(passed, way)
        if stream.waiting:
            self._close_up(stream, way, out)

    def _in_order(self, stream: _Stream, segment: Segment, first: int) -> Segment:
        """It leaves; what it becomes."""
        payload = segment.payload
        begin = first + (1 if segment.flags & SYN else 0)
        if begin < stream.bytes_end:
            payload = stream.first_version(payload, begin)
        end = begin + len(payload)
        if end > stream.bytes_end:
            stream.remember(payload[max(0, stream.bytes_end - begin) :], self._keep_octets)
            stream.bytes_end = end
        stream.next = max(stream.next, first + segment.seq_length)
        stamp, newest = segment.timestamps, stream.stamp
        if stamp is not None and (newest is None or is_before(newest.val, stamp.val)):
            stream.stamp = stamp
        return segment if payload is segment.payload else changed(segment, payload=payload)

    def _wait(self, stream: _Stream, segment: Segment, first: int, way: int, out: Output) -> None:
        """It is behind a hole; of two with the same number the longer one stays."""
        self.counters[way].matched += 1
        other = stream.waiting.get(first)
        octets = segment.seq_length - (0 if other is None else other.seq_length)
        if octets > 0 and stream.waiting_octets + octets <= self._keep_octets:
            stream.waiting[first] = segment
            stream.waiting_octets += octets
            out.keep()

    def _close_up(self, stream: _Stream, way: int, out: Output) -> None:
        """What waited and is in order now leaves.

        What closed the hole is newer, and the receiver knows that by its timestamp: it would discard older ones that
        come after (PAWS, RFC 7323 section 5), so they get the same.
        """
        for first in sorted(stream.waiting):
            if first > stream.next:
                break
            segment = stream.waiting.pop(first)
            stream.waiting_octets -= segment.seq_length
            stamp, newest = segment.timestamps, stream.stamp
            if stamp is not None and newest is not None and is_before(stamp.val, newest.val):
                segment = with_options(segment, _stamped(segment.options, newest.val))
            out.release(self._in_order(stream, segment, first), way)

    def _stream(self, segment: Segment) -> _Stream:
        key = (segment.source, segment.destination)
        stream = self._streams.get(key)
        is_syn = segment.flags & SYN != 0
        if stream is not None and not (is_syn and stream.isn != segment.seq):
            return stream
        self._streams.pop(key, None)
        stream = self._streams[key] = _Stream(segment.seq if is_syn else -1, segment.seq)
        if len(self._streams) > FLOWS_LIMIT:
            del self._streams[next(iter(self._streams))]
        return stream


def _stamped(options: tuple[Option, ...], val: int) -> tuple[Option, ...]:
    return tuple([Timestamps(val, each.ecr) if isinstance(each, Timestamps) else each for each in options])
