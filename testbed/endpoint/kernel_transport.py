"""Connections that are sockets of the kernel, driven by the loop of the endpoint process."""

from __future__ import annotations

import socket
from collections.abc import Mapping

from testbed.endpoint import kernel_state, sockets, subflow_flags
from testbed.endpoint.connection import SocketConnection
from testbed.endpoint.kernel_state import ConnectionState, Endpoints
from testbed.endpoint.listener import SocketListener
from testbed.endpoint.loop import Loop
from testbed.endpoint.protocol import Configuration, InForce
from testbed.endpoint.transport import Transport, User


class KernelTransport(Transport):
    """MPTCP and TCP of this kernel."""

    def __init__(self, configuration: Configuration, loop: Loop) -> None:
        self._configuration = configuration
        self._loop = loop

    def listen(self) -> SocketListener:
        """As Transport."""
        return SocketListener(self._configuration, self._loop)

    def connect(self, user: User, local_port: int = 0) -> SocketConnection:
        """As Transport."""
        configuration = self._configuration
        sock = sockets.make_socket(configuration.endpoint, configuration.family)
        try:
            sockets.bind_client(sock, configuration.local_address, local_port)
        except OSError:
            sock.close()
            raise
        connection = SocketConnection(self._loop, sock, user)
        connection.connect((str(configuration.remote_address), configuration.port))
        return connection

    def adopt(self, handle: socket.socket, user: User) -> SocketConnection:
        """As Transport."""
        return SocketConnection(self._loop, handle, user)

    def read(self, handle: socket.socket) -> ConnectionState:
        """As Transport."""
        return kernel_state.read_connection(handle)

    def subflow_flags(self, endpoints: Endpoints) -> int | None:
        """As Transport."""
        return subflow_flags.subflow_flags(endpoints)

    def endpoints(self, handle: socket.socket) -> Endpoints:
        """As Transport."""
        return kernel_state.endpoints_of(handle)

    def implementation_in_force(self, handle: socket.socket) -> InForce:
        """As Transport."""
        return sockets.implementation_in_force(handle, self._configuration.endpoint.implementation)

    def options_in_force(self, handle: socket.socket) -> Mapping[str, str | int | bool | None]:
        """As Transport."""
        return sockets.options_in_force(handle)
