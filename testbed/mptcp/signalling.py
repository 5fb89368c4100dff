"""The signalling of one connection: what arriving MP_CAPABLE, MP_JOIN, ADD_ADDR, REMOVE_ADDR and MP_PRIO do, and when
ours leave. The data level calls it for every accepted segment that is not plain DSS traffic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from testbed.mptcp import resets
from testbed.mptcp.addresses import PROBES, AddressBook, probe
from testbed.mptcp.fast_open import SynData
from testbed.mptcp.handshake_arrival import handshake_arrived
from testbed.mptcp.host import NoFreePort
from testbed.mptcp.opening import SubflowOpener
from testbed.mptcp.path_manager import catalog
from testbed.mptcp.path_manager.base import Pair, PathView
from testbed.mptcp.subflow import Subflow, SubflowState
from testbed.mptcp.subflow_start import open_subflow
from testbed.wire.options import AddAddr, Dss, MapEcho, MpJoin, MpPrio, MptcpOption, MpTcprst, RemoveAddr
from testbed.wire.segment import RST, SYN, Segment, SocketAddress
from testbed.wire.serial import widen

if TYPE_CHECKING:
    from testbed.mptcp.connection import Connection

JOIN_ACK_ATTEMPTS: Final = 6
"""Third packets of a join without a fourth before the subflow is given up (as many as Linux sends SYN/ACKs and one)."""


class Signalling:
    """One for each connection."""

    __slots__ = (
        "book",
        "connection",
        "has_timers",
        "host",
        "initial",
        "initial_remote",
        "is_counted",
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
        self.has_timers = True
        """Something may be waited for. False: nothing is, and :meth:`next_timeout` need not be asked; whatever may
        begin a wait sets it. The hot path asks this."""
        self.is_counted = False
        """In ``MPTcpExtMPCurrEstab``, which counts the connections that speak MPTCP now."""
        self.is_stopped = False
        """After fallback there is no signalling."""
        self.initial: Pair | None = None
        """Addresses of the first subflow."""
        self.initial_remote = True
        """The peer's first address is in force: no REMOVE_ADDR of 0."""

    # --- what arrives ---

    def segment_arrived(self, subflow: Subflow, segment: Segment, now: int) -> bool:
        """A segment that TCP has accepted (A3), before its DSS is read. To be called unless ``subflow.settled`` and the
        segment has no MPTCP option but a DSS. False: the subflow is reset, nothing more is to be read of it."""
        self.has_timers = True
        if segment.flags & RST:
            self._reset_arrived(subflow, segment)
            return True
        if subflow.probe_deadline is not None:
            subflow.probe_deadline = None  # G10: it answers, so it stays
            subflow.probes = 0
            subflow.settled = subflow.fully_established
        if not subflow.fully_established and not handshake_arrived(self, subflow, segment, now):
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

    def _signal_arrived(self, subflow: Subflow, option: MptcpOption, segment: Segment, now: int) -> None:
        counters = self.connection.counters
        if isinstance(option, AddAddr):
            remote = self.book.add_addr_arrived(subflow, option)
            if remote is not None:
                self.opener.forget_remote(remote.address)
                self.reconcile(now)
        elif isinstance(option, RemoveAddr):
            for gone in self.book.remove_addr_arrived(option, now):
                self._abandon_joins(gone.address, now)
                self.opener.forget_remote(gone.address)
            if 0 in option.address_ids:
                self.initial_remote = False
            self.reconcile(now)
        elif isinstance(option, MpPrio):
            counters.add("MPTcpExtMPPrioRx")
            subflow.backup_remote = option.backup  # G14: this subflow, this direction
            subflow.set_backup()
        elif isinstance(option, MapEcho):
            if subflow.echoed is not None:
                counters.add("TestbedMapEchoRx")
                subflow.echoed.echoed(widen(option.ssn, subflow.tcp.snd_una - subflow.ssn_offset) + subflow.ssn_offset)
        elif isinstance(option, MpJoin) and not subflow.is_client and not segment.flags & SYN:
            subflow.tcp.ack_now()  # the third packet again: our fourth was lost (J6)

    def _abandon_joins(self, remote: bytes, now: int) -> None:
        """The peer has withdrawn an address that we are just trying to reach."""
        for subflow in list(self.connection.subflows):
            if subflow.state is SubflowState.SYN_SENT and subflow.tcp.remote.host == remote:
                self.reset_subflow(subflow, resets.UNSPECIFIED, now)

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

    def before_handshake(self) -> None:
        """Segments may leave, but there are no keys yet: a client's SYN may take data along (Fast Open)."""
        connection = self.connection
        if connection.is_client and connection.subflows:
            self.syn_data.give(connection, connection.subflows[0])

    def count_established(self) -> None:
        """Both keys are known."""
        self.is_counted = True
        self.connection.counters.add("MPTcpExtMPCurrEstab")

    def count_closing(self) -> None:
        """The connection leaves ESTABLISHED and CLOSE-WAIT (``mptcp_set_state``), or MPTCP."""
        if self.is_counted:
            self.is_counted = False
            self.connection.counters.add("MPTcpExtMPCurrEstab", -1)

    def initial_port(self) -> int:
        """The peer's port of the first subflow."""
        return 0 if self.initial is None else self.initial.remote.port

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
        self.has_timers = True
        view = self.path_view()
        carrier = self.carrier()
        if carrier is not None and carrier.fully_established:
            self.book.send_removals(carrier)
            for address in self.path_manager.announced(view):
                self.book.announce(address, connection.parameters.announced_port, carrier)
        if connection.accepts_subflows():
            self.opener.plan(self.path_manager, view)
            self._open_due(now)

    def _open_due(self, now: int) -> None:
        while (pair := self.opener.due(now)) is not None:
            backup = self.path_manager.is_backup(self.path_view(), pair.local)
            try:
                open_subflow(self, pair.local, pair.remote, now, backup)
            except NoFreePort:
                self.connection.counters.add("MPTcpExtMPJoinSynTxBindErr")
                self.opener.has_failed(pair)

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
        if self.is_stopped:
            return
        subflow.backup_local = backup
        subflow.set_backup()
        subflow.signal(MpPrio(backup))
        self.host.wake(self.connection)

    def close_subflow(self, subflow: Subflow, now: int) -> None:
        """End a subflow that works, by FIN once what it carries has been acknowledged (RFC 8684 §3.4.2, G11)."""
        subflow.tcp.close(now)
        self.host.wake(self.connection)

    def data_waits(self, now: int) -> None:
        """The user has given data while subflows wait for that (J12)."""
        self.has_timers = True
        self._open_due(now)

    def local_address_up(self, address: bytes, now: int) -> None:
        """The host has (again) this address."""
        self.opener.forget_local(address)
        self.reconcile(now)

    def local_address_down(self, address: bytes, now: int) -> None:
        """The host has lost it: its subflows are over, the peer is told on another (G9).

        What has nowhere else to go waits for the address to come back, as TCP does: plain TCP, and a connection whose
        path manager knows no other pair.
        """
        if self.is_stopped or self.initial is None:
            return
        subflows = self.connection.subflows
        lost = [subflow for subflow in subflows if subflow.tcp.local.host == address and not subflow.is_over()]
        others = any(subflow.tcp.local.host != address and not subflow.is_over() for subflow in subflows)
        if not others and not self.path_manager.wanted(self.path_view()):
            return
        for subflow in lost:
            self.reset_subflow(subflow, resets.UNSPECIFIED, now, transient=True)
        self.opener.forget_local(address)
        self.book.withdraw(address, self.carrier())
        self.reconcile(now)

    def reset_subflow(
        self, subflow: Subflow, reason: int, now: int, transient: bool = False, first: MptcpOption | None = None
    ) -> None:
        """RST with MP_TCPRST on one subflow; the connection is told that it is over."""
        subflow.reset(reason, now, transient, first)
        if subflow.tcp.outbox:  # in SYN-SENT there is nothing to reset
            self.connection.counters.add("MPTcpExtMPRstTx")
        self.connection.subflow_closed(subflow, now)

    def signal_left(self, subflow: Subflow, option: MptcpOption, now: int) -> None:
        """A signal is on its way."""
        self.has_timers = True
        if isinstance(option, AddAddr) and not option.echo:
            self.book.add_addr_left(subflow, option, now)

    def subflow_closed(self, subflow: Subflow, now: int) -> None:
        """Its TCP is in CLOSED: off the host's table; what it was to signal goes elsewhere; perhaps a successor."""
        subflow.state = SubflowState.CLOSED
        self.host.unbind(subflow)
        if self.is_stopped:
            return
        self.has_timers = True
        self.opener.lost(subflow, now)
        self.connection.counters.add("MPTcpExtRmSubflow")
        self.book.carrier_closed(subflow, self.carrier())
        self.reconcile(now)

    def stop(self) -> None:
        """Fallback or end of the connection: no token, no announcements, no openings."""
        self.count_closing()
        self.is_stopped = True
        self.opener.may_open = False
        self.opener.waiting = []
        self.book.pending.clear()
        self.host.tokens.release(self.connection.keys.local_token, self.connection)

    def next_timeout(self) -> int | None:
        """The earliest of: echo overdue, opening due, third packet of a join due again, probe or MP_FAIL unanswered."""
        if self.is_stopped or not self.has_timers:
            return None
        first = self.book.next_timeout() if self.book.pending else None
        first = _earlier(first, self.connection.fallback.deadline)
        if self.opener.waiting:
            first = _earlier(first, self.opener.next_timeout())
        for subflow in self.connection.subflows:
            if subflow.echoed is not None:
                first = _earlier(first, subflow.echoed.next_timeout())
            if not subflow.settled:
                first = _earlier(first, subflow.probe_deadline)
                if subflow.join is not None:
                    first = _earlier(first, subflow.join.deadline)
        self.has_timers = first is not None
        return first

    def handle_timeout(self, now: int) -> None:
        """Whatever of that is due."""
        if self.is_stopped:
            return
        self.book.handle_timeout(self.carrier(), now)
        self.connection.fallback.handle_timeout(now)
        for subflow in list(self.connection.subflows):
            if subflow.mapping_due(now) is not None:
                subflow.tcp.ack_now()
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
