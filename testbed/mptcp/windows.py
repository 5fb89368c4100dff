"""The one window that all subflows share (RFC 8684 §3.3.4, §3.3.5): what we grant, and what the peer grants us."""

from __future__ import annotations

from testbed.mptcp.receive_queue import ReceiveQueue
from testbed.tcp.seam import WindowSource


class SharedWindow(WindowSource):
    """The window that every subflow advertises: the connection's, relative to the DATA_ACK (W2).

    In one subflow's sequence space its right edge may go back when data arrives on another one; in the data sequence
    space it never does (W1), which :meth:`ReceiveQueue.window` sees to. After fallback there is one subflow, its
    sequence space is the stream's, and TCP's own rules hold: ``limits_sending`` becomes True.
    """

    __slots__ = ("_queue", "limits_sending")

    def __init__(self, queue: ReceiveQueue) -> None:
        self._queue = queue
        self.limits_sending = False

    def receive_window(self, rcv_nxt: int) -> int:
        """Octets beyond the DATA_ACK, or beyond ``rcv_nxt`` before the first and after fallback: the same number."""
        return self._queue.window()


class SendWindow:
    """What the peer allows: DATA_ACK + window, as the largest recent announcement has it (W5, W6)."""

    __slots__ = ("right_edge", "zero_since")

    def __init__(self) -> None:
        self.right_edge = 0
        """DSN + 1 up to which data may be sent."""
        self.zero_since: int | None = None
        """Since when data has waited for a closed window, ns."""

    def start(self, first_dsn: int) -> None:
        """DSNs are known now."""
        self.right_edge += first_dsn

    def announced(self, edge: int) -> bool:
        """A segment with a DATA_ACK announced this right edge. True when that opens the window further: a smaller one
        is an old segment's, or a middlebox has shrunk it on that path alone (W5; never without DATA_ACK, D16)."""
        if edge <= self.right_edge:
            return False
        self.right_edge = edge
        self.zero_since = None
        return True

    def room(self, snd_nxt: int) -> int:
        """Octets of new data that may leave."""
        room = self.right_edge - snd_nxt
        return room if room > 0 else 0
