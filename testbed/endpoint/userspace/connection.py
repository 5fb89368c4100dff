"""A connection of the stack as applications know it: bytes go out of a source and come in to a user.

Unlike a socket nothing has to be waited for: whenever the stack has had a segment or a timeout, :meth:`serve` takes its
events and tells the user. Writes are as large as the stack has room for.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from testbed.endpoint.transport import Connection, Source, User
from testbed.mptcp.connection import Connection as StackStream
from testbed.tcp.state import Event

if TYPE_CHECKING:
    from testbed.endpoint.userspace.host import StackHost

READ_BYTES = 256 * 1024
"""Per read."""
ERRORS = {Event.RESET: errno.ECONNRESET, Event.TIMED_OUT: errno.ETIMEDOUT, Event.CLOSED: errno.ECONNRESET}
"""What the kernel's sockets say in the same case."""


class StackConnection(Connection):
    """One user's view of one connection."""

    __slots__ = (
        "_connecting",
        "_end_when_acknowledged",
        "_ending",
        "_host",
        "_peer_closed",
        "_reading",
        "_shut",
        "_source",
        "_told_end",
        "_user",
        "handle",
        "is_open",
    )

    def __init__(self, host: StackHost, handle: StackStream, user: User, connecting: bool) -> None:
        self.handle: StackStream = handle
        self.is_open = True
        self._host = host
        self._user = user
        self._connecting = connecting
        self._source: Source | None = None
        self._reading = False
        self._end_when_acknowledged = False
        self._ending = False
        """The source is at its end; our end of stream waits for the last acknowledgement."""
        self._shut = False
        self._peer_closed = False
        self._told_end = False
        host.connections.append(self)

    def receive(self) -> None:
        """As Connection."""
        self._reading = True
        self._read()

    def pause(self) -> None:
        """As Connection."""
        self._reading = False

    def send(self, source: Source, end_when_acknowledged: bool = False) -> None:
        """As Connection."""
        self._source = source
        self._end_when_acknowledged = end_when_acknowledged
        self.send_more()

    def send_more(self) -> None:
        """As Connection."""
        if self.is_open and not self._connecting:
            self._write(self._host.clock.now_ns())

    def close(self) -> None:
        """As Connection."""
        if self.is_open:
            self.is_open = False
            if not self.handle.is_closed:
                self.handle.close(self._host.clock.now_ns())
                self._host.leave(self.handle)

    def serve(self, now: int) -> None:
        """Something may have happened: tell the user what."""
        handle = self.handle
        while self.is_open:
            event = handle.next_event()
            if event is None:
                break
            if event == Event.READABLE:
                if self._reading:
                    self._read()
            elif event == Event.WRITABLE:
                self._write(now)
            elif event == Event.ESTABLISHED:
                if self._connecting:
                    self._connecting = False
                    self._user.connected(self)
                    if self.is_open and self._source is not None:
                        self._write(now)
            elif event == Event.PEER_CLOSED:
                self._peer_closed = True
            elif event in ERRORS:
                self._gone(event)
        if self._ending and self.is_open and not handle.unacknowledged_octets:
            self._shut_down(now)
        if self._peer_closed and not self._told_end and self._reading and self.is_open:
            self._end()

    def _read(self) -> None:
        while self.is_open and self._reading:
            data = self.handle.receive(READ_BYTES)
            if not data:
                return
            self._user.arrived(self, memoryview(data))

    def _end(self) -> None:
        """The peer's end of stream, after its last byte."""
        self._read()
        if self.is_open and not self._told_end:
            self._told_end = True
            self._user.ended(self)

    def _write(self, now: int) -> None:
        while self.is_open and self._source is not None:
            room = self.handle.send_buffer_room
            if room <= 0:
                self.handle.wants_room = True
                return
            data = self._source.upcoming()
            if data is None:
                self._source = None
                self._finish(now)
                return
            if not data:
                return
            count = self.handle.send(bytes(data[:room]), now)
            if not count:
                return
            self._source.sent(count)

    def _finish(self, now: int) -> None:
        if self._end_when_acknowledged and self.handle.unacknowledged_octets:
            self._ending = True
        else:
            self._shut_down(now)

    def _shut_down(self, now: int) -> None:
        self._ending = False
        self._shut = True
        self.handle.close(now)
        self._user.finished(self)

    def _gone(self, event: Event) -> None:
        """An orderly end is none that has to be told; anything else is."""
        if event == Event.CLOSED and self._shut and (self._peer_closed or self._told_end):
            return
        number = errno.ECONNREFUSED if self._connecting and event == Event.RESET else ERRORS[event]
        self.is_open = False
        self._user.broken(self, OSError(number, os.strerror(number)))
