"""What an endpoint process and the orchestrator say to each other: one JSON object per line, these dataclasses.

To the process: first a :class:`Configuration`, then the commands :class:`Start` and :class:`Stop`.
From the process: events, told apart by ``event``; exactly one ``result``, the last line, also after an error.
Times in events are ns since the ``epoch_monotonic_ns`` of the start command (CLOCK_MONOTONIC is the same in every
network namespace). What comes before the start has no such time and carries none. docs/endpoints.md tells the story.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from testbed.endpoint.parameters import (
    Application,
    Endpoint,
    ParameterError,
    PathManagerSettings,
    application_from_dict,
    endpoint_from_dict,
    path_manager_from_dict,
)

EXIT_OK, EXIT_FAILED, EXIT_CONFIGURATION, EXIT_UNSUPPORTED = 0, 1, 2, 127
"""Exit codes of the process."""

Role = Literal["client", "server"]
InForce = Literal["linux", "linux-tcp", "userspace", "userspace-tcp", "adapter", "fallback"]
"""``adapter``: what another's program speaks, as far as is known; ``fallback``: MPTCP was asked for and the connection
became plain TCP."""
ErrorKind = Literal["configuration", "unsupported", "connect", "peer", "deadline", "integrity", "program", "stopped"]
"""``connect``: never connected; ``peer``: the connection broke or ended early; ``deadline``: not done in time;
``integrity``: a byte was wrong; ``program``: an unmodified program failed; ``stopped``: ended before it started."""

SampleRow = tuple[int, str, str, float, str, str]
"""time_ns, subject, metric, value, unit, source."""

LedgerRow = tuple[Any, ...]
"""Number of the connection, then the values of ``testbed.mptcp.ledger.COLUMNS`` with the time since the epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """The first line on standard input."""

    role: Role
    flow: str
    family: Literal[4, 6] = 4
    local_address: str | None = None
    """Client: where the first subflow leaves from. Server: None listens on every address, which MPTCP needs, because a
    join to another address of the host only finds a listener that is bound to all."""
    local_port: int = 0
    """Client only; 0: the kernel chooses."""
    remote_address: str | None = None
    """Client: the server. Server: unused."""
    paths: tuple[tuple[str, str, str], ...] = ()
    """Of a scripted end and an adapter: name, own address and the other end's address of every path, the flow's
    first."""
    port: int = 5001
    """The server's; 0 there: the kernel chooses, and the ``listening`` event tells."""
    endpoint: Endpoint = field(default_factory=Endpoint)
    path_manager: PathManagerSettings | None = None
    """Of a userspace endpoint and an adapter; None: the first subflow only. A kernel's path manager belongs to its
    host."""
    super_segments: bool = True
    """Of a userspace endpoint on real interfaces: hand over up to 64 KiB at a time, which the kernel cuts; False: each
    segment as the packet that it is on the wire."""
    application: Application
    duration_ns: int
    """Of the sending, counted from the flow's start. A transfer of a fixed size may take ``drain_ns`` longer."""
    drain_ns: int = 5_000_000_000
    """How long to wait after the duration for what is under way; then the flow ends with what has arrived. For a
    fixed size that did not arrive this is an error, for a duration it is not (but the flow is not ``complete``)."""
    sample_interval_ns: int = 100_000_000
    ledger: bool = False
    """Of a userspace endpoint: record the options of every segment that it builds."""
    seed: int = 0
    """Of the payload; client and server get the same."""
    test: str = "transfer"
    """Told to an adapter: what is asked of it."""
    log_directory: str | None = None
    """Of an adapter: where what it says goes; None: nowhere."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "paths", tuple(tuple(path) for path in self.paths))
        if self.role not in ("client", "server"):
            raise ParameterError(f"role is client or server, not {self.role!r}")
        if self.family not in (4, 6):
            raise ParameterError(f"family is 4 or 6, not {self.family!r}")
        if self.role == "client" and self.remote_address is None:
            raise ParameterError("a client needs a remote_address")
        for name, lowest in (("port", 0), ("local_port", 0)):
            if not lowest <= getattr(self, name) <= 65535:
                raise ParameterError(f"{name} is a port number, not {getattr(self, name)}")
        if self.role == "client" and self.port == 0:
            raise ParameterError("a client needs the server's port")
        for name, lowest in (("duration_ns", 1), ("drain_ns", 0), ("sample_interval_ns", 1_000_000), ("seed", 0)):
            if getattr(self, name) < lowest:
                raise ParameterError(f"{name} is at least {lowest}, not {getattr(self, name)}")


def configuration_from_dict(data: Mapping[str, Any]) -> Configuration:
    """The configuration that :func:`to_line` wrote. Raises ParameterError, which names what is wrong."""
    known = {item.name for item in dataclasses.fields(Configuration)}
    if unknown := sorted(set(data) - known):
        raise ParameterError(f"the configuration has no key {unknown[0]!r}; it has {', '.join(sorted(known))}")
    values = dict(data)
    if "application" in values:
        values["application"] = application_from_dict(values["application"])
    if "endpoint" in values:
        values["endpoint"] = endpoint_from_dict(values["endpoint"])
    if values.get("path_manager") is not None:
        values["path_manager"] = path_manager_from_dict(values["path_manager"])
    try:
        return Configuration(**values)
    except TypeError as error:
        raise ParameterError(f"the configuration is incomplete or of a wrong type: {error}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """The traffic of the trial began at ``epoch_monotonic_ns``; the flow begins ``start_ns`` later (None: now)."""

    epoch_monotonic_ns: int
    start_ns: int | None = None
    command: Literal["start"] = "start"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Send nothing new, let what is under way arrive, report."""

    command: Literal["stop"] = "stop"

    def __post_init__(self) -> None:
        if self.command != "stop":
            raise ParameterError(f"the commands are start and stop, not {self.command!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """The server accepts connections (an unmodified program: its port is open)."""

    port: int
    event: Literal["listening"] = "listening"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """The client can start."""

    event: Literal["ready"] = "ready"


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """The connection stands at this end; for short flows only the first one is announced."""

    time_ns: int
    implementation_in_force: InForce
    local_address: str | None
    local_port: int | None
    remote_address: str | None
    remote_port: int | None
    """None: an adapter, whose connection no kernel knows."""
    connect_time_ns: int | None
    """Client: from connect(2) to established. None at a server."""
    event: Literal["connected"] = "connected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Measurements; rows as :data:`SampleRow`."""

    rows: tuple[SampleRow, ...]
    event: Literal["samples"] = "samples"


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRows:
    """The options of segments that a userspace endpoint built; comes before the result, in several pieces."""

    rows: tuple[LedgerRow, ...]
    event: Literal["ledger"] = "ledger"


@dataclass(frozen=True, slots=True, kw_only=True)
class SubflowSeen:
    """A subflow of the main connection appeared or disappeared, as seen at a sample: up to one interval late."""

    time_ns: int
    change: Literal["added", "removed"]
    index: int
    """In order of appearance at this end; 0 is the initial one."""
    local_address: str
    local_port: int
    remote_address: str
    remote_port: int
    backup: bool | None
    """None: plain TCP, or the kernel does not tell."""
    event: Literal["subflow"] = "subflow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Something went wrong; the result follows and carries the same words."""

    kind: ErrorKind
    message: str
    event: Literal["error"] = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class SubflowResult:
    """One subflow of the flow's main connection over its whole life, as this end saw it."""

    index: int
    """In order of appearance at this end; 0 is the initial one."""
    local_address: str
    local_port: int
    remote_address: str
    remote_port: int
    backup: bool | None
    first_seen_ns: int | None
    last_seen_ns: int | None
    """None: an adapter told of it at the end."""
    tcp_info: Mapping[str, int | None]
    """As last seen; fields and units: testbed/endpoint/tcp_info.py. The userspace stack fills those that it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """Individual values and their quantiles (nearest rank); all times in ns.

    What was under way when the flow ended is in it with the time until then, after what was complete. That is a lower
    bound (right-censored), and left out it would make a flow that died look fast.
    """

    metric: Literal["latency", "block_delay", "flow_completion"]
    time_ns: tuple[int, ...]
    """When each was complete; for one that never was, when the flow ended."""
    value_ns: tuple[int, ...]
    p50_ns: int | None
    p95_ns: int | None
    p99_ns: int | None
    max_ns: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowResult:
    """What one side of a flow has to say at its end. None: not known or not meant for this application."""

    role: Role
    flow: str
    implementation: str
    """What was asked for."""
    implementation_in_force: InForce | None
    """What the connection was at its end; None: there was no connection."""
    fallback: bool | None
    """An MPTCP socket's connection was plain TCP at some time; None: an adapter that does not tell."""
    complete: bool
    """Everything that was to be moved was moved, and orderly ended."""
    stopped: bool
    """A stop command came first."""
    error: str | None = None
    error_kind: ErrorKind | None = None
    bytes_sent: int = 0
    """Of application data, accepted by the socket."""
    bytes_received: int = 0
    sha256_sent: str | None = None
    sha256_received: str | None = None
    """Of streams that nobody knows beforehand."""
    sent_known: bool = False
    """What this end sent is the stream that its peer expects (payload.py)."""
    received_compared: bool = False
    """Every byte that came was compared with the stream that the peer was to send."""
    first_mismatch: int | None = None
    """Offset of the first received byte that is not what the peer was to send; None: all were right."""
    peer_ended: bool = False
    """The end of the peer's stream was read (bulk only): whoever reads it was told that it has everything."""
    start_ns: int | None = None
    """When the flow was started."""
    connect_time_ns: int | None = None
    first_byte_ns: int | None = None
    last_byte_ns: int | None = None
    """First and last arrival of application data at this end."""
    completion_time_ns: int | None = None
    """From the start to the end of everything, the peer's end of stream included; None when not ``complete``."""
    goodput_bit_s: float | None = None
    """8 x bytes_received / goodput_time_ns; None at a side that was to receive nothing or was never connected."""
    goodput_time_ns: int | None = None
    """From the start to the last arrival. When not ``complete``: to the end of the flow, and of a flow for a duration
    that was not stopped at least the duration, so that one that dies early does not keep the rate it had."""
    longest_stall_ns: int | None = None
    """Longest time without an arrival between the first byte and the end of the stream (bulk and stream only); when no
    byte ever came, from the connection to the end of the flow."""
    longest_stall_start_ns: int | None = None
    distributions: tuple[Distribution, ...] = ()
    transfers: int = 0
    """Exchanges, blocks or short flows that were completed at this end."""
    transfers_failed: int = 0
    """Exchanges and short flows that were begun, and blocks that were due, but were not complete at the end."""
    subflows_seen: int | None = 0
    """Distinct subflows that this end has had established (subflows.py says when); for TCP 1. None: as above."""
    subflows: tuple[SubflowResult, ...] = ()
    retransmits: int | None = None
    """Sum of tcpi_total_retrans (segments) over all subflows, as last seen."""
    bytes_retrans: int | None = None
    """Sum of tcpi_bytes_retrans over all subflows, as last seen."""
    mptcp_info: Mapping[str, int | None] | None = None
    """As last seen; fields and units: testbed/endpoint/tcp_info.py. The userspace stack fills those that it has."""
    counters: Mapping[str, int] | None = None
    """Of a userspace stack or an adapter, under the names that ``nstat`` gives the kernel's."""
    in_force: Mapping[str, str | int | bool | None] = field(default_factory=dict)
    """Parameters as read back: docs/endpoints.md lists them."""
    program: Mapping[str, Any] | None = None
    """Of an unmodified program: ``argv``, ``exit_code``, ``stdout``, ``stderr`` and what was read from its output."""
    observations: tuple[tuple[str, int | None, str], ...] = ()
    """Of a scripted end: name, value (None: it did not come to be), unit."""
    cpu_ns: int = 0
    """Processor time of this process (and, for a program, of its child)."""
    sample_lateness_max_ns: int = 0
    """How late the worst sample was taken."""
    event: Literal["result"] = "result"


Event = Listening | Ready | Connected | Samples | LedgerRows | SubflowSeen | Failure | FlowResult
_EVENTS: Mapping[str, type[Any]] = {
    "listening": Listening,
    "ready": Ready,
    "connected": Connected,
    "samples": Samples,
    "subflow": SubflowSeen,
    "error": Failure,
}


def to_line(message: Configuration | Start | Stop | Event) -> bytes:
    """One line of JSON with its end of line."""
    if isinstance(message, Samples | LedgerRows):  # asdict would copy every row
        return json.dumps({"event": message.event, "rows": message.rows}, separators=(",", ":")).encode() + b"\n"
    return json.dumps(dataclasses.asdict(message), separators=(",", ":")).encode() + b"\n"


def event_from_line(line: str | bytes) -> Event:
    """The event that :func:`to_line` wrote. Raises ValueError when it is none, with the line."""
    data = json.loads(line)
    kind = data.get("event") if isinstance(data, dict) else None
    if kind == "samples":
        return Samples(rows=tuple(tuple(row) for row in data["rows"]))
    if kind == "ledger":
        return LedgerRows(rows=tuple(tuple(row) for row in data["rows"]))
    if kind == "result":
        data["subflows"] = tuple(SubflowResult(**item) for item in data["subflows"])
        data["observations"] = tuple(tuple(item) for item in data["observations"])
        data["distributions"] = tuple(
            Distribution(**{**item, "time_ns": tuple(item["time_ns"]), "value_ns": tuple(item["value_ns"])})
            for item in data["distributions"]
        )
        return FlowResult(**data)
    if not isinstance(kind, str) or kind not in _EVENTS:
        raise ValueError(f"not an event of an endpoint: {line!r}")
    event: Event = _EVENTS[kind](**data)
    return event


def command_from_line(line: str | bytes) -> Start | Stop:
    """The command that :func:`to_line` wrote. Raises ParameterError, with the line."""
    try:
        data = json.loads(line)
        return Start(**data) if data["command"] == "start" else Stop(**data)
    except (ValueError, KeyError, TypeError) as error:
        raise ParameterError(f"not a command: {line!r} ({error})") from None
