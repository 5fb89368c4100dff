"""What is said to a relay process and what it says: one JSON object per line, on its stdin and stdout.

::

    -> Configuration                      <- {"event": "ready", ...}   or  {"event": "error", "message": ...} and exit 2
    -> {"command": "start"}               <- {"event": "started", "monotonic_ns": ...}
    -> {"command": "report"}              <- {"event": "report", "links": [...], ...}
    -> {"command": "stop"}, or EOF        <- {"event": "report", ..., "final": true} and exit 0

From ``ready`` on the relay forwards, with each link's profile but without its changes and at the means of its traces,
so that addresses resolve and the link can be calibrated. ``start`` makes fresh models from the seeds, zeroes the
counters, and begins the schedules; until then queues are drop-tail.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from topologies import link_profile, middlebox
from topologies.link_profile import Change, LinkProfile
from topologies.middlebox import Middlebox

START = {"command": "start"}
REPORT = {"command": "report"}
STOP = {"command": "stop"}


class ProtocolError(ValueError):
    """The line is not what the protocol says; the message says what is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkConfiguration:
    """One link: two interfaces of the relay's network namespace; ``forward`` goes from ``a`` to ``b``."""

    name: str
    seed: int
    a_interface: str
    b_interface: str
    forward: LinkProfile
    """Resolved: a rate needs a queue limit."""
    backward: LinkProfile
    changes: tuple[Change, ...] = ()
    middleboxes: tuple[Middlebox, ...] = ()
    """Of the link: those that see both directions."""

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "name": self.name,
            "seed": self.seed,
            "a_interface": self.a_interface,
            "b_interface": self.b_interface,
            "forward": link_profile.to_dict(self.forward),
            "backward": link_profile.to_dict(self.backward),
            "changes": [link_profile.to_dict(change) for change in self.changes],
            "middleboxes": [middlebox.to_dict(each) for each in self.middleboxes],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LinkConfiguration:
        """The inverse. Raises ProtocolError."""
        try:
            return cls(
                name=str(data["name"]),
                seed=int(data["seed"]),
                a_interface=str(data["a_interface"]),
                b_interface=str(data["b_interface"]),
                forward=link_profile.from_dict(data["forward"]),
                backward=link_profile.from_dict(data["backward"]),
                changes=tuple(link_profile.change_from_dict(change) for change in data.get("changes", ())),
                middleboxes=tuple(middlebox.from_dict(each) for each in data.get("middleboxes", ())),
            )
        except KeyError as error:
            raise ProtocolError(f"link {data.get('name', '?')}: {error.args[0]} is missing") from None
        except (TypeError, ValueError) as error:
            raise ProtocolError(f"link {data.get('name', '?')}: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """The first line."""

    links: tuple[LinkConfiguration, ...]
    realtime: bool = True
    """Ask for SCHED_FIFO."""
    cpu: int | None = None
    """Run on this CPU only. Sending a frame runs the receiving host's stack on the relay's CPU, unless that host
    steers its packets elsewhere; see :mod:`placement`."""

    def to_line(self) -> str:
        """One line of JSON, with its newline."""
        data = {"links": [link.as_dict() for link in self.links], "realtime": self.realtime, "cpu": self.cpu}
        return json.dumps(data) + "\n"

    @classmethod
    def from_line(cls, line: str) -> Configuration:
        """The inverse. Raises ProtocolError."""
        try:
            data = json.loads(line)
        except json.JSONDecodeError as error:
            raise ProtocolError(f"the configuration is not JSON: {error}") from error
        if not isinstance(data, dict) or not isinstance(data.get("links"), list) or not data["links"]:
            raise ProtocolError('the configuration is an object with a non-empty list "links"')
        unknown = set(data) - {"links", "realtime", "cpu"}
        if unknown:
            raise ProtocolError(f"the configuration has unknown members: {', '.join(sorted(unknown))}")
        links = tuple(LinkConfiguration.from_dict(link) for link in data["links"])
        interfaces = [name for link in links for name in (link.a_interface, link.b_interface)]
        for name in interfaces:
            if interfaces.count(name) > 1:
                raise ProtocolError(f"interface {name} is used twice")
        cpu = data.get("cpu")
        if cpu is not None and not isinstance(cpu, int):
            raise ProtocolError(f"cpu is the number of a CPU, not {cpu!r}")
        return cls(links=links, realtime=bool(data.get("realtime", True)), cpu=cpu)


@dataclass(frozen=True, slots=True)
class Ready:
    """The relay forwards."""

    scheduler: str
    """``SCHED_FIFO`` or ``SCHED_OTHER``: what was granted."""
    scheduler_reason: str
    memory_locked: bool
    pid: int
    event: str = "ready"


@dataclass(frozen=True, slots=True)
class Started:
    """The schedules began at this CLOCK_MONOTONIC time."""

    monotonic_ns: int
    event: str = "started"


@dataclass(frozen=True, slots=True)
class AppliedChange:
    """A scheduled change and when it took effect, both in ns since the start.

    The model applies a change exactly at its time; ``observed_ns`` is when the relay next ran, so the difference
    bounds by how much a frame could have been treated by the old values without its release being late too.
    """

    at_ns: int
    observed_ns: int
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectionReport:
    """One direction of a link since ``start``; packets are wire packets, bytes those of Ethernet frames without FCS."""

    arrived_packets: int
    arrived_bytes: int
    delivered_packets: int
    """Handed to the far interface."""
    delivered_bytes: int
    in_flight_packets: int
    """Decided to be delivered, not yet due."""
    dropped_loss: int
    dropped_overflow: int
    dropped_outage: int
    dropped_middlebox: int
    """Dropped by a middlebox before the link model: not among the arrivals."""
    changed_middlebox: int
    """In whose place another packet left a middlebox."""
    marked_ce: int
    """Marked by the queue's discipline (RFC 3168)."""
    duplicated: int
    corrupted: int
    reordered: int
    queue_max_packets: int
    queue_max_bytes: int
    bypassed_frames: int
    """ARP, neighbour discovery and other non-IP frames: delayed, not impaired, in none of the counts above."""
    super_segments: int
    """GSO super-segments among the arrivals."""
    unsupported_frames: int
    """Frames that could not be taken apart (a foreign GSO kind, beyond 64 KiB): dropped, and an error of the
    emulation."""
    send_errors: int
    """Frames that the far interface refused: an error of the emulation."""
    socket_drops: int
    """Frames lost in the receiving socket's buffer before the relay saw them: an error of the emulation."""
    late_p50_ns: int
    """Release lateness: handed to the interface minus due, per wire packet."""
    late_p99_ns: int
    late_p999_ns: int
    late_max_ns: int
    busy_ns: int
    """Time that the line was busy in busy periods long enough to measure a rate."""
    rate_error: float | None
    """Over these periods: time by the model / time on the clock - 1, so -0.01 is 1 % too slow. None: no such period."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxReport:
    """What one middlebox did with the packets of one direction (``testbed.net.middlebox.BoxCounters``)."""

    place: str
    """``link``, ``forward`` or ``backward``: whose list it is in."""
    number: int
    """In that list, from 1."""
    middlebox: str
    """Its text."""
    direction: str
    seen: int
    matched: int
    changed: int
    dropped: int
    made: int
    delayed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkReport:
    """Both directions, the schedule and the middleboxes."""

    name: str
    forward: DirectionReport
    backward: DirectionReport
    changes: tuple[AppliedChange, ...] = ()
    middleboxes: tuple[BoxReport, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the relay did since ``start`` (or ``ready``, before it)."""

    monotonic_ns: int
    started_ns: int | None
    """CLOCK_MONOTONIC time of the start; None: not started."""
    cpu_ns: int
    """CPU time of the relay process since then."""
    scheduler: str
    links: tuple[LinkReport, ...] = field(default=())
    final: bool = False
    event: str = "report"

    def link(self, name: str) -> LinkReport:
        """The link of that name. Raises KeyError."""
        return {link.name: link for link in self.links}[name]


@dataclass(frozen=True, slots=True)
class Failure:
    """The relay cannot do what it was asked; it exits with 2."""

    message: str
    event: str = "error"


Event = Ready | Started | Report | Failure


def event_to_line(event: Event) -> str:
    """One line of JSON, with its newline."""
    return json.dumps(asdict(event)) + "\n"


def event_from_line(line: str) -> Event:
    """The inverse. Raises ProtocolError."""
    try:
        data = json.loads(line)
        match data["event"]:
            case "ready":
                return Ready(**data)
            case "started":
                return Started(**data)
            case "error":
                return Failure(**data)
            case "report":
                data["links"] = tuple(_link_report(link) for link in data["links"])
                return Report(**data)
            case other:
                raise ProtocolError(f"the relay said an unknown event {other!r}")
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ProtocolError(f"not a line of the relay protocol: {line[:200]!r}") from error


def _link_report(data: Mapping[str, Any]) -> LinkReport:
    return LinkReport(
        name=data["name"],
        forward=DirectionReport(**data["forward"]),
        backward=DirectionReport(**data["backward"]),
        changes=tuple(AppliedChange(**change) for change in data["changes"]),
        middleboxes=tuple(BoxReport(**box) for box in data["middleboxes"]),
    )
