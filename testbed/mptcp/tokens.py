"""Token -> connection of one host: how an MP_JOIN SYN finds what it wants to join (RFC 8684 §3.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mypy_extensions import mypyc_attr

if TYPE_CHECKING:
    from testbed.mptcp.connection import Connection


@mypyc_attr(allow_interpreted_subclasses=True)
class TokenTable:
    """Tokens in use; bounded, so that a flood of connections cannot fill it without end."""

    __slots__ = ("_connections", "limit")

    def __init__(self, limit: int = 1 << 16) -> None:
        self._connections: dict[int, Connection] = {}
        self.limit = limit

    def __contains__(self, token: int) -> bool:
        return token in self._connections

    def __len__(self) -> int:
        return len(self._connections)

    def claim(self, token: int, connection: Connection) -> bool:
        """Enter it; False if the token is taken or the table full (the connection then does without MPTCP)."""
        if token in self._connections or len(self._connections) >= self.limit:
            return False
        self._connections[token] = connection
        return True

    def find(self, token: int) -> Connection | None:
        """The connection that announced this token, if it still lives."""
        return self._connections.get(token)

    def release(self, token: int, connection: Connection) -> None:
        """Strike it out, if it is this connection's."""
        if self._connections.get(token) is connection:
            del self._connections[token]
