"""A listening socket that hands over connections, but not before the flow has started."""

from __future__ import annotations

import socket
from collections.abc import Callable

from testbed.endpoint.loop import Loop
from testbed.endpoint.protocol import Configuration
from testbed.endpoint.sockets import Unsupported, make_socket
from testbed.endpoint.transport import Listener

BACKLOG = 512


class SocketListener(Listener):
    """A listening socket."""

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
        self.port = self._socket.getsockname()[1]

    def accept(self, user: Callable[[socket.socket], None]) -> None:
        """As Listener; the sockets are non-blocking."""

        def readable() -> None:
            try:
                sock, _ = self._socket.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            sock.setblocking(False)
            user(sock)

        self._loop.watch(self._socket.fileno(), readable)

    def close(self) -> None:
        """As Listener."""
        if self._socket.fileno() >= 0:
            self._loop.watch(self._socket.fileno())
            self._socket.close()
