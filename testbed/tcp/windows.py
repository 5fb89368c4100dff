"""The receive window of a connection that has its own buffer (RFC 9293 §3.8.6)."""

from __future__ import annotations

from testbed.tcp.receive_queue import ReceiveQueue
from testbed.tcp.seam import WindowSource


class OwnWindow(WindowSource):
    """What is free in this connection's own receive buffer."""

    __slots__ = ("_queue", "capacity")

    def __init__(self, queue: ReceiveQueue, capacity: int) -> None:
        self._queue = queue
        self.capacity = capacity

    def receive_window(self, rcv_nxt: int) -> int:
        """The buffer less what the user has not read; what waits out of order lies within the window already."""
        free = self.capacity - self._queue.unread
        return free if free > 0 else 0


def scale_for(buffer: int) -> int:
    """The smallest shift with which 16 bits express ``buffer``, at most 14 (RFC 7323 §2.3)."""
    shift = 0
    while shift < 14 and (65535 << shift) < buffer:
        shift += 1
    return shift
