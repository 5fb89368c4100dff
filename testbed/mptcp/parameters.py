"""What an MPTCP endpoint can be told, as frozen values: sender's option policy, receiver's rules, everything else.

The named profiles are values of these (:mod:`testbed.mptcp.profiles`). Times in ns, sizes in octets.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from testbed.tcp.parameters import Parameters as TcpParameters

Width = Literal["32", "64", "match"]
"""``match``: for a DATA_ACK, as wide as the DSN last received (RFC 8684 §3.3.2)."""
Candidate = Literal["timestamps", "handshake", "dss", "sack", "add_addr", "remove_addr", "mp_prio", "mp_fail"]


_MAPPING_OCTETS: Final = 0xFFFF
"""Data-Level Length has 16 bits (RFC 8684 §3.3)."""
_SACK_BLOCKS: Final = 4
"""RFC 2018 §3: no more fit."""


def _check(name: str, value: int | None, least: int, most: int | None = None) -> None:
    """ValueError with the field's name when the value is out of its range."""
    if value is not None and (value < least or (most is not None and value > most)):
        bounds = f"at least {least}" if most is None else f"{least} to {most}"
        raise ValueError(f"{name} is {value}; it has to be {bounds}")


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionPolicy:
    """What goes into the 40 octets of a segment, and what is deferred when it does not fit."""

    priority: tuple[Candidate, ...] = (
        "timestamps",
        "handshake",
        "dss",
        "mp_fail",
        "add_addr",
        "remove_addr",
        "mp_prio",
        "sack",
    )
    """First come, first served; what does not fit waits (signals) or is reduced or left out (SACK)."""
    packing: Literal["aligned", "dense"] = "aligned"
    """``aligned``: every option padded to 4 octets, as Linux; ``dense``: only the end of the area is padded."""
    dsn_width: Literal["32", "64"] = "64"
    data_ack_width: Width = "match"
    data_ack_on_data: bool = True
    """Whether data segments carry a DATA_ACK; pure ACKs always do."""
    mapping_every: Literal["segment", "chunk"] = "segment"
    """``chunk``: a mapping only on the first segment of what it covers (RFC 8684 §3.3.1 allows it)."""
    mapping_late_by: int = 0
    """Segments by which a mapping follows the data that it covers (S5; RFC 8684 forbids it)."""
    mapping_octets: int = 65535
    """Longest mapping; a multiple of the MSS makes chunks that several segments share."""
    map_on_pure_ack: bool = False
    """Send the mapping on an ACK of its own before the data (S19)."""
    map_until_echoed: bool = False
    """Repeat a mapping on a pure ACK until the peer's private echo of it (N14), as ADD_ADDR until its echo."""
    split_for_sack: bool = False
    """When SACK blocks do not fit beside the mapping, split the segment: one half carries the mapping of both, the
    other the SACK blocks (S23)."""
    drop_timestamps_for_sack: bool = False
    """Leave the timestamps out of one packet when that makes room for a SACK block."""
    sack_limit: int = 4
    """Most SACK blocks on one segment."""
    add_addr_on_data: bool = False
    """ADD_ADDR may ride on data (before the DSS in ``priority``: it may displace it); else on pure ACKs only."""
    add_addr_displaces_dss: bool = True
    """On a pure ACK an ADD_ADDR leaves alone, without DSS (Linux)."""
    drop_timestamps_for_add_addr: bool = False
    """An ADD_ADDR that does not fit beside the timestamps leaves without them (Linux 7.2: add_addr_v6_port_drop_ts);
    else it is given up and counted (AddAddrTxDrop)."""
    dss_may_be_left_out: bool = False
    """When the DSS does not fit, the segment leaves without it (iOS); else it has priority over all but timestamps."""

    def __post_init__(self) -> None:
        """Raise ValueError for what no segment could be built with."""
        _check("mapping_octets", self.mapping_octets, 1, _MAPPING_OCTETS)
        _check("mapping_late_by", self.mapping_late_by, 0)
        if self.map_until_echoed and not self.map_on_pure_ack:
            raise ValueError("map_until_echoed is about mappings on pure ACKs: it goes with map_on_pure_ack")
        _check("sack_limit", self.sack_limit, 0, _SACK_BLOCKS)
        known = get_args(Candidate)
        if len(set(self.priority)) < len(self.priority) or not set(self.priority) <= set(known):
            raise ValueError(f"priority is {self.priority}; it has to name each at most once of {', '.join(known)}")


ViolationAction = Literal["fallback-or-reset", "reset", "discard"]
"""``fallback-or-reset``: TCP when only one subflow ever was and all is contiguous, else reset (Linux)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverRules:
    """What a receiver does with mappings that are late, odd or missing."""

    hold_unmapped: int | Literal["window"] = "window"
    """How long in-order data without a mapping is held (RFC 8684 §3.3.1 MAY): 0, ns, or until a receive window of data
    has passed (SHOULD close then)."""
    accept_late_mapping: bool = True
    """A mapping on a later segment than its data (while that is held)."""
    mapping_must_touch_segment: bool = True
    """RFC 8684 §3.3.1: MUST apply to some or all of the segment that carries it (S2)."""
    accept_sub_mapping: bool = True
    """A mapping that is consistent with, but not identical to, one that is known."""
    accept_partly_mapped_segment: bool = True
    """A segment of which a part lies outside every mapping: that part is treated as unmapped; False: a violation."""
    mapping_on_pure_ack: bool = True
    """Whether a mapping on a segment without data is stored."""
    echo_mappings: bool = False
    """Answer each mapping on a segment without data with a private echo (N14)."""
    on_violation: ViolationAction = "reset"
    on_missing_mapping: ViolationAction = "reset"
    deliver_failed_checksum: bool = False
    """On a single subflow DATA_ACK and deliver at once what failed, as Linux (E6a), against a MUST NOT (K6)."""
    first_data_needs_data_ack: bool = True
    """B10: the first DSS of the server confirms only with a DATA_ACK."""
    infinite_mapping_on_fallback: bool = True
    """K3: tell the peer with an infinite mapping when its first data, or its acknowledgment of ours, has no option;
    Linux does not (C3). Later, and after MP_FAIL (``send_infinite_map``), the peer is always told: it speaks MPTCP."""
    bare_ack_falls_back: Literal["always", "client"] = "always"
    """K3: our data acknowledged by the subflow without any DATA_ACK. ``client``: only the opener draws the consequence,
    a server waits for the connection-level timer first (Linux does no more than reinject, E8d; but a
    peer that is plain TCP by then would deliver that twice)."""
    mappings_limit: int | None = None
    """Mappings stored per subflow; beyond it the newest is dropped (and counted). None: as many as a receive buffer of
    segments of 536 octets (the default MSS, RFC 9293 §3.7.1) brings with a mapping each, so that a hole in a large
    window costs none."""

    def __post_init__(self) -> None:
        """Raise ValueError for what could receive nothing."""
        if not isinstance(self.hold_unmapped, str):
            _check("hold_unmapped", self.hold_unmapped, 0)
        elif self.hold_unmapped != "window":
            raise ValueError(f"hold_unmapped is {self.hold_unmapped!r}; it has to be ns or 'window'")
        _check("mappings_limit", self.mappings_limit, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """One MPTCP endpoint."""

    tcp: TcpParameters = field(default_factory=TcpParameters)
    options: OptionPolicy = field(default_factory=OptionPolicy)
    rules: ReceiverRules = field(default_factory=ReceiverRules)
    enabled: bool = True
    """False: plain TCP."""
    checksum: bool = False
    """Ask for DSS checksums (the A flag of MP_CAPABLE); they are used if either end asks."""
    refuse_checksum: bool = False
    """Rather plain TCP than checksums: an MP_CAPABLE with A=1 counts as invalid (RFC 8684 §3.1, B16)."""
    scheduler: str = "lowest-rtt"
    path_manager: str = "none"
    congestion_control: str = "cubic"
    """reno, cubic (uncoupled), lia, olia, balia."""
    subflows_limit: int = 8
    """Subflows at a time, the first included."""
    add_addr_accepted_limit: int = 8
    add_addr_timeout_ns: int = 120_000_000_000
    """Retransmission of ADD_ADDR without echo: the smaller of this and the RTO-based wait; at most 3 times."""
    add_addr_attempts: int = 3
    """Retransmissions of one ADD_ADDR."""
    announced_port: int | None = None
    """Port in our ADD_ADDRs, on which subflows are taken, too (RFC 8684 §3.4.1); None: that of the connection."""
    subflow_delay_ns: int = 0
    """Time from the first DSS to the first further subflow (RFC 8684 §3.9.2, J12)."""
    subflow_jitter_ns: int = 0
    """A random time up to this is added to it (J11: RECOMMENDED where both ends may open)."""
    subflow_buffered_octets: int = 0
    """Unsent data that must wait for each further subflow before it is opened: short transfers then do without (J12
    proposes an initial window)."""
    subflow_interval_ns: int = 0
    """Least time between two openings: bounds their rate (J12)."""
    no_more_subflows: bool = False
    """The C flag of MP_CAPABLE."""
    send_buffer: int = 4 << 20
    receive_buffer: int = 4 << 20
    syn_attempts: int = 3
    """SYNs with MP_CAPABLE before a plain one (B21)."""
    opportunistic_retransmission: bool = True
    penalisation: bool = True
    bad_subflow_timeouts: int | None = None
    """RTOs in a row, without progress, after which a subflow is reset with MP_TCPRST reason 5 while another one works
    (W11); None: TCP's own R2 decides."""
    reinjection_timeout_ns: int | None = None
    """Connection-level timer; None: from the subflows' RTOs."""
    fast_close: Literal["ack", "reset"] = "reset"
    """How abort() tells the peer (RFC 8684 §3.5): option A, MP_FASTCLOSE on an ACK, retransmitted; or option R, on a
    RST of every subflow (Linux)."""
    close_timeout_ns: int = 60_000_000_000
    """How long a connection without any subflow waits for a new one before it is given up (Linux
    ``net.mptcp.close_timeout``)."""
    ports: int = 2
    """Subflows in all that ``ndiffports`` makes."""
    dss_acks_are_duplicates: bool = True
    """A pure ACK that repeats both the acknowledgment and the DATA_ACK counts as a duplicate ACK (RFC 5681), as RFC
    8684 §3.4.1 and §4 mean it, which exempt signals; False: no ACK with any MPTCP option does (letter of §3, A1)."""
    backup_addresses: tuple[bytes, ...] = ()
    """Local addresses whose subflows carry the backup flag."""
    record_ledger: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for a number out of its range; names are looked up by the catalogs that have them."""
        _check("subflows_limit", self.subflows_limit, 1)
        _check("add_addr_accepted_limit", self.add_addr_accepted_limit, 0)
        _check("add_addr_timeout_ns", self.add_addr_timeout_ns, 1)
        _check("add_addr_attempts", self.add_addr_attempts, 0)
        _check("announced_port", self.announced_port, 1, 0xFFFF)
        _check("subflow_delay_ns", self.subflow_delay_ns, 0)
        _check("subflow_jitter_ns", self.subflow_jitter_ns, 0)
        _check("subflow_buffered_octets", self.subflow_buffered_octets, 0)
        _check("subflow_interval_ns", self.subflow_interval_ns, 0)
        _check("send_buffer", self.send_buffer, 1)
        _check("receive_buffer", self.receive_buffer, 1)
        _check("syn_attempts", self.syn_attempts, 0)
        _check("bad_subflow_timeouts", self.bad_subflow_timeouts, 1)
        _check("reinjection_timeout_ns", self.reinjection_timeout_ns, 1)
        _check("close_timeout_ns", self.close_timeout_ns, 0)
        _check("ports", self.ports, 1)
