"""Endpoint processes inside a namespace or a lab, driven as the orchestrator drives them."""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from testbed.endpoint.protocol import (
    Configuration,
    Connected,
    Event,
    FlowResult,
    LedgerRow,
    LedgerRows,
    Listening,
    Ready,
    SampleRow,
    Samples,
    Start,
    Stop,
    SubflowSeen,
    event_from_line,
    to_line,
)
from testbed.orchestrator import process
from testbed.orchestrator.namespaces import close_all, make_namespaces
from testbed.orchestrator.process import Process

DEADLINE_S = 30.0
COMMAND = (sys.executable, "-m", "testbed.endpoint")
ROOT = Path(__file__).parents[2]

StartIn = Callable[[Sequence[str]], Process]


@dataclass(slots=True)
class RunningEndpoint:
    """One endpoint process; events are read when asked for, never by waiting for a length of time."""

    process: Process
    events: list[Event] = field(default_factory=list)
    _pending: bytes = b""

    def tell(self, message: Configuration | Start | Stop) -> None:
        self.process.stdin.write(to_line(message))

    def next_event(self, deadline_s: float = DEADLINE_S) -> Event | None:
        """The next event; None when the process has closed its output."""
        pipe = self.process.stdout_pipe
        end_s = time.monotonic() + deadline_s
        while b"\n" not in self._pending:
            if not select.select([pipe], [], [], max(0.0, end_s - time.monotonic()))[0]:
                raise AssertionError(f"no event within {deadline_s} s; so far {self.events}; {self.process.stderr}")
            data = pipe.read(65536)
            if not data:
                return None
            self._pending += data
        line, self._pending = self._pending.split(b"\n", 1)
        event = event_from_line(line)
        self.events.append(event)
        return event

    def until(self, wanted: Callable[[Event], bool]) -> Event:
        while (event := self.next_event()) is not None:
            if wanted(event):
                return event
        raise AssertionError(f"the endpoint ended without that event: {self.events}; {self.process.stderr}")

    def result(self) -> FlowResult:
        """The result, which is the last event and there once."""
        while self.next_event() is not None:
            pass
        results = [event for event in self.events if isinstance(event, FlowResult)]
        assert len(results) == 1, (self.events, self.process.stderr)
        assert self.events[-1] is results[0]
        return results[0]

    def exit_code(self) -> int:
        return self.process.wait(DEADLINE_S)

    def rows(self) -> list[SampleRow]:
        return [row for event in self.events if isinstance(event, Samples) for row in event.rows]

    def ledger_rows(self) -> list[LedgerRow]:
        return [row for event in self.events if isinstance(event, LedgerRows) for row in event.rows]

    def subflow_events(self) -> list[SubflowSeen]:
        return [event for event in self.events if isinstance(event, SubflowSeen)]

    def connected(self) -> Connected:
        (event,) = [event for event in self.events if isinstance(event, Connected)]
        return event


@contextmanager
def loopback_namespace() -> Iterator[int]:
    """A fresh network namespace with its loopback up, as a descriptor."""
    fds = make_namespaces(1)
    try:
        process.run(["ip", "link", "set", "lo", "up"], namespace_fd=fds[0])
        yield fds[0]
    finally:
        close_all(fds)


def start_in(namespace_fd: int) -> StartIn:
    def start(argv: Sequence[str]) -> Process:
        return process.start(argv, namespace_fd=namespace_fd, interactive=True, environment={"PYTHONPATH": str(ROOT)})

    return start


@contextmanager
def endpoint(start: StartIn, configuration: Configuration) -> Iterator[RunningEndpoint]:
    """An endpoint that has its configuration."""
    running = RunningEndpoint(start(COMMAND))
    try:
        running.tell(configuration)
        yield running
    finally:
        running.process.kill()


@contextmanager
def flow(
    start_server: StartIn,
    server: Configuration,
    start_client: StartIn,
    client: Callable[[int], Configuration],
    begin: bool = True,
) -> Iterator[tuple[RunningEndpoint, RunningEndpoint]]:
    """(client, server), both ready, and started unless ``begin`` is false; ``client`` is given the server's port."""
    with endpoint(start_server, server) as serving:
        listening = serving.until(lambda event: isinstance(event, Listening))
        assert isinstance(listening, Listening)
        with endpoint(start_client, client(listening.port)) as asking:
            asking.until(lambda event: isinstance(event, Ready))
            if begin:
                start(asking, serving)
            yield asking, serving


def start(*endpoints: RunningEndpoint) -> None:
    """The traffic begins now."""
    command = Start(epoch_monotonic_ns=time.monotonic_ns(), start_ns=0)
    for running in endpoints:
        running.tell(command)
