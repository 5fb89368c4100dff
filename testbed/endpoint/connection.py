"""A non-blocking socket driven by the loop: bytes go out of a source and come in to a sink.

What happens is told to a ``User``; it may close the connection from inside any of these calls.
"""

from __future__ import annotations

import errno
import os
import socket

from testbed.endpoint.kernel_state import unacknowledged_bytes
from testbed.endpoint.loop import Loop
from testbed.endpoint.transport import Connection, Source, User

READ_BYTES = 256 * 1024
"""Per read. Larger ones do not fit into the cache of one core and get slower again."""
TURNS = 16
"""Reads or writes before others (timers, the other direction) get their turn."""
ACKNOWLEDGED_POLL_NS = 1_000_000
"""Between two looks whether everything is acknowledged; the kernel has no event for that."""

_buffer = bytearray(READ_BYTES)
_view = memoryview(_buffer)
"""One read buffer for all connections of the process, which has one thread."""


class SocketConnection(Connection):
    """One connected, or connecting, socket."""

    def __init__(self, loop: Loop, sock: socket.socket, user: User) -> None:
        self.handle: socket.socket = sock
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
        code = self.handle.connect_ex(address)
        if code not in (0, errno.EINPROGRESS):
            self._loop.at(0, lambda: self._break(OSError(code, os.strerror(code))))
            return
        self._watch()

    def receive(self) -> None:
        """As Connection."""
        self._reading = True
        self._watch()

    def pause(self) -> None:
        """As Connection."""
        self._reading = False
        self._watch()

    def send(self, source: Source, end_when_acknowledged: bool = False) -> None:
        """As Connection."""
        self._source = source
        self._end_when_acknowledged = end_when_acknowledged
        self.send_more()

    def send_more(self) -> None:
        """As Connection."""
        if self.is_open and not self._connecting:
            self._writable()
            self._watch()

    def close(self) -> None:
        """As Connection."""
        if self.is_open:
            self.is_open = False
            self._loop.watch(self._descriptor)
            self.handle.close()

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
                count = self.handle.recv_into(_buffer)
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
        code = self.handle.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
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
                count = self.handle.send(data)
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
            if self._end_when_acknowledged and unacknowledged_bytes(self.handle):
                self._loop.at(self._loop.now_ns() + ACKNOWLEDGED_POLL_NS, self._shut_down)
                return
            self.handle.shutdown(socket.SHUT_WR)
        except OSError as error:
            self._break(error)
            return
        self._user.finished(self)

    def _break(self, error: OSError) -> None:
        if self.is_open:
            self.close()
            self._user.broken(self, error)
