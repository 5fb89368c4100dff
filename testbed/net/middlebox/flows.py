"""What middleboxes remember of flows: which one, whether it is alive, and for how long."""

from __future__ import annotations

from typing import Final

from testbed.net.middlebox.behaviour import FORWARD
from testbed.wire.segment import ACK, FIN, RST, Segment, SocketAddress

FLOWS_LIMIT: Final = 65536
"""Of one middlebox; the oldest is forgotten beyond it."""

TRANSITORY_NS: Final = 240_000_000_000
"""How long a connection that opens or closes is remembered in silence (RFC 5382 REQ-5)."""

FlowKey = tuple[SocketAddress, SocketAddress]
"""The end on the side of the link's a, and the one on the side of its b."""

_BOTH: Final = 3


def flow_key(segment: Segment, way: int) -> FlowKey:
    """The same for both directions."""
    if way == FORWARD:
        return segment.source, segment.destination
    return segment.destination, segment.source


class Session:
    """One connection as a stateful middlebox follows it: by its flags, without sequence numbers."""

    __slots__ = ("_fins", "_last_ns", "_reset", "_talked")

    def __init__(self, now: int) -> None:
        self._last_ns = now
        self._talked = 0
        """Directions in which an ACK has passed, as bits: both are the end of the handshake."""
        self._fins = 0
        self._reset = False

    @property
    def is_closing(self) -> bool:
        """Both have sent FIN, or one RST."""
        return self._reset or self._fins == _BOTH

    def sees(self, segment: Segment, way: int, now: int) -> None:
        """A segment of it passes."""
        self._last_ns = now
        flags = segment.flags
        if flags & ACK:
            self._talked |= 1 << way
        if flags & FIN:
            self._fins |= 1 << way
        if flags & RST:
            self._reset = True

    def is_over(self, now: int, timeout_ns: int) -> bool:
        """Whether it has been silent for too long."""
        if timeout_ns > TRANSITORY_NS and (self._talked != _BOTH or self.is_closing):
            timeout_ns = TRANSITORY_NS
        return now - self._last_ns > timeout_ns


class Restarts:
    """Times at which a middlebox loses its memory; noticed with the first packet after each."""

    __slots__ = ("_next", "_times_ns")

    def __init__(self, times_ns: tuple[int, ...]) -> None:
        self._times_ns = times_ns
        self._next = 0

    def since_last(self, now: int) -> bool:
        """Whether one has been since this was asked last."""
        restarted = False
        while self._next < len(self._times_ns) and self._times_ns[self._next] <= now:
            self._next += 1
            restarted = True
        return restarted
