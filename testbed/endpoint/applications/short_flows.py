"""Many short flows: a new connection per transfer, several at a time; the client records each one's completion time.

A download begins with a request (the client speaks first, as in HTTP), an upload is answered by the server's end of
stream. The client ends nothing before it has everything, and the server closes after it: an early DATA_FIN would take
the room for SACK blocks, an early close leaves what is unsent to Linux's retransmission timer. Completion is from
connect(2) to the last byte and the end of stream, at the client. Flows that are under way when the duration is over may
still complete; then the server, which cannot know how many there are, ends when it has been without a connection for a
moment, or is stopped. Those that have not completed by the end of the flow's time failed, and their time until then is
in the distribution. One that broke or was refused only counts as failed: how soon it broke says nothing about how long
it would have taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from testbed.endpoint.applications.sources import PatternSource
from testbed.endpoint.distribution import Recorder
from testbed.endpoint.meter import Sent
from testbed.endpoint.parameters import ShortFlows
from testbed.endpoint.payload import Pattern, pattern
from testbed.endpoint.session import FlowApplication, Session
from testbed.endpoint.transport import Connection, Handle, Listener

REQUEST_BYTES = 100
HOPELESS = 16
QUIET_NS = 1_000_000_000
"""After the duration a server waits this long for another connection: clients start up to this much later."""


class Transfer:
    """One short flow at one side; a connection.User."""

    def __init__(self, owner: ManyShortFlows, outgoing_bytes: int, incoming_bytes: int) -> None:
        self.started_ns = owner.session.now_ns()
        self.connection: Connection | None = None
        self._owner = owner
        sends, receives = owner.session.directions
        seed = owner.session.configuration.seed
        self._answers = owner.session.configuration.role == "server"
        self._source = PatternSource(pattern(seed, sends), owner.sent, 65536, outgoing_bytes, ending=self._answers)
        self._check: Pattern = pattern(seed, receives)
        self.incoming_bytes = incoming_bytes

    def connected(self, connection: Connection) -> None:
        """As User."""
        self._owner.announce(self, connection.handle, self._owner.session.now_ns() - self.started_ns)
        connection.receive()
        connection.send(self._source)

    def accepted(self, connection: Connection) -> None:
        """The server's side of :meth:`connected`; it answers when it has everything."""
        self._owner.announce(self, connection.handle, None)
        connection.receive()

    def arrived(self, connection: Connection, data: memoryview) -> None:
        """As User."""
        owner = self._owner
        owner.received_bytes += len(data)
        owner.last_byte_ns = owner.session.now_ns()
        if owner.first_byte_ns is None:
            owner.first_byte_ns = owner.last_byte_ns
        if self._check.mismatch(data) is not None:
            owner.session.fail("integrity", f"a byte near {self._check.position} of a short flow is not what was sent")
        elif self._answers and self._check.position == self.incoming_bytes:
            connection.send(self._source)

    def ended(self, connection: Connection) -> None:
        """As User."""
        self._owner.over(self, failed=self._check.position != self.incoming_bytes)

    def finished(self, connection: Connection) -> None:
        """As User."""

    def broken(self, connection: Connection, error: OSError) -> None:
        """As User."""
        self._owner.over(self, failed=True)


class ManyShortFlows(FlowApplication):
    """One side of all short flows."""

    def __init__(self, session: Session, parameters: ShortFlows) -> None:
        self.session = session
        self.sent = Sent(known=True)
        self.received_bytes = 0
        self.first_byte_ns: int | None = None
        self.last_byte_ns: int | None = None
        self._parameters = parameters
        self._listener: Listener | None = None
        self._open: set[Transfer] = set()
        self._begun = 0
        self._failed = 0
        self._completions = Recorder("flow_completion")
        self._completed = 0
        self._ending = False
        self._stood = False
        self._announced = False
        self._last_end_ns: int | None = None
        self._connect_time_ns: int | None = None

    def prepare(self) -> int | None:
        """As FlowApplication."""
        if self.session.configuration.role == "client":
            return None
        self._listener = self.session.transport.listen()
        return self._listener.port

    def start(self) -> None:
        """As FlowApplication."""
        if self._listener is not None:
            self._listener.accept(self._accepted)
            self.session.at(self.session.deadline_ns + QUIET_NS, self.stop)
            return
        self.session.at(self.session.deadline_ns, self.stop)
        for _ in range(self._parameters.concurrency):
            self._open_next()

    def stop(self) -> None:
        """As FlowApplication."""
        self._ending = True
        self._end_when_idle()

    def expire(self) -> None:
        """As FlowApplication."""
        wanted = self._parameters.count
        is_client = self.session.configuration.role == "client"
        if is_client and self._open and not self._stood:
            where = f"{self.session.configuration.remote_address} port {self.session.configuration.port}"
            self.session.fail("connect", f"no connection with {where} within the flow's time")
        elif is_client and wanted is not None and self._completed < wanted:
            self.session.fail("deadline", f"{self._completed} of {wanted} short flows were complete in time")
        else:
            self.session.done(complete=not self._open)

    def close(self) -> None:
        """As FlowApplication."""
        for transfer in self._open:
            if transfer.connection is not None:
                transfer.connection.close()
        if self._listener is not None:
            self._listener.close()

    def handles(self) -> Iterable[tuple[object, Handle]]:
        """As FlowApplication; short flows are looked at when they begin and end, not in between."""
        return ()

    def byte_counts(self) -> tuple[int, int] | None:
        """As FlowApplication."""
        return self.sent.count, self.received_bytes

    def findings(self) -> Mapping[str, Any]:
        """As FlowApplication."""
        is_client = self.session.configuration.role == "client"
        under_way = sorted(transfer.started_ns for transfer in self._open)
        return {
            "bytes_sent": self.sent.count,
            "bytes_received": self.received_bytes,
            "connect_time_ns": self._connect_time_ns,
            "first_byte_ns": self.first_byte_ns,
            "last_byte_ns": self.last_byte_ns,
            "transfers": self._completed,
            "transfers_failed": self._failed + len(self._open),
            "distributions": (self._completions.distribution(self.session.ended_ns, under_way),) if is_client else (),
        }

    def announce(self, transfer: Transfer, handle: Handle, connect_time_ns: int | None) -> None:
        """A connection stands; the first one is told."""
        self._stood = True
        self.receiving = transfer.incoming_bytes > 0
        self.session.observer.look(handle, self.session.now_ns(), transfer)
        if not self._announced:
            self._announced = True
            self._connect_time_ns = connect_time_ns
            self.session.announce(handle, connect_time_ns)

    def over(self, transfer: Transfer, failed: bool) -> None:
        """A transfer ended."""
        now_ns = self.session.now_ns()
        self._open.discard(transfer)
        connection = transfer.connection
        if connection is not None and connection.is_open:
            self.session.observer.look(connection.handle, now_ns, transfer)
            connection.close()
        self.session.observer.retire(transfer)
        self._last_end_ns = now_ns
        if failed:
            self._failed += 1
        else:
            self._completed += 1
            self._completions.add(now_ns, now_ns - transfer.started_ns)
        if self._listener is None and not self._hopeless():
            self._open_next()
        self._end_when_idle()

    def _open_next(self) -> None:
        parameters, configuration = self._parameters, self.session.configuration
        if self._ending or self._begun == parameters.count or self.session.over:
            self._ending = True
            return
        self._begun += 1
        transfer = Transfer(self, self._upload_bytes(), self._download_bytes())
        self._open.add(transfer)
        try:
            transfer.connection = self.session.transport.connect(transfer)
        except OSError as error:
            self.session.fail("connect", f"cannot bind to {configuration.local_address}: {error.strerror}")

    def _accepted(self, handle: Handle) -> None:
        transfer = Transfer(self, self._download_bytes(), self._upload_bytes())
        transfer.connection = self.session.transport.adopt(handle, transfer)
        self._open.add(transfer)
        transfer.accepted(transfer.connection)

    def _end_when_idle(self) -> None:
        if not self._ending or self._open or self.session.over:
            return
        wanted = self._parameters.count
        if self._listener is None and self._failed and not self._completed:
            self._fail(f"all of {self._failed} short flows failed")
        elif self._listener is None and wanted is not None and self._begun < wanted and not self.session.stopped:
            self.session.fail("deadline", f"{self._begun} of {wanted} short flows were begun in the flow's time")
        else:
            self.session.done(complete=not self._failed, at_ns=self._last_end_ns)

    def _hopeless(self) -> bool:
        """Nothing has ever worked: rather end than fill the log of a refusing server."""
        if self._completed or self._failed < HOPELESS:
            return False
        self._fail(f"the first {self._failed} short flows all failed")
        return True

    def _fail(self, message: str) -> None:
        """Nothing was ever complete: because nobody was reached, or because all broke."""
        self.session.fail("peer" if self._stood else "connect", message)

    def _upload_bytes(self) -> int:
        return self._parameters.size_bytes if self._parameters.direction in ("upload", "both") else REQUEST_BYTES

    def _download_bytes(self) -> int:
        return self._parameters.size_bytes if self._parameters.direction in ("download", "both") else 0
