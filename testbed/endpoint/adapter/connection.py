"""An adapter as a connection: its standard input is our end of one stream, its standard output that of the other."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import termios
from collections.abc import Callable
from typing import Protocol

from testbed.endpoint.adapter.contract import CONNECTED
from testbed.endpoint.adapter.kernel_view import KernelView
from testbed.endpoint.adapter.program import AdapterProgram
from testbed.endpoint.connection import READ_BYTES, TURNS
from testbed.endpoint.loop import Loop
from testbed.endpoint.transport import Connection, Source, User

LOOK_NS = 5_000_000
"""Between two looks for the connection of an adapter that says nothing of it, or whether all is acknowledged."""

_buffer = bytearray(READ_BYTES)
_view = memoryview(_buffer)


def waiting_bytes(pipe: int) -> int:
    """What was written into a pipe and not yet read (FIONREAD, of either end)."""
    count: int = struct.unpack("=i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))[0]
    return count


class AdapterHandle:
    """A connection as its transport knows it: the adapter, and what the kernel knows of it."""

    def __init__(self, program: AdapterProgram, view: KernelView) -> None:
        self.program = program
        self.view = view

    def close(self) -> None:
        """Give the connection back."""
        self.program.close_input()
        self.program.close_output()


class Standing:
    """Finds out when an adapter's connection stands: by its word, by its first byte, or by the kernel's socket."""

    def __init__(
        self, loop: Loop, handle: AdapterHandle, stands: Callable[[], None], ended: Callable[[], None]
    ) -> None:
        """One of the two is called, once: ``ended`` when the adapter has exited without all of these."""
        self._loop = loop
        self._program = handle.program
        self._view = handle.view
        self._stands, self._ended = stands, ended
        self._over = False
        self._program.on_word = self._said
        self._program.on_exit = self._exited
        loop.watch(self._program.output, self._readable)
        loop.at(0, self._look)

    def cancel(self) -> None:
        """Nothing is told any more."""
        if not self._over:
            self._over = True
            self._loop.watch(self._program.output)
            self._program.on_word = lambda _: None
            self._program.on_exit = lambda: None

    def _said(self, word: str) -> None:
        if word == CONNECTED:
            self._found()

    def _look(self) -> None:
        if self._over:
            return
        if CONNECTED in self._program.words or self._view.stands():
            self._found()
        elif self._program.exit_code is not None:
            self._exited()
        else:
            self._loop.at(self._loop.now_ns() + LOOK_NS, self._look)

    def _readable(self) -> None:
        if waiting_bytes(self._program.output):
            self._found()
        else:
            self._loop.watch(self._program.output)  # its end: that alone is no connection

    def _exited(self) -> None:
        if waiting_bytes(self._program.output):
            self._found()
        elif not self._over:
            self.cancel()
            self._ended()

    def _found(self) -> None:
        if not self._over:
            self.cancel()
            self._stands()


class Keeper(Protocol):
    """Who starts and ends the adapters."""

    def refused(self, program: AdapterProgram) -> bool:
        """Whether a bad exit was for want of support; then who has to know does now."""

    def released(self, program: AdapterProgram) -> None:
        """Its connection is closed."""


class AdapterConnection(Connection):
    """One connected, or connecting, adapter."""

    def __init__(self, loop: Loop, handle: AdapterHandle, user: User, keeper: Keeper, stands: bool) -> None:
        self.handle: AdapterHandle = handle
        self.is_open = True
        self._established = stands
        self._loop = loop
        self._program = handle.program
        self._user = user
        self._keeper = keeper
        self._source: Source | None = None
        self._standing: Standing | None = None
        self._reading = False
        self._at_end = False
        self._writing = False
        self._input_closed = False
        self._end_when_acknowledged = False
        self._watched: tuple[bool, bool] = (False, False)
        if stands:
            self._program.on_exit = self._exited
            loop.at(0, self._exited)  # it may have exited before

    def connect(self) -> None:
        """Wait for it to stand; ``connected`` or ``broken`` follows."""
        self._standing = Standing(self._loop, self.handle, self._stands, self._never_stood)

    def receive(self) -> None:
        """As Connection."""
        self._reading = not self._at_end
        self._watch()

    def pause(self) -> None:
        """As Connection: the adapter's pipe fills, and it has to stop reading from its own connection."""
        self._reading = False
        self._watch()

    def send(self, source: Source, end_when_acknowledged: bool = False) -> None:
        """As Connection."""
        self._source = source
        self._end_when_acknowledged = end_when_acknowledged
        self.send_more()

    def send_more(self) -> None:
        """As Connection."""
        if self.is_open and self._established:
            self._writable()
            self._watch()

    def close(self) -> None:
        """As Connection."""
        if self.is_open:
            self.is_open = False
            if self._standing is not None:
                self._standing.cancel()
            self._program.on_exit = lambda: None
            self.handle.close()
            self._keeper.released(self._program)

    def _stands(self) -> None:
        self._established = True
        self._program.on_exit = self._exited
        self._user.connected(self)
        self.send_more()
        self._exited()

    def _never_stood(self) -> None:
        if self.is_open and not self._keeper.refused(self._program):
            self._break(f"{self._program.how_it_ended()}, before its connection stood")

    def _watch(self) -> None:
        if not self.is_open or not self._established:
            return
        wanted = (self._reading, self._writing)
        reading, writing = (new != old for new, old in zip(wanted, self._watched, strict=True))
        self._watched = wanted
        if reading:
            self._loop.watch(self._program.output, self._readable if self._reading else None)
        if writing and not self._input_closed:
            self._loop.watch(self._program.input, None, self._writable_event if self._writing else None)

    def _readable(self) -> None:
        for _ in range(TURNS):
            try:
                count = os.readv(self._program.output, [_buffer])
            except BlockingIOError:
                return
            if count == 0:
                self._ended()
                return
            self._user.arrived(self, _view[:count])
            if not self.is_open or not self._reading:
                return

    def _ended(self) -> None:
        """Its standard output is at its end: the peer's stream is, or the adapter came to grief."""
        self._reading = False
        self._at_end = True
        self._watch()
        self._program.look()
        if self.is_open:
            self._user.ended(self)

    def _writable_event(self) -> None:
        self._writable()
        self._watch()

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
                count = os.write(self._program.input, data)
            except BlockingIOError:
                return
            except BrokenPipeError:
                self._program.look()
                self._break(f"adapter {self._program.name} takes no more data")
                return
            if self._source is not None:
                self._source.sent(count)

    def _shut_down(self) -> None:
        if not self.is_open:
            return
        if self._end_when_acknowledged and self._unacknowledged():
            self._loop.at(self._loop.now_ns() + LOOK_NS, self._shut_down)
            return
        self._input_closed = True
        self._program.close_input()
        self._user.finished(self)

    def _unacknowledged(self) -> int:
        """What the adapter has not read yet, and what the kernel, if it is the kernel's, has not got through."""
        return waiting_bytes(self._program.input) or self.handle.view.unacknowledged()

    def _exited(self) -> None:
        """After an orderly exit its pipes tell the rest."""
        if self._program.exit_code and self.is_open and not self._keeper.refused(self._program):
            self._drain()
            self._break(self._program.how_it_ended())

    def _drain(self) -> None:
        """What it had received before it came to grief counts."""
        while self.is_open and self._established and self._reading:
            try:
                count = os.readv(self._program.output, [_buffer])
            except BlockingIOError:
                return
            if count == 0:
                return
            self._user.arrived(self, _view[:count])

    def _break(self, why: str) -> None:
        if self.is_open:
            self.close()
            self._user.broken(self, OSError(errno.EPIPE, why))
