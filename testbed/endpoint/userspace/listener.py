"""A listening port of the stack, as applications know it."""

from __future__ import annotations

from collections.abc import Callable

from testbed.endpoint.transport import Handle, Listener
from testbed.mptcp.listener import Listener as StackPort


class StackListener(Listener):
    """Connections wait in the stack's backlog until somebody accepts."""

    def __init__(self, listening: StackPort, port: int) -> None:
        self.port = port
        self._listening = listening
        self._user: Callable[[Handle], None] | None = None
        self._open = True

    def accept(self, user: Callable[[Handle], None]) -> None:
        """As Listener."""
        self._user = user

    def serve(self) -> None:
        """Hand over what is established."""
        while self._user is not None and self._open:
            handle = self._listening.accept()
            if handle is None:
                return
            self._user(handle)

    def close(self) -> None:
        """As Listener. The port itself stays with the stack: joins of connections that live on need it."""
        self._open = False
