"""One subflow: a TCP connection, where its handshake stands, its address ids, its backup flags, its pending signals.

What it carries of the data is :class:`testbed.mptcp.subflow_data.SubflowData`'s; what it tells the option builder and
the schedulers is declared in :class:`testbed.mptcp.subflow_view.SubflowView`.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from testbed.mptcp import handshake
from testbed.mptcp.join import JoinState
from testbed.mptcp.subflow_data import SubflowData
from testbed.mptcp.subflow_view import NOT_KNOWN
from testbed.tcp.seam import SegmentPlan
from testbed.tcp.state import CLOSE_WAIT, CLOSED, ESTABLISHED, TIME_WAIT
from testbed.wire.options import (
    AddAddr,
    Dss,
    MapEcho,
    MpCapable,
    MpFail,
    MpFastclose,
    MpJoin,
    MpPrio,
    MptcpOption,
    MpTcprst,
    RemoveAddr,
)
from testbed.wire.segment import ACK, RST, SYN, Segment

if TYPE_CHECKING:
    from testbed.mptcp.connection import Connection

SIGNALS_LIMIT: Final = 32
"""A peer that floods us with ADD_ADDR gets no more echoes than make this many waiting signals of a subflow. Our own
signals are bounded by what they are about, and a lost one would leave the peer with a wrong view for good."""


class SubflowState(Enum):
    """The subflow's own handshake; RFC 8684 figure 8 for the join."""

    SYN_SENT = "SYN-SENT"
    SYN_RECEIVED = "SYN-RECEIVED"
    PRE_ESTABLISHED = "PRE-ESTABLISHED"
    """We have sent the third packet of a join and wait for the fourth: no data yet (J6)."""
    ESTABLISHED = "ESTABLISHED"
    CLOSED = "CLOSED"


class Subflow(SubflowData):
    """A subflow of an MPTCP connection; after fallback, the only one and plain TCP."""

    __slots__ = (
        "backup_local",
        "backup_remote",
        "duplicate_data_ack",
        "fully_established",
        "is_client",
        "is_initial",
        "join",
        "local_id",
        "peer_reset",
        "probe_deadline",
        "probes",
        "remote_id",
        "reset_first",
        "reset_reason",
        "sent_plain_syn",
        "settled",
        "state",
        "syn_count",
        "third_ack_left",
    )

    def __init__(
        self, connection: Connection, *, is_client: bool, is_initial: bool, local_id: int, remote_id: int
    ) -> None:
        super().__init__(connection)
        self.is_client = is_client
        """Opened by this host."""
        self.is_initial = is_initial
        self.local_id = local_id
        self.remote_id = remote_id
        """-1: the peer has not told it (yet)."""
        self.state = SubflowState.SYN_SENT if is_client else SubflowState.SYN_RECEIVED
        self.join: JoinState | None = None
        self.settled = False
        """Fully established, and the peer has not disowned its address: signalling need not see segments without
        signals. The hot path asks this."""
        self.fully_established = False
        """The peer is known to have got all of our handshake: no MP_CAPABLE or MP_JOIN is owed any more."""
        self.backup_local = False
        """We asked the peer not to use it (MP_JOIN's B, MP_PRIO)."""
        self.backup_remote = False
        self.third_ack_left = False
        """MP_CAPABLE with both keys has been sent."""
        self.syn_count = 0
        """SYNs with an MPTCP option sent."""
        self.sent_plain_syn = False
        """MP_CAPABLE went unanswered: the SYN leaves without (B21)."""
        self.reset_reason: MpTcprst | None = None
        """Why we reset it."""
        self.reset_first: MptcpOption | None = None
        """MP_FAIL or MP_FASTCLOSE that goes on the RST before the reason."""
        self.peer_reset: MpTcprst | None = None
        """Why the peer did, if it said so."""
        self.probe_deadline: int | None = None
        """The peer has removed this subflow's address: reset at this time unless something arrives (G10)."""
        self.probes = 0
        self.duplicate_data_ack: int | None = None
        """DATA_ACK of the last ACK that looked like a duplicate."""

    # --- state ---

    @property
    def may_send_data(self) -> bool:
        """The handshake is over as far as data is concerned (RFC 8684 §3.2: none in PRE_ESTABLISHED)."""
        return self.state is SubflowState.ESTABLISHED

    def is_unused_join(self, so_far: bool) -> bool:
        """A join whose handshake is so far from its end that no data can be on its way; ``so_far``: any join on which
        none has left or arrived."""
        if self.is_initial:
            return False
        if self.state is SubflowState.SYN_SENT or self.state is SubflowState.SYN_RECEIVED:
            return True
        return so_far and self.tcp.snd_end <= 1 and self.tcp.rcv_nxt <= 1

    def usable(self) -> bool:
        """As the data level says; written out, since schedulers ask it for each chunk and subflow."""
        state = self.tcp.state
        return (
            (state is ESTABLISHED or state is CLOSE_WAIT)
            and self.state is SubflowState.ESTABLISHED
            and not self.is_stale
            and not self.is_gone
            and self.infinite_mapping is None
        )

    def established(self) -> None:
        """The handshake allows data now."""
        self.state = SubflowState.ESTABLISHED

    def confirmed(self) -> None:
        """The peer has got all of it: MP_CAPABLE and MP_JOIN leave no more."""
        self.fully_established = True
        self.handshake_due = False
        self.settled = self.probe_deadline is None

    def set_backup(self) -> None:
        """Recompute ``backup`` after either side's flag has changed."""
        self.backup = self.backup_local or self.backup_remote

    def is_over(self) -> bool:
        """Closed, or waiting out TIME_WAIT: carries nothing any more."""
        return self.state is SubflowState.CLOSED or self.tcp.state in (CLOSED, TIME_WAIT)

    def can_signal(self) -> bool:
        """An ACK can leave on it."""
        return not self.is_over() and self.tcp.state >= ESTABLISHED

    def is_transient_loss(self) -> bool:
        """Reset with T set: the same path may serve again soon (RFC 8684 §3.6)."""
        return any(reset is not None and reset.transient for reset in (self.reset_reason, self.peer_reset))

    def reset(self, reason: int, now: int, transient: bool = False, first: MptcpOption | None = None) -> None:
        """Abort with an RST that says why (MP_TCPRST), after ``first`` (MP_FAIL, MP_FASTCLOSE) if there is one.

        To be called through :meth:`testbed.mptcp.signalling.Signalling.reset_subflow`, which tells the connection.
        """
        self.reset_reason = MpTcprst(reason, transient)
        self.reset_first = first
        self.state = SubflowState.CLOSED
        self.tcp.abort(now)

    # --- SubflowView: the handshake's options ---

    def handshake_option(self, plan: SegmentPlan) -> MptcpOption | None:
        """The MP_CAPABLE or MP_JOIN of this segment."""
        if self.is_initial:
            return self._capable_option(plan)
        return self._join_option(plan)

    def _capable_option(self, plan: SegmentPlan) -> MptcpOption | None:
        connection = self.connection
        parameters = connection.parameters
        keys = connection.keys
        if plan.flags & SYN:
            if plan.flags & ACK:
                return handshake.answer(parameters, connection.checksum, keys.local_key)
            # B21: after that many unanswered SYNs a middlebox is assumed to drop what it does not know.
            if self.syn_count < parameters.syn_attempts:
                return handshake.offer(parameters)
            self.sent_plain_syn = True
            return None
        if self.fully_established or not self.is_client or keys.remote_key is None:
            return None
        if plan.ssn != 1 + self.ssn_offset:
            return None
        option = handshake.confirmation(parameters, connection.checksum, keys.local_key, keys.remote_key)
        if plan.length == 0:
            # B11; repeated as long as nothing shows that the peer has it, in turns with a DATA_FIN that is due.
            return None if self._data_fin_has_its_turn() else option
        return self._with_first_data(option, plan)

    def _data_fin_has_its_turn(self) -> bool:
        connection = self.connection
        if connection.data_fin_due == NOT_KNOWN or not self.third_ack_left:
            return False
        return connection.reinjection.attempts & 1 == 0

    def _with_first_data(self, option: MpCapable, plan: SegmentPlan) -> MptcpOption | None:
        """B12: the first data repeats both keys, and a Data-Level Length stands in place of the mapping."""
        mapping = self.mapping_for(plan.ssn, plan.length)
        if mapping is None or mapping.ssn != plan.ssn or not mapping.length or mapping.data_fin:
            return None  # no data of the connection, a fallback, or a DATA_FIN that only a DSS can carry
        option.data_length = mapping.length
        option.checksum = mapping.checksum
        plan.length = min(plan.length, mapping.length)
        return option

    def _join_option(self, plan: SegmentPlan) -> MptcpOption | None:
        join = self.join
        if join is None:
            return None
        keys = self.connection.keys
        if plan.flags & SYN:
            if plan.flags & ACK:
                return join.answer(keys, self.local_id, self.backup_local)
            return join.request(keys, self.local_id, self.backup_local)
        if self.is_client and self.state is SubflowState.PRE_ESTABLISHED:
            return join.confirmation(keys)
        return None

    def handshake_left(self, option: MptcpOption, now: int) -> None:
        """Counts SYNs; the third packet of a join is repeated until the fourth comes (J6)."""
        counters = self.connection.counters
        if isinstance(option, MpCapable):
            if option.sender_key is None:
                self.syn_count += 1
                if self.syn_count == 1:
                    counters.add("MPTcpExtMPCapableSYNTX")
            elif option.receiver_key is not None and not self.third_ack_left:
                self.third_ack_left = True
                if self.connection.data_fin_due != NOT_KNOWN:
                    self.tcp.ack_now()
        elif isinstance(option, MpJoin) and self.join is not None:
            if option.token is not None:
                if self.syn_count == 0:
                    counters.add("MPTcpExtMPJoinSynTx")
                self.syn_count += 1
            elif option.nonce is None:
                self.join.attempts += 1
                self.connection.signalling.has_timers = True
                self.join.deadline = now + (self.tcp.rto << min(self.join.attempts - 1, 6))

    # --- SubflowView: signals ---

    def signal(self, option: MptcpOption) -> bool:
        """Queue a signal and have an ACK leave for it; False for an echo when too many wait already."""
        if option in self.signals:
            return True
        if len(self.signals) >= SIGNALS_LIMIT and isinstance(option, AddAddr) and option.echo:
            return False
        if isinstance(option, MpPrio):  # the last word counts
            for waiting in self.signals:
                if isinstance(waiting, MpPrio):
                    self.signals.remove(waiting)
                    break
        self.signals.append(option)
        if not self._rides_on_data(option):
            self.tcp.ack_now()
        return True

    def _rides_on_data(self, option: MptcpOption) -> bool:
        """Whether it waits for data of which there is plenty, under a policy that lets it ride there (S10)."""
        connection = self.connection
        may_ride = isinstance(option, AddAddr) and not option.echo and connection.parameters.options.add_addr_on_data
        return may_ride and connection.send_queue.unsent_octets > 0 and self.usable()

    def signal_left(self, option: MptcpOption, now: int) -> None:
        """Strike it off; what still waits gets an ACK of its own (G8)."""
        self.signals.remove(option)
        self._count_signal(option)
        if self.signals or (isinstance(option, AddAddr) and self.connection.mapping_heard):
            self.tcp.ack_now()  # the next one; or the DATA_ACK that an ADD_ADDR may have displaced
        self.connection.signalling.signal_left(self, option, now)

    def signal_never_fits(self, option: MptcpOption, now: int) -> None:
        """Given up, under the kernel's names for it."""
        self.signals.remove(option)
        if isinstance(option, AddAddr):
            self.connection.counters.add("MPTcpExtEchoAddTxDrop" if option.echo else "MPTcpExtAddAddrTxDrop")
            if not option.echo:
                self.connection.signalling.book.add_addr_never_fits(option)
        elif isinstance(option, RemoveAddr):
            self.connection.counters.add("MPTcpExtRmAddrTxDrop")
        if self.signals:
            self.tcp.ack_now()

    def _count_signal(self, option: MptcpOption) -> None:
        counters = self.connection.counters
        if isinstance(option, AddAddr):
            counters.add("MPTcpExtEchoAddTx" if option.echo else "MPTcpExtAddAddrTx")
        elif isinstance(option, RemoveAddr):
            counters.add("MPTcpExtRmAddrTx", len(option.address_ids))
        elif isinstance(option, MpPrio):
            counters.add("MPTcpExtMPPrioTx")
        elif isinstance(option, MpFail):
            counters.add("MPTcpExtMPFailTx")
        elif isinstance(option, MapEcho):
            counters.add("TestbedMapEchoTx")

    def is_signal(self, segment: Segment) -> bool:
        """A1: an option beside the DSS, or a DATA_ACK that is not that of the duplicate before: other subflows have
        moved it."""
        for option in segment.mptcp:
            if not isinstance(option, Dss):
                return True
        dss = segment.dss
        if dss is None:
            return False
        if not self.connection.parameters.dss_acks_are_duplicates:
            return True
        known = self.duplicate_data_ack
        self.duplicate_data_ack = dss.data_ack
        return known != dss.data_ack and known is not None

    def proves_reset(self, segment: Segment) -> bool:
        """I2: MP_FASTCLOSE with our key, which is longer than any sequence number that RFC 5961 would have guessed."""
        connection = self.connection
        if connection.fallen_back:
            return False
        for option in segment.mptcp:
            if isinstance(option, MpFastclose) and option.receiver_key == connection.keys.local_key:
                return True
        return False

    # --- SubflowView: resets ---

    def reset_options(self, plan: SegmentPlan) -> tuple[MptcpOption, ...]:
        """MP_FAIL or MP_FASTCLOSE, then MP_TCPRST (RFC 8684 §3.5-3.7); none on a reset that nobody reasoned about."""
        if self.reset_reason is None:
            return () if self.reset_first is None else (self.reset_first,)
        return (self.reset_reason,) if self.reset_first is None else (self.reset_first, self.reset_reason)

    def premature(self, segment: Segment) -> bool:
        """Whether a segment is to wait until the peer's key is known, and so must not reach TCP yet.

        The first octet of the responder's data space comes with MP_CAPABLE (third ACK or first data, B12). When both
        are lost or late, a later segment would end TCP's handshake without a key, and with it MPTCP.
        """
        if self.state is not SubflowState.SYN_RECEIVED or not self.is_initial or not self.speaks_mptcp:
            return False
        if not segment.flags & ACK or segment.flags & RST or handshake.capable_of(segment.mptcp) is not None:
            return False
        if not segment.payload:
            return segment.dss is not None
        return self.tcp.offset_of(segment.seq) != 1 + self.peer_ssn_offset
