"""What the two machines of a lab say to each other: requests and answers as lines of JSON, each answer to its request.

A connection begins with a line that has the secret and what the connection is for: ``control``, the requests of one
run, or ``line``, the standard input and output of a program that was prepared. An answer is ``{"value": ...}``, or
``{"error": KIND, "text": ...}``, which is raised again; with ``bytes``, so many octets follow it.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from testbed.orchestrator import errors
from testbed.orchestrator.errors import InvalidTrial, TestbedError

VERSION = 1
KEEPALIVE_IDLE_S, KEEPALIVE_INTERVAL_S, KEEPALIVE_PROBES = 5, 2, 5
"""tcp(7): a machine that is gone is noticed a quarter of a minute after its last word."""

_KINDS: Mapping[str, type[TestbedError]] = {
    kind.__name__: kind for kind in (errors.Unsupported, errors.InvalidTrial, errors.NotReady)
}


class AwayLost(InvalidTrial):
    """The other machine, or the connection to it, is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AwayNode:
    """Which node lives on another machine, and how that one is reached."""

    node: str
    host: str
    """Its address on the private link."""
    port: int
    secret: str
    trunk: str
    """The private link at this end: ``vlan:CARD`` or ``wires:CARD,CARD...``."""

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> AwayNode:
        """From a request. Raises ValueError with what is wrong."""
        names = {"node": str, "host": str, "port": int, "secret": str, "trunk": str}
        for name, kind in names.items():
            if not isinstance(document.get(name), kind):
                raise ValueError(f"{name} is {'a number' if kind is int else 'a text'}")
        if unknown := sorted(document.keys() - names.keys()):
            raise ValueError(f"there is no {unknown[0]}")
        return cls(**document)


class Connection:
    """One end of a connection, for lines and octets."""

    def __init__(self, channel: socket.socket) -> None:
        self.socket = channel
        self._pending = b""
        if channel.family != socket.AF_UNIX:
            channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            channel.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S)
            channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S)
            channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)
            # what was sent and is not acknowledged counts as well (tcp(7), TCP_USER_TIMEOUT)
            gone_ms = 1000 * (KEEPALIVE_IDLE_S + KEEPALIVE_INTERVAL_S * KEEPALIVE_PROBES)
            channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, gone_ms)

    def fileno(self) -> int:
        """For poll(2)."""
        return self.socket.fileno()

    def send(self, message: Mapping[str, Any], data: bytes = b"") -> None:
        """One line, and what follows it. Raises AwayLost."""
        try:
            self.socket.sendall(json.dumps(message, separators=(",", ":")).encode() + b"\n" + data)
        except OSError as error:
            raise _lost(error) from None

    def receive(self) -> dict[str, Any]:
        """The next line. Raises AwayLost at the end, and when it takes longer than the socket's timeout: then nothing
        more is said here, for an answer that comes late would be taken for that to the next request."""
        while b"\n" not in self._pending:
            self._pending += self._more()
        line, _, self._pending = self._pending.partition(b"\n")
        try:
            message = json.loads(line)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            raise AwayLost(f"the other machine said {line[:80]!r}")
        return message

    def receive_bytes(self, count: int) -> bytes:
        """So many octets."""
        while len(self._pending) < count:
            self._pending += self._more()
        data, self._pending = self._pending[:count], self._pending[count:]
        return data

    def close(self) -> None:
        """The end of it."""
        self.socket.close()

    def _more(self) -> bytes:
        try:
            data = self.socket.recv(1 << 18)
        except OSError as error:
            self.close()
            raise _lost(error) from None
        if not data:
            raise AwayLost("the other machine has closed the connection")
        return data


def error_answer(error: BaseException) -> dict[str, str]:
    """What is told of an error; one that nobody foresaw with its name."""
    for name, kind in _KINDS.items():
        if type(error) is kind:
            return {"error": name, "text": str(error)}
    if isinstance(error, TestbedError):
        name = "Unsupported" if isinstance(error, errors.Unsupported) else "InvalidTrial"
        return {"error": name, "text": str(error)}
    return {"error": "InvalidTrial", "text": f"{type(error).__name__}: {error}"}


def value_of(answer: Mapping[str, Any], where: str) -> Any:
    """The value, or the error that it tells of, raised."""
    if "error" in answer:
        raise _KINDS.get(answer["error"], InvalidTrial)(f"{where}: {answer['text']}")
    return answer.get("value")


def _lost(error: OSError) -> AwayLost:
    return AwayLost(f"the connection to the other machine is gone: {error.strerror or error}")
