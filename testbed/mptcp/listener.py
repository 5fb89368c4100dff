"""A passive open: connections in the making, bounded, and those that wait for the user (RFC 9293 §3.10.1)."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from testbed.mptcp.parameters import Parameters

if TYPE_CHECKING:
    from testbed.mptcp.connection import Connection

SYN_BACKLOG: Final = 256
"""Half-open connections of one listener (Linux ``tcp_max_syn_backlog`` on small machines); more SYNs are dropped."""
ACCEPT_BACKLOG: Final = 4096
"""Complete connections that the user has not taken (Linux ``somaxconn``)."""


class Listener:
    """One port, on every address of the host."""

    __slots__ = ("_half_open", "_waiting", "backlog", "is_closed", "parameters", "port", "syn_backlog")

    def __init__(
        self, port: int, parameters: Parameters, backlog: int = ACCEPT_BACKLOG, syn_backlog: int = SYN_BACKLOG
    ) -> None:
        self.port = port
        self.parameters = parameters
        self.backlog = backlog
        self.syn_backlog = syn_backlog
        self.is_closed = False
        self._half_open: dict[Connection, None] = {}
        self._waiting: deque[Connection] = deque()

    def accept(self) -> Connection | None:
        """The next complete connection; None: none yet, ask again after the next segments."""
        return self._waiting.popleft() if self._waiting else None

    def close(self) -> None:
        """No more SYNs are answered; what is established stays."""
        self.is_closed = True

    # --- for the stack ---

    def has_room_for_syn(self) -> bool:
        """Another half-open connection may be made."""
        return len(self._half_open) < self.syn_backlog

    def has_room_for_connection(self) -> bool:
        """Another complete one may wait."""
        return len(self._waiting) < self.backlog

    def is_half_open(self, connection: Connection) -> bool:
        """Its handshake is not over."""
        return connection in self._half_open

    def begin(self, connection: Connection) -> None:
        """A SYN has made it."""
        self._half_open[connection] = None

    def complete(self, connection: Connection) -> None:
        """Its handshake is over: the user may have it."""
        if connection in self._half_open:
            del self._half_open[connection]
            self._waiting.append(connection)

    def abandon(self, connection: Connection) -> None:
        """It ended before its handshake did."""
        self._half_open.pop(connection, None)
