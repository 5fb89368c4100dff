"""The two ends of the tool that are not the network: standard input or a file, standard output or a file.

What cannot be waited for (a regular file, /dev/null: epoll(7) refuses them) is read and written directly; anything else
(a pipe, a terminal) when the loop says that it can be, because a stack that waits for a pipe does not acknowledge.
"""

from __future__ import annotations

import hashlib
import os
import select
from collections.abc import Callable

from testbed.endpoint.loop import Loop

READ_OCTETS = 256 * 1024
BUFFERED_OCTETS = 1 << 20
"""Beyond this much waiting, input is not read and the connection's data stays in its receive buffer."""
PIPE_BUF_OCTETS = 4096
"""pipe(7): a pipe that is writable takes as many at once, so such a write never blocks."""


class Input:
    """What is to be sent."""

    def __init__(self, descriptor: int, loop: Loop, changed: Callable[[], None]) -> None:
        self.error: OSError | None = None
        """It cannot be read."""
        self.at_end = False
        """Nothing more will come once :attr:`pending` is empty."""
        self.pending = b""
        self.digest = hashlib.sha256()
        self.octets = 0
        self._descriptor = descriptor
        self._loop = loop
        self._changed = changed
        self._is_file = not _can_be_waited_for(descriptor)
        self._watching = False

    def fill(self) -> None:
        """See to it that there is something in :attr:`pending`, now or as soon as somebody writes it."""
        if self.pending or self.at_end or self.error is not None:
            return
        if self._is_file:
            self._read()
        elif not self._watching:
            self._watching = True
            self._loop.watch(self._descriptor, self._readable)

    def taken(self, count: int) -> None:
        """The connection has accepted the first ``count`` octets of :attr:`pending`."""
        self.digest.update(self.pending[:count])
        self.octets += count
        self.pending = self.pending[count:]

    def close(self) -> None:
        """Do not read any more."""
        if self._watching:
            self._loop.watch(self._descriptor)
            self._watching = False

    def _readable(self) -> None:
        self._read()
        self.close()
        self._changed()

    def _read(self) -> None:
        try:
            data = os.read(self._descriptor, READ_OCTETS)
        except OSError as error:
            self.error = error
            return
        self.pending = data
        self.at_end = not data


class Output:
    """What was received."""

    def __init__(self, descriptor: int, loop: Loop, changed: Callable[[], None]) -> None:
        self.digest = hashlib.sha256()
        self.octets = 0
        self.error: OSError | None = None
        """It cannot be written any more; BrokenPipeError: nobody reads it."""
        self._pending = bytearray()
        self._ended = False
        self._descriptor = descriptor
        self._loop = loop
        self._changed = changed
        self._is_file = not _can_be_waited_for(descriptor)

    @property
    def has_room(self) -> bool:
        """Whether more should be received."""
        return len(self._pending) < BUFFERED_OCTETS

    @property
    def is_empty(self) -> bool:
        """Whether everything is written."""
        return not self._pending

    def write(self, data: bytes) -> None:
        """Now or as soon as somebody reads it."""
        self.digest.update(data)
        self.octets += len(data)
        if self.error is not None:
            return
        if self._is_file:
            view = memoryview(data)
            try:
                while view:
                    view = view[os.write(self._descriptor, view) :]
            except OSError as error:
                self.error = error
            return
        if not self._pending:
            self._loop.watch(self._descriptor, None, self._writable)
        self._pending += data

    def end(self) -> None:
        """Everything is written: whoever reads it hears of the end, as the peer's half-close, while we go on."""
        if not self._ended:
            self._ended = True
            self.close()
            nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
            os.dup2(nowhere, self._descriptor)  # the number stays taken
            os.close(nowhere)

    def close(self) -> None:
        """Do not write any more."""
        if not self._is_file:
            self._loop.watch(self._descriptor)

    def _writable(self) -> None:
        try:
            del self._pending[: os.write(self._descriptor, self._pending[:PIPE_BUF_OCTETS])]
        except OSError as error:
            self.error = error
            self._pending.clear()
        if not self._pending:
            self._loop.watch(self._descriptor)
        if self.has_room:
            self._changed()


def _can_be_waited_for(descriptor: int) -> bool:
    with select.epoll() as poller:
        try:
            poller.register(descriptor, 0)
        except PermissionError:
            return False
    return True
