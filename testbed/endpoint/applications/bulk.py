"""Bulk transfer: as many bytes as fit into the duration, or a fixed size; one way or both ways at once.

The sender ends its stream; the receiver answers with its own end, which tells the sender that everything arrived. A
side that sends nothing keeps its half open until then: after an early DATA_FIN Linux repeats it in every ACK, and those
have no room for SACK blocks. A wrong byte ends nothing: only at the end it is known how many are missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from testbed.endpoint.applications.single import SingleConnection
from testbed.endpoint.applications.sources import PatternSource
from testbed.endpoint.meter import Received
from testbed.endpoint.parameters import Bulk
from testbed.endpoint.payload import pattern
from testbed.endpoint.protocol import ErrorKind
from testbed.endpoint.session import Session
from testbed.endpoint.transport import Connection

UNREAD_NS = 100_000_000
"""From the last look at the stream to leaving it: what was on its way then has come, and lies unread."""


class BulkTransfer(SingleConnection):
    """One side of a bulk transfer."""

    def __init__(self, session: Session, bulk: Bulk) -> None:
        seed = session.configuration.seed
        outgoing, incoming = session.directions
        super().__init__(session, Received(pattern(seed, incoming)))
        self._expected = _size(bulk, incoming)
        self._source: PatternSource | None = None
        if bulk.direction in (outgoing, "both"):
            size = _size(bulk, outgoing)
            ending = size is not None and not bulk.settle_ns and not bulk.write_interval_ns
            total = 0 if bulk.write_interval_ns else size
            self._source = PatternSource(pattern(seed, outgoing), self.sent, bulk.write_bytes, total, ending)
        self._size = _size(bulk, outgoing)
        self._bulk = bulk
        self._begun_ns = 0
        self.receives = bulk.direction in (incoming, "both")
        self._peer_ended = False
        self._sending = self._source is not None
        self._paused = self._left = False

    def begin(self, connection: Connection) -> None:
        """As SingleConnection."""
        if not self._bulk.half_close or self.is_client:
            self._send(connection)

    def _send(self, connection: Connection) -> None:
        if self._source is None:
            return
        self._begun_ns = self.session.now_ns()
        connection.send(self._source, end_when_acknowledged=self.receives and not self._bulk.half_close)
        if self._size is None:
            self.session.at(self.session.deadline_ns, self.stop)
        elif self._bulk.settle_ns and not self._bulk.write_interval_ns:
            self.session.at(self._begun_ns + self._bulk.settle_ns, self._settled)
        if self._bulk.write_interval_ns:
            self._write_due()

    def _settled(self) -> None:
        """From now on the stream may end; it may have run dry before."""
        if self._source is not None and self.connection is not None:
            self._source.ending = True
            self.connection.send_more()

    def _write_due(self) -> None:
        """One write more may leave; those that are overdue as well."""
        source, bulk = self._source, self._bulk
        if source is None or source.ending or self.connection is None:
            return
        due = (self.session.now_ns() - self._begun_ns) // bulk.write_interval_ns + 1
        source.total = due * bulk.write_bytes if self._size is None else min(due * bulk.write_bytes, self._size)
        if source.total == self._size:
            self.session.at(max(self.session.now_ns(), self._begun_ns + bulk.settle_ns), self._settled)
        else:
            self.session.at(self._begun_ns + due * bulk.write_interval_ns, self._write_due)
        self.connection.send_more()

    def stop(self) -> None:
        """As FlowApplication."""
        if self._source is not None and self._sending:
            self._source.end_here()
            if self.connection is not None:
                self.connection.send_more()

    def arrived(self, connection: Connection, data: memoryview) -> None:
        """As User."""
        self.received.add(data, self.session.now_ns())
        bulk, count = self._bulk, self.received.count
        if bulk.pause_after_bytes is not None and count >= bulk.pause_after_bytes and not self._paused:
            self._paused = True
            connection.pause()
            self.session.at(self.session.now_ns() + bulk.pause_ns, connection.receive)
        if bulk.leave_after_bytes is not None and count >= bulk.leave_after_bytes and not self._left:
            self._left = True
            connection.pause()
            self.session.at(self.session.now_ns() + UNREAD_NS, self._leave)

    def _leave(self) -> None:
        """By now there is something that nobody will read; closing the connection is what this side came for."""
        self.received.end(self.session.now_ns())
        self.observe()
        self.session.done(complete=False)

    def finished(self, connection: Connection) -> None:
        """As User."""
        self._sending = False
        self.observe()
        if self._peer_ended:
            self.conclude()

    def broken(self, connection: Connection, error: OSError) -> None:
        """As User."""
        if not self._told_wrong("peer"):
            super().broken(connection, error)

    def conclude(self) -> None:
        """As SingleConnection."""
        if not self._told_wrong("integrity"):
            super().conclude()

    def ended(self, connection: Connection) -> None:
        """As User."""
        self._peer_ended = True
        if self._told_wrong("integrity"):
            return
        if self._ended_early():
            got, expected = self.received.count, self._expected
            of = f"of {expected} " if expected is not None else ""
            what = f"the peer ended its stream after {got} {of}bytes" if self.receives else "the peer left"
            self.unless_stopped(f"{what}, {self.session.now_ns() / 1e9:.3f} s into the trial")
        elif not self._sending:
            self.conclude()
        elif self._bulk.half_close and not self.is_client:
            self._send(connection)

    def out_of_time(self) -> None:
        """A fixed size that did not arrive is an error; with a duration, what did not drain is left behind."""
        if self._told_wrong("deadline"):
            return
        if self._expected is not None and self.receives and self.received.count < self._expected:
            self._late(f"{self.received.count} of {self._expected} bytes arrived")
        elif self._source is not None and self._size is not None and self.sent.count < self._size:
            self._late(f"{self.sent.count} of {self._size} bytes were sent")
        else:
            super().out_of_time()

    def findings(self) -> Mapping[str, Any]:
        """As FlowApplication."""
        return {
            **super().findings(),
            "longest_stall_ns": self.received.longest_stall_ns if self.receiving else None,
            "longest_stall_start_ns": self.received.longest_stall_start_ns,
            "peer_ended": self._peer_ended,
        }

    def _told_wrong(self, kind: ErrorKind) -> bool:
        """Whether a wrong byte arrived; then the session is over with an error, whose ``kind`` says how it came to it:
        in order (``integrity``), or otherwise."""
        wrong = self.received.first_mismatch
        if wrong is None:
            return False
        of = f" of {self._expected}" if self._expected is not None else ""
        self.received.end(self.session.now_ns())
        self.observe()
        self.session.fail(
            kind, f"byte {wrong} is not what the peer sent; {self.received.count}{of} bytes arrived in all"
        )
        return True

    def _ended_early(self) -> bool:
        if self.session.stopped:
            return False
        if not self.receives:
            return self._sending
        if self._expected is not None:
            return self.received.count < self._expected
        return self.is_early()

    def _late(self, what: str) -> None:
        self.session.fail("deadline", f"{what} by the end of the flow's time")


def _size(bulk: Bulk, direction: str) -> int | None:
    """Bytes to move in a direction; None: for the duration."""
    if direction == "download" and bulk.reverse_size_bytes is not None:
        return bulk.reverse_size_bytes
    return bulk.size_bytes
