"""What the kernel knows of an adapter's connection, where that is one of the kernel's: looked at from outside.

The socket is found among those of the adapter and of whatever it started, by the port of the flow, and borrowed for
the moment of a look (``borrowed_sockets.py``). A stack of the adapter's own has no such socket: nothing is known then.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from testbed.endpoint.borrowed_sockets import connections_of
from testbed.endpoint.child import descendants
from testbed.endpoint.kernel_state import (
    ConnectionState,
    Endpoints,
    endpoints_of,
    read_connection,
    unacknowledged_bytes,
)
from testbed.endpoint.observer import GONE
from testbed.endpoint.protocol import Role
from testbed.endpoint.sockets import implementation_in_force, options_in_force


class KernelView:
    """The connection of one adapter."""

    def __init__(self, pid: int, role: Role, port: int) -> None:
        self.fell_back: bool | None = None
        """Whether an MPTCP socket would have been MPTCP and was not, when last seen; None: never seen."""
        self.endpoints: Endpoints | None = None
        """Of its first subflow."""
        self.options: Mapping[str, str | int | bool | None] = {}
        self._pid, self._is_client, self._port = pid, role == "client", port

    def stands(self) -> bool:
        """Whether there is such a connection now."""
        with self._borrowed() as sock:
            return sock is not None

    def read(self) -> ConnectionState | None:
        """Its state now; None: there is none, or not any more."""
        with self._borrowed() as sock:
            if sock is None:
                return None
            try:
                state = read_connection(sock)
                self.fell_back = implementation_in_force(sock, "linux") == "fallback"
                self.endpoints = endpoints_of(sock)
                if not self.options:
                    self.options = options_in_force(sock)
            except OSError as error:  # the adapter may close it between any two of our calls
                if error.errno not in GONE:
                    raise
                return None
            return state

    def unacknowledged(self) -> int:
        """Bytes that the peer has not acknowledged, as far as the kernel knows."""
        with self._borrowed() as sock:
            try:
                return unacknowledged_bytes(sock) if sock is not None else 0
            except OSError:
                return 0

    @contextmanager
    def _borrowed(self) -> Iterator[socket.socket | None]:
        found: socket.socket | None = None
        try:
            for pid in (self._pid, *descendants(self._pid)):
                found = self._of(pid)
                if found is not None:
                    break
            yield found
        finally:
            if found is not None:
                found.close()

    def _of(self, pid: int) -> socket.socket | None:
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:  # it ended meanwhile
            return None
        found: socket.socket | None = None
        try:
            for _, sock in connections_of(pid, pidfd):
                if found is None and self._is_ours(sock):
                    found = sock
                else:
                    sock.close()
        finally:
            os.close(pidfd)
        return found

    def _is_ours(self, sock: socket.socket) -> bool:
        try:
            port: int = (sock.getpeername() if self._is_client else sock.getsockname())[1]
        except OSError:
            return False
        return port == self._port
