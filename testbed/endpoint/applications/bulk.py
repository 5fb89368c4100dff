"""Bulk transfer: as many bytes as fit into the duration, or a fixed size; one way or both ways at once.

The sender ends its stream; the receiver answers with its own end, which tells the sender that everything arrived. A
side that sends nothing keeps its half open until then: after an early DATA_FIN Linux repeats it in every ACK, and those
have no room for SACK blocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from testbed.endpoint.applications.single import SingleConnection
from testbed.endpoint.applications.sources import PatternSource
from testbed.endpoint.meter import Received
from testbed.endpoint.parameters import Bulk
from testbed.endpoint.payload import pattern
from testbed.endpoint.session import Session
from testbed.endpoint.transport import Connection


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
            ending = size is not None and not bulk.settle_ns
            self._source = PatternSource(pattern(seed, outgoing), self.sent, bulk.write_bytes, size, ending)
        self._settle_ns = bulk.settle_ns
        self.receives = bulk.direction in (incoming, "both")
        self._peer_ended = False
        self._sending = self._source is not None

    def begin(self, connection: Connection) -> None:
        """As SingleConnection."""
        if self._source is None:
            return
        connection.send(self._source, end_when_acknowledged=self.receives)
        if self._source.total is None:
            self.session.at(self.session.deadline_ns, self.stop)
        elif self._settle_ns:
            self.session.at(self.session.now_ns() + self._settle_ns, self._settled)

    def _settled(self) -> None:
        """From now on the stream may end; it may have run dry before."""
        if self._source is not None and self.connection is not None:
            self._source.ending = True
            self.connection.send_more()

    def stop(self) -> None:
        """As FlowApplication."""
        if self._source is not None and self._sending:
            self._source.end_here()
            if self.connection is not None:
                self.connection.send_more()

    def finished(self, connection: Connection) -> None:
        """As User."""
        self._sending = False
        self.observe()
        if self._peer_ended:
            self.conclude()

    def ended(self, connection: Connection) -> None:
        """As User."""
        self._peer_ended = True
        if self._ended_early():
            got, expected = self.received.count, self._expected
            of = f"of {expected} " if expected is not None else ""
            what = f"the peer ended its stream after {got} {of}bytes" if self.receives else "the peer left"
            self.unless_stopped(f"{what}, {self.session.now_ns() / 1e9:.3f} s into the trial")
        elif not self._sending:
            self.conclude()

    def out_of_time(self) -> None:
        """A fixed size that did not arrive is an error; with a duration, what did not drain is left behind."""
        if self._expected is not None and self.receives and self.received.count < self._expected:
            self._late(f"{self.received.count} of {self._expected} bytes arrived")
        elif self._source is not None and self._source.total is not None and not self._source.exhausted:
            self._late(f"{self.sent.count} of {self._source.total} bytes were sent")
        else:
            super().out_of_time()

    def findings(self) -> Mapping[str, Any]:
        """As FlowApplication."""
        return {
            **super().findings(),
            "longest_stall_ns": self.received.longest_stall_ns if self.receiving else None,
            "longest_stall_start_ns": self.received.longest_stall_start_ns,
        }

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
