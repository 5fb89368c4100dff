"""One connection of the userspace stack between the network and two descriptors: what ``testbed endpoint`` runs.

Orderly is an end at which the peer has ended its stream and has acknowledged all of ours. Anything else is told, and
makes the exit code 1. Afterwards the stack stays a moment to acknowledge what the peer repeats; after that it is gone,
and with it its ports.
"""

from __future__ import annotations

import contextlib
import dataclasses
import ipaddress
import os
import random
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from testbed.endpoint.attached.capture import CaptureFiles
from testbed.endpoint.attached.driver import SUPER_SEGMENT_OCTETS, Attachment
from testbed.endpoint.attached.streams import Input, Output
from testbed.endpoint.collector import collect_seldom
from testbed.endpoint.loop import Loop
from testbed.mptcp.connection import Connection
from testbed.mptcp.listener import Listener
from testbed.mptcp.parameters import Parameters
from testbed.mptcp.stack import Stack
from testbed.tcp.state import Event
from testbed.wire.segment import Segment, SocketAddress

LINGER_NS = 1_000_000_000
"""After the end: long enough for a peer whose last segment was lost to repeat it (RTO 200 ms in Linux)."""
LONGEST_LINGER_NS = 60_000_000_000
"""As long as our own last words are not acknowledged (Linux ``tcp_fin_timeout``); Ctrl-C ends it."""
FAREWELL_NS = 200_000_000
"""After an interruption: the fast close leaves at once and is not waited for any longer than a round trip or two."""
RECEIVE_OCTETS = 256 * 1024


class ToolError(Exception):
    """Cannot begin; the message is one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the tool is to do."""

    role: Literal["listen", "connect"]
    port: int
    remote: str | None = None
    local: str | None = None
    family: Literal[4, 6] | None = None
    interfaces: tuple[str, ...] | None = None
    parameters: Parameters
    offloads: bool = True
    """Super-segments; else one packet at a time."""
    pcap: Path | None = None
    give_up_ns: int | None = None
    """How long to wait for the connection, or for the end; None: for ever."""
    status_fd: int | None = None
    """Where LISTENING, READY and CONNECTED are said, a line each, as adapters do; None: nowhere."""
    control_fd: int | None = None
    """Where a line is awaited before it connects; None: it connects at once."""


@dataclass(slots=True)
class Outcome:
    """How it ended."""

    error: str | None = None
    summary: dict[str, Any] = field(default_factory=dict)


class Tool:
    """Serves one connection; the driver sees it as the stack."""

    def __init__(self, order: Order, loop: Loop, source: int, sink: int) -> None:
        self._order = order
        self._loop = loop
        remotes = _addresses(order.remote, order.family) if order.remote is not None else []
        families = {4 if len(remote) == 4 else 6 for remote in remotes}
        family = families.pop() if len(families) == 1 else order.family
        # Chance that an attacker must not guess (keys, ISNs, nonces): of the operating system.
        self._attachment = Attachment(
            loop,
            random.SystemRandom(),
            listen_ports=[order.port] if order.role == "listen" else [],
            family=family,
            interfaces=order.interfaces,
        )
        self._capture = CaptureFiles(order.pcap) if order.pcap is not None else None
        self._attachment.capture = self._capture
        self._input = Input(source, loop, lambda: None)  # the driver asks after each round of the loop
        self._output = Output(sink, loop, lambda: None)
        self._connection: Connection | None = None
        self._listener: Listener | None = None
        self._began_ns = loop.now_ns()
        self._connected_ns: int | None = None
        self._ended_ns: int | None = None
        self._shut = False
        self._peer_closed = False
        self._error: str | None = None
        self._fallback = False
        try:
            self._stack = self._make_stack()
            self._open(remotes)
        except BaseException:
            self._attachment.close()
            raise

    def run(self) -> Outcome:
        """To the end."""
        order, loop, attachment = self._order, self._loop, self._attachment
        collect_seldom()
        try:
            attachment.drive(self, self._stack)
            if order.give_up_ns is not None:
                loop.at(self._began_ns + order.give_up_ns, self._give_up)
            loop.run(self._round)
            summary = self._summary()
            self._linger(LINGER_NS, LONGEST_LINGER_NS)
        except BaseException:
            self._break_off()
            raise
        finally:
            self._input.close()
            self._output.close()
            attachment.close()
            if self._capture is not None:
                self._capture.close()
        return Outcome(self._error, summary)

    # --- what the driver sees ---

    def segment_arrives(self, segment: Segment, now: int) -> None:
        """As Driven."""
        self._stack.segment_arrives(segment, now)

    def segments_to_send(self, now: int) -> list[Segment]:
        """As Driven, after the user has been served."""
        self._serve(now)
        return self._stack.segments_to_send(now)

    def next_timeout(self) -> int | None:
        """As Driven."""
        return self._stack.next_timeout()

    def handle_timeout(self, now: int) -> None:
        """As Driven."""
        self._stack.handle_timeout(now)

    # --- beginning ---

    def _make_stack(self) -> Stack:
        parameters, attachment = self._order.parameters, self._attachment
        tcp = dataclasses.replace(
            parameters.tcp,
            mtu=attachment.mtu,
            super_segment=SUPER_SEGMENT_OCTETS if self._order.offloads else 0,
        )
        return Stack(
            attachment.addresses,
            dataclasses.replace(parameters, tcp=tcp),
            random.SystemRandom(),
            can_reach=attachment.can_reach,
            port_range=attachment.client_ports,
        )

    def _open(self, remotes: list[bytes]) -> None:
        if not remotes:
            self._listener = self._stack.listen(self._order.port)
            self._say("LISTENING")
            return
        local, remote = self._ends(remotes)
        if self._order.control_fd is not None:
            self._say("READY")
            os.read(self._order.control_fd, 4096)
        self._connection = self._stack.connect(SocketAddress(remote, self._order.port), self._loop.now_ns(), local)

    def _ends(self, remotes: list[bytes]) -> tuple[SocketAddress | None, bytes]:
        """Where the first subflow begins (None: the stack chooses) and the first of the addresses it can reach."""
        order, attachment = self._order, self._attachment
        if all(_is_loopback(remote) or remote in attachment.addresses for remote in remotes):
            raise ToolError(f"{order.remote} is this host itself: only other hosts are reached, not the loopback")
        if order.local is None:
            for remote in remotes:
                if any(attachment.can_reach(address, remote) for address in attachment.addresses):
                    return None, remote
            raise ToolError(f"no route to {order.remote} from an address of this host")
        (host, *_) = _addresses(order.local, None)
        fitting = [remote for remote in remotes if len(remote) == len(host)]
        if not fitting:
            raise ToolError(f"{order.local} is not of the address family of {order.remote}")
        if host not in attachment.addresses:
            raise ToolError(f"{order.local} is not an address of this host")
        for remote in fitting:
            if attachment.can_reach(host, remote):
                return SocketAddress(host, 0), remote
        raise ToolError(f"no route to {order.remote} from {order.local}")

    # --- serving ---

    def _round(self) -> bool:
        self._attachment.flush()
        return self._ended_ns is not None

    def _serve(self, now: int) -> None:
        if self._connection is None and self._listener is not None:
            self._connection = self._listener.accept()
        connection = self._connection
        if connection is None or self._ended_ns is not None:
            return
        while (event := connection.next_event()) is not None:
            self._note(event, now)
        if self._connected_ns is None:
            if self._error is not None:
                self._end(now)
            return
        self._fallback = self._fallback or connection.fallen_back
        self._receive(connection)
        self._send(connection, now)
        self._look_at_streams()
        is_sent = self._shut and not connection.unacknowledged_octets
        if self._peer_closed and self._output.is_empty:
            self._output.end()
        if self._error is not None or (is_sent and self._peer_closed and self._output.is_empty):
            self._end(now)

    def _note(self, event: Event, now: int) -> None:
        if event == Event.ESTABLISHED:
            if self._connected_ns is None:
                self._connected_ns = now
                self._say("CONNECTED")
        elif event == Event.PEER_CLOSED:
            self._peer_closed = True
        elif event == Event.RESET:
            self._fail("connection reset by peer" if self._connected_ns is not None else "connection refused")
        elif event == Event.TIMED_OUT:
            self._fail("connection timed out")
        elif event == Event.CLOSED and not (self._peer_closed and self._shut):
            self._fail("the connection ended early")

    def _receive(self, connection: Connection) -> None:
        while self._output.has_room:
            data = connection.receive(RECEIVE_OCTETS)
            if not data:
                return
            self._output.write(data)

    def _send(self, connection: Connection, now: int) -> None:
        source = self._input
        while not self._shut and self._error is None:
            source.fill()
            if not source.pending:
                if source.at_end:
                    self._shut = True
                    connection.close(now)
                return
            taken = connection.send(source.pending, now)
            if not taken:
                return
            source.taken(taken)

    def _look_at_streams(self) -> None:
        if isinstance(self._output.error, BrokenPipeError):
            self._fail("nobody reads the output any more")
        elif self._output.error is not None:
            self._fail(f"cannot write the output: {self._output.error.strerror}")
        elif self._input.error is not None:
            self._fail(f"cannot read the input: {self._input.error.strerror}")

    def _say(self, word: str) -> None:
        if self._order.status_fd is not None:
            with contextlib.suppress(OSError):  # whoever asked has gone, and will not miss it
                os.write(self._order.status_fd, f"{word}\n".encode())

    def _fail(self, text: str) -> None:
        self._error = self._error or text

    def _give_up(self) -> None:
        if self._ended_ns is None:
            self._fail("not connected in time" if self._connected_ns is None else "not done in time")
            self._end(self._loop.now_ns())

    def _end(self, now: int) -> None:
        self._ended_ns = now
        if self._error is not None and self._connection is not None and not self._connection.is_closed:
            self._connection.abort(now)

    def _break_off(self) -> None:
        """Interrupted, or a defect: the peer shall not wait for us (MP_FASTCLOSE, RST)."""
        if self._connection is not None and not self._connection.is_closed:
            with contextlib.suppress(Exception):  # what has gone wrong is what is told
                self._ended_ns = self._loop.now_ns()
                self._connection.abort(self._ended_ns)
                self._linger(FAREWELL_NS, FAREWELL_NS)

    def _linger(self, quiet_ns: int, longest_ns: int) -> None:
        """Until it is closed; ``quiet_ns`` when the peer has acknowledged all; at most ``longest_ns``."""
        begin_ns = self._loop.now_ns()
        timers = [self._loop.at(begin_ns + each, lambda: None) for each in (quiet_ns, longest_ns)]
        connection = self._connection

        def done() -> bool:
            self._attachment.flush()
            if connection is None or connection.is_closed:
                return True
            passed_ns = self._loop.now_ns() - begin_ns
            return passed_ns >= (longest_ns if connection.awaits_acknowledgment else quiet_ns)

        self._loop.run(done)
        for timer in timers:
            timer.cancel()

    # --- the end ---

    def _summary(self) -> dict[str, Any]:
        begin = self._connected_ns
        seconds = ((self._ended_ns or 0) - begin) / 1e9 if begin is not None and self._ended_ns is not None else None
        received, sent = self._output.octets, self._input.octets
        unacknowledged = self._connection.unacknowledged_octets if self._connection is not None else 0
        statistics = self._attachment.statistics
        return {
            "role": self._order.role,
            "error": self._error,
            "bytes_sent": sent,
            "bytes_unacknowledged": unacknowledged,
            "bytes_received": received,
            "sha256_sent": self._input.digest.hexdigest(),
            "sha256_received": self._output.digest.hexdigest(),
            "duration_s": seconds,
            "goodput_sent_bit_s": 8 * sent / seconds if seconds else None,
            "goodput_received_bit_s": 8 * received / seconds if seconds else None,
            "fallback": self._fallback,
            "subflows": [_subflow_summary(subflow) for subflow in self._connection.subflows]
            if self._connection is not None
            else [],
            "counters": self._stack.counters.as_dict(),
            "driver": {name: getattr(statistics, name) for name in statistics.__slots__}
            | {"dropped": self._attachment.dropped},
        }


def _subflow_summary(subflow: Any) -> dict[str, Any]:
    tcp = subflow.tcp
    return {
        "local": _text(tcp.local),
        "remote": _text(tcp.remote),
        "backup": bool(subflow.backup),
        "srtt_us": None if tcp.srtt is None else tcp.srtt // 1000,
        "cwnd": tcp.cwnd,
    }


def _text(address: SocketAddress) -> str:
    family = socket.AF_INET if len(address.host) == 4 else socket.AF_INET6
    host = socket.inet_ntop(family, address.host)
    return f"{host}:{address.port}" if family == socket.AF_INET else f"[{host}]:{address.port}"


def _is_loopback(address: bytes) -> bool:
    return ipaddress.ip_address(address).is_loopback


def _addresses(text: str, family: int | None) -> list[bytes]:
    """Of a name, in network order, as getaddrinfo(3) prefers them. Raises ToolError."""
    wanted = {4: socket.AF_INET, 6: socket.AF_INET6}.get(family or 0, socket.AF_UNSPEC)
    try:
        found = socket.getaddrinfo(text, None, wanted, socket.SOCK_STREAM)
    except OSError as error:
        raise ToolError(f"{text}: {error.strerror or error}") from None
    except UnicodeError:
        raise ToolError(f"{text}: not a host name") from None
    hosts = [str(each[4][0]) for each in found]
    return [socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host) for host in hosts]
