"""Connections that are carried out by adapters: started here, ended here, and what they have to say at the end."""

from __future__ import annotations

import dataclasses
import errno
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from testbed.endpoint.adapter.connection import AdapterConnection, AdapterHandle, Standing
from testbed.endpoint.adapter.contract import (
    FACTS_FILE,
    LISTENING,
    LOG_FILE,
    READY,
    START,
    UNSUPPORTED,
    WITHDRAW,
    surroundings,
    variables,
)
from testbed.endpoint.adapter.facts import Facts, FactsError, denied, read_facts
from testbed.endpoint.adapter.kernel_view import KernelView
from testbed.endpoint.adapter.program import AdapterProgram, end_stragglers
from testbed.endpoint.applications.program import free_port
from testbed.endpoint.child import is_listening
from testbed.endpoint.kernel_state import ConnectionState, Endpoints
from testbed.endpoint.loop import Loop
from testbed.endpoint.parameters import ShortFlows
from testbed.endpoint.protocol import Configuration, ErrorKind, InForce
from testbed.endpoint.sockets import Unsupported
from testbed.endpoint.transport import Listener, Transport, User

READY_S = 10.0
"""To LISTENING or READY: an interpreter that starts on a busy machine takes a second."""
LOOK_S = 0.005
"""Between two looks whether it listens without having said so."""
EXIT_S = 3.0
EXIT_NS = 3_000_000_000
"""To its exit when both streams have ended."""

Fail = Callable[[ErrorKind, str], None]


class AdapterError(Exception):
    """An adapter did not do what the contract asks; ``kind`` is that of the flow's error."""

    def __init__(self, kind: ErrorKind, message: str) -> None:
        super().__init__(message)
        self.kind: ErrorKind = kind


@contextmanager
def log_directory(configuration: Configuration) -> Iterator[Path]:
    """Where an adapter may write: below that of the trial, or a temporary one, removed at the end."""
    if configuration.log_directory is None:
        with TemporaryDirectory(prefix="testbed-adapter-") as name:
            yield Path(name)
        return
    directory = Path(configuration.log_directory, f"adapter-{configuration.flow}.{configuration.role}").absolute()
    directory.mkdir(parents=True, exist_ok=True)
    yield directory


class AdapterTransport(Transport):
    """The adapters of one side of a flow: one for each connection."""

    def __init__(self, configuration: Configuration, loop: Loop, fail: Fail, directory: Path) -> None:
        """``fail`` ends the flow; ``directory`` takes what they write."""
        if not configuration.port:
            configuration = dataclasses.replace(configuration, port=free_port(configuration.family))
        self._configuration = configuration
        self._endpoint = configuration.endpoint
        self._name = configuration.endpoint.adapter or ""
        self._loop = loop
        self._fail = fail
        self._directory = directory
        self._running: list[AdapterProgram] = []
        self._standby: list[AdapterProgram] = []
        self._bad_exit: str | None = None

    def prepare(self) -> None:
        """Start the clients that wait for the start. Raises Unsupported, AdapterError."""
        word = self._endpoint.command[0]
        if shutil.which(word) is None:
            raise Unsupported(f"adapter {self._name}: there is no program {word}, or it is not executable")
        if self._configuration.role == "server" or not self._endpoint.waits_for_start:
            return
        application = self._configuration.application
        count = application.concurrency if isinstance(application, ShortFlows) else 1
        self._standby = [self._launch() for _ in range(count)]
        for program in self._standby:
            self._wait_for(program, READY)

    def listen(self) -> Listener:
        """As Transport; blocks until the adapter listens. Raises AdapterError."""
        if isinstance(self._configuration.application, ShortFlows):
            raise Unsupported(
                f"adapter {self._name}: short flows need a server of many connections, and an adapter serves one"
            )
        program = self._launch()
        self._wait_for(program, LISTENING)
        return AdapterListener(self, self._loop, self._configuration.port, self._handle(program))

    def connect(self, user: User, local_port: int = 0) -> AdapterConnection:
        """As Transport; ``local_port`` is the adapter's to choose."""
        program = self._standby.pop(0) if self._standby else self._launch()
        program.tell(START)  # one that waits although nobody said so hears it, too
        if self._endpoint.waits_for_start and isinstance(self._configuration.application, ShortFlows):
            self._standby.append(self._launch())
        connection = AdapterConnection(self._loop, self._handle(program), user, self, stands=False)
        connection.connect()
        return connection

    def adopt(self, handle: AdapterHandle, user: User) -> AdapterConnection:
        """As Transport."""
        return AdapterConnection(self._loop, handle, user, self, stands=True)

    def read(self, handle: AdapterHandle) -> ConnectionState:
        """As Transport; a stack of the adapter's own is not connected for the kernel."""
        state = handle.view.read()
        if state is None:
            raise OSError(errno.ENOTCONN, "the kernel has no connection of this adapter")
        return state

    def subflow_flags(self, endpoints: Endpoints) -> int | None:
        """As Transport."""
        from testbed.endpoint.subflow_flags import subflow_flags

        return subflow_flags(endpoints)

    def endpoints(self, handle: AdapterHandle) -> Endpoints | None:
        """As Transport."""
        handle.view.read()
        return handle.view.endpoints

    def implementation_in_force(self, handle: AdapterHandle) -> InForce:
        """As Transport."""
        return "fallback" if handle.view.fell_back and not self._endpoint.is_plain_tcp else "adapter"

    def options_in_force(self, handle: AdapterHandle) -> Mapping[str, str | int | bool | None]:
        """As Transport."""
        return handle.view.options

    def withdraw(self, address: str) -> None:
        """As Transport."""
        for program in self._running:
            program.tell(WITHDRAW, address)

    def refused(self, program: AdapterProgram) -> bool:
        """Whether it ended because it cannot do what was asked; then the flow is told, and over."""
        if program.exit_code != UNSUPPORTED:
            return False
        self._fail("unsupported", self._refusal(program))
        return True

    def released(self, program: AdapterProgram) -> None:
        """Its connection is closed. There may be thousands of short flows: each is ended as soon as it may be."""
        if not isinstance(self._configuration.application, ShortFlows):
            return

        def retire() -> None:
            if program in self._running:
                self._running.remove(program)
                program.end(0.0)
                if program.exit_code and not program.terminated:
                    self._bad_exit = self._bad_exit or program.how_it_ended()

        def soon() -> None:
            self._loop.at(0, retire)

        program.on_exit = soon
        self._loop.at(0 if program.exit_code is not None else self._loop.now_ns() + EXIT_NS, retire)

    def never_connected(self, program: AdapterProgram) -> None:
        """A server ended before a client came; the flow is over."""
        if not self.refused(program):
            self._fail("connect", f"{program.how_it_ended()}, before a connection stood")

    def finish(self, orderly: bool) -> Facts:
        """End them all; ``orderly``: both streams have ended, and they exit by themselves. Raises AdapterError."""
        for program in self._standby:
            program.end(0.0)
        for program in self._running:
            if program in self._standby:
                continue
            exited = program.exit_code is not None
            program.end(EXIT_S if orderly else 0.0)
            if orderly and program.terminated:
                raise AdapterError(
                    "program", f"adapter {self._name} did not exit within {EXIT_S:g} s of the end of both streams"
                )
            if (orderly or exited) and program.exit_code and not program.terminated:
                self._bad_exit = self._bad_exit or program.how_it_ended()
        end_stragglers()
        if self._bad_exit is not None:
            raise AdapterError("peer", self._bad_exit)
        try:
            facts = read_facts(self._directory / FACTS_FILE)
        except FactsError as error:
            if not orderly:  # it was ended, perhaps while it wrote
                return Facts()
            raise AdapterError("program", f"adapter {self._name}: {error}") from None
        if (denial := denied(self._endpoint, facts)) is not None:
            raise AdapterError("unsupported", denial)
        return facts

    def _launch(self) -> AdapterProgram:
        contract = variables(self._configuration, self._directory)
        environment = surroundings(self._endpoint, contract)
        log = self._directory / LOG_FILE
        program = AdapterProgram(self._loop, self._name, self._endpoint.command, environment, log)
        self._running.append(program)
        return program

    def _handle(self, program: AdapterProgram) -> AdapterHandle:
        configuration = self._configuration
        return AdapterHandle(program, KernelView(program.pid, configuration.role, configuration.port))

    def _wait_for(self, program: AdapterProgram, word: str) -> None:
        def done() -> bool:
            return word in program.words or (word == LISTENING and is_listening(self._configuration.port))

        if program.wait_for(done, READY_S, LOOK_S):
            return
        if program.exit_code == UNSUPPORTED:
            raise Unsupported(self._refusal(program))
        if program.exit_code is not None:
            raise AdapterError("program", f"{program.how_it_ended()}, before it said {word}")
        said = program.last_words()
        raise AdapterError(
            "program", f"adapter {self._name} did not say {word} within {READY_S:g} s" + (f": {said}" if said else "")
        )

    def _refusal(self, program: AdapterProgram) -> str:
        said = program.last_words()
        test = self._configuration.test
        return f"adapter {self._name} does not support the test {test}" + (f": {said}" if said else " (exit code 127)")


class AdapterListener(Listener):
    """An adapter that listens, for one connection."""

    def __init__(self, transport: AdapterTransport, loop: Loop, port: int, handle: AdapterHandle) -> None:
        self.port = port
        self._transport = transport
        self._loop = loop
        self._handle = handle
        self._standing: Standing | None = None

    def accept(self, user: Callable[[AdapterHandle], None]) -> None:
        """As Listener."""
        self._standing = Standing(
            self._loop,
            self._handle,
            lambda: user(self._handle),
            lambda: self._transport.never_connected(self._handle.program),
        )

    def close(self) -> None:
        """As Listener; the adapter is ended by the transport."""
        if self._standing is not None:
            self._standing.cancel()
