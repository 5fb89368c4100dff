"""The other machine as this one sees it: what is asked of its agent, over one connection for the whole run."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from testbed.orchestrator import namespaces
from testbed.orchestrator.away import clocks
from testbed.orchestrator.away.clocks import Comparison
from testbed.orchestrator.away.exchange import VERSION, AwayLost, AwayNode, Connection, value_of
from testbed.orchestrator.errors import NotReady, Unsupported
from testbed.orchestrator.readiness import wait_until

CONNECT_S = 20.0
ANSWER_S = 60.0
"""Building, or a capture that is finished, on a machine that is emulated and busy."""
ABOUT = ("source", "versions", "machine", "kernel", "sysctls")
"""What run.json keeps of the other machine (environment.describe())."""


class AwayMachine:
    """Made with :func:`connected`."""

    def __init__(self, where: AwayNode, home_fd: int) -> None:
        self.where = where
        self.node = where.node
        self.home_fd = home_fd
        """The namespace in which the private link's cards are."""
        self._control, self._about = self._connect()

    def close(self) -> None:
        """The end of all that was made there."""
        self._control.close()

    @property
    def about(self) -> Mapping[str, Any]:
        """What the machine is, for run.json."""
        return {"node": self.node, **{key: self._about[key] for key in ABOUT}}

    @property
    def name(self) -> str:
        """For messages."""
        return f"the machine of {self.node}"

    # --- requests ---

    def ask(self, do: str, **content: Any) -> Any:
        """One request and its value. Raises what was raised there, or AwayLost."""
        self.tell(do, **content)
        return self.answer()

    def tell(self, do: str, **content: Any) -> None:
        """A request whose :meth:`answer` is asked for later."""
        self._control.send({"do": do, **content})

    def answer(self) -> Any:
        """To the request that was told."""
        return value_of(self._control.receive(), self.name)

    def ask_bytes(self, do: str, **content: Any) -> bytes:
        """A request whose answer are octets."""
        self.tell(do, **content)
        answer = self._control.receive()
        value_of(answer, self.name)
        return self._control.receive_bytes(answer["bytes"])

    def compare_clocks(self) -> Comparison:
        """Of the two machines, now."""
        return clocks.compare(lambda: int(self.ask("clock")))

    def start_endpoint(self) -> AwayProgram:
        """An endpoint process in the node."""
        number = int(self.ask("endpoint"))
        line = self._open({"for": "line", "program": number})
        value_of(line.receive(), self.name)
        line.socket.settimeout(None)
        return AwayProgram(self, number, line.socket)

    # --- inside ---

    def _connect(self) -> tuple[Connection, Mapping[str, Any]]:
        control = self._open({"for": "control"})
        try:
            about = value_of(control.receive(), self.name)
            if about.get("version") != VERSION:
                raise Unsupported(f"{self.name} has another version of the testbed ({about.get('version')})")
        except AwayLost as error:
            control.close()
            raise AwayLost(f"{self.name} does not answer: {error} (is the secret the same?)") from None
        except BaseException:
            control.close()
            raise
        return control, about

    def _open(self, greeting: Mapping[str, Any]) -> Connection:
        where = self.where
        last: list[OSError] = []

        def opened() -> socket.socket | None:
            try:
                return socket.create_connection((where.host, where.port), timeout=ANSWER_S)
            except ConnectionRefusedError as error:  # about to listen
                last[:] = [error]
                return None

        try:
            with namespaces.inside(self.home_fd):
                channel = wait_until(opened, CONNECT_S, f"{self.name} to listen on {where.host} port {where.port}")
        except OSError as error:
            raise AwayLost(f"{self.name} ({where.host} port {where.port}): {error.strerror or error}") from None
        except NotReady as error:
            raise AwayLost(str(error)) from None
        assert channel is not None
        connection = Connection(channel)
        connection.send({"secret": where.secret, **greeting})
        return connection


class AwayProgram:
    """A program in the node, to converse with (``process.Partner``)."""

    def __init__(self, machine: AwayMachine, number: int, line: socket.socket) -> None:
        self._machine = machine
        self._number = number
        self._line = line
        self.stdin = _Input(line)
        self.stdout_pipe = _Output(line)

    @property
    def exit_code(self) -> int | None:
        """None while it runs; of a machine that is gone: as if killed."""
        try:
            code: int | None = self._machine.ask("exit_code", program=self._number)
        except AwayLost:
            return -9
        return code

    @property
    def stderr(self) -> str:
        """What it has written there so far."""
        try:
            return str(self._machine.ask("stderr", program=self._number))
        except AwayLost as error:
            return str(error)

    def wait(self, deadline_s: float) -> int:
        """Its exit code, once it ended."""
        wait_until(lambda: self.exit_code is not None, deadline_s, f"a program on {self._machine.name} to end")
        code = self.exit_code
        assert code is not None
        return code

    def close(self) -> None:
        """Hang up: an endpoint ends at the end of its input."""
        self._line.close()


class _Input:
    def __init__(self, line: socket.socket) -> None:
        self._line = line

    def write(self, data: bytes, /) -> None:
        """All of it."""
        try:
            self._line.sendall(data)
        except OSError as error:
            raise BrokenPipeError(error.errno, error.strerror) from None

    def close(self) -> None:
        """There is no more."""
        self._line.shutdown(socket.SHUT_WR)


class _Output:
    def __init__(self, line: socket.socket) -> None:
        self._line = line

    def fileno(self) -> int:
        """For poll(2)."""
        return self._line.fileno()

    def read(self, size: int, /) -> bytes:
        """What is there; a connection that broke is at its end."""
        try:
            return self._line.recv(size)
        except OSError:
            return b""


@contextmanager
def connected(where: AwayNode, home_fd: int) -> Iterator[AwayMachine]:
    """For the block."""
    machine = AwayMachine(where, home_fd)
    try:
        yield machine
    finally:
        machine.close()
