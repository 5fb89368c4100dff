"""Connections of our own stack, for the applications of one side of a flow."""

from __future__ import annotations

import errno
import ipaddress
import os
from collections.abc import Mapping

from testbed.endpoint.kernel_state import ConnectionState, Endpoints
from testbed.endpoint.protocol import Configuration, InForce, LedgerRow
from testbed.endpoint.transport import Transport, User
from testbed.endpoint.userspace.connection import StackConnection
from testbed.endpoint.userspace.host import StackHost
from testbed.endpoint.userspace.listener import StackListener
from testbed.endpoint.userspace.parameters import stack_parameters
from testbed.endpoint.userspace.state import endpoints_of, flags_of, options_in_force, read_connection
from testbed.mptcp.connection import Connection
from testbed.mptcp.parameters import Parameters
from testbed.wire.segment import SocketAddress


class StackTransport(Transport):
    """Several of these, one for each side of a flow on that host, share a :class:`StackHost`."""

    def __init__(self, host: StackHost, configuration: Configuration, parameters: Parameters | None = None) -> None:
        """``parameters`` None: those that the configuration means (:func:`stack_parameters`)."""
        self._host = host
        self._configuration = configuration
        self._parameters = parameters or stack_parameters(configuration.endpoint, configuration.path_manager)
        self.recorded: list[Connection] = []
        """Every connection, in order, when ledgers are kept."""
        self._flags: Mapping[Endpoints, int] = {}

    def listen(self) -> StackListener:
        """As Transport."""
        port = self._configuration.port
        listener = StackListener(self._host.stack.listen(port, self._parameters), port)
        self._host.listeners.append(listener)
        return listener

    def connect(self, user: User, local_port: int = 0) -> StackConnection:
        """As Transport."""
        configuration = self._configuration
        remote = SocketAddress(packed(str(configuration.remote_address)), configuration.port)
        local = None
        if configuration.local_address is not None:
            local = SocketAddress(packed(configuration.local_address), local_port)
            if local.host not in self._host.stack.addresses:
                raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
        handle = self._host.stack.connect(remote, self._host.clock.now_ns(), local, self._parameters)
        self._record(handle)
        return StackConnection(self._host, handle, user, connecting=True)

    def adopt(self, handle: Connection, user: User) -> StackConnection:
        """As Transport."""
        self._record(handle)
        return StackConnection(self._host, handle, user, connecting=False)

    def read(self, handle: Connection) -> ConnectionState:
        """As Transport."""
        state = read_connection(handle, self._configuration.endpoint.is_plain_tcp)
        self._flags = flags_of(handle)
        return state

    def subflow_flags(self, endpoints: Endpoints) -> int | None:
        """As Transport: of the connection that was read last."""
        return self._flags.get(endpoints)

    def withdraw(self, address: str) -> None:
        """As Transport."""
        self._host.stack.remove_address(packed(address), self._host.clock.now_ns())

    def endpoints(self, handle: Connection) -> Endpoints:
        """As Transport."""
        return endpoints_of(handle.subflows[0].tcp)

    def implementation_in_force(self, handle: Connection) -> InForce:
        """As Transport."""
        if self._configuration.endpoint.is_plain_tcp:
            return "userspace-tcp"
        return "fallback" if handle.fallen_back else "userspace"

    def options_in_force(self, handle: Connection) -> Mapping[str, str | int | bool | None]:
        """As Transport."""
        return options_in_force(handle, self._configuration.endpoint, self._parameters)

    def take_ledger(self, epoch_ns: int) -> list[LedgerRow]:
        """The rows of all connections so far, each led by the connection's number; times since ``epoch_ns``."""
        return [
            (number, row[0] - epoch_ns, *row[1:])
            for number, handle in enumerate(self.recorded)
            if handle.ledger is not None
            for row in handle.ledger.take_rows()
        ]

    def _record(self, handle: Connection) -> None:
        if self._parameters.record_ledger:
            self.recorded.append(handle)


def packed(address: str) -> bytes:
    """Network order."""
    return ipaddress.ip_address(address).packed
