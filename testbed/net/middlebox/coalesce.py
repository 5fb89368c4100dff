"""Segments put together on their way: by proxies, or by receive offload that ignores options (protocol.md L2).

With the option of one, the bytes of the others come without a mapping (S20, S22, N4); Linux' own GRO puts together only
what has the same options.
"""

from __future__ import annotations

from testbed.net.middlebox.behaviour import Matching, Output
from testbed.net.middlebox.flows import FlowKey
from testbed.wire.segment import ACK, CWR, FIN, RST, SYN, URG, Segment
from topologies.middlebox.repacketising import Coalesce

_ALONE = SYN | RST | URG


class _Run:
    """Segments of one flow that follow each other and wait."""

    __slots__ = ("due_ns", "next_seq", "octets", "segments", "way")

    def __init__(self, segment: Segment, way: int, due_ns: int) -> None:
        self.segments = [segment]
        self.way = way
        self.due_ns = due_ns
        self.octets = len(segment.payload)
        self.next_seq = (segment.seq + self.octets) & 0xFFFFFFFF

    def continues(self, segment: Segment, most_octets: int) -> bool:
        """Whether ``segment`` can be put behind the others."""
        return (
            segment.seq == self.next_seq
            and segment.ecn == self.segments[0].ecn
            and not segment.flags & CWR  # which belongs to the first packet after a reduction (RFC 3168 section 6.1.2)
            and self.octets + len(segment.payload) <= most_octets
        )

    def add(self, segment: Segment) -> None:
        """At the end."""
        self.segments.append(segment)
        self.octets += len(segment.payload)
        self.next_seq = (segment.seq + len(segment.payload)) & 0xFFFFFFFF

    def whole(self, keeps_last: bool) -> Segment:
        """What they become; one alone stays as it is."""
        first, last = self.segments[0], self.segments[-1]
        if first is last:
            return first
        flags = 0
        for segment in self.segments:
            flags |= segment.flags
        return Segment(
            first.source,
            first.destination,
            first.seq,
            last.ack,
            flags,
            last.window,
            last.options if keeps_last else first.options,
            b"".join([segment.payload for segment in self.segments]),
            0,
            first.ecn,
        )


class Coalescer(Matching):
    """Puts segments together; ``matched`` counts those that left together with others.

    A packet of the same sender that does not fit to those that wait lets these go first: nothing is overtaken.
    """

    __slots__ = ("_hold_ns", "_keeps_last", "_octets", "_runs")

    def __init__(self, value: Coalesce, seed: int) -> None:
        super().__init__(value.on, seed)
        self._octets = value.octets
        self._hold_ns = value.hold_ns
        self._keeps_last = value.options == "last"
        self._runs: dict[FlowKey, _Run] = {}
        """Of (source, destination), in the order in which they began, and so of their times."""

    def process(self, segment: Segment, way: int, now: int, out: Output) -> None:
        """As Behaviour."""
        flags, octets = segment.flags, len(segment.payload)
        is_meant = self._matcher.matches(segment, way, now)
        fits = is_meant and 0 < octets < self._octets and flags & (_ALONE | ACK) == ACK
        key = (segment.source, segment.destination)
        run = self._runs.get(key)
        if run is not None and fits and run.continues(segment, self._octets):
            run.add(segment)
            if run.octets < self._octets and not flags & FIN:
                out.keep()
            else:
                del self._runs[key]
                out.pass_on(self._whole(run), way)
            return
        if run is not None:
            del self._runs[key]
            out.release(self._whole(run), run.way)
        if fits and not flags & FIN:
            self._runs[key] = _Run(segment, way, now + self._hold_ns)
            out.keep()
        else:
            out.pass_on(segment, way)

    def next_timeout(self) -> int | None:
        """As Behaviour."""
        for run in self._runs.values():
            return run.due_ns
        return None

    def handle_timeout(self, now: int, out: Output) -> None:
        """As Behaviour."""
        due = [(key, run) for key, run in self._runs.items() if run.due_ns <= now]
        for key, run in due:
            del self._runs[key]
            out.release(self._whole(run), run.way)

    def _whole(self, run: _Run) -> Segment:
        if len(run.segments) > 1:
            self.counters[run.way].matched += len(run.segments)
        return run.whole(self._keeps_last)
