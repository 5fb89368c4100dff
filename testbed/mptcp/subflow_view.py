"""What the option builder and the schedulers ask a subflow: the base class that the subflow itself implements.

Numbers are offsets: an SSN is TCP's own (the SYN is 0; the DSS on the wire has it less ``ssn_offset``), a DSN is an
unbounded integer (IDSN + n, never wrapped); the option builder wraps them. The plain attributes are kept up to date by
the subflow and the data level; the methods are asked.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import mypyc_attr

from testbed.tcp.seam import SegmentPlan
from testbed.wire.options import MptcpOption
from testbed.wire.segment import Segment

NOT_KNOWN: Final = -1
"""In place of a DSN or DATA_ACK that does not exist (yet)."""


class OutgoingMapping:
    """A mapping of one subflow, declared once and never changed (RFC 8684 §3.3.1, checklist D3)."""

    __slots__ = ("carried_at", "checksum", "data_fin", "dsn", "length", "ssn")

    def __init__(self, dsn: int, ssn: int, length: int, checksum: int | None = None, data_fin: bool = False) -> None:
        self.dsn = dsn
        self.ssn = ssn
        self.length = length
        """Octets of data; 0: the infinite mapping (D14). Without the octet of the DATA_FIN."""
        self.checksum = checksum
        """RFC 8684 §3.3.1, over this mapping's data; None: not negotiated."""
        self.data_fin = data_fin
        """The DATA_FIN follows this data: Data-Level Length is one more (D20). To be decided before the first
        transmission."""
        self.carried_at = NOT_KNOWN
        """SSN of the segment that was the first to carry it; the option builder sets it. A mapping that went out on a
        pure ACK counts as carried by its first data."""

    def must_ride(self, ssn: int, length: int) -> bool:
        """Whether the segment ``ssn``, ``length`` has to carry it even if others may go without: nobody has carried it
        yet, or the one that did is sent again."""
        return self.carried_at < 0 or ssn <= self.carried_at < ssn + length

    def __repr__(self) -> str:
        return f"<OutgoingMapping dsn={self.dsn} ssn={self.ssn} length={self.length}{' FIN' if self.data_fin else ''}>"


@mypyc_attr(allow_interpreted_subclasses=True)
class SubflowView:
    """One subflow as option builder and schedulers see it."""

    __slots__ = (
        "backup",
        "data_acked",
        "handshake_due",
        "peer_sends_wide_dsn",
        "peer_ssn_offset",
        "signals",
        "speaks_mptcp",
        "ssn_offset",
        "wide_dsn_required",
    )

    def __init__(self) -> None:
        self.speaks_mptcp = True
        """False: plain TCP; no MPTCP option leaves (fallback, or never agreed). The SYN of an attempt is MPTCP."""
        self.handshake_due = True
        """Whether :meth:`handshake_option` is to be asked for segments after the SYN; False once fully established."""
        self.signals: list[MptcpOption] = []
        """Signals that wait for a segment, oldest first: ADD_ADDR (and echo), REMOVE_ADDR, MP_PRIO, MP_FAIL,
        MP_FASTCLOSE. Whoever appends one calls ``tcp.ack_now()``. :meth:`signal_left` strikes it off."""
        self.data_acked = False
        """A DATA_ACK for data of this subflow has arrived: until then every segment carries its mapping (D26)."""
        self.peer_sends_wide_dsn = False
        """The DSN last received in this connection had 64 bits: DATA_ACKs then have, too (D15)."""
        self.wide_dsn_required = False
        """2^32 octets could pass within an MSL: 64-bit DSNs, whatever the policy says (D12)."""
        self.ssn_offset = 0
        """Octets that our SYN carried (Fast Open): TCP's offset = SSN of our mappings + this (RFC 8684 B.2)."""
        self.peer_ssn_offset = 0
        """The same of the peer's SYN and its mappings: of the two ends only the client's SYN can carry data."""
        self.backup = False
        """Asked for by either end (MP_JOIN's B or MP_PRIO)."""

    # --- options of a segment ---

    def handshake_option(self, plan: SegmentPlan) -> MptcpOption | None:
        """MP_CAPABLE or MP_JOIN for this segment: SYN, SYN/ACK, third ACK and its repetitions, first data (22 or 24
        octets: with a Data-Level Length; then it stands in place of the DSS). None: a DSS as usual.

        May lower ``plan.length`` to the mapping that such an MP_CAPABLE declares.
        """
        raise NotImplementedError

    def reset_options(self, plan: SegmentPlan) -> tuple[MptcpOption, ...]:
        """For an RST, in order of importance: MP_FASTCLOSE or MP_FAIL, then MP_TCPRST (RFC 8684 §3.5-3.7)."""
        raise NotImplementedError

    def mapping_for(self, ssn: int, length: int) -> OutgoingMapping | None:
        """The mapping that contains ``ssn``; None: that data has none (after fallback)."""
        raise NotImplementedError

    def infinite_mapping_due(self, is_fin: bool) -> bool:
        """Whether a segment without data is to carry the infinite mapping, too (K7): then ``mapping_for`` is asked.
        ``is_fin``: it has a FIN."""
        return False

    def data_ack(self) -> int:
        """Next DSN expected; :data:`NOT_KNOWN` while the peer's key is not known, or after fallback (K9)."""
        raise NotImplementedError

    def bare_data_fin(self) -> int:
        """DSN of a DATA_FIN that is to ride on a segment without data now (D21); :data:`NOT_KNOWN`: none.
        The same until it is DATA_ACKed: retransmission is the caller's timing."""
        raise NotImplementedError

    def bare_data_fin_checksum(self) -> int | None:
        """Its checksum (over the pseudo-header alone, D21); None: not negotiated."""
        raise NotImplementedError

    def is_last_data(self, end: int) -> bool:
        """Whether nothing is to be sent for now behind this SSN: asked by policies that put off mappings."""
        raise NotImplementedError

    def ask_for_acks(self) -> None:
        """Have a segment without data leave on every subflow of the connection: mappings wait, and no data follows."""
        raise NotImplementedError

    def mapping_due(self, now: int) -> OutgoingMapping | None:
        """A mapping that left on a pure ACK, and whose echo is overdue (N14); None: none."""
        return None

    def mapping_announced(self, mapping: OutgoingMapping, now: int) -> None:
        """It has left on a pure ACK, and is to be echoed (N14)."""
        raise NotImplementedError

    # --- what became of it ---

    def signal_left(self, option: MptcpOption, now: int) -> None:
        """The signal is on its way; the implementation takes it from ``signals`` and starts its timers."""
        raise NotImplementedError

    def signal_never_fits(self, option: MptcpOption, now: int) -> None:
        """It cannot fit even alone under this policy (ADD_ADDR v6 with port beside timestamps): given up, counted."""
        raise NotImplementedError

    def handshake_left(self, option: MptcpOption, now: int) -> None:
        """An MP_CAPABLE or MP_JOIN is on its way."""

    def is_signal(self, segment: Segment) -> bool:
        """Whether an ACK that looks like a duplicate came for the sake of its MPTCP options (A1)."""
        return False

    def proves_reset(self, segment: Segment) -> bool:
        """Whether a RST carries what only the peer knows (I2)."""
        return False

    # --- scheduling ---

    def usable(self) -> bool:
        """May carry data: established (for a join: the fourth ACK has come, J6), sending side open, not stale."""
        raise NotImplementedError

    def send_room(self, now: int) -> int:
        """Octets that the congestion window would let leave now, less what waits unsent in the subflow."""
        raise NotImplementedError

    def smoothed_rtt(self) -> int:
        """ns; 0: no sample yet."""
        raise NotImplementedError

    def rtt_deviation(self) -> int:
        """RTTVAR in ns (ECF's sigma)."""
        raise NotImplementedError

    def congestion_window(self) -> int:
        """Octets."""
        raise NotImplementedError

    def outstanding(self) -> int:
        """Octets in flight or waiting in the subflow."""
        raise NotImplementedError

    def segment_size(self) -> int:
        """Payload octets of a full packet."""
        raise NotImplementedError

    def uncarried(self) -> int:
        """Octets of the connection's send queue, not DATA_ACKed, that this subflow has not carried (redundant)."""
        raise NotImplementedError
