"""What the lines of a script mean, as values. Octets of data are counted from 1, as in the thread: ``1-100``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Checksum = Literal["negotiated", "ok", "bad", "none"]
Alteration = Literal[
    "without mptcp",
    "without third ack",
    "third ack without mptcp",
    "bad token",
    "bad hmac",
    "backup",
]
ALTERATIONS: tuple[Alteration, ...] = (
    "without mptcp",
    "without third ack",
    "third ack without mptcp",
    "bad token",
    "bad hmac",
    "backup",
)
"""What may be left out of a handshake, or be wrong in it."""


@dataclass(frozen=True, slots=True)
class Octets:
    """A run of octets of the peer's data, both ends included."""

    first: int
    last: int

    @property
    def count(self) -> int:
        """How many."""
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Map:
    """A mapping of a DSS option (RFC 8684 §3.3.1)."""

    octets: Octets
    ssn: int | None = None
    """Relative subflow sequence number; None: where the first of the octets is, or will be, on this subflow."""
    dsn_octets: int | None = None
    """4 or 8; None: as set."""
    checksum: Checksum = "negotiated"
    data_fin: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionWords:
    """An option by its name and what stands behind the name: ``mp_prio backup``."""

    name: str
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Say:
    """One segment."""

    line: int
    subflow: int
    octets: Octets | None = None
    spoiled: bool = False
    """The payload is the complement of the data."""
    at: int | None = None
    """Relative sequence number (1: the first octet of data); None: the next one."""
    again: bool = False
    """At the number at which these octets were sent first."""
    flags: int
    ack: int | None = None
    """Octets of the other end's subflow that it acknowledges; None: those that have arrived."""
    dss: Literal["as needed", "none"] = "as needed"
    """``as needed``: a DATA_ACK with every mapping, and on every segment without payload."""
    data_ack: int | Literal["arrived", "none"] = "arrived"
    """Octets of the other end's data that the DATA_ACK covers."""
    maps: tuple[Map, ...] = ()
    capable: bool = False
    """MP_CAPABLE in place of the DSS: keys, and with a mapping the length of the data (RFC 8684 §3.1)."""
    data_fin: bool = False
    """A DATA_FIN without a mapping of data."""
    options: tuple[OptionWords, ...] = ()
    window: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Handshake:
    """The three or four segments with which a subflow begins."""

    line: int
    subflow: int
    opens: bool
    """Whether the peer sends the SYN."""
    joins: bool
    path: str | None = None
    """Name of the path; None: the flow's."""
    altered: frozenset[Alteration] = frozenset()
    capable_flags: int | None = None
    version: int = 1
    address_id: int | None = None
    within_ns: int


@dataclass(frozen=True, slots=True)
class Name:
    """Of something observed, or of a value that a line has kept."""

    text: str


Term = tuple[tuple[int, Name | int], ...]
"""Signs and parts of a sum."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """``data_acked >= 800``."""

    name: Name
    operator: Literal[">=", "<=", "==", "!=", ">", "<"]
    number: int


Condition = tuple[tuple[Comparison, ...], ...]
"""Any of these in which all are true."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Go on after that time, or when the condition holds."""

    line: int
    duration_ns: int
    condition: Condition | None = None
    since_start: bool = False
    """The duration counts from the start of the script: ``at 500ms``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """Give a value a name."""

    line: int
    name: str
    term: Term
    observed: bool
    """Whether it is written down (``observe``) or only kept for later lines (``let``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the peer speaks where a line does not say it."""

    timestamps: bool = False
    """Offered, and on every segment when both have them."""
    sack: bool = True
    checksum: bool = False
    """DSS checksums asked for."""
    mss: int | None = 1460
    window: int = 65535
    """The field of every segment."""
    window_scale: int | None = 7
    answers: Literal["none", "tcp", "dss"] = "dss"
    """What data of the other end is answered with: nothing, ACKs without MPTCP, ACKs with a DATA_ACK."""
    data_ack: int = 8
    dsn: int = 8
    """Octets of the numbers, 4 or 8."""
    ending: Literal["reset", "silent"] = "reset"
    """What the other end hears after the script."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Set:
    """Change a setting from here on."""

    line: int
    name: str
    value: str | int | bool | None


Action = Say | Handshake | Wait | Keep | Set


@dataclass(frozen=True, slots=True)
class Program:
    """A whole script."""

    actions: tuple[Action, ...]
    lines: tuple[str, ...] = field(default=(), compare=False)

    @property
    def subflows(self) -> tuple[int, ...]:
        """Numbers of the subflows that it begins, in order."""
        return tuple(dict.fromkeys(each.subflow for each in self.actions if isinstance(each, Handshake)))
