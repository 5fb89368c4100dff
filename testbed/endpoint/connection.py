"""A non-blocking socket driven by the loop: bytes go out of a source and come in to a sink.

What happens is told to a ``User``; it may close the connection from inside any of these calls.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import Protocol

from testbed.endpoint.kernel_state import unacknowledged_bytes
from testbed.endpoint.loop import Loop

READ_BYTES = 256 * 1024
"""Per read. Larger ones do not fit into the cache of one core and get slower again."""
TURNS = 16
"""Reads or writes before others (timers, the other direction) get their turn."""
ACKNOWLEDGED_POLL_NS = 1_000_000
"""Between two looks whether everything is acknowledged; the kernel has no event for that."""

_buffer = bytearray(READ_BYTES)
_view = memoryview(_buffer)
"""One read buffer for all connections of the process, which has one thread."""


class Source(Protocol):
    """Gives what is to be sent, piece by piece."""

    def upcoming(self) -> memoryview | None:
        """The next bytes; empty: nothing right now (call :meth:`Connection.send_more` later); None: the end."""

    def sent(self, count: int) -> None:
        """The socket has accepted the first ``count`` of them."""


class User(Protocol):
    """Who wants to know."""

    def connected(self, connection: Connection) -> None:
        """A connection that was opened here is established."""

    def arrived(self, connection: Connection, data: memoryview) -> None:
        """Bytes were read; the view is valid during the call only."""

    def ended(self, connection: Connection) -> None:
        """The peer will send nothing more."""

    def finished(self, connection: Connection) -> None:
        """The source was at its end: everything is handed to the kernel and our end of stream is on its way."""

    def broken(self, connection: Connection, error: OSError) -> None:
        """The connection is gone."""


class Connection:
    """One connected, or connecting, socket."""

    def __init__(self, loop: Loop, sock: socket.socket, user: User) -> None:
        self.socket = sock
        self.is_open = True
        self._loop = loop
        self._user = user
        self._source: Source | None = None
        self._connecting = False
        self._reading = False
        self._writing = False
        self._watched = (False, False)
        self._end_when_acknowledged = False
        self._descriptor = sock.fileno()

    def connect(self, address: tuple[str, int]) -> None:
        """Begin; ``connected`` or ``broken`` follows."""
        self._connecting = True
        code = self.socket.connect_ex(address)
        if code not in (0, errno.EINPROGRESS):
            self._loop.at(0, lambda: self._break(OSError(code, os.strerror(code))))
            return
        self._watch()

    def receive(self) -> None:
        """From now on, read."""
        self._reading = True
        self._watch()

    def send(self, source: Source, end_when_acknowledged: bool = False) -> None:
        """From now on, send what ``source`` gives until its end, then end our stream.

        ``end_when_acknowledged``: only when the peer has everything, so that the end of two-way traffic tells that.
        (Linux 6.18 now and then drains an MPTCP connection whose other stream has ended by its retransmission timer
        alone, one 64 KiB piece each 200 ms; closing meanwhile would leave the rest to nobody.)
        """
        self._source = source
        self._end_when_acknowledged = end_when_acknowledged
        self.send_more()

    def send_more(self) -> None:
        """The source has something again."""
        if self.is_open and not self._connecting:
            self._writable()
            self._watch()

    def close(self) -> None:
        """Give the socket back; nothing is told any more."""
        if self.is_open:
            self.is_open = False
            self._loop.watch(self._descriptor)
            self.socket.close()

    def _watch(self) -> None:
        """Tell the loop what we wait for; only when that changed, a system call per read would cost 10 %."""
        if not self.is_open:
            return
        wanted = (self._reading and not self._connecting, self._connecting or self._writing)
        if wanted != self._watched:
            self._watched = wanted
            readable, writable = wanted
            self._loop.watch(
                self._descriptor, self._readable if readable else None, self._writable_event if writable else None
            )

    def _readable(self) -> None:
        for _ in range(TURNS):
            try:
                count = self.socket.recv_into(_buffer)
            except BlockingIOError:
                return
            except OSError as error:
                self._break(error)
                return
            if count == 0:
                self._reading = False
                self._watch()
                self._user.ended(self)
                return
            self._user.arrived(self, _view[:count])
            # A short read emptied the queue: asking again would cost a system call to hear that.
            if count < READ_BYTES or not self.is_open or not self._reading:
                return

    def _writable_event(self) -> None:
        if self._connecting:
            self._established()
        else:
            self._writable()
        self._watch()

    def _established(self) -> None:
        code = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._break(OSError(code, os.strerror(code)))
            return
        self._connecting = False
        self._user.connected(self)
        if self.is_open and self._source is not None:
            self._writable()

    def _writable(self) -> None:
        self._writing = True
        for _ in range(TURNS):
            data = self._source.upcoming() if self._source is not None else b""
            if data is None:
                self._source = None
                self._writing = False
                self._shut_down()
                return
            if not data:
                self._writing = False
                return
            try:
                count = self.socket.send(data)
            except BlockingIOError:
                return
            except OSError as error:
                self._break(error)
                return
            if self._source is not None:
                self._source.sent(count)

    def _shut_down(self) -> None:
        if not self.is_open:
            return
        try:
            if self._end_when_acknowledged and unacknowledged_bytes(self.socket):
                self._loop.at(self._loop.now_ns() + ACKNOWLEDGED_POLL_NS, self._shut_down)
                return
            self.socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            self._break(error)
            return
        self._user.finished(self)

    def _break(self, error: OSError) -> None:
        if self.is_open:
            self.close()
            self._user.broken(self, error)
