"""The two sides of a flow with a scripted peer: the script itself, and what the other end's application does.

The script's end is the end of the flow: whoever carries out the trial then stops the other end (``Script``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from testbed.endpoint.applications.single import SingleConnection
from testbed.endpoint.applications.sources import PatternSource
from testbed.endpoint.meter import Received
from testbed.endpoint.parameters import Script
from testbed.endpoint.payload import BLOCK_BYTES, pattern
from testbed.endpoint.script.errors import ScriptError
from testbed.endpoint.script.handshakes import NoConnection
from testbed.endpoint.script.host import ScriptTransport
from testbed.endpoint.script.language import parse
from testbed.endpoint.session import FlowApplication, Session
from testbed.endpoint.sockets import Unsupported
from testbed.endpoint.transport import Connection, Handle


class ScriptedSide(FlowApplication):
    """Carries out the script."""

    def __init__(self, session: Session, script: Script) -> None:
        transport = session.transport
        if not isinstance(transport, ScriptTransport):
            raise Unsupported("a script runs at the end whose implementation is 'script'")
        self.session = session
        outgoing, incoming = session.directions
        seed = session.configuration.seed
        self._received = Received(pattern(seed, incoming))
        stream = bytes(pattern(seed, outgoing).upcoming(BLOCK_BYTES))
        self._peer = transport.make_peer(parse(script.lines), stream, self._arrived)
        self._peer.on_end = self._ended

    def prepare(self) -> int | None:
        """As FlowApplication."""
        return None if self.session.configuration.role == "client" else self.session.configuration.port

    def start(self) -> None:
        """As FlowApplication."""
        self._peer.begin(self.session.clock.now_ns())

    def stop(self) -> None:
        """As FlowApplication."""
        self.session.done(complete=False)

    def expire(self) -> None:
        """As FlowApplication."""
        self.session.fail("deadline", "the script did not come to its end within the flow's time")

    def close(self) -> None:
        """As FlowApplication. The peer stays and refuses what still comes."""
        self._peer.over = True

    def handles(self) -> Iterable[tuple[object, Handle]]:
        """As FlowApplication."""
        return ()

    def byte_counts(self) -> tuple[int, int] | None:
        """As FlowApplication."""
        return None

    def findings(self) -> Mapping[str, Any]:
        """As FlowApplication."""
        received = self._received
        return {
            "bytes_sent": self._peer.drafts.last_octet,
            "bytes_received": received.count,
            "received_compared": received.compared,
            "first_mismatch": received.first_mismatch,
            "first_byte_ns": received.first_ns,
            "last_byte_ns": received.last_ns,
            "observations": tuple(self._peer.notes.everything()),
        }

    def _arrived(self, part: memoryview) -> int | None:
        before = self._received.count
        self._received.add(part, self.session.now_ns())
        wrong = self._received.first_mismatch
        return wrong - before if wrong is not None and wrong >= before else None

    def _ended(self, error: ScriptError | NoConnection | None) -> None:
        if isinstance(error, NoConnection):
            self.session.fail("connect", str(error))
        elif error is not None:
            self.session.fail("configuration", str(error))
        else:
            self.session.done()


class ScriptPartner(SingleConnection):
    """The application that the script talks to: reads, sends what it is told to, and waits for the script's end."""

    def __init__(self, session: Session, script: Script) -> None:
        seed = session.configuration.seed
        outgoing, incoming = session.directions
        super().__init__(session, Received(pattern(seed, incoming)))
        self._script = script
        ending = script.partner_closes == "after sending" and not script.partner_write_interval_ns
        total = 0 if script.partner_write_interval_ns else script.partner_sends_bytes
        self._source = PatternSource(pattern(seed, outgoing), self.sent, script.partner_write_bytes, total, ending)
        self._begun_ns = 0

    def begin(self, connection: Connection) -> None:
        """As SingleConnection."""
        self._begun_ns = self.session.now_ns()
        connection.send(self._source)
        if self._script.partner_write_interval_ns and self._script.partner_sends_bytes:
            self._write_due()

    def _write_due(self) -> None:
        script, source = self._script, self._source
        if self.connection is None or not self.connection.is_open:
            return
        due = (self.session.now_ns() - self._begun_ns) // script.partner_write_interval_ns + 1
        source.total = min(due * script.partner_write_bytes, script.partner_sends_bytes)
        if source.total < script.partner_sends_bytes:
            self.session.at(self._begun_ns + due * script.partner_write_interval_ns, self._write_due)
        else:
            source.ending = source.ending or script.partner_closes == "after sending"
        self.connection.send_more()

    def stop(self) -> None:
        """As FlowApplication: the script is over."""
        if not self._established:
            self.expire()
            return
        self.received.end(self.session.now_ns())
        self.observe()
        self.session.done()

    def arrived(self, connection: Connection, data: memoryview) -> None:
        """As User. A wrong byte is a result."""
        self.received.add(data, self.session.now_ns())

    def ended(self, connection: Connection) -> None:
        """As User."""
        if self._script.partner_closes == "after end":
            self._source.ending = True
            connection.send_more()

    def finished(self, connection: Connection) -> None:
        """As User."""
