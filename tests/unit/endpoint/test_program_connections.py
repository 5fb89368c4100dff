"""A program's connections are looked at from outside, while it may close them."""

from __future__ import annotations

import errno
import socket
from types import SimpleNamespace

import pytest

from testbed.endpoint.applications import program
from testbed.endpoint.applications.program import UnmodifiedProgram


@pytest.mark.parametrize("number", [errno.ENOTCONN, errno.ECONNRESET])
def test_a_connection_that_closes_under_the_look_is_passed_over(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    closing = socket.socket()

    def gone(sock: socket.socket) -> None:
        raise OSError(number, "gone")

    monkeypatch.setattr(program, "connections_of", lambda pid, pidfd: [(7, closing)])
    monkeypatch.setattr(program, "read_connection", gone)
    running = UnmodifiedProgram.__new__(UnmodifiedProgram)
    running._child = SimpleNamespace(returncode=None, pid=1)  # type: ignore[assignment]
    running._pidfd = -1

    assert list(running.handles()) == []
    assert closing.fileno() == -1
