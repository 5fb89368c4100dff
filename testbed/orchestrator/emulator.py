"""The relay process of a lab: starting it, talking to it, and its end.

The relay (``python -m testbed.emulation``) runs in the emulator node and realises every link that the kernel's qdiscs
do not. This side owns its pipes; the lines are those of ``testbed.emulation.protocol``.
"""

from __future__ import annotations

import select
import time
from typing import TypeVar

from testbed.emulation import protocol
from testbed.emulation.protocol import Configuration, Failure, LinkConfiguration, Ready, Report, Started
from testbed.orchestrator.errors import InvalidTrial, NotReady
from testbed.orchestrator.network_commands import derived_seed
from testbed.orchestrator.network_plan import NetworkPlan
from testbed.orchestrator.process import Process

ANSWER_DEADLINE_S = 20.0
"""A relay answers within milliseconds; this is for a machine that is busy starting other things."""

E = TypeVar("E", Ready, Started, Report)


class RelayError(InvalidTrial):
    """The relay refused its configuration, died, or said something that it should not."""


def relay_configuration(
    plan: NetworkPlan, seed: int, *, realtime: bool = True, cpu: int | None = None
) -> Configuration:
    """What the relay of this plan is told; each link has a seed of its own, derived from ``seed`` and its name."""
    return Configuration(
        links=tuple(
            LinkConfiguration(
                name=shaped.link.name,
                seed=derived_seed(seed, f"link {shaped.link.name}"),
                a_interface=shaped.a_side.name,
                b_interface=shaped.b_side.name,
                forward=shaped.link.forward,
                backward=shaped.link.backward,
                changes=shaped.link.changes,
                middleboxes=shaped.link.middleboxes,
            )
            for shaped in plan.shaped
            if shaped.realisation == "relay"
        ),
        realtime=realtime,
        cpu=cpu,
    )


class Relay:
    """A running relay. Made with a process that has pipes, it returns when the relay forwards."""

    def __init__(self, process: Process, configuration: Configuration) -> None:
        self.process = process
        self.configuration = configuration
        self._buffer = b""
        self._say(configuration.to_line())
        self.ready: Ready = self._expect(Ready)
        """How it runs (scheduling class, memory lock)."""

    def begin(self) -> Started:
        """Fresh models from the seeds, zeroed counters, and the schedules begin now."""
        self._say('{"command":"start"}\n')
        return self._expect(Started)

    def report(self) -> Report:
        """Counters and lateness since :meth:`begin`."""
        self._say('{"command":"report"}\n')
        return self._expect(Report)

    def stop(self) -> Report:
        """The last report; the process ends."""
        self._say('{"command":"stop"}\n')
        report = self._expect(Report)
        self.process.wait(ANSWER_DEADLINE_S)
        return report

    def end(self) -> None:
        """Hang up: at the end of its input the relay ends by itself. Waits for that, not for its last words."""
        if self.is_running():
            self.process.stdin.close()
            self.process.wait(ANSWER_DEADLINE_S)

    def is_running(self) -> bool:
        """Whether the process is there; a link without its relay passes nothing."""
        return self.process.exit_code is None

    def _say(self, line: str) -> None:
        try:
            self.process.stdin.write(line.encode())
        except BrokenPipeError:
            raise self._died() from None

    def _expect(self, kind: type[E]) -> E:
        line = self._line()
        try:
            event = protocol.event_from_line(line)
        except protocol.ProtocolError as error:
            raise RelayError(str(error)) from error
        if isinstance(event, Failure):
            raise RelayError(f"the relay: {event.message}")
        if not isinstance(event, kind):
            raise RelayError(f"the relay said {event.event!r} where {kind.__name__} was due")
        return event

    def _line(self) -> str:
        end_s = time.monotonic() + ANSWER_DEADLINE_S
        pipe = self.process.stdout_pipe
        poller = select.poll()
        poller.register(pipe.fileno(), select.POLLIN | select.POLLHUP)
        while b"\n" not in self._buffer:
            left_s = end_s - time.monotonic()
            if left_s <= 0 or not poller.poll(left_s * 1000):
                raise NotReady(f"the relay (pid {self.process.pid}) did not answer within {ANSWER_DEADLINE_S:g} s")
            data = pipe.read(1 << 16)
            if not data:
                raise self._died()
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode()

    def _died(self) -> RelayError:
        code = self.process.wait(ANSWER_DEADLINE_S)
        said = self.process.stderr.strip().splitlines()
        return RelayError(f"the relay ended with exit code {code}: {said[-1] if said else 'no message'}")
