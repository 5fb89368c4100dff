"""Back to TCP: when, how the peer is told, and the stream afterwards (RFC 8684 §3.7).

After fallback the connection is its one subflow. What TCP delivers in order *is* the stream: no mapping is made up and
no DSN computed from a sequence number, so an overlapping retransmission cannot shift anything (protocol.md §4.3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from testbed.mptcp import resets
from testbed.mptcp.dsn import on_wire
from testbed.mptcp.mapping import IncomingMapping
from testbed.mptcp.send_queue import Mapping
from testbed.mptcp.subflow_view import NOT_KNOWN
from testbed.wire.options import MpFail
from testbed.wire.serial import widen

if TYPE_CHECKING:
    from testbed.mptcp.connection import Connection
    from testbed.mptcp.subflow import Subflow

FAILS_LIMIT: Final = 3
"""MP_FAILs for one failure, as the ACK that carries one may be lost; the RFC says nothing of that."""


class Fallback:
    """One for each connection."""

    __slots__ = ("connection", "deadline", "fail", "fail_sent", "failed", "fails_left", "fin_given")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.fail_sent = False
        """We have sent MP_FAIL on the only subflow (K7)."""
        self.failed: Subflow | None = None
        """Data of this subflow failed its checksum: it and all after it is held until the peer says that it is plain
        TCP from here."""
        self.fail: MpFail | None = None
        """What we told the peer then."""
        self.fails_left = 0
        self.deadline: int | None = None
        """When it is told once more, or the subflow given up, ns."""
        self.fin_given = False

    # --- the step itself ---

    def begin(self, now: int, tell_peer: bool) -> None:
        """Leave MPTCP for good (K10). ``tell_peer``: with an infinite mapping."""
        connection = self.connection
        connection.fallen_back = True
        connection.shared_window.limits_sending = True
        connection.data_ack = NOT_KNOWN  # K9: no DATA_ACK leaves any more
        connection.data_fin_due = NOT_KNOWN
        connection.signalling.stop()
        queue = connection.send_queue
        while queue.next_reinjection() is not None:
            queue.reinjected()
        subflow = connection.only_subflow()
        if subflow is None:
            return
        subflow.sized_for = -1
        subflow.handshake_due = False  # an MP_CAPABLE would say that MPTCP is still meant
        self._abandon_joins(subflow, now)
        if tell_peer and connection.keys_are_known:
            self._declare_infinite(subflow)
        subflow.signals = [option for option in subflow.signals if isinstance(option, MpFail)]
        self.say_no_more()
        self._release_held(subflow, now)
        self.acknowledged(subflow, now)
        self.data_given(now)

    def _abandon_joins(self, kept: Subflow, now: int) -> None:
        """One subflow only (K9): joins whose handshake was under way (``mptcp_try_fallback`` refuses them, too)."""
        for subflow in list(self.connection.subflows):
            if subflow is not kept and not subflow.is_gone:
                self.connection.signalling.reset_subflow(subflow, resets.UNSPECIFIED, now)

    def say_no_more(self) -> None:
        """After the MP_FAIL and the infinite mapping that are owed no MPTCP option leaves any more."""
        for subflow in self.connection.subflows:
            if subflow.speaks_mptcp and subflow.infinite_mapping is None and not subflow.signals:
                subflow.speaks_mptcp = False

    def _declare_infinite(self, subflow: Subflow) -> None:
        """Retroactive: from the last octet that was DATA_ACKed on (RFC 8684 §3.7); length and checksum 0 (D14)."""
        queue = self.connection.send_queue
        head = queue.head()
        if head is None:
            dsn, ssn = queue.snd_nxt, subflow.tcp.snd_end
        else:
            dsn, ssn = queue.snd_una, head.ssn + queue.snd_una - head.dsn
        subflow.infinite_mapping = Mapping(dsn, ssn, b"")
        if self.connection.checksum:
            subflow.infinite_mapping.checksum = 0
        subflow.infinite_from = subflow.tcp.snd_nxt
        subflow.tcp.ack_now()

    def _release_held(self, subflow: Subflow, now: int) -> None:
        """What waited for a mapping or for the rest of its checksum is plain data now, in TCP's order."""
        connection = self.connection
        self._wait_no_more()
        queue = connection.receive_queue
        before = queue.rcv_nxt
        pieces = subflow.unmapped.take()
        for mapping in subflow.incoming.items:
            position = mapping.ssn
            for piece in mapping.pieces:
                pieces.append((position, piece))
                position += len(piece)
        if not connection.closing.peer_fin_reached:
            for _, piece in sorted(pieces):
                queue.append(piece)
        subflow.incoming.clear()
        if queue.rcv_nxt != before:
            connection.received(now)

    # --- mappings that say so ---

    def infinite_mapping_arrived(self, subflow: Subflow, dsn: int, wire_ssn: int, now: int) -> bool:
        """The peer has fallen back (D14, K7): so do we, if the stream is contiguous; else it cannot go on (K8)."""
        connection = self.connection
        connection.counters.add("MPTcpExtInfiniteMapRx")
        ssn = widen(wire_ssn, subflow.tcp.rcv_nxt - subflow.peer_ssn_offset) + subflow.peer_ssn_offset
        is_linear = dsn - ssn == connection.receive_queue.rcv_nxt - self._first_undelivered(subflow)
        # A join that has carried nothing has been given up by the peer.
        if not connection.is_contiguous(ignore_joins=True) or (connection.mapping_heard and not is_linear):
            connection.signalling.reset_subflow(subflow, resets.MPTCP_SPECIFIC, now)
            return False
        connection.fall_back("", now)
        return True

    def _first_undelivered(self, subflow: Subflow) -> int:
        """SSN of the first octet that has arrived without being handed on, or will arrive next."""
        if subflow.unmapped.pieces:
            return subflow.unmapped.pieces[0][0]
        for mapping in subflow.incoming.items:
            if mapping.pieces:
                return mapping.ssn
        return subflow.incoming.mapped_to

    # --- checksums ---

    def checksum_failed(self, subflow: Subflow, mapping: IncomingMapping, rest: bytes, now: int) -> None:
        """K5 to K8. ``rest``: data that follows the failed mapping in the segment that completed it."""
        connection = self.connection
        rules = connection.parameters.rules
        fail = MpFail(on_wire(mapping.dsn, 8))
        # Linux says nothing when not even the first data was right: nobody has relied on MPTCP yet (E6b).
        is_first = not connection.mapping_verified and rules.on_violation == "fallback-or-reset"
        is_first = is_first and connection.may_fall_back()
        contiguous = connection.is_contiguous() and mapping.dsn == connection.receive_queue.rcv_nxt
        if rules.deliver_failed_checksum:
            # What follows is delivered at once, before the peer has said that it is contiguous, too.
            contiguous = contiguous and not connection.has_joined and not connection.has_reinjected
        if not contiguous:
            # K5, K8: this subflow ends; its data from here on is discarded and comes again on another.
            connection.counters.add("MPTcpExtMPFailTx")
            connection.signalling.reset_subflow(subflow, resets.MIDDLEBOX, now, first=fail)
            return
        subflow.unmapped.add(mapping.ssn, b"".join(mapping.pieces), now)
        if rest:
            subflow.unmapped.add(mapping.end, rest, now)
        mapping.pieces = []
        if is_first or rules.deliver_failed_checksum:
            if not is_first:
                self.fail_sent = True
                subflow.signal(fail)
            connection.fall_back("TestbedDataCsumFallback", now)
            return
        self.failed = subflow
        self.fail = fail
        self.fails_left = FAILS_LIMIT
        self._tell_failure(subflow, fail, now)

    def _tell_failure(self, subflow: Subflow, fail: MpFail, now: int) -> None:
        """MP_FAIL on an ACK, which may be lost."""
        self.fail_sent = True
        self.fails_left -= 1
        self.deadline = now + 2 * subflow.tcp.rto
        self.connection.signalling.has_timers = True
        subflow.signal(fail)

    def handle_timeout(self, now: int) -> None:
        """The peer has not answered an MP_FAIL: tell it again; in the end it does not do what it MUST, and the subflow
        is of no use (Linux ``mptcp_mp_fail_no_response``)."""
        subflow = self.failed
        if subflow is None or self.fail is None or self.deadline is None or now < self.deadline:
            return
        if self.fails_left:
            self._tell_failure(subflow, self.fail, now)
        else:
            self.connection.signalling.reset_subflow(subflow, resets.MIDDLEBOX, now, first=self.fail)

    def _wait_no_more(self) -> None:
        self.failed = None
        self.deadline = None

    def subflow_closed(self, subflow: Subflow) -> None:
        """One is gone: if it is the one that failed, the connection goes on as MPTCP on others (K8)."""
        if self.failed is subflow:
            self._wait_no_more()
            self.fail_sent = False

    def fail_arrived(self, subflow: Subflow, option: MpFail, is_reset: bool, now: int) -> None:
        """MP_FAIL on an ACK: our data did not pass; on an RST the loss of the subflow says the rest (K6)."""
        connection = self.connection
        connection.counters.add("MPTcpExtMPFailRx")
        if connection.fallen_back or is_reset:
            return
        # A join that has carried nothing is no obstacle: the peer may not have known of it, as it sent no RST.
        if not connection.is_contiguous(ignore_joins=True) or connection.holds_what_may_be_copies():
            connection.signalling.reset_subflow(subflow, resets.MIDDLEBOX, now)  # K8
            return
        if not self.fail_sent:
            # K7: answer MP_FAIL with MP_FAIL, and revert in both directions.
            self.fail_sent = True
            subflow.signal(MpFail(on_wire(connection.receive_queue.rcv_nxt, 8)))
        connection.fall_back("TestbedMPFailFallback", now, tell_peer=True)

    # --- the plain stream ---

    def acknowledged(self, subflow: Subflow, now: int) -> None:
        """K9: the subflow's acknowledgments are all that frees the buffer now."""
        infinite = subflow.infinite_mapping
        if infinite is not None and subflow.tcp.snd_una > subflow.infinite_from:
            subflow.infinite_mapping = None
            self.say_no_more()
        queue = self.connection.send_queue
        oldest = subflow.outgoing.oldest()
        acknowledged = queue.snd_nxt if oldest is None else oldest.dsn
        if oldest is not None and subflow.tcp.snd_una > oldest.ssn:
            acknowledged += subflow.tcp.snd_una - oldest.ssn
        if acknowledged > queue.snd_una:
            queue.data_acknowledged(acknowledged)
            self.connection.room_made()

    def data_given(self, now: int) -> None:
        """All data is with TCP: if the user has closed, the FIN follows it."""
        connection = self.connection
        if connection.closing.fin_dsn == NOT_KNOWN or self.fin_given or connection.send_queue.unsent_octets:
            return
        subflow = connection.only_subflow()
        if subflow is not None and subflow.may_send_data and not subflow.untaken:
            self.fin_given = True
            subflow.tcp.close(now)
