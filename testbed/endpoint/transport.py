"""Where an application's connections come from: the kernel's sockets, or our own stack.

An application knows these base classes only. A *handle* is what a connection is to its transport: a socket, or a
connection of the stack; the observer and the session pass it back to the transport that made it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from testbed.endpoint.kernel_state import ConnectionState, Endpoints
from testbed.endpoint.protocol import InForce

Handle = Any


class Source(Protocol):
    """Gives what is to be sent, piece by piece."""

    def upcoming(self) -> memoryview | None:
        """The next bytes; empty: nothing right now (call :meth:`Connection.send_more` later); None: the end."""

    def sent(self, count: int) -> None:
        """The connection has accepted the first ``count`` of them."""


class User(Protocol):
    """Who wants to know; it may close the connection from inside any of these calls."""

    def connected(self, connection: Connection) -> None:
        """A connection that was opened here is established."""

    def arrived(self, connection: Connection, data: memoryview) -> None:
        """Bytes were read; the view is valid during the call only."""

    def ended(self, connection: Connection) -> None:
        """The peer will send nothing more."""

    def finished(self, connection: Connection) -> None:
        """The source was at its end: everything is handed over and our end of stream is on its way."""

    def broken(self, connection: Connection, error: OSError) -> None:
        """The connection is gone."""


class Connection(ABC):
    """One connected, or connecting, stream."""

    handle: Handle
    is_open: bool

    @abstractmethod
    def receive(self) -> None:
        """From now on, read."""

    @abstractmethod
    def pause(self) -> None:
        """Read nothing until :meth:`receive` is called again: what arrives stays in the receive buffer."""

    @abstractmethod
    def send(self, source: Source, end_when_acknowledged: bool = False) -> None:
        """From now on, send what ``source`` gives until its end, then end our stream.

        ``end_when_acknowledged``: only when the peer has everything, so that the end of two-way traffic tells that.
        (Linux 6.18 now and then drains an MPTCP connection whose other stream has ended by its retransmission timer
        alone, one 64 KiB piece each 200 ms; closing meanwhile would leave the rest to nobody.)
        """

    @abstractmethod
    def send_more(self) -> None:
        """The source has something again."""

    @abstractmethod
    def close(self) -> None:
        """Give it back; nothing is told any more."""


class Listener(ABC):
    """Listens from the beginning (so that a client never comes too early) and accepts from :meth:`accept` on.

    It stays open as long as the flow: a join to a port without a listener is reset (net/mptcp/subflow.c).
    """

    port: int
    """The port in force."""

    @abstractmethod
    def accept(self, user: Callable[[Handle], None]) -> None:
        """Give each connection to ``user``, which adopts it."""

    @abstractmethod
    def close(self) -> None:
        """No more connections."""


class Transport(ABC):
    """The connections of one side of a flow."""

    @abstractmethod
    def listen(self) -> Listener:
        """As the configuration says. Raises sockets.Unsupported."""

    @abstractmethod
    def connect(self, user: User, local_port: int = 0) -> Connection:
        """Begin; ``connected`` or ``broken`` follows. Raises OSError when the local address cannot be had."""

    @abstractmethod
    def adopt(self, handle: Handle, user: User) -> Connection:
        """A connection that a listener has accepted."""

    @abstractmethod
    def read(self, handle: Handle) -> ConnectionState:
        """What is known of it now. Raises OSError when it has ended."""

    @abstractmethod
    def subflow_flags(self, endpoints: Endpoints) -> int | None:
        """MPTCP_SUBFLOW_FLAG_* of the subflow with these addresses; None when not told."""

    @abstractmethod
    def endpoints(self, handle: Handle) -> Endpoints | None:
        """Addresses and ports of the (first subflow of the) connection; None: not known."""

    @abstractmethod
    def implementation_in_force(self, handle: Handle) -> InForce:
        """What the connection really is."""

    def withdraw(self, address: str) -> None:
        """This host gives the address up. Of a kernel that is told to the host (``ip mptcp endpoint delete``)."""
        raise NotImplementedError(f"{type(self).__name__} has no path manager of its own")

    @abstractmethod
    def options_in_force(self, handle: Handle) -> Mapping[str, str | int | bool | None]:
        """Options of a connected handle, read back; the negotiated ones are those of the first subflow."""
