"""One MPTCP connection, sans-IO: the user's calls, and segments and time passed on to the parts that deal with them.

``segment_arrives``, ``handle_timeout`` and the user calls change the connection; after any of them ask
``segments_to_send``, then ``next_event`` until it is None, then ``next_timeout``. After fallback the same object goes
on as TCP.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from testbed.mptcp import resets
from testbed.mptcp.closing import M_CLOSED, M_LAST_ACK, M_TIME_WAIT, Closing
from testbed.mptcp.congestion.catalog import make_group
from testbed.mptcp.data_arrival import DataArrival
from testbed.mptcp.dsn import WrapGuard, expand
from testbed.mptcp.fallback import Fallback
from testbed.mptcp.fast_close import FastClose
from testbed.mptcp.keys import KeyPair
from testbed.mptcp.ledger import Ledger
from testbed.mptcp.parameters import Parameters
from testbed.mptcp.receive_queue import ReceiveQueue
from testbed.mptcp.reinjection import Reinjection
from testbed.mptcp.scheduler import catalog as scheduler_catalog
from testbed.mptcp.send_queue import SendQueue
from testbed.mptcp.signalling import Signalling
from testbed.mptcp.status import Status, status_of
from testbed.mptcp.subflow_view import NOT_KNOWN
from testbed.mptcp.transmission import Transmission
from testbed.mptcp.windows import SendWindow, SharedWindow
from testbed.tcp.connection import NotOpen
from testbed.tcp.seam import CongestionController, WindowSource
from testbed.tcp.state import CLOSED, EVENTS, Event, Failure
from testbed.wire.options import Dss, MpCapable, MpFail, MpFastclose
from testbed.wire.segment import Segment, SocketAddress

if TYPE_CHECKING:
    from testbed.mptcp.host import Host
    from testbed.mptcp.subflow import Subflow

_TELLING: Final = ~int(Event.ESTABLISHED | Event.READABLE)
"""Events of a subflow's TCP that mean something here: data is fetched and handshakes are watched without them."""


class Connection:
    """See the module. Parts do the work; what is flat here is what several of them share."""

    __slots__ = (
        "_events",
        "_subflow_count",
        "arrival",
        "checksum",
        "closing",
        "congestion_group",
        "counters",
        "data_ack",
        "data_acked",
        "data_fin_due",
        "error",
        "fallback",
        "fallen_back",
        "fast_closing",
        "has_joined",
        "has_reinjected",
        "host",
        "is_client",
        "keys",
        "keys_are_known",
        "last_heard",
        "ledger",
        "local",
        "lonely_deadline",
        "mapping_heard",
        "mapping_verified",
        "parameters",
        "receive_queue",
        "reinjection",
        "send_queue",
        "send_window",
        "shared_window",
        "signalling",
        "subflows",
        "transmission",
        "wants_room",
        "was_established",
        "wrap_guard",
    )

    def __init__(
        self, host: Host, parameters: Parameters, is_client: bool, keys: KeyPair, local: SocketAddress, now: int
    ) -> None:
        self.host = host
        self.parameters = parameters
        self.counters = host.counters
        self.keys = keys
        self.is_client = is_client
        self.local = local
        """Of the first subflow."""
        self.subflows: list[Subflow] = []
        """All that live, or whose last segments have not left; in order of creation."""
        self._subflow_count = 0
        self.ledger: Ledger | None = Ledger() if parameters.record_ledger else None
        # --- what the parts share ---
        self.checksum = False
        """Negotiated."""
        self.keys_are_known = False
        self.was_established = False
        self.fallen_back = False
        self.has_joined = False
        """A further subflow has ever been established."""
        self.has_reinjected = False
        self.mapping_heard = False
        """A mapping of the peer has arrived."""
        self.mapping_verified = False
        """... and data under it was delivered intact."""
        self.data_acked = False
        """A DATA_ACK of the peer has arrived."""
        self.data_ack = NOT_KNOWN
        """What our DATA_ACKs say: next DSN expected, the DATA_FIN counted; NOT_KNOWN: none is to leave."""
        self.data_fin_due = NOT_KNOWN
        """DSN of our DATA_FIN while it is to be announced."""
        self.error = Failure.NONE
        self.wants_room = False
        self.last_heard: Subflow | None = None
        """The subflow on which data came last: window updates leave there."""
        self.lonely_deadline: int | None = None
        """When a connection without subflows is given up."""
        self._events = 0
        # --- parts ---
        # W7 (RFC 8684 §3.3.5): at least as much room for sending as for receiving.
        self.send_queue = SendQueue(max(parameters.send_buffer, parameters.receive_buffer), self.counters)
        self.receive_queue = ReceiveQueue(parameters.receive_buffer, parameters.tcp.out_of_order_limit, self.counters)
        self.shared_window = SharedWindow(self.receive_queue)
        self.send_window = SendWindow()
        self.congestion_group = make_group(parameters.congestion_control, parameters.tcp.initial_window)
        self.wrap_guard = WrapGuard(0, parameters.tcp.msl_ns)
        self.closing = Closing(self)
        self.fallback = Fallback(self)
        self.fast_closing = FastClose(self)
        self.reinjection = Reinjection(self)
        self.arrival = DataArrival(self)
        self.transmission = Transmission(self, scheduler_catalog.make(parameters.scheduler))
        self.signalling = Signalling(self)

    # --- for subflows and signalling ---

    def next_subflow_number(self) -> int:
        """Counts the subflows from 0."""
        number = self._subflow_count
        self._subflow_count += 1
        return number

    def window_source(self, subflow: Subflow) -> WindowSource:
        """The one window of all."""
        return self.shared_window

    def congestion_controller(self) -> CongestionController:
        """For a new subflow: coupled with its siblings through the group, if the algorithm couples."""
        return self.congestion_group.new_controller()

    def keys_known(self, now: int) -> None:
        """Both keys, and with them both IDSNs, are known: the SYN has taken the IDSN, data begins after it (B9)."""
        remote_idsn = self.keys.remote_idsn
        assert remote_idsn is not None
        self.keys_are_known = True
        first = self.keys.local_idsn + 1
        self.send_queue.start(first)
        self.send_window.start(first)
        self.wrap_guard = WrapGuard(first, self.parameters.tcp.msl_ns)
        self.receive_queue.start(remote_idsn + 1)
        self.data_ack = remote_idsn + 1
        if self.closing.fin_dsn != NOT_KNOWN:
            self.closing.fin_dsn = self.send_queue.snd_end

    def fall_back(self, counter: str, now: int, tell_peer: bool = False) -> None:
        """TCP from here on (K10: for good). ``counter``: the kernel's name for the reason, or ""."""
        if self.fallen_back:
            return
        if counter:
            self.counters.add(counter)
        self.fallback.begin(now, tell_peer)

    def subflow_established(self, subflow: Subflow, now: int) -> None:
        """Its handshake is complete as far as data is concerned."""
        self.lonely_deadline = None
        subflow.acknowledged_to = subflow.tcp.snd_una
        if not subflow.is_initial:
            self.has_joined = True
            subflow.peer_sends_wide_dsn = self.subflows[0].peer_sends_wide_dsn
            subflow.wide_dsn_required = self.wrap_guard.needs_wide
            if self.data_fin_due != NOT_KNOWN:
                subflow.tcp.ack_now()
            return
        # The handshake's window counts from the first octet of data: IDSN + 1 is acknowledged by it.
        self.send_window.announced(self.send_queue.snd_una + subflow.tcp.snd_wnd)
        if not self.was_established:
            self.was_established = True
            self.tell(Event.ESTABLISHED)
        if self.fallen_back:
            self.fallback.data_given(now)
        else:
            self.closing.data_scheduled(now)

    def subflow_closed(self, subflow: Subflow, now: int) -> None:
        """Its TCP is gone, by reset, time-out or in good order."""
        if subflow.is_gone:
            return
        subflow.is_gone = True
        failure = subflow.tcp.error
        if not self.fallen_back:
            self.reinjection.subflow_lost(subflow)
        subflow.forget_data()
        self.congestion_group.forget(subflow.tcp.congestion)
        self.signalling.subflow_closed(subflow, now)
        if self.data_ack != NOT_KNOWN:
            for other in self.subflows:
                if not other.is_gone:
                    other.tcp.ack_now()  # a DATA_ACK that it owed
        if self.fast_closing.waits and self.fast_closing.carrier is subflow:
            self.fast_closing.carrier_lost(now)
        elif self.live_subflows() == 0:
            self._no_subflow_left(failure, now)
        self.check_closed()

    def _no_subflow_left(self, failure: Failure, now: int) -> None:
        state = self.closing.state
        if state is M_CLOSED or state is M_TIME_WAIT:
            return
        if self.fallen_back or not self.was_established:
            if failure is Failure.TIMED_OUT:
                self.fail(Event.TIMED_OUT, failure)
            elif failure is not Failure.NONE:
                self.fail(Event.RESET, failure)
            self.closing.force_closed()
            self.signalling.stop()
            return
        # D25, and break before make: a new subflow may still save it.
        self.lonely_deadline = now + self.parameters.close_timeout_ns

    def close_subflows(self, now: int) -> None:
        """D24: FIN on every subflow that remains."""
        for subflow in self.subflows:
            if not subflow.is_gone:
                subflow.tcp.close(now)

    # --- questions of the parts ---

    def live_subflows(self) -> int:
        """How many are not gone."""
        count = 0
        for subflow in self.subflows:
            if not subflow.is_gone:
                count += 1
        return count

    def only_subflow(self) -> Subflow | None:
        """The first that lives: after fallback, the only one."""
        for subflow in self.subflows:
            if not subflow.is_gone:
                return subflow
        return None

    def accepts_subflows(self) -> bool:
        """MPTCP is spoken and there is, or may be, something to carry."""
        state = self.closing.state
        return (
            self.keys_are_known
            and not self.fallen_back
            and not self.fallback.fail_sent
            and not self.fast_closing.waits
            and state is not M_TIME_WAIT
            and state is not M_CLOSED
            and state is not M_LAST_ACK
        )

    def is_contiguous(self) -> bool:
        """One subflow, and what is in flight on it follows the stream without gap or repetition, both ways: an infinite
        mapping can take over (RFC 8684 §3.7)."""
        if self.live_subflows() != 1 or self.receive_queue.out_of_order or self.send_queue.reinjections:
            return False
        subflow = self.only_subflow()
        assert subflow is not None
        bit = 1 << subflow.number
        for mapping in self.send_queue.all_outstanding():
            if mapping.carriers & ~bit:
                return False
        return all(mapping.origin is None for mapping in subflow.outgoing.unacknowledged())

    def may_fall_back(self) -> bool:
        """Only the first subflow ever was, and all is contiguous (Linux ``allow_infinite_fallback``)."""
        return not self.has_joined and not self.has_reinjected and self.is_contiguous()

    def peer_dsn_is_wide(self, is_wide: bool) -> None:
        """D15: our DATA_ACKs are as wide as the DSN last received in the connection."""
        for subflow in self.subflows:
            subflow.peer_sends_wide_dsn = is_wide

    def require_wide_dsn(self) -> None:
        """D12: 64-bit DSNs from now on, whatever the option policy says."""
        for subflow in self.subflows:
            subflow.wide_dsn_required = True
            subflow.sized_for = -1

    # --- segments in ---

    def segment_arrives(self, subflow: Subflow, segment: Segment, now: int) -> None:
        """A segment of one of the subflows."""
        tcp = subflow.tcp
        subflow.is_due = True
        if not tcp.segment_arrives(segment, now):
            if subflow.unmapped.pieces and not self.fallen_back and segment.dss is not None:
                self.arrival.late_mapping(subflow, segment, now)
            if tcp.events:
                self._subflow_events(subflow, now)
            return
        dss = segment.dss
        subflow.heard_bare = dss is None
        has_signals = not subflow.settled or len(segment.mptcp) > (1 if dss is not None else 0)
        if has_signals and not self._signals_arrive(subflow, segment, now):
            self._subflow_events(subflow, now)
            return
        if not self.fallen_back and self.keys_are_known:
            if dss is not None:
                data_ack = dss.data_ack
                if data_ack is not None and (data_ack != subflow.last_data_ack or tcp.snd_wnd != subflow.last_window):
                    self._data_ack_arrives(subflow, dss, now)
                if dss.dsn is not None and (
                    dss.dsn != subflow.last_dsn
                    or dss.ssn != subflow.last_ssn
                    or dss.length != subflow.last_length
                    or dss.data_fin
                ):
                    self.arrival.mapping_arrives(subflow, segment, dss, now)
            # An ACK with ADD_ADDR alone (as Linux sends it) shows that options pass, too.
            shows_options = dss is not None or not segment.mptcp
            if not subflow.data_acked and shows_options and tcp.snd_una > subflow.acknowledged_to:
                self._first_data_acknowledged(subflow, segment, now)
        received = tcp.take_received()
        if received:
            self.last_heard = subflow
            if not subflow.is_gone:
                self.arrival.data_arrives(subflow, received, now)
        if tcp.snd_una != subflow.acknowledged_to:
            subflow.acknowledged_bare = not segment.mptcp
            self._subflow_acknowledges(subflow, now)
        if tcp.events & _TELLING:
            self._subflow_events(subflow, now)

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
                self.fallback.fail_arrived(subflow, option, now)
            elif isinstance(option, MpCapable) and option.data_length is not None:
                self.arrival.capable_mapping_arrives(subflow, segment, option, now)
        if subflow.is_initial and subflow.is_client and not subflow.fully_established and segment.payload:
            dss = segment.dss
            needs_ack = self.parameters.rules.first_data_needs_data_ack
            if dss is None or (needs_ack and dss.data_ack is None):
                # B10: the server's first data must acknowledge the octet of MP_CAPABLE.
                self.fall_back("MPTcpExtMPCapableDataFallback", now, tell_peer=True)
        return not subflow.is_gone

    def _data_ack_arrives(self, subflow: Subflow, dss: Dss, now: int) -> None:
        queue = self.send_queue
        una = queue.snd_una
        assert dss.data_ack is not None
        data_ack = expand(dss.data_ack, dss.ack_octets, una)
        closing = self.closing
        limit = queue.snd_nxt
        if data_ack > limit and data_ack == closing.fin_dsn + 1 and closing.fin_dsn == limit:
            limit = data_ack  # it acknowledges our DATA_FIN
        if data_ack > limit or (data_ack < una and data_ack + self.parameters.send_buffer < una):
            self.counters.add("MPTcpExtDataAckInvalid")
            return
        subflow.last_data_ack = dss.data_ack
        subflow.last_window = subflow.tcp.snd_wnd
        edge = data_ack + subflow.last_window
        subflow.send_edge = edge
        if self.send_window.announced(edge):
            self.reinjection.progress_at = now
        self.data_acked = True
        if data_ack > una:
            if data_ack > queue.snd_nxt:
                if not closing.fin_is_acknowledged:
                    closing.acknowledged(now)
                if una == queue.snd_nxt:
                    return
                data_ack = queue.snd_nxt
            queue.data_acknowledged(data_ack)
            self.reinjection.progress(now)
            if self.wants_room:
                self.room_made()

    def _first_data_acknowledged(self, subflow: Subflow, segment: Segment, now: int) -> None:
        """The subflow's first data is acknowledged: with a DATA_ACK, options are known to pass both ways (D26)."""
        if segment.mptcp:
            # An ADD_ADDR may have displaced the DSS (Linux sends it alone): it passes the path as well.
            subflow.data_acked = segment.dss is not None and segment.dss.data_ack is not None
            return
        if not subflow.is_initial:
            self.signalling.reset_subflow(subflow, resets.MIDDLEBOX, now)  # K2
        elif self.is_client or self.parameters.rules.bare_ack_falls_back == "always":
            self.options_are_lost(subflow, now)

    def options_are_lost(self, subflow: Subflow, now: int) -> None:
        """The first subflow does not pass our options, or the peer is plain TCP now: K3, or K4 if it is too late."""
        if self.may_fall_back():
            self.fall_back("MPTcpExtMPCapableDataFallback", now, tell_peer=True)
        else:
            self.signalling.reset_subflow(subflow, resets.MIDDLEBOX, now)

    def _subflow_acknowledges(self, subflow: Subflow, now: int) -> None:
        """Its snd_una has moved."""
        una = subflow.tcp.snd_una
        subflow.acknowledged_to = una
        subflow.outgoing.acknowledged(una, self.send_queue)
        if subflow.timeouts_seen or subflow.is_stale:
            self.reinjection.subflow_recovered(subflow)
        if subflow.untaken:
            self.transmission.push_untaken(subflow, now)
        if self.fallen_back:
            self.fallback.acknowledged(subflow, now)
        elif self.wants_room:
            self.room_made()

    def _subflow_events(self, subflow: Subflow, now: int) -> None:
        tcp = subflow.tcp
        while (event := tcp.next_event()) is not None:
            if event is Event.PEER_CLOSED:
                self._subflow_peer_closed(subflow, now)
            elif event is Event.WRITABLE:
                self.transmission.push_untaken(subflow, now)
            elif self.fallen_back and event in (Event.URGENT, Event.SOFT_ERROR, Event.DATA_TROUBLE):
                self.tell(event)
        if tcp.state is CLOSED:
            self.subflow_closed(subflow, now)

    def _subflow_peer_closed(self, subflow: Subflow, now: int) -> None:
        """A FIN. Of a subflow it says nothing about the data (D20); after fallback it is the end of the stream."""
        subflow.fin_arrived = True
        if self.fallen_back:
            self.tell(Event.PEER_CLOSED)
            return
        if self.closing.state is M_TIME_WAIT or self.closing.state is M_CLOSED or self._others_are_open(subflow):
            if not subflow.untaken:
                subflow.tcp.close(now)
        elif not self.closing.peer_fin_reached and self.lonely_deadline is None:
            # D25: the last subflow's FIN without DATA_FIN. A new subflow may come; else it is over.
            self.lonely_deadline = now + self.parameters.close_timeout_ns

    def _others_are_open(self, subflow: Subflow) -> bool:
        return any(
            other is not subflow and not other.is_gone and not other.fin_arrived and other.may_send_data
            for other in self.subflows
        )

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
                leaving = tcp.segments_to_send(now)
                subflow.deadline = tcp.next_timeout()
                if leaving:
                    if segments is None:
                        segments = leaving
                    else:
                        segments += leaving
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
        if not self.signalling.is_stopped:
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
                    self._subflow_events(subflow, now)
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
                    self._subflow_events(subflow, now)
        self.closing.close(now)
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

    @property
    def send_buffer_room(self) -> int:
        """Octets that ``send`` would take now."""
        return self.send_queue.room()

    @property
    def unacknowledged_octets(self) -> int:
        """Octets given to ``send`` that are not DATA_ACKed (after fallback: acknowledged)."""
        return self.send_queue.snd_end - self.send_queue.snd_una

    @property
    def is_closed(self) -> bool:
        """All is over at both levels, TIME_WAIT included."""
        if self.closing.state is not M_CLOSED:
            return False
        return all(subflow.tcp.state is CLOSED and not subflow.tcp.outbox for subflow in self.subflows)

    # --- events ---

    def next_event(self) -> Event | None:
        """What the user is to be told next; ask until None."""
        events = self._events
        if not events:
            return None
        for event in EVENTS:
            if events & event:
                self._events = events & ~event
                return event
        return None

    def tell(self, event: Event) -> None:
        """Note what the user is to be told."""
        self._events |= event

    def fail(self, event: Event, failure: Failure) -> None:
        """The connection is lost: say why, once."""
        if self.error is Failure.NONE:
            self.error = failure
        self.tell(event)

    def room_made(self) -> None:
        """The send buffer has shrunk: tell a user who waits, once a third of it is free (``sk_stream_is_writable``)."""
        if self.wants_room and 3 * self.send_queue.room() >= self.send_queue.capacity:
            self.wants_room = False
            self.tell(Event.WRITABLE)

    def discard_data(self) -> None:
        """An abrupt end: nothing more is sent or delivered."""
        self.send_queue.clear()
        for subflow in self.subflows:
            subflow.forget_data()

    def check_closed(self) -> None:
        """Tell the end once it is there."""
        if self.closing.state is M_CLOSED:
            if self.keys_are_known and not self.signalling.is_stopped:
                self.signalling.stop()
            if all(subflow.tcp.state is CLOSED for subflow in self.subflows):
                self.tell(Event.CLOSED)


def earlier(one: int | None, other: int | None) -> int | None:
    """The earlier of two times, of which any may not be set."""
    if one is None:
        return other
    return one if other is None or one < other else other
