"""A listening socket that hands over connections, but not before the flow has started."""

from __future__ import annotations

import socket
from collections.abc import Callable

from testbed.endpoint.loop import Loop
from testbed.endpoint.protocol import Configuration
from testbed.endpoint.sockets import Unsupported, make_socket

BACKLOG = 512


class Listener:
    """Listens from the beginning (so that a client never comes too early) and accepts from :meth:`accept` on.

    It stays open as long as the flow: a join to a port without a listener is reset (net/mptcp/subflow.c).
    """

    def __init__(self, configuration: Configuration, loop: Loop) -> None:
        self._loop = loop
        self._socket = make_socket(configuration.endpoint, configuration.family)
        try:
            self._socket.bind((configuration.local_address or "", configuration.port))
            self._socket.listen(BACKLOG)
        except OSError as error:
            self._socket.close()
            where = f"{configuration.local_address or 'any address'}, port {configuration.port}"
            raise Unsupported(f"cannot listen on {where}: {error.strerror}") from None

    @property
    def port(self) -> int:
        """The port in force."""
        port: int = self._socket.getsockname()[1]
        return port

    def accept(self, user: Callable[[socket.socket], None]) -> None:
        """Give each connection, non-blocking, to ``user``."""

        def readable() -> None:
            try:
                sock, _ = self._socket.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            sock.setblocking(False)
            user(sock)

        self._loop.watch(self._socket.fileno(), readable)

    def close(self) -> None:
        """No more connections."""
        if self._socket.fileno() >= 0:
            self._loop.watch(self._socket.fileno())
            self._socket.close()
