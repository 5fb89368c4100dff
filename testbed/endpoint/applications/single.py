"""What all applications on one connection share: opening it, reporting it, watching it, ending it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

from testbed.endpoint.meter import Received, Sent
from testbed.endpoint.session import FlowApplication, Session
from testbed.endpoint.transport import Connection, Handle, Listener

SKEW_NS = 100_000_000
"""By how much the peer's deadline may come before ours: the two may be told to start one after the other."""


class SingleConnection(FlowApplication):
    """Client: connects at the start. Server: takes the first connection, and no other.

    When this side knows what comes (``received``), the other one knows what this side sends.
    """

    def __init__(self, session: Session, received: Received) -> None:
        self.session = session
        self.configuration = session.configuration
        self.is_client = session.configuration.role == "client"
        self.sent = Sent(known=received.compared)
        self.received = received
        self.receives = True
        """Whether data is meant to come to this side."""
        self.connection: Connection | None = None
        """While it stands."""
        self._listener: Listener | None = None
        self._connect_time_ns: int | None = None
        self._established = False

    @abstractmethod
    def begin(self, connection: Connection) -> None:
        """The connection stands: read, and send what this side sends."""

    # FlowApplication

    def prepare(self) -> int | None:
        """As FlowApplication."""
        if self.is_client:
            return None
        self._listener = self.session.transport.listen()
        return self._listener.port

    def start(self) -> None:
        """As FlowApplication."""
        if self._listener is not None:
            self._listener.accept(self._accepted)
            return
        try:
            self.connection = self.session.transport.connect(self, self.configuration.local_port)
        except OSError as error:
            self.session.fail("connect", f"cannot bind to {self.configuration.local_address}: {error.strerror}")

    def expire(self) -> None:
        """As FlowApplication."""
        if not self._established:
            who = f"{self.configuration.remote_address} port {self.configuration.port}" if self.is_client else "client"
            self.session.fail("connect", f"no connection with {who} within the flow's time")
            return
        self.received.end(self.session.now_ns())
        self.out_of_time()

    def out_of_time(self) -> None:
        """The connection stands but did not end in time. By default that is how it is, and no error."""
        self.session.done(complete=False)

    def close(self) -> None:
        """As FlowApplication."""
        if self.connection is not None:
            self.connection.close()
        if self._listener is not None:
            self._listener.close()

    def handles(self) -> Iterable[tuple[object, Handle]]:
        """As FlowApplication."""
        if self._established and self.connection is not None and self.connection.is_open:
            yield self, self.connection.handle

    def byte_counts(self) -> tuple[int, int] | None:
        """As FlowApplication."""
        return self.sent.count, self.received.count

    def findings(self) -> Mapping[str, Any]:
        """As FlowApplication."""
        received = self.received
        return {
            "bytes_sent": self.sent.count,
            "bytes_received": received.count,
            "sha256_sent": self.sent.sha256(),
            "sha256_received": received.sha256(),
            "sent_known": received.compared,
            "received_compared": received.compared,
            "first_mismatch": received.first_mismatch,
            "connect_time_ns": self._connect_time_ns,
            "first_byte_ns": received.first_ns,
            "last_byte_ns": received.last_ns,
        }

    # connection.User

    def connected(self, connection: Connection) -> None:
        """As User."""
        self._connect_time_ns = self.session.now_ns() - (self.session.start_ns or 0)
        self._announce(connection)

    def arrived(self, connection: Connection, data: memoryview) -> None:
        """As User."""
        self.received.add(data, self.session.now_ns())
        if self.received.first_mismatch is not None:
            self.session.fail("integrity", f"byte {self.received.first_mismatch} is not what the peer sent")

    @abstractmethod
    def ended(self, connection: Connection) -> None:
        """As User."""

    @abstractmethod
    def finished(self, connection: Connection) -> None:
        """As User."""

    def broken(self, connection: Connection, error: OSError) -> None:
        """As User."""
        self.received.end(self.session.now_ns())
        if self._established:
            self.session.fail("peer", f"the connection broke: {error.strerror}")
        else:
            where = f"{self.configuration.remote_address} port {self.configuration.port}"
            self.session.fail("connect", f"cannot connect to {where}: {error.strerror}")

    def is_early(self) -> bool:
        """Whether an end of the peer's stream comes before the duration can be over there."""
        return not self.session.stopped and self.session.now_ns() < self.session.deadline_ns - SKEW_NS

    def unless_stopped(self, message: str) -> None:
        """The peer ended early. That is an error, unless it was stopped and our own stop command is still to come."""
        self.received.end(self.session.now_ns())

        def judge() -> None:
            if self.session.stopped:
                self.conclude()
            else:
                self.session.fail("peer", message)

        self.session.at(self.session.now_ns() + SKEW_NS, judge)

    def conclude(self) -> None:
        """Both streams have ended and everything has arrived: look a last time, be done."""
        if self.session.over:
            return
        self.observe()
        self.session.done()

    def observe(self) -> None:
        """A look outside the rhythm, at a moment that matters; its samples are left to the rhythm."""
        for key, handle in self.handles():
            self.session.observer.look(handle, self.session.now_ns(), key)

    def _accepted(self, handle: Handle) -> None:
        if self.connection is not None:
            handle.close()
            return
        self.connection = self.session.transport.adopt(handle, self)
        self._announce(self.connection)

    def _announce(self, connection: Connection) -> None:
        self._established = True
        self.receiving = self.receives
        if self.receives:
            self.received.opened(self.session.now_ns())
        self.session.announce(connection.handle, self._connect_time_ns)
        self.observe()
        connection.receive()
        self.begin(connection)
