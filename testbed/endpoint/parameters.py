"""What an endpoint is asked to do, as values: the implementation, its socket options, the application above it.

Stdlib only: the process that is started inside a host reads these from JSON and has to be quick to start. ``kind``
tells the members of :data:`Application` apart in that JSON. Times are ns, sizes bytes, rates bit/s of application data.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

Implementation = Literal["linux", "linux-tcp", "userspace", "userspace-tcp", "script", "adapter"]
"""``linux``: this kernel's MPTCP (IPPROTO_MPTCP); ``linux-tcp``: the same kernel's plain TCP; ``userspace`` and
``userspace-tcp``: the same two of our own stack; ``script``: no stack, but the lines of a :class:`Script`;
``adapter``: whatever the program speaks that ``command`` starts (docs/howto/add-an-implementation.md)."""

USERSPACE: tuple[Implementation, ...] = ("userspace", "userspace-tcp", "script")
"""What runs without a kernel's help, so in the simulator, too."""
PLAIN_TCP: tuple[Implementation, ...] = ("linux-tcp", "userspace-tcp")
"""What never asks for MPTCP."""

ADAPTER_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,23}")
"""Of an adapter: two of them fit into the name of a variant."""

Direction = Literal["upload", "download", "both"]
"""Upload is from the client to the server."""


class ParameterError(ValueError):
    """A parameter is out of range; the message names it."""


def _positive(owner: object, *names: str) -> None:
    for name in names:
        value = getattr(owner, name)
        if value is not None and value <= 0:
            raise ParameterError(f"{name} is above 0, not {value}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One side of a flow. None leaves the kernel's default; what was in force is read back and recorded."""

    implementation: Implementation = "linux"
    profile: str | None = None
    """Userspace: named option policy and receiver rules (``testbed list policies``); None: ``linux``."""
    receiver: str | None = None
    """Userspace: named receiver rules that replace those of the profile; None: the profile's."""
    policies: tuple[str, ...] = ()
    """Userspace: single parameters over the profile, ``("options.mapping_late_by=3", "rules.hold_unmapped=200ms",
    "penalisation=false")``: ``userspace/policies.py``."""
    congestion_control: str | None = None
    """TCP_CONGESTION, for the connection and each of its subflows; userspace: one of its own catalog."""
    nodelay: bool = False
    """TCP_NODELAY."""
    send_buffer_bytes: int | None = None
    """SO_SNDBUF before the connection; the kernel doubles it and stops auto-tuning."""
    receive_buffer_bytes: int | None = None
    """SO_RCVBUF, likewise."""
    checksum: bool | None = None
    """net.mptcp.checksum_enabled of the host (userspace: of the connection): DSS checksums."""
    timestamps: bool | None = None
    """net.ipv4.tcp_timestamps of the host (userspace: of the connection)."""
    sack: bool | None = None
    """net.ipv4.tcp_sack of the host (userspace: of the connection)."""
    scheduler: str | None = None
    """net.mptcp.scheduler of the host; userspace: one of its own catalog; an adapter is told the name."""
    adapter: str | None = None
    """Adapter: what it is called in reports."""
    command: tuple[str, ...] = ()
    """Adapter: the program and its arguments."""
    environment: tuple[str, ...] = ()
    """Adapter: ``NAME=VALUE``, beside those of the contract."""
    waits_for_start: bool = False
    """Adapter: as a client it says READY and connects when told to, so that no time of a flow goes into its start."""
    tcp_only: bool = False
    """Adapter: it never asks for MPTCP."""

    def __post_init__(self) -> None:
        if self.implementation not in get_args(Implementation):
            raise ParameterError(
                f"implementation is one of {', '.join(get_args(Implementation))}, not {self.implementation!r}"
            )
        for name in ("policies", "command", "environment"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        _positive(self, "send_buffer_bytes", "receive_buffer_bytes")
        check_adapter(self)
        if self.is_userspace:
            from testbed.endpoint.userspace.names import check_names  # imports the catalogs: a kernel's end needs none

            check_names(self)
        elif self.profile is not None or self.receiver is not None or self.policies:
            raise ParameterError(
                f"profile, receiver and policies are for userspace endpoints, not for {self.implementation}"
            )

    @property
    def is_script(self) -> bool:
        """Whether this end says what a script tells it to."""
        return self.implementation == "script"

    @property
    def is_adapter(self) -> bool:
        """Whether this end is a program that another wrote."""
        return self.implementation == "adapter"

    @property
    def is_userspace(self) -> bool:
        """Whether this end is ours: no kernel's stack."""
        return self.implementation in USERSPACE

    @property
    def is_plain_tcp(self) -> bool:
        """Whether this end never asks for MPTCP."""
        return self.implementation in PLAIN_TCP or self.tcp_only


@dataclass(frozen=True, slots=True, kw_only=True)
class PathManagerSettings:
    """What the path manager of a userspace endpoint is told; a kernel's is set over netlink by who made the host."""

    mode: str = "none"
    """One of the stack's catalog; which of its two roles it plays follows from who opened the connection."""
    subflows: int = 8
    """Limit of additional subflows."""
    ports: int = 2
    """With ``ndiffports``: subflows in all."""
    backup_addresses: tuple[str, ...] = ()
    """Addresses of this host whose subflows carry the backup flag."""
    withdraw_address: str | None = None
    """Address that this host gives up: its subflows end, the peer gets a REMOVE_ADDR (RFC 8684 section 3.4.2)."""
    withdraw_at_ns: int = 0
    """When, since the epoch of the trial."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "backup_addresses", tuple(self.backup_addresses))
        for name, low in (("subflows", 0), ("ports", 1), ("withdraw_at_ns", 0)):
            if getattr(self, name) < low:
                raise ParameterError(f"path_manager.{name} is at least {low}, not {getattr(self, name)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bulk:
    """As many bytes as fit in the duration, or a fixed size; both ends hash what they saw (SHA-256)."""

    direction: Direction = "upload"
    size_bytes: int | None = None
    """Bytes to move (upload or download, the upload when both); None: for the experiment's duration."""
    reverse_size_bytes: int | None = None
    """With ``both``: bytes of the download; None: like ``size_bytes``."""
    write_bytes: int = 65536
    """Bytes per write."""
    write_interval_ns: int = 0
    """From one write to the next; 0: as soon as the socket takes more. With ``nodelay`` each leaves as a segment of its
    own, as long as the window has room."""
    settle_ns: int = 0
    """How long after the connection began a stream of a fixed size ends at the earliest: once a side has ended, Linux
    takes no further subflow (MPJoinRejected)."""
    pause_after_bytes: int | None = None
    """Who receives reads nothing for ``pause_ns`` once it has so many bytes: its window closes, and opens again."""
    pause_ns: int = 1_000_000_000
    leave_after_bytes: int | None = None
    """Who receives stops reading once it has so many bytes, and closes its connection with bytes unread: MPTCP then
    sends MP_FASTCLOSE (RFC 8684 section 3.5; Linux: ``__mptcp_close``), TCP a reset (RFC 2525 section 2.17)."""
    half_close: bool = False
    """With ``both`` and sizes: the client ends its stream first, and the server sends only when it has read that."""
    kind: Literal["bulk"] = "bulk"

    def __post_init__(self) -> None:
        _direction(self.direction)
        _positive(self, "size_bytes", "reverse_size_bytes", "write_bytes", "pause_after_bytes", "leave_after_bytes")
        for name in ("settle_ns", "write_interval_ns", "pause_ns"):
            if getattr(self, name) < 0:
                raise ParameterError(f"{name} is at least 0, not {getattr(self, name)}")
        if self.reverse_size_bytes is not None and (self.direction != "both" or self.size_bytes is None):
            raise ParameterError("reverse_size_bytes goes with direction 'both' and a size_bytes")
        if self.half_close and (self.direction != "both" or self.size_bytes is None):
            raise ParameterError("half_close goes with direction 'both' and a size_bytes")
        if self.leave_after_bytes is not None and self.direction == "both":
            raise ParameterError("leave_after_bytes goes with direction 'upload' or 'download': one side leaves")


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestResponse:
    """The client asks, the server answers, on one connection; the latency of each exchange is recorded."""

    request_bytes: int = 100
    response_bytes: int = 10_000
    interval_ns: int = 0
    """From the start of one request to the start of the next; 0: the next follows the answer at once."""
    count: int | None = None
    """Exchanges; None: for the experiment's duration."""
    kind: Literal["request-response"] = "request-response"

    def __post_init__(self) -> None:
        _positive(self, "request_bytes", "response_bytes", "count")
        if self.interval_ns < 0:
            raise ParameterError(f"interval_ns is at least 0, not {self.interval_ns}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """Blocks at a constant rate, each stamped when it was due; the receiver records the delay of each block."""

    rate_bit_s: int = 2_000_000
    block_bytes: int = 8192
    direction: Literal["upload", "download"] = "download"
    kind: Literal["stream"] = "stream"

    def __post_init__(self) -> None:
        _direction(self.direction)
        _positive(self, "rate_bit_s", "block_bytes")
        if self.block_bytes < 16:
            raise ParameterError(f"block_bytes is at least 16 (number and time stamp), not {self.block_bytes}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortFlows:
    """A new connection per transfer: ``concurrency`` of them at a time; the completion time of each is recorded."""

    size_bytes: int = 65536
    direction: Literal["upload", "download"] = "download"
    concurrency: int = 1
    count: int | None = None
    """Transfers; None: for the experiment's duration."""
    kind: Literal["short-flows"] = "short-flows"

    def __post_init__(self) -> None:
        _direction(self.direction)
        _positive(self, "size_bytes", "concurrency", "count")


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """Unmodified programs. ``{server}``, ``{client}``, ``{port}``, ``{duration_s}`` in an argument are replaced.

    With implementation ``linux`` they are started through ``mptcpize run``, with ``linux-tcp`` as they are.
    """

    server: tuple[str, ...] = ("iperf3", "-s", "-1", "-p", "{port}", "-J")
    client: tuple[str, ...] = ("iperf3", "-c", "{server}", "-B", "{client}", "-p", "{port}", "-t", "{duration_s}", "-J")
    listens: bool = True
    """Whether the server program listens on ``{port}`` (then the client waits for that) or talks otherwise."""
    kind: Literal["program"] = "program"

    def __post_init__(self) -> None:
        object.__setattr__(self, "server", tuple(self.server))
        object.__setattr__(self, "client", tuple(self.client))
        if not self.client:
            raise ParameterError("client is a command: at least one word")


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """What the end with implementation ``script`` says, segment by segment, and what the other end's application does.

    The end of the script is the end of the flow: the other end is stopped then.
    """

    lines: tuple[str, ...] = ()
    """docs/howto/script-a-peer.md; checked at once."""
    partner_sends_bytes: int = 0
    """By the other end's application, from the moment its connection stands."""
    partner_write_bytes: int = 65536
    partner_write_interval_ns: int = 0
    """As in :class:`Bulk`."""
    partner_closes: Literal["after end", "after sending", "never"] = "after end"
    """When it ends its stream: when it has read the script's end, when it has sent everything, or not before the
    script is over. It always reads."""
    kind: Literal["script"] = "script"

    def __post_init__(self) -> None:
        object.__setattr__(self, "lines", tuple(self.lines))
        _positive(self, "partner_write_bytes")
        for name in ("partner_sends_bytes", "partner_write_interval_ns"):
            if getattr(self, name) < 0:
                raise ParameterError(f"{name} is at least 0, not {getattr(self, name)}")
        closings = ("after end", "after sending", "never")
        if self.partner_closes not in closings:
            raise ParameterError(f"partner_closes is one of {', '.join(closings)}, not {self.partner_closes!r}")
        from testbed.endpoint.script.errors import ScriptError  # only who has a script needs its language
        from testbed.endpoint.script.language import parse

        try:
            parse(self.lines)
        except ScriptError as error:
            raise ParameterError(f"the script: {error}") from None


Application = Bulk | RequestResponse | Stream | ShortFlows | Program | Script
APPLICATION_KINDS: Mapping[str, type[Any]] = {
    cls.__dataclass_fields__["kind"].default: cls for cls in get_args(Application)
}


def check_adapter(endpoint: Endpoint) -> None:
    """Whether what is for adapters is there exactly for those. Raises ParameterError."""
    if not endpoint.is_adapter:
        if any((endpoint.adapter, endpoint.command, endpoint.environment, endpoint.waits_for_start, endpoint.tcp_only)):
            raise ParameterError(
                "adapter, command, environment, waits_for_start and tcp_only are for implementation adapter, "
                f"not for {endpoint.implementation}"
            )
        return
    if endpoint.adapter is None or not endpoint.command or not endpoint.command[0]:
        raise ParameterError(
            "implementation adapter needs a name and the program to start: "
            "adapter=NAME.toml or adapter=NAME=COMMAND, as in --set client.adapter=NAME.toml"
        )
    if not ADAPTER_NAME.fullmatch(endpoint.adapter) or endpoint.adapter in get_args(Implementation):
        raise ParameterError(
            f"adapter {endpoint.adapter!r} is not a name of its own: up to 24 small letters, digits, '.', '_' and '-', "
            f"and none of {', '.join(get_args(Implementation))}"
        )
    if endpoint.adapter.startswith("userspace") or endpoint.adapter.endswith("-tcp") != endpoint.tcp_only:
        raise ParameterError(
            f"adapter {endpoint.adapter!r}: the name of a tcp_only adapter ends in -tcp and no other's does, and names "
            "that begin with userspace are those of the testbed's own stack"
        )
    for word in endpoint.environment:
        name, sign, _ = word.partition("=")
        if not sign or not name or "\0" in word:
            raise ParameterError(f"environment is NAME=VALUE words, not {word!r}")
        if name.startswith("TESTBED_"):
            raise ParameterError(f"environment: {name} is the testbed's to set; choose another name")


def is_for_duration(application: Application) -> bool:
    """Whether it goes on until its time is over, rather than until a size or a count is reached."""
    if isinstance(application, Bulk):
        return application.size_bytes is None
    if isinstance(application, Script):
        return False
    return isinstance(application, Stream | Program) or application.count is None


def application_from_dict(data: Mapping[str, Any]) -> Application:
    """The application that ``dataclasses.asdict`` wrote, told by its ``kind``. Raises ParameterError."""
    kind = str(data.get("kind"))
    if kind not in APPLICATION_KINDS:
        raise ParameterError(f"application.kind is one of {', '.join(APPLICATION_KINDS)}, not {kind!r}")
    try:
        application: Application = APPLICATION_KINDS[kind](**data)
    except TypeError as error:
        raise ParameterError(f"application {kind}: {error}") from None
    return application


def endpoint_from_dict(data: Mapping[str, Any]) -> Endpoint:
    """The endpoint that ``dataclasses.asdict`` wrote. Raises ParameterError."""
    known = {field.name for field in dataclasses.fields(Endpoint)}
    if unknown := sorted(set(data) - known):
        raise ParameterError(f"endpoint has no parameter {unknown[0]!r}")
    return Endpoint(**data)


def path_manager_from_dict(data: Mapping[str, Any]) -> PathManagerSettings:
    """The settings that ``dataclasses.asdict`` wrote. Raises ParameterError."""
    try:
        return PathManagerSettings(**data)
    except TypeError as error:
        raise ParameterError(f"path_manager: {error}") from None


def _direction(value: str) -> None:
    if value not in get_args(Direction):
        raise ParameterError(f"direction is one of {', '.join(get_args(Direction))}, not {value!r}")
