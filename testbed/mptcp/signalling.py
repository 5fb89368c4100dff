"""The signalling of one connection: what arriving MP_CAPABLE, MP_JOIN, ADD_ADDR, REMOVE_ADDR and MP_PRIO do, and when
ours leave. The data level calls it for every accepted segment that is not plain DSS traffic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from testbed.mptcp import handshake, resets
from testbed.mptcp.addresses import PROBES, AddressBook, probe
from testbed.mptcp.fast_open import SynData, take_syn_data
from testbed.mptcp.join import JoinState, join_of
from testbed.mptcp.opening import SubflowOpener
from testbed.mptcp.option_space import SubflowOptions
from testbed.mptcp.path_manager import catalog
from testbed.mptcp.path_manager.base import Pair, PathView
from testbed.mptcp.subflow import Subflow, SubflowState
from testbed.tcp.connection import Connection as TcpConnection
from testbed.tcp.state import SYN_RECEIVED
from testbed.wire.options import AddAddr, Dss, MpCapable, MpJoin, MpPrio, MptcpOption, MpTcprst, RemoveAddr
from testbed.wire.segment import ACK, RST, SYN, Segment, SocketAddress

if TYPE_CHECKING:
    from testbed.mptcp.connection import Connection

JOIN_ACK_ATTEMPTS: Final = 6
"""Third packets of a join without a fourth before the subflow is given up (as many as Linux sends SYN/ACKs and one)."""


class Signalling:
    """One for each connection."""

    __slots__ = (
        "book",
        "connection",
        "host",
        "initial",
        "initial_remote",
        "is_stopped",
        "opener",
        "path_manager",
        "syn_data",
    )

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.host = connection.host
        self.book = AddressBook(connection)
        self.opener = SubflowOpener(connection)
        self.path_manager = catalog.make(connection.parameters.path_manager)
        self.syn_data = SynData()
        self.is_stopped = False
        """After fallback there is no signalling."""
        self.initial: Pair | None = None
        """Addresses of the first subflow."""
        self.initial_remote = True
        """The peer's first address is in force: no REMOVE_ADDR of 0."""

    # --- subflows of ours ---

    def open_initial(self, local: SocketAddress, remote: SocketAddress, now: int) -> Subflow:
        """Active open: the SYN with MP_CAPABLE is due."""
        subflow = Subflow(self.connection, is_client=True, is_initial=True, local_id=0, remote_id=0)
        self._attach(subflow, local, remote, now)
        self._begin_plain_if_told(subflow, now)
        subflow.tcp.open(now)
        return subflow

    def _begin_plain_if_told(self, subflow: Subflow, now: int) -> None:
        """No MP_CAPABLE at all: switched off, a peer known to drop it, or no free token (B21)."""
        connection = self.connection
        if not connection.parameters.enabled:
            connection.fall_back("", now)
        elif self.host.failures.advises_against(subflow.tcp.remote.host, now):
            connection.fall_back("MPTcpExtMPCapableSYNTXDisabled", now)
        elif not self.host.tokens.claim(connection.keys.local_token, connection):
            connection.fall_back("MPTcpExtMPFallbackTokenInit", now)

    def accept_initial(self, segment: Segment, now: int) -> Subflow:
        """Passive open: a listener's SYN; the SYN/ACK is due, with MP_CAPABLE if the SYN had one that we can answer."""
        connection = self.connection
        subflow = Subflow(connection, is_client=False, is_initial=True, local_id=0, remote_id=0)
        self._attach(subflow, segment.destination, segment.source, now)
        option = handshake.capable_of(segment.mptcp)
        if option is not None:
            connection.counters.add("MPTcpExtMPCapableSYNRX")
        if option is None or not connection.parameters.enabled or not self._take_offer(option):
            connection.fall_back("", now)
        subflow.tcp.accept_syn(segment, now)
        if take_syn_data(connection, subflow, now):
            self.host.accepted(connection)
        return subflow

    def before_handshake(self) -> None:
        """Segments may leave, but there are no keys yet: a client's SYN may take data along (Fast Open)."""
        connection = self.connection
        if connection.is_client and connection.subflows:
            self.syn_data.give(connection, connection.subflows[0])

    def _take_offer(self, option: MpCapable) -> bool:
        connection = self.connection
        if not handshake.offer_is_usable(option, connection.parameters):
            return False
        if not self.host.tokens.claim(connection.keys.local_token, connection):
            connection.counters.add("MPTcpExtMPFallbackTokenInit")
            return False
        connection.checksum = connection.parameters.checksum or handshake.checksum_asked(option)
        self._mind_refusal(option)
        return True

    def open_subflow(self, local: bytes, remote: SocketAddress, now: int, backup: bool = False) -> Subflow:
        """MP_JOIN from one of our addresses; the port is the first subflow's where that makes a new pair (J10)."""
        subflow = Subflow(
            self.connection,
            is_client=True,
            is_initial=False,
            local_id=self.book.local_id(local),
            remote_id=-1,
        )
        subflow.join = JoinState(self.host.key_source.nonce())
        subflow.backup_local = backup
        subflow.set_backup()
        preferred = self.connection.local.port if local != self.connection.local.host else None
        port = self.host.free_port(local, remote, preferred)
        self._attach(subflow, SocketAddress(local, port), remote, now)
        subflow.tcp.open(now)
        return subflow

    def accept_join(self, segment: Segment, option: MpJoin, now: int) -> int | None:
        """A SYN with MP_JOIN and our token: makes the subflow, or says why not (a reason of MP_TCPRST, J4)."""
        connection = self.connection
        if self.is_stopped or connection.keys.remote_key is None or option.nonce is None:
            return resets.MPTCP_SPECIFIC
        if not connection.accepts_subflows() or not self.opener.has_room():
            return resets.PROHIBITED
        local = segment.destination
        subflow = Subflow(
            connection,
            is_client=False,
            is_initial=False,
            local_id=self.book.local_id(local.host),
            remote_id=option.address_id,
        )
        join = JoinState(self.host.key_source.nonce())
        join.remote_nonce = option.nonce
        subflow.join = join
        subflow.backup_remote = option.backup
        subflow.backup_local = self.path_manager.is_backup(self.path_view(), local.host)
        subflow.set_backup()
        self._attach(subflow, local, segment.source, now)
        subflow.tcp.accept_syn(segment, now)
        return None

    def _attach(self, subflow: Subflow, local: SocketAddress, remote: SocketAddress, now: int) -> None:
        connection = self.connection
        parameters = connection.parameters
        subflow.option_policy = SubflowOptions(subflow, parameters.options, connection.ledger, subflow.number)
        subflow.tcp = TcpConnection(
            local,
            remote,
            parameters.tcp,
            self.host.rng,
            isn=self.host.isn(local, remote, now),
            counters=connection.counters,
            options=subflow.option_policy,
            window=connection.window_source(subflow),
            congestion=connection.congestion_controller(),
            fast_open=self.host.fast_open if subflow.is_initial else None,
            timestamp_offset=self.host.timestamp_offset(local, remote),
        )
        if subflow.is_initial:
            self.initial = Pair(local.host, remote)
        connection.subflows.append(subflow)
        self.host.bind(subflow)
        self.host.wake(connection)

    # --- what arrives ---

    def segment_arrived(self, subflow: Subflow, segment: Segment, now: int) -> bool:
        """A segment that TCP has accepted (A3), before its DSS is read. To be called unless ``subflow.settled`` and the
        segment has no MPTCP option but a DSS. False: the subflow is reset, nothing more is to be read of it."""
        if segment.flags & RST:
            self._reset_arrived(subflow, segment)
            return True
        if subflow.probe_deadline is not None:
            subflow.probe_deadline = None  # G10: it answers, so it stays
            subflow.probes = 0
            subflow.settled = subflow.fully_established
        if not subflow.fully_established and not self._handshake_arrived(subflow, segment, now):
            return False
        if not self.is_stopped and self.connection.keys.remote_key is not None:
            if subflow.is_initial and segment.dss is not None and subflow.state is SubflowState.ESTABLISHED:
                self._initial_dss_arrived(subflow, segment.dss, now)
            for option in segment.mptcp:
                self._signal_arrived(subflow, option, segment, now)
        return True

    def _reset_arrived(self, subflow: Subflow, segment: Segment) -> None:
        """Why the peer resets it, if it says so (RFC 8684 §3.6); TCP and the data level do the rest."""
        for option in segment.mptcp:
            if isinstance(option, MpTcprst) and subflow.peer_reset is None:
                self.connection.counters.add("MPTcpExtMPRstRx")
                subflow.peer_reset = option

    def _handshake_arrived(self, subflow: Subflow, segment: Segment, now: int) -> bool:
        state = subflow.state
        if state is SubflowState.SYN_SENT:
            if subflow.is_initial:
                self._capable_syn_ack_arrived(subflow, segment, now)
                return True
            return self._join_syn_ack_arrived(subflow, segment, now)
        if state is SubflowState.SYN_RECEIVED:
            if subflow.tcp.state <= SYN_RECEIVED:
                return True  # a repeated SYN, or nothing that ends TCP's handshake
            if subflow.is_initial:
                self._capable_ack_arrived(subflow, segment, now)
                return True
            return self._join_ack_arrived(subflow, segment, now)
        if state is SubflowState.PRE_ESTABLISHED and not segment.flags & SYN:
            subflow.confirmed()  # the fourth packet: any segment shows that the third arrived (J6)
            assert subflow.join is not None
            subflow.join.deadline = None
            self._established(subflow, now)
        return True

    def _capable_syn_ack_arrived(self, subflow: Subflow, segment: Segment, now: int) -> None:
        """The client's side of B3, B16, B19, B20."""
        connection = self.connection
        self.syn_data.answered(connection, subflow)
        if not segment.flags & ACK:
            if (
                segment.flags & SYN and not self.is_stopped
            ):  # simultaneous open: the peer sent no SYN/ACK that could carry a key
                connection.fall_back("MPTcpExtSimultConnectFallback", now)
                subflow.state = SubflowState.SYN_RECEIVED
            return
        option = handshake.capable_of(segment.mptcp)
        if self.is_stopped:
            pass  # no MP_CAPABLE was sent
        elif subflow.sent_plain_syn:
            self.host.failures.failed(subflow.tcp.remote.host, now)
            connection.counters.add("MPTcpExtBlackhole")
            connection.fall_back("MPTcpExtMPCapableSYNTXDrop", now)
        elif option is None or not handshake.answer_is_usable(option, connection.parameters):
            connection.fall_back("MPTcpExtMPCapableFallbackSYNACK", now)
        else:
            assert option.sender_key is not None
            connection.counters.add("MPTcpExtMPCapableSYNACKRX")
            self.host.failures.succeeded(subflow.tcp.remote.host)
            connection.checksum = connection.parameters.checksum or handshake.checksum_asked(option)
            self._mind_refusal(option)
            connection.keys.learn(option.sender_key)
            connection.keys_known(now)
        self.syn_data.declare_rest(connection, subflow)
        self._established(subflow, now)

    def _capable_ack_arrived(self, subflow: Subflow, segment: Segment, now: int) -> None:
        """The server's: the third packet or the first data brings the peer's key, or there is no MPTCP (B14, B20)."""
        connection = self.connection
        if not self.is_stopped:
            option = handshake.capable_of(segment.mptcp)
            keys = connection.keys
            if option is None or not handshake.confirmation_is_usable(option, keys.local_key, connection.checksum):
                connection.fall_back("MPTcpExtMPCapableFallbackACK", now)
            else:
                assert option.sender_key is not None
                connection.counters.add("MPTcpExtMPCapableACKRX")
                keys.learn(option.sender_key)
                subflow.confirmed()
                subflow.settled = False  # the first DSS is still to be seen
                connection.keys_known(now)
        self._established(subflow, now)
        self.host.accepted(connection)
        self.reconcile(now)

    def _join_syn_ack_arrived(self, subflow: Subflow, segment: Segment, now: int) -> bool:
        counters = self.connection.counters
        option = join_of(segment.mptcp) if segment.flags & ACK else None
        join = subflow.join
        assert join is not None
        if option is None or not join.answer_is_genuine(self.connection.keys, option):
            if option is not None:
                counters.add("MPTcpExtMPJoinSynAckHMacFailure")
            self.reset_subflow(subflow, resets.MPTCP_SPECIFIC, now)
            return False
        counters.add("MPTcpExtMPJoinSynAckRx")
        if option.backup:
            counters.add("MPTcpExtMPJoinSynAckBackupRx")
        subflow.remote_id = option.address_id
        subflow.backup_remote = option.backup
        subflow.set_backup()
        subflow.state = SubflowState.PRE_ESTABLISHED
        return True

    def _join_ack_arrived(self, subflow: Subflow, segment: Segment, now: int) -> bool:
        connection = self.connection
        option = join_of(segment.mptcp)
        join = subflow.join
        assert join is not None
        if option is None or not join.confirmation_is_genuine(connection.keys, option):
            if option is not None:
                connection.counters.add("MPTcpExtMPJoinAckHMacFailure")
            self.reset_subflow(subflow, resets.MPTCP_SPECIFIC, now)
            return False
        if self.is_stopped or not connection.accepts_subflows():
            connection.counters.add("MPTcpExtMPJoinRejected")
            self.reset_subflow(subflow, resets.PROHIBITED, now)
            return False
        connection.counters.add("MPTcpExtMPJoinAckRx")
        subflow.confirmed()
        subflow.tcp.ack_now()  # the fourth packet
        self._established(subflow, now)
        return True

    def _established(self, subflow: Subflow, now: int) -> None:
        subflow.established()
        if self.is_stopped:
            subflow.confirmed()
        self.connection.subflow_established(subflow, now)

    def _mind_refusal(self, option: MpCapable) -> None:
        """B18: the C flag closes the peer's first address and port to further subflows."""
        if handshake.refuses_more_subflows(option) and self.initial is not None:
            self.opener.refused_remotes[self.initial.remote] = None

    def _signal_arrived(self, subflow: Subflow, option: MptcpOption, segment: Segment, now: int) -> None:
        counters = self.connection.counters
        if isinstance(option, AddAddr):
            remote = self.book.add_addr_arrived(subflow, option)
            if remote is not None:
                self.opener.remote_is_fresh(remote.address)
                self.reconcile(now)
        elif isinstance(option, RemoveAddr):
            self.book.remove_addr_arrived(option, now)
            if 0 in option.address_ids:
                self.initial_remote = False
            self.reconcile(now)
        elif isinstance(option, MpPrio):
            counters.add("MPTcpExtMPPrioRx")
            subflow.backup_remote = option.backup  # G14: this subflow, this direction
            subflow.set_backup()
        elif isinstance(option, MpJoin) and not subflow.is_client and not segment.flags & SYN:
            subflow.tcp.ack_now()  # the third packet again: our fourth was lost (J6)

    def _initial_dss_arrived(self, subflow: Subflow, dss: Dss, now: int) -> None:
        """The first DSS of the peer: it speaks MPTCP and has our key, so its handshake is complete (B10: shown by the
        DATA_ACK in it) and further subflows may be opened (B15)."""
        if dss.data_ack is None and self.connection.parameters.rules.first_data_needs_data_ack:
            return
        subflow.confirmed()
        if not self.opener.may_open:
            self.opener.allow(now)
            self._ask_for_backup(subflow)
            self.reconcile(now)

    def _ask_for_backup(self, subflow: Subflow) -> None:
        """MP_CAPABLE has no B flag: a first subflow from a backup address says so by MP_PRIO."""
        if subflow.is_initial and subflow.tcp.local.host in self.connection.parameters.backup_addresses:
            self.set_backup(subflow, True)

    # --- what the connection, the user and the clock do ---

    def path_view(self) -> PathView:
        """What the path manager is shown."""
        assert self.initial is not None
        initial = self.initial
        remotes = [SocketAddress(remote.address, remote.port) for remote in self.book.remotes.values()]
        return PathView(
            is_client=self.connection.is_client,
            initial=initial,
            initial_remote_is_open=self.initial_remote and initial.remote not in self.opener.refused_remotes,
            local_addresses=list(self.host.addresses),
            announced_remotes=remotes,
            can_reach=self.host.can_reach,
            parameters=self.connection.parameters,
        )

    def reconcile(self, now: int) -> None:
        """Something about addresses or subflows has changed: announce and open what the path manager now wants."""
        connection = self.connection
        if self.is_stopped or self.initial is None or connection.keys.remote_key is None:
            return
        view = self.path_view()
        carrier = self.carrier()
        if carrier is not None and carrier.fully_established:
            for address in self.path_manager.announced(view):
                self.book.announce(address, None, carrier)
        if connection.accepts_subflows():
            self.opener.plan(self.path_manager, view)
            self._open_due(now)

    def _open_due(self, now: int) -> None:
        while (pair := self.opener.due(now)) is not None:
            self.open_subflow(pair.local, pair.remote, now, self.path_manager.is_backup(self.path_view(), pair.local))

    def carrier(self) -> Subflow | None:
        """The subflow that signals about the connection leave on: the first that works, rather not a backup."""
        best: Subflow | None = None
        for subflow in self.connection.subflows:
            if subflow.state is SubflowState.ESTABLISHED and subflow.can_signal():
                if not subflow.backup:
                    return subflow
                best = best or subflow
        return best

    def set_backup(self, subflow: Subflow, backup: bool) -> None:
        """Ask the peer to use (or not to use) a subflow: MP_PRIO on it (RFC 8684 §3.3.8)."""
        subflow.backup_local = backup
        subflow.set_backup()
        subflow.signal(MpPrio(backup))
        self.host.wake(self.connection)

    def close_subflow(self, subflow: Subflow, now: int) -> None:
        """End a subflow that works, by FIN once what it carries has been acknowledged (RFC 8684 §3.4.2, G11)."""
        subflow.tcp.close(now)
        self.host.wake(self.connection)

    def local_address_up(self, address: bytes, now: int) -> None:
        """The host has (again) this address."""
        self.opener.local_is_fresh(address)
        self.reconcile(now)

    def local_address_down(self, address: bytes, now: int) -> None:
        """The host has lost it: its subflows are over, the peer is told on another (G9)."""
        for subflow in list(self.connection.subflows):
            if subflow.tcp.local.host == address and not subflow.is_over():
                self.reset_subflow(subflow, resets.UNSPECIFIED, now, transient=True)
        if not self.is_stopped:
            self.book.withdraw(address, self.carrier())
            self.reconcile(now)

    def reset_subflow(
        self, subflow: Subflow, reason: int, now: int, transient: bool = False, first: MptcpOption | None = None
    ) -> None:
        """RST with MP_TCPRST on one subflow; the connection is told that it is over."""
        subflow.reset(reason, now, transient, first)
        self.connection.counters.add("MPTcpExtMPRstTx")
        self.connection.subflow_closed(subflow, now)

    def signal_left(self, subflow: Subflow, option: MptcpOption, now: int) -> None:
        """A signal is on its way (or was given up)."""
        if isinstance(option, AddAddr) and not option.echo:
            self.book.add_addr_left(subflow, option, now)

    def subflow_closed(self, subflow: Subflow, now: int) -> None:
        """Its TCP is in CLOSED: off the host's table; what it was to signal goes elsewhere; perhaps a successor."""
        subflow.state = SubflowState.CLOSED
        self.host.unbind(subflow)
        if self.is_stopped:
            return
        self.opener.lost(subflow, now)
        self.connection.counters.add("MPTcpExtRmSubflow")
        self.book.carrier_closed(subflow, self.carrier())
        self.reconcile(now)

    def stop(self) -> None:
        """Fallback or end of the connection: no token, no announcements, no openings."""
        self.is_stopped = True
        self.opener.may_open = False
        self.opener.waiting = []
        self.book.pending.clear()
        self.host.tokens.release(self.connection.keys.local_token, self.connection)

    def next_timeout(self) -> int | None:
        """The earliest of: echo overdue, opening due, third packet of a join to be repeated, probe unanswered."""
        if self.is_stopped:
            return None
        first = self.book.next_timeout() if self.book.pending else None
        if self.opener.waiting:
            first = _earlier(first, self.opener.next_timeout())
        for subflow in self.connection.subflows:
            if not subflow.settled:
                first = _earlier(first, subflow.probe_deadline)
                if subflow.join is not None:
                    first = _earlier(first, subflow.join.deadline)
        return first

    def handle_timeout(self, now: int) -> None:
        """Whatever of that is due."""
        if self.is_stopped:
            return
        self.book.handle_timeout(self.carrier(), now)
        for subflow in list(self.connection.subflows):
            if not subflow.settled:
                self._subflow_timeout(subflow, now)
        self._open_due(now)

    def _subflow_timeout(self, subflow: Subflow, now: int) -> None:
        join = subflow.join
        if join is not None and join.deadline is not None and join.deadline <= now:
            join.deadline = None
            if join.attempts >= JOIN_ACK_ATTEMPTS:
                self.reset_subflow(subflow, resets.UNACCEPTABLE_PERFORMANCE, now)
                return
            subflow.tcp.ack_now()
        if subflow.probe_deadline is not None and subflow.probe_deadline <= now:
            if subflow.probes >= PROBES:
                subflow.probe_deadline = None
                self.reset_subflow(subflow, resets.MPTCP_SPECIFIC, now)
            else:
                probe(subflow, now)


def _earlier(one: int | None, other: int | None) -> int | None:
    if one is None:
        return other
    return one if other is None or one < other else other
