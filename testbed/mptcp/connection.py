"""One MPTCP connection, sans-IO: the user's calls, and segments and time passed on to the parts that deal with them.

``segment_arrives``, ``handle_timeout`` and the user calls change the connection; after any of them ask
``segments_to_send``, then ``next_event`` until it is None, then ``next_timeout``. After fallback the same object goes
on as TCP.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from testbed.mptcp import acknowledgment
from testbed.mptcp.closing import M_CLOSED, Closing
from testbed.mptcp.connection_life import ConnectionLife
from testbed.mptcp.data_arrival import DataArrival
from testbed.mptcp.fallback import Fallback
from testbed.mptcp.fast_close import FastClose
from testbed.mptcp.keys import KeyPair
from testbed.mptcp.parameters import Parameters
from testbed.mptcp.reinjection import Reinjection
from testbed.mptcp.scheduler import catalog as scheduler_catalog
from testbed.mptcp.signalling import Signalling
from testbed.mptcp.status import Status, status_of
from testbed.mptcp.subflow_view import NOT_KNOWN
from testbed.mptcp.transmission import Transmission
from testbed.tcp.arrival import segment_arrives as tcp_segment_arrives
from testbed.tcp.connection import NotOpen
from testbed.tcp.state import CLOSED, ESTABLISHED, Event, Failure
from testbed.tcp.transmission import segments_to_send as tcp_segments_to_send
from testbed.wire.options import MpCapable, MpFail, MpFastclose
from testbed.wire.segment import RST, Segment, SocketAddress

if TYPE_CHECKING:
    from testbed.mptcp.host import Host
    from testbed.mptcp.subflow import Subflow

_TELLING: Final = ~int(Event.ESTABLISHED | Event.READABLE)
"""Events of a subflow's TCP that mean something here: data is fetched and handshakes are watched without them."""


class Connection(ConnectionLife):
    """See the module. Parts do the work; what they share is :class:`ConnectionState`'s."""

    __slots__ = ()

    def __init__(
        self, host: Host, parameters: Parameters, is_client: bool, keys: KeyPair, local: SocketAddress, now: int
    ) -> None:
        super().__init__(host, parameters, is_client, keys, local)
        self.closing = Closing(self)
        self.fallback = Fallback(self)
        self.fast_closing = FastClose(self)
        self.reinjection = Reinjection(self)
        self.arrival = DataArrival(self)
        self.transmission = Transmission(self, scheduler_catalog.make(parameters.scheduler))
        self.signalling = Signalling(self)

    # --- segments in ---

    def segment_arrives(self, subflow: Subflow, segment: Segment, now: int) -> None:
        """A segment of one of the subflows."""
        tcp = subflow.tcp
        subflow.is_due = True
        if not tcp_segment_arrives(tcp, segment, now):
            if subflow.unmapped.pieces and not self.fallen_back and segment.dss is not None:
                self.arrival.late_mapping(subflow, segment, now)
            if tcp.events:
                self.subflow_events(subflow, now)
            return
        dss = segment.dss
        subflow.heard_bare = dss is None
        has_signals = not subflow.settled or len(segment.mptcp) > (1 if dss is not None else 0)
        if has_signals and not self._signals_arrive(subflow, segment, now):
            self.subflow_events(subflow, now)
            return
        if not self.fallen_back and self.keys_are_known:
            if dss is not None:
                data_ack = dss.data_ack
                if data_ack is not None and (data_ack != subflow.last_data_ack or tcp.snd_wnd != subflow.last_window):
                    acknowledgment.data_ack_arrives(self, subflow, dss, now)
                if dss.dsn is not None and (
                    dss.dsn != subflow.last_dsn
                    or dss.ssn != subflow.last_ssn
                    or dss.length != subflow.last_length
                    or dss.data_fin
                ):
                    self.arrival.mapping_arrives(subflow, segment, dss, now)
            # An ACK with ADD_ADDR alone (as Linux sends it) shows that options pass, too.
            shows_options = dss is not None or not segment.mptcp
            if not subflow.data_acked and shows_options and tcp.snd_una > subflow.acknowledged_to < tcp.snd_end:
                acknowledgment.first_data_acknowledged(self, subflow, segment, now)
        if tcp.queue.in_order:
            received = tcp.queue.take()
            self.last_heard = subflow
            if not subflow.is_gone:
                self.arrival.data_arrives(subflow, received, now)
        if tcp.snd_una != subflow.acknowledged_to:
            subflow.acknowledged_bare = not segment.mptcp
            acknowledgment.subflow_acknowledges(self, subflow, now)
        if tcp.events & _TELLING:
            self.subflow_events(subflow, now)

    def _signals_arrive(self, subflow: Subflow, segment: Segment, now: int) -> bool:
        """Handshake and signals; False: nothing more of this segment is to be read."""
        if not self.fallen_back and self.keys_are_known:
            for option in segment.mptcp:
                if isinstance(option, MpFastclose) and self.fast_closing.arrived(subflow, segment, option, now):
                    return False
        if not self.signalling.segment_arrived(subflow, segment, now):
            return False
        if self.fallen_back or not self.keys_are_known:
            return True
        for option in segment.mptcp:
            if isinstance(option, MpFail):
                self.fallback.fail_arrived(subflow, option, bool(segment.flags & RST), now)
            elif isinstance(option, MpCapable) and option.data_length is not None:
                self.arrival.capable_mapping_arrives(subflow, segment, option, now)
        if subflow.is_initial and subflow.is_client and not subflow.fully_established and segment.payload:
            dss = segment.dss
            needs_ack = self.parameters.rules.first_data_needs_data_ack
            if dss is None or (needs_ack and dss.data_ack is None):
                # B10: the server's first data must acknowledge the octet of MP_CAPABLE.
                told = self.parameters.rules.infinite_mapping_on_fallback
                self.fall_back("MPTcpExtMPCapableDataFallback", now, told)
        return not subflow.is_gone

    def received(self, now: int) -> None:
        """``rcv_nxt`` has advanced."""
        queue = self.receive_queue
        if not self.fallen_back:
            self.data_ack = queue.rcv_nxt
            self.mapping_verified = True
            if self.closing.peer_fin_dsn != NOT_KNOWN:
                self.closing.check_peer_fin(now)
        self._events |= Event.READABLE

    # --- segments out ---

    def segments_to_send(self, now: int) -> list[Segment]:
        """All that may leave now, on all subflows."""
        if self.was_established:
            queue = self.send_queue
            if queue.unsent_octets or queue.reinjections or self.transmission.is_redundant:
                self.transmission.schedule(now)
        else:
            self.signalling.before_handshake()
        segments: list[Segment] | None = None
        has_gone = False
        for subflow in self.subflows:
            tcp = subflow.tcp
            if subflow.is_due or tcp.acks_due or tcp.outbox or tcp.fin_offset >= 0 or not tcp.recovery.clean:
                subflow.is_due = False
                if (
                    tcp.acks_due
                    or tcp.snd_nxt < tcp.send_buffer.end
                    or tcp.outbox
                    or not tcp.recovery.clean
                    or tcp.fin_offset >= 0
                    or tcp.state is not ESTABLISHED
                ):
                    leaving = tcp_segments_to_send(tcp, now)
                    if leaving:
                        segments = leaving if segments is None else segments + leaving
                subflow.deadline = tcp.next_timeout()
            if subflow.is_gone:
                has_gone = True
        if self.fallen_back:
            self.fallback.say_no_more()
        if has_gone:
            self.subflows = [other for other in self.subflows if not other.is_gone or other.tcp.outbox]
        return [] if segments is None else segments

    # --- time ---

    def next_timeout(self) -> int | None:
        """When ``handle_timeout`` is due, in ns; ask again after every other call."""
        # Asked after every segment, so the comparisons stand here rather than in a function.
        first = self.reinjection.deadline
        for subflow in self.subflows:
            due = subflow.tcp.next_timeout() if subflow.is_due else subflow.deadline
            if due is not None and (first is None or due < first):
                first = due
        if self.signalling.has_timers:
            due = self.signalling.next_timeout()
            if due is not None and (first is None or due < first):
                first = due
        due = self.closing.deadline
        if due is not None and (first is None or due < first):
            first = due
        if self.arrival.hold_ns:
            first = earlier(first, self.arrival.next_timeout())
        due = self.fast_closing.deadline
        if due is not None and (first is None or due < first):
            first = due
        due = self.lonely_deadline
        if due is not None and (first is None or due < first):
            first = due
        return first

    def handle_timeout(self, now: int) -> None:
        """Time has come to ``next_timeout()``; too early or too often does no harm."""
        for subflow in list(self.subflows):
            due = subflow.tcp.next_timeout()
            if due is not None and due <= now:
                subflow.tcp.handle_timeout(now)
                subflow.is_due = True
                self.reinjection.subflow_timeout(subflow, now)
                if subflow.tcp.events:
                    self.subflow_events(subflow, now)
        self.signalling.handle_timeout(now)
        self.reinjection.handle_timeout(now)
        self.closing.handle_timeout(now)
        self.arrival.handle_timeout(now)
        self.fast_closing.handle_timeout(now)
        if self.lonely_deadline is not None and now >= self.lonely_deadline:
            self.lonely_deadline = None
            self.fail(Event.TIMED_OUT, Failure.TIMED_OUT)
            self.fast_closing.abort(now)

    # --- user calls ---

    def send(self, data: bytes, now: int) -> int:
        """SEND: octets taken, by reference; less than given: WRITABLE follows."""
        if self.error is not Failure.NONE or self.closing.fin_dsn != NOT_KNOWN or self.closing.state is M_CLOSED:
            raise NotOpen("connection closing" if self.error is Failure.NONE else "connection does not exist")
        taken = self.send_queue.write(data)
        if taken < len(data):
            self.wants_room = True
        if taken:
            self.host.wake(self)
            if self.signalling.opener.waiting:
                self.signalling.data_waits(now)
        return taken

    def receive(self, limit: int) -> bytes:
        """RECEIVE: at most ``limit`` octets in order; b"" when there are none (then look for PEER_CLOSED)."""
        queue = self.receive_queue
        data = queue.take(limit)
        if data:
            standing = queue.right_edge - queue.rcv_nxt
            offered = queue.capacity - queue.ready_octets
            last = self.last_heard
            # The window has at least doubled by it (``__tcp_cleanup_rbuf``, ``mptcp_cleanup_rbuf``).
            if (
                last is not None
                and offered >= 2 * standing
                and offered - standing >= min(last.tcp.mss, queue.capacity // 2)
            ):
                self._update_window(last)
        return data

    def _update_window(self, subflow: Subflow) -> None:
        if subflow.is_gone:
            other = self.only_subflow()
            if other is None:
                return
            subflow = other
        subflow.tcp.ack_now()
        self.host.wake(self)

    def close(self, now: int) -> None:
        """CLOSE: no more data from us; DATA_FIN (after fallback FIN) follows what is queued. Reading goes on."""
        if not self.was_established and not self.send_queue.snd_end and not self.fallen_back:
            subflow = self.only_subflow()
            if subflow is not None and not self.keys_are_known:
                subflow.tcp.close(now)
                if subflow.tcp.state is CLOSED:
                    self.subflow_events(subflow, now)
        self.closing.close(now)
        self.signalling.count_closing()
        if self.fallen_back:
            self.fallback.data_given(now)
        self.host.wake(self)

    def abort(self, now: int) -> None:
        """ABORT: reset the peer, forget everything (RFC 8684 §3.5)."""
        if self.is_closed:
            return
        if self.error is Failure.NONE:
            self.error = Failure.ABORTED
        self.fast_closing.abort(now)
        self.host.wake(self)

    def status(self) -> Status:
        """STATUS."""
        return status_of(self)


def earlier(one: int | None, other: int | None) -> int | None:
    """The earlier of two times, of which any may not be set."""
    if one is None:
        return other
    return one if other is None or one < other else other
