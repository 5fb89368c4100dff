"""The orchestrator's side of the endpoint processes: starting them in their hosts, and one loop that hears them all.

The lines are those of ``testbed.endpoint.protocol``. An endpoint always ends with a result, also after an error; one
that dies without, or is not done at its deadline, makes the trial INVALID and is named.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from testbed.endpoint import protocol
from testbed.endpoint.protocol import (
    Configuration,
    Event,
    Failure,
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
)
from testbed.orchestrator.backends.base import Lab
from testbed.orchestrator.errors import InvalidTrial, NotReady
from testbed.orchestrator.process import Partner

READY_DEADLINE_S = 20.0
"""An endpoint is ready within a tenth of a second; this is for a machine that is busy starting other things."""

E = TypeVar("E", Listening, Ready)


@dataclass(slots=True)
class EndpointProcess:
    """One running endpoint and what it has said so far."""

    configuration: Configuration
    host: str
    process: Partner
    samples: list[SampleRow] = field(default_factory=list)
    subflows: list[SubflowSeen] = field(default_factory=list)
    ledger: list[LedgerRow] = field(default_factory=list)
    failure: Failure | None = None
    """What went wrong, said before the result, which repeats it; told when the result never comes."""
    result: FlowResult | None = None
    listening: Listening | None = None
    ready: Ready | None = None
    buffer: bytes = b""

    @property
    def name(self) -> str:
        """``main.client``: flow and role."""
        return f"{self.configuration.flow}.{self.configuration.role}"

    def say(self, message: Start | Stop) -> None:
        """Send a command; an endpoint that has ended does not hear it."""
        try:
            self.process.stdin.write(protocol.to_line(message))
        except BrokenPipeError:
            if self.result is None and self.process.exit_code is None:
                raise InvalidTrial(f"endpoint {self.name} closed its input while running") from None

    def take(self, data: bytes) -> None:
        """Note what it said."""
        self.buffer += data
        *lines, self.buffer = self.buffer.split(b"\n")
        for line in lines:
            self._note(protocol.event_from_line(line))

    def _note(self, event: Event) -> None:
        match event:
            case Samples():
                self.samples += event.rows
            case LedgerRows():
                self.ledger += event.rows
            case SubflowSeen():
                self.subflows.append(event)
            case Failure():
                self.failure = event
            case FlowResult():
                self.result = event
            case Listening():
                self.listening = event
            case Ready():
                self.ready = event


def start(lab: Lab, host: str, configuration: Configuration) -> EndpointProcess:
    """Start an endpoint in a host of the lab."""
    process = lab.converse(host, configuration.endpoint)
    process.stdin.write(protocol.to_line(configuration))
    return EndpointProcess(configuration=configuration, host=host, process=process)


class Conversation:
    """All endpoints of a trial, heard in one loop."""

    def __init__(self) -> None:
        self.endpoints: list[EndpointProcess] = []
        self._poller = select.poll()
        self._by_fd: dict[int, EndpointProcess] = {}
        self._told: set[str] = set()
        """Partners of scripts that were told to stop."""

    def add(self, endpoint: EndpointProcess) -> EndpointProcess:
        """Listen to this one too."""
        fd = endpoint.process.stdout_pipe.fileno()
        self._poller.register(fd, select.POLLIN | select.POLLHUP)
        self._by_fd[fd] = endpoint
        self.endpoints.append(endpoint)
        return endpoint

    def until_listening(self, endpoint: EndpointProcess) -> int:
        """Its port. Raises InvalidTrial with what went wrong."""
        self._until(lambda: endpoint.listening is not None, [endpoint], "listening")
        assert endpoint.listening is not None
        return endpoint.listening.port

    def until_ready(self, endpoint: EndpointProcess) -> None:
        """Raises InvalidTrial with what went wrong."""
        self._until(lambda: endpoint.ready is not None, [endpoint], "ready")

    def until_results(self, deadline_s: float, on_tick: Callable[[], float]) -> None:
        """Hear all endpoints to their results; ``on_tick`` says in how many seconds it is to be called again.

        When the clients are done, servers get a moment and are then asked to stop. Raises NotReady past the deadline,
        InvalidTrial when one died.
        """
        end_s = time.monotonic() + deadline_s
        clients = [endpoint for endpoint in self.endpoints if endpoint.configuration.role == "client"]
        stopping = False
        clients_done_s: float | None = None
        while missing := [endpoint for endpoint in self.endpoints if endpoint.result is None]:
            now_s = time.monotonic()
            if now_s >= end_s:
                if stopping:
                    names = ", ".join(_with_failure(endpoint) for endpoint in missing)
                    raise NotReady(f"no result from {names} within {deadline_s:.0f} s")
                stopping, end_s = True, now_s + 10.0
                self._stop(missing)
            self._stop_partners(missing)
            if clients_done_s is None and all(endpoint.result is not None for endpoint in clients):
                clients_done_s = now_s
            if clients_done_s is not None and now_s > clients_done_s + 3.0 and not stopping:
                stopping, end_s = True, now_s + 10.0
                self._stop(missing)
            self._hear(on_tick())

    def _stop_partners(self, missing: Sequence[EndpointProcess]) -> None:
        """The end of a script is the end of its flow."""
        over = {
            each.configuration.flow for each in self.endpoints if each.result and each.configuration.endpoint.is_script
        }
        partners = [each for each in missing if each.configuration.flow in over and each.name not in self._told]
        self._told.update(each.name for each in partners)
        self._stop(partners)

    def _stop(self, endpoints: Sequence[EndpointProcess]) -> None:
        for endpoint in endpoints:
            endpoint.say(Stop())

    def _until(self, condition: Callable[[], bool], endpoints: Sequence[EndpointProcess], what: str) -> None:
        end_s = time.monotonic() + READY_DEADLINE_S
        while not condition():
            for endpoint in endpoints:
                if endpoint.result is not None:
                    said = endpoint.result.error or "it ended before it began"
                    raise EndpointFailed(endpoint.result, f"endpoint {endpoint.name}: {said}")
            if time.monotonic() > end_s:
                names = ", ".join(endpoint.name for endpoint in endpoints)
                raise NotReady(f"endpoint {names} was not {what} within {READY_DEADLINE_S:g} s")
            self._hear(0.25)

    def _hear(self, timeout_s: float) -> None:
        for fd, _ in self._poller.poll(timeout_s * 1000):
            endpoint = self._by_fd[fd]
            data = endpoint.process.stdout_pipe.read(1 << 18)
            if data:
                endpoint.take(data)
                continue
            self._poller.unregister(fd)
            if endpoint.result is None:
                code = endpoint.process.wait(READY_DEADLINE_S)
                said = endpoint.process.stderr.strip().splitlines()
                words = endpoint.failure.message if endpoint.failure else said[-1] if said else "no message"
                raise InvalidTrial(f"endpoint {endpoint.name} ended with exit code {code}: {words}")


def _with_failure(endpoint: EndpointProcess) -> str:
    return f"{endpoint.name} ({endpoint.failure.message})" if endpoint.failure else endpoint.name


class EndpointFailed(InvalidTrial):
    """An endpoint gave up before the traffic; ``result`` says why, and whether it was for want of support."""

    def __init__(self, result: FlowResult, text: str) -> None:
        super().__init__(text)
        self.result = result
