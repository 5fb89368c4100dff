"""A TCP segment in its IP packet, as a value: what the stacks exchange, in memory or through the codec.

Immutable by convention. ``options`` is the exact content of the option area in wire order, NOPs and EOL included, so
that encoding is free of policy. A segment whose ``gso_octets`` is above 0 and less than its payload is a super-segment:
the kernel's GSO (or whoever forwards it) cuts the payload at that size and copies the options onto each piece.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from testbed.wire.options import (
    NOP,
    Dss,
    MptcpOption,
    Option,
    Sack,
    Timestamps,
)

FIN: Final = 0x01
SYN: Final = 0x02
RST: Final = 0x04
PSH: Final = 0x08
ACK: Final = 0x10
URG: Final = 0x20
ECE: Final = 0x40
CWR: Final = 0x80

ECN_NOT_ECT: Final = 0
ECN_ECT1: Final = 1
ECN_ECT0: Final = 2
ECN_CE: Final = 3


class SocketAddress(NamedTuple):
    """IP address in network order (4 or 16 octets) and port."""

    host: bytes
    port: int


class _Found:
    """What was found in the option area looked through last: the packets of one chunk share theirs."""

    __slots__ = ("dss", "mptcp", "options", "sack", "timestamps")

    def __init__(self) -> None:
        self.options: tuple[Option, ...] = ()
        self.timestamps: Timestamps | None = None
        self.sack: Sack | None = None
        self.dss: Dss | None = None
        self.mptcp: tuple[MptcpOption, ...] = ()

    def look_through(self, options: tuple[Option, ...]) -> None:
        """Find the first of each kind that counts."""
        self.options = options
        timestamps: Timestamps | None = None
        sack: Sack | None = None
        dss: Dss | None = None
        mptcp: tuple[MptcpOption, ...] = ()
        for option in options:
            if option is NOP:
                continue
            if isinstance(option, Dss):
                mptcp = (*mptcp, option) if mptcp else (option,)
                if dss is None:
                    dss = option
            elif isinstance(option, Timestamps):
                if timestamps is None:
                    timestamps = option
            elif isinstance(option, MptcpOption):
                mptcp = (*mptcp, option)
            elif sack is None and isinstance(option, Sack):
                sack = option
        self.timestamps = timestamps
        self.sack = sack
        self.dss = dss
        self.mptcp = mptcp


_LAST: Final = _Found()


class Segment:
    """One TCP segment with the addresses and ECN field of its packet."""

    __slots__ = (
        "ack",
        "destination",
        "dss",
        "ecn",
        "flags",
        "gso_octets",
        "mptcp",
        "options",
        "payload",
        "sack",
        "seq",
        "source",
        "timestamps",
        "urgent",
        "window",
    )

    def __init__(
        self,
        source: SocketAddress,
        destination: SocketAddress,
        seq: int,
        ack: int,
        flags: int,
        window: int,
        options: tuple[Option, ...] = (),
        payload: bytes = b"",
        urgent: int = 0,
        ecn: int = ECN_NOT_ECT,
        gso_octets: int = 0,
    ) -> None:
        self.source = source
        self.destination = destination
        self.seq = seq
        """32 bits, as on the wire."""
        self.ack = ack
        """32 bits; 0 without the ACK flag."""
        self.flags = flags
        self.window = window
        """The 16-bit field, unscaled."""
        self.options = options
        self.payload = payload
        self.urgent = urgent
        self.ecn = ecn
        self.gso_octets = gso_octets
        # What the hot path asks for, found once: first Timestamps, first Sack, first DSS, all MPTCP options.
        found = _LAST
        if options is not found.options:
            found.look_through(options)
        self.timestamps: Timestamps | None = found.timestamps
        self.sack: Sack | None = found.sack
        self.dss: Dss | None = found.dss
        self.mptcp: tuple[MptcpOption, ...] = found.mptcp

    @property
    def seq_length(self) -> int:
        """SEG.LEN: payload, SYN and FIN (RFC 9293 §3.4)."""
        return len(self.payload) + ((self.flags >> 1) & 1) + (self.flags & 1)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Segment):
            return NotImplemented
        return (
            self.seq == other.seq
            and self.ack == other.ack
            and self.flags == other.flags
            and self.window == other.window
            and self.source == other.source
            and self.destination == other.destination
            and self.options == other.options
            and self.payload == other.payload
            and self.urgent == other.urgent
            and self.ecn == other.ecn
            and self.gso_octets == other.gso_octets
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        letters = "".join(letter for bit, letter in zip(range(8), "FSRPAUEC", strict=True) if self.flags >> bit & 1)
        return (
            f"<Segment {self.source.port}>{self.destination.port} {letters} seq={self.seq} ack={self.ack} "
            f"win={self.window} len={len(self.payload)} {list(self.options)}>"
        )
