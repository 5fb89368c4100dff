"""TCP connections as a box in the middle sees them: which one, which class of segment, and what has passed before.

Memory is bounded: the oldest connection is forgotten beyond :data:`CONNECTIONS_LIMIT`, and what is known of the
sequence numbers that have passed is at most :data:`RANGES_LIMIT` ranges for each direction of a connection.
"""

from __future__ import annotations

from typing import Final

from testbed.wire.segment import ACK, FIN, RST, SYN, Segment, SocketAddress
from testbed.wire.serial import widen

CONNECTIONS_LIMIT: Final = 65536
RANGES_LIMIT: Final = 64


class Half:
    """One direction of a connection: the segments of one sender."""

    __slots__ = ("connection", "isn", "opening", "ranges")

    def __init__(self, connection: int) -> None:
        self.connection = connection
        self.isn = -1
        """Sequence number of its SYN; -1: none has passed."""
        self.opening = False
        """Its SYN has passed, and nothing after it."""
        self.ranges: list[tuple[int, int]] = []
        """What has passed of its sequence space, widened; ascending, apart from each other."""

    def repeats(self, seq: int, length: int) -> bool:
        """Whether the first number of a segment has passed before; all of it has passed from now on."""
        ranges = self.ranges
        first = widen(seq, ranges[-1][1]) if ranges else seq
        end = first + length
        if not ranges or first > ranges[-1][1]:
            ranges.append((first, end))
            self._bound()
            return False
        if first == ranges[-1][1]:
            ranges[-1] = (ranges[-1][0], end)
            return False
        return self._repeats_within(first, end)

    def _repeats_within(self, first: int, end: int) -> bool:
        """The same for a segment that begins before the highest number."""
        repeated = False
        before: list[tuple[int, int]] = []
        after: list[tuple[int, int]] = []
        low, high = first, end
        for begin, stop in self.ranges:
            if begin <= first < stop:
                repeated = True
            if stop < low:
                before.append((begin, stop))
            elif begin > high:
                after.append((begin, stop))
            else:
                low = min(low, begin)
                high = max(high, stop)
        self.ranges = [*before, (low, high), *after]
        self._bound()
        return repeated

    def _bound(self) -> None:
        """The oldest hole counts as passed where there are too many."""
        if len(self.ranges) > RANGES_LIMIT:
            self.ranges[:2] = [(self.ranges[0][0], self.ranges[1][1])]


class Connections:
    """The TCP connections whose segments come by: which one, which class of segment, and what is sent again."""

    __slots__ = ("_count", "_halves")

    def __init__(self) -> None:
        self._count = 0
        self._halves: dict[tuple[SocketAddress, SocketAddress], Half] = {}
        """In the order in which connections began; the two directions of one side by side."""

    def half_of(self, segment: Segment) -> Half:
        """The direction of a connection to which the segment belongs."""
        half = self._halves.get((segment.source, segment.destination))
        if half is None:
            return self._begin(segment)
        if segment.flags & (SYN | ACK) == SYN and half.isn >= 0 and half.isn != segment.seq:
            return self._begin(segment)  # another connection of the same addresses and ports
        return half

    def class_of(self, half: Half, segment: Segment) -> str:
        """One of ``topologies.match.CLASSES``, or empty; to be asked once for every segment."""
        flags = segment.flags
        if flags & SYN:
            half.isn = segment.seq
            if flags & ACK:
                return "syn_ack"
            half.opening = True
            return "syn"
        if half.opening:
            half.opening = False
            if not flags & RST:
                return "third_ack"
        if segment.payload:
            return "data"
        return "ack" if flags & (ACK | FIN | RST) == ACK else ""

    def _begin(self, segment: Segment) -> Half:
        halves = self._halves
        there, back = (segment.source, segment.destination), (segment.destination, segment.source)
        halves.pop(there, None)
        halves.pop(back, None)
        self._count += 1
        half = halves[there] = Half(self._count)
        halves[back] = Half(self._count)
        if len(halves) > 2 * CONNECTIONS_LIMIT:
            oldest = next(iter(halves))
            del halves[oldest]
            halves.pop((oldest[1], oldest[0]), None)
        return half
