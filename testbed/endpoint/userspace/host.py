"""One host: the stack and the connections that applications have on it. What a driver drives, in either kind of time.

A driver calls :meth:`StackHost.segment_arrives` and :meth:`handle_timeout`, and after those and after every callback of
an application's timer :meth:`segments_to_send`, which first lets the applications take and give their bytes.
"""

from __future__ import annotations

from testbed.endpoint.clock import Clock
from testbed.endpoint.userspace.connection import StackConnection
from testbed.endpoint.userspace.listener import StackListener
from testbed.mptcp.connection import Connection
from testbed.mptcp.stack import Stack
from testbed.wire.segment import Segment


class StackHost:
    """Serves the connections of a stack to their users. ``clock`` is what the stack's ``now`` is read from."""

    __slots__ = ("_orphans", "_serving", "clock", "connections", "listeners", "stack")

    def __init__(self, stack: Stack, clock: Clock) -> None:
        self.stack = stack
        self.clock = clock
        self.connections: list[StackConnection] = []
        self.listeners: list[StackListener] = []
        self._orphans: list[Connection] = []
        self._serving = False

    def segment_arrives(self, segment: Segment, now: int) -> None:
        """A packet for this host."""
        self.stack.segment_arrives(segment, now)

    def segments_to_send(self, now: int) -> list[Segment]:
        """Everything that may leave now, after the applications have been served."""
        self.serve(now)
        return self.stack.segments_to_send(now)

    def next_timeout(self) -> int | None:
        """When :meth:`handle_timeout` is due; None: not before something else happens."""
        return self.stack.next_timeout()

    def handle_timeout(self, now: int) -> None:
        """The time of :meth:`next_timeout` has come."""
        self.stack.handle_timeout(now)

    def serve(self, now: int) -> None:
        """Tell every user what happened on its connection."""
        if self._serving:  # a user's call may end in a driver's call of segments_to_send
            return
        self._serving = True
        try:
            for listener in self.listeners:
                listener.serve()
            closed = False
            for connection in self.connections:
                connection.serve(now)
                closed = closed or not connection.is_open
            if closed:
                self.connections = [connection for connection in self.connections if connection.is_open]
            if self._orphans:
                self._orphans = [handle for handle in self._orphans if _is_left_alone(handle, now)]
        finally:
            self._serving = False

    def leave(self, handle: Connection) -> None:
        """Nobody reads this connection any more: what still arrives on it is answered with a reset, as Linux does."""
        self._orphans.append(handle)


def _is_left_alone(handle: Connection, now: int) -> bool:
    """Whether a connection without a user still has to be watched."""
    if handle.is_closed:
        return False
    if handle.receive(1):
        handle.abort(now)
        return False
    return True
