"""One side of one flow from its start to its result: time, end conditions, samples. Applications plug in here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from testbed.endpoint.clock import Cancellable, Clock
from testbed.endpoint.observer import Observer
from testbed.endpoint.parameters import Direction, is_for_duration
from testbed.endpoint.protocol import (
    Configuration,
    Connected,
    ErrorKind,
    Event,
    Failure,
    FlowResult,
    SampleRow,
    Samples,
    Start,
)
from testbed.endpoint.transport import Handle, Transport


class FlowApplication(ABC):
    """What a kind of traffic does at one side. It ends the session by ``session.done`` or ``session.fail``."""

    counts_source = "application"
    """Where :meth:`byte_counts` come from."""
    receiving = False
    """Whether a connection stands, or has stood, over which data was to arrive at this side."""

    @abstractmethod
    def prepare(self) -> int | None:
        """Before the start: a server listens and returns its port (None: later, see ``session.announce``)."""

    @abstractmethod
    def start(self) -> None:
        """The flow begins now."""

    @abstractmethod
    def stop(self) -> None:
        """Send nothing new, and end when what is under way has arrived."""

    @abstractmethod
    def expire(self) -> None:
        """The time to wait for that is over: end now."""

    @abstractmethod
    def close(self) -> None:
        """Give everything back; the result is asked for after it."""

    @abstractmethod
    def handles(self) -> Iterable[tuple[object, Handle]]:
        """Connected handles (transport.py) to be sampled, each with a key that stays the same."""

    @abstractmethod
    def byte_counts(self) -> tuple[int, int] | None:
        """Bytes sent and received so far; None: not known to us."""

    @abstractmethod
    def findings(self) -> Mapping[str, Any]:
        """Fields of the FlowResult that only the application knows."""


class Session:
    """Clock, deadlines, sampling and the verdict of one side of a flow."""

    def __init__(
        self, configuration: Configuration, clock: Clock, transport: Transport, emit: Callable[[Event], None]
    ) -> None:
        self.configuration = configuration
        self.clock = clock
        self.transport = transport
        self.emit = emit
        self.subject = f"{configuration.flow}.{configuration.role}"
        self.observer = Observer(self.subject, transport, emit)
        self.in_force: dict[str, str | int | bool | None] = {}
        self.start_ns: int | None = None
        """When the flow started; None: not yet."""
        self.over = False
        self.ended_ns = 0
        """When it was over."""
        self.stopped = False
        self.on_over: Callable[[], None] | None = None
        """Called once when it is over, from inside whatever ended it."""
        self._epoch_ns = 0
        self._application: FlowApplication | None = None
        self._failure: Failure | None = None
        self._completed_ns: int | None = None
        self._expiry: Cancellable | None = None
        self._sampler = Sampler(self)

    @property
    def epoch_ns(self) -> int:
        """The clock's time at the epoch of the trial."""
        return self._epoch_ns

    @property
    def directions(self) -> tuple[Direction, Direction]:
        """What this side sends and what it receives."""
        return ("upload", "download") if self.configuration.role == "client" else ("download", "upload")

    def now_ns(self) -> int:
        """Since the epoch of the trial."""
        return self.clock.now_ns() - self._epoch_ns

    def at(self, time_ns: int, callback: Callable[[], None]) -> Cancellable:
        """Call at a time since the epoch of the trial, unless the session is over by then."""
        return self.clock.at(self._epoch_ns + time_ns, lambda: None if self.over else callback())

    @property
    def deadline_ns(self) -> int:
        """When sending ends."""
        return (self.start_ns or 0) + self.configuration.duration_ns

    def announce(self, handle: Handle, connect_time_ns: int | None) -> None:
        """The (first) connection stands: tell, and read back its options."""
        ends = self.transport.endpoints(handle) or (None, None, None, None)
        local_address, local_port, remote_address, remote_port = ends
        self.in_force.update(self.transport.options_in_force(handle))
        self.emit(
            Connected(
                time_ns=self.now_ns(),
                implementation_in_force=self.transport.implementation_in_force(handle),
                local_address=local_address,
                local_port=local_port,
                remote_address=remote_address,
                remote_port=remote_port,
                connect_time_ns=connect_time_ns,
            )
        )

    def begin(self, command: Start, application: FlowApplication) -> None:
        """The start command arrived."""
        self._epoch_ns = command.epoch_monotonic_ns
        self._application = application
        manager = self.configuration.path_manager
        is_ours = self.configuration.endpoint.is_userspace  # the path manager of a kernel belongs to its host
        if is_ours and manager is not None and (address := manager.withdraw_address) is not None:
            self.at(manager.withdraw_at_ns, lambda: self.transport.withdraw(address))
        due_ns = self.now_ns() if command.start_ns is None else command.start_ns
        self.at(due_ns, lambda: self._start(application, max(due_ns, 0)))

    def stop(self) -> None:
        """The stop command arrived: an orderly early end."""
        if self.over or self.stopped:
            return
        self.stopped = True
        if self._application is None or self.start_ns is None:
            self.fail("stopped", "stopped before the flow started")
            return
        self._application.stop()
        self._expire_at(self.now_ns() + self.configuration.drain_ns)

    def done(self, complete: bool = True, at_ns: int | None = None) -> None:
        """Nothing more to do; ``complete``: everything arrived and ended in order, at ``at_ns`` (None: now)."""
        if not self.over:
            self.over = True
            self.ended_ns = self.now_ns() if at_ns is None else at_ns
            if complete:
                self._completed_ns = self.ended_ns
            self._tell_over()

    def fail(self, kind: ErrorKind, message: str) -> None:
        """End with an error; only the first one counts."""
        if not self.over:
            self.over = True
            self.ended_ns = self.now_ns()
            self._failure = Failure(kind=kind, message=message)
            self.emit(self._failure)
            self._tell_over()

    def result(self, application: FlowApplication | None) -> FlowResult:
        """What this side has to say; call when over and the application is closed."""
        self._sampler.flush()
        configuration, observer = self.configuration, self.observer
        main = observer.main
        findings = dict(application.findings()) if application else {}
        failed = self._failure is not None
        completed = self._completed_ns is not None and not failed
        goodput_bit_s, goodput_time_ns = self._goodput(findings, completed)
        return FlowResult(
            role=configuration.role,
            flow=configuration.flow,
            implementation=configuration.endpoint.implementation,
            implementation_in_force=observer.in_force,
            fallback=observer.fallback,
            complete=completed,
            stopped=self.stopped,
            error=self._failure.message if self._failure else None,
            error_kind=self._failure.kind if self._failure else None,
            start_ns=self.start_ns,
            completion_time_ns=(self._completed_ns or 0) - (self.start_ns or 0) if completed else None,
            goodput_bit_s=goodput_bit_s,
            goodput_time_ns=goodput_time_ns,
            subflows_seen=observer.subflows_seen(),
            subflows=tuple(subflow.result() for subflow in main.subflows) if main else (),
            retransmits=observer.total("total_retrans"),
            bytes_retrans=observer.total("bytes_retrans"),
            mptcp_info=main.mptcp_info if main else None,
            in_force=self.in_force,
            cpu_ns=self.clock.cpu_ns(),
            sample_lateness_max_ns=self._sampler.lateness_max_ns,
            **findings,
        )

    def _goodput(self, findings: dict[str, Any], completed: bool) -> tuple[float | None, int | None]:
        """And the time that it is over; taken out of the findings of an application that knows better."""
        given = findings.pop("goodput_bit_s", None), findings.pop("goodput_time_ns", None)
        if self._application is None or not self._application.receiving:
            return given
        end_ns = findings["last_byte_ns"] if completed else None
        if end_ns is None:  # the silence at the end is part of what the application got
            lasts = is_for_duration(self.configuration.application) and not self.stopped
            end_ns = max(self.ended_ns, self.deadline_ns) if lasts else self.ended_ns
        time_ns = end_ns - (self.start_ns or 0)
        return (8e9 * findings["bytes_received"] / time_ns, time_ns) if time_ns > 0 else (None, None)

    def _tell_over(self) -> None:
        if self.on_over is not None:
            self.on_over()

    def _start(self, application: FlowApplication, start_ns: int) -> None:
        self.start_ns = start_ns
        self._expire_at(self.deadline_ns + self.configuration.drain_ns)
        self._sampler.start(application)
        application.start()

    def _expire_at(self, time_ns: int) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
        if self._application is not None:
            self._expiry = self.at(time_ns, self._application.expire)


class Sampler:
    """Reads counters and sockets at multiples of the interval since the epoch, so that both ends' samples align."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._interval_ns = session.configuration.sample_interval_ns
        self._application: FlowApplication | None = None
        self._due_ns = 0
        self._last_ns = 0
        self._last_counts: tuple[int, int] | None = None
        self.lateness_max_ns = 0

    def start(self, application: FlowApplication) -> None:
        """From the flow's start on."""
        self._application = application
        self._last_ns = self._session.start_ns or 0
        self._last_counts = application.byte_counts()
        self._schedule()

    def flush(self) -> None:
        """The part of an interval that is left at the end."""
        if self._application is not None:
            self._sample(self._session.now_ns())

    def _schedule(self) -> None:
        self._due_ns = (self._session.now_ns() // self._interval_ns + 1) * self._interval_ns
        self._session.at(self._due_ns, self._tick)

    def _tick(self) -> None:
        now_ns = self._session.now_ns()
        self.lateness_max_ns = max(self.lateness_max_ns, now_ns - self._due_ns)
        self._sample(now_ns)
        self._schedule()

    def _sample(self, now_ns: int) -> None:
        assert self._application is not None
        rows = []
        for key, handle in self._application.handles():
            rows += self._session.observer.look(handle, now_ns, key)
        rows += self._rates(self._application.byte_counts(), now_ns)  # after the looks: a program's counts are theirs
        if rows:
            self._session.emit(Samples(rows=tuple(rows)))

    def _rates(self, counts: tuple[int, int] | None, now_ns: int) -> list[SampleRow]:
        elapsed_ns = now_ns - self._last_ns
        if counts is None or self._last_counts is None or elapsed_ns <= 0:
            return []
        subject = self._session.subject
        source = self._application.counts_source if self._application else "application"
        rows: list[SampleRow] = []
        for metric, before, after in zip(("write_rate", "goodput"), self._last_counts, counts, strict=True):
            rows.append((now_ns, subject, metric, 8e9 * (after - before) / elapsed_ns, "bit/s", source))
        self._last_ns, self._last_counts = now_ns, counts
        return rows
