"""The endpoint process: configuration and commands in, events out, an exit code at the end."""

from __future__ import annotations

import dataclasses
import json
import os
import select
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from testbed.endpoint import subflow_flags
from testbed.endpoint.applications.catalog import make_application
from testbed.endpoint.kernel_transport import KernelTransport
from testbed.endpoint.loop import Loop
from testbed.endpoint.parameters import ParameterError
from testbed.endpoint.probe import probe
from testbed.endpoint.protocol import (
    EXIT_CONFIGURATION,
    EXIT_FAILED,
    EXIT_OK,
    EXIT_UNSUPPORTED,
    Configuration,
    Event,
    Failure,
    LedgerRows,
    Listening,
    Ready,
    Start,
    command_from_line,
    configuration_from_dict,
    to_line,
)
from testbed.endpoint.session import FlowApplication, Session
from testbed.endpoint.sockets import Unsupported, check_host

if TYPE_CHECKING:
    from testbed.endpoint.attached.flow_host import FlowHost
    from testbed.endpoint.attached.script_host import ScriptFlowHost
    from testbed.endpoint.script.host import ScriptTransport
    from testbed.endpoint.userspace.transport import StackTransport
    from testbed.tcp.counters import Counters

LEDGER_ROWS = 500
"""Per line: 100 KiB or so."""
PIPE_BUF_BYTES = 4096
"""pipe(7): a pipe that is writable takes as many at once, so such a write never blocks."""


class LineReader:
    """Lines from a descriptor, without blocking beyond the first one."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.at_end = False
        self._pending = b""

    def lines(self) -> list[bytes]:
        """What one read(2) completes; blocks when nothing is there."""
        data = os.read(self.descriptor, 65536)
        self.at_end = not data
        *lines, self._pending = (self._pending + data).split(b"\n")
        return [line for line in lines if line.strip()]


class EventWriter:
    """Events to a descriptor. A reader that is slow delays nothing here before the end."""

    def __init__(self, descriptor: int, loop: Loop) -> None:
        self._descriptor = descriptor
        self._loop = loop
        self._pending = bytearray()
        self._gone = False

    def __call__(self, event: Event) -> None:
        """Write, now or as soon as there is room."""
        self._pending += to_line(event)
        self._write()

    def flush(self) -> None:
        """Block until everything is written, or nobody reads any more."""
        while self._pending and not self._gone:
            select.select([], [self._descriptor], [])
            self._write()

    def _write(self) -> None:
        while self._pending and not self._gone and select.select([], [self._descriptor], [], 0)[1]:
            try:
                del self._pending[: os.write(self._descriptor, self._pending[:PIPE_BUF_BYTES])]
            except BrokenPipeError:  # the orchestrator is gone; end of file on our input will end us
                self._gone = True
        self._loop.watch(self._descriptor, None, self._write if self._pending and not self._gone else None)


def main() -> int:
    """Run one side of one flow; the exit code."""
    reader = LineReader(sys.stdin.fileno())
    loop = Loop()
    emit = EventWriter(sys.stdout.fileno(), loop)
    waiting: list[bytes] = []
    while not waiting and not reader.at_end:
        waiting = reader.lines()
    try:
        configuration = _configuration(waiting)
    except ParameterError as error:
        emit(Failure(kind="configuration", message=str(error)))
        emit.flush()
        return EXIT_CONFIGURATION
    if configuration.endpoint.is_adapter:
        return _run_adapter(configuration, loop, emit, reader, waiting[1:])
    if configuration.endpoint.is_userspace:
        return _run_userspace(configuration, loop, emit, reader, waiting[1:])
    session = Session(configuration, loop, KernelTransport(configuration, loop), emit)
    application: FlowApplication | None = None
    code = EXIT_OK
    try:
        session.in_force.update(check_host(configuration.endpoint))
        verdict = probe(configuration.endpoint.implementation, configuration.family)
        if not verdict.available:
            raise Unsupported(f"{verdict.reason}: {verdict.remedy}")
        subflow_flags.prepare()
        application = make_application(session)
        _serve(session, loop, application, reader, waiting[1:], emit)
    except Unsupported as error:
        session.fail("unsupported", str(error))
        code = EXIT_UNSUPPORTED
    reported = _report(session, application, emit)
    emit.flush()
    return code or reported


def _run_userspace(
    configuration: Configuration, loop: Loop, emit: EventWriter, reader: LineReader, early: list[bytes]
) -> int:
    """The same over our own stack, which goes on after the result until its connections have ended, too."""
    from testbed.endpoint.collector import collect_seldom

    collect_seldom()
    try:
        host = _own_host(configuration, loop)
    except Unsupported as error:
        session = Session(configuration, loop, KernelTransport(configuration, loop), emit)
        session.fail("unsupported", str(error))
        _report(session, None, emit)
        emit.flush()
        return EXIT_UNSUPPORTED
    try:
        session = Session(configuration, loop, host.transport, emit)
        application = make_application(session)
        _serve(session, loop, application, reader, early, emit, host.round)
        code = _report(session, application, emit, host.counters, host.transport)
        _linger(host, loop, reader)  # before anything that may block: no kernel goes on for us
    finally:
        host.close()
    emit.flush()
    return code


def _run_adapter(
    configuration: Configuration, loop: Loop, emit: EventWriter, reader: LineReader, early: list[bytes]
) -> int:
    """The same over a program that another wrote; what it tells at its end belongs to the result."""
    from testbed.endpoint.adapter.facts import Facts, with_facts
    from testbed.endpoint.adapter.transport import AdapterError, AdapterTransport, log_directory

    with log_directory(configuration) as directory:
        transport = AdapterTransport(configuration, loop, lambda kind, text: session.fail(kind, text), directory)
        session = Session(configuration, loop, transport, emit)
        application: FlowApplication | None = None
        facts = Facts()
        try:
            transport.prepare()
            application = make_application(session)
            _serve(session, loop, application, reader, early, emit)
        except Unsupported as error:
            session.fail("unsupported", str(error))
        except AdapterError as error:
            session.fail(error.kind, str(error))
        result = session.result(application)
        if application is not None:
            application.close()
        try:
            facts = transport.finish(orderly=result.complete)
        except AdapterError as error:
            if result.error is None:
                result = dataclasses.replace(result, error=str(error), error_kind=error.kind)
        emit(dataclasses.replace(with_facts(result, facts), cpu_ns=loop.cpu_ns()))
    emit.flush()
    if result.error_kind == "unsupported":
        return EXIT_UNSUPPORTED
    return EXIT_FAILED if result.error else EXIT_OK


def _own_host(configuration: Configuration, loop: Loop) -> FlowHost | ScriptFlowHost:
    """What stands on the interfaces; a kernel's end starts without importing it. Raises Unsupported."""
    if configuration.endpoint.is_script:
        from testbed.endpoint.attached.script_host import ScriptFlowHost

        return ScriptFlowHost(configuration, loop)
    from testbed.endpoint.attached.flow_host import FlowHost

    return FlowHost(configuration, loop)


def _linger(host: FlowHost | ScriptFlowHost, loop: Loop, reader: LineReader) -> None:
    """Until the stack is quiet, or the orchestrator has gone."""

    def readable() -> None:
        reader.lines()
        if reader.at_end:
            loop.watch(reader.descriptor)

    if not reader.at_end:
        loop.watch(reader.descriptor, readable)
    host.linger(lambda: reader.at_end)
    loop.watch(reader.descriptor)


def _report(
    session: Session,
    application: FlowApplication | None,
    emit: EventWriter,
    counters: Counters | None = None,
    ledger: StackTransport | ScriptTransport | None = None,
) -> int:
    result = session.result(application)
    if counters is not None:
        result = dataclasses.replace(result, counters=counters.as_dict())
    if application is not None:
        application.close()
    if ledger is not None:
        rows = ledger.take_ledger(session.epoch_ns)
        for start in range(0, len(rows), LEDGER_ROWS):
            emit(LedgerRows(rows=tuple(rows[start : start + LEDGER_ROWS])))
    emit(result)
    return EXIT_FAILED if result.error else EXIT_OK


def _configuration(lines: list[bytes]) -> Configuration:
    if not lines:
        raise ParameterError("standard input ended before a configuration")
    try:
        data = json.loads(lines[0])
    except ValueError as error:
        raise ParameterError(f"the configuration is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise ParameterError("the configuration is not a JSON object")
    return configuration_from_dict(data)


def _serve(
    session: Session,
    loop: Loop,
    application: FlowApplication,
    reader: LineReader,
    early: list[bytes],
    emit: EventWriter,
    after_round: Callable[[], None] = lambda: None,
) -> None:
    def done() -> bool:
        after_round()
        return session.over

    def command(line: bytes) -> None:
        try:
            parsed = command_from_line(line)
        except ParameterError as error:
            session.fail("configuration", str(error))
            return
        if isinstance(parsed, Start):
            session.begin(parsed, application)
        else:
            session.stop()

    def readable() -> None:
        for line in reader.lines():
            command(line)
        if reader.at_end:
            loop.watch(reader.descriptor)
            session.fail("stopped", "standard input was closed")

    port = application.prepare()
    if session.configuration.role == "client":
        emit(Ready())
    elif port is not None:
        emit(Listening(port=port))
    for line in early:
        command(line)
    loop.watch(reader.descriptor, readable)
    loop.run(done)
    loop.watch(reader.descriptor)
