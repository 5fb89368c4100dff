"""What the parts of one MPTCP connection share: who, what was negotiated, the queues, what the user is to be told.

The base class of :class:`testbed.mptcp.connection.Connection`; its parts know their connection as that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from testbed.mptcp.closing import M_CLOSED, M_LAST_ACK, M_TIME_WAIT
from testbed.mptcp.congestion.catalog import make_group
from testbed.mptcp.dsn import WrapGuard
from testbed.mptcp.keys import KeyPair
from testbed.mptcp.ledger import Ledger
from testbed.mptcp.parameters import Parameters
from testbed.mptcp.receive_queue import ReceiveQueue
from testbed.mptcp.send_queue import SendQueue
from testbed.mptcp.subflow_view import NOT_KNOWN
from testbed.mptcp.windows import SendWindow, SharedWindow
from testbed.tcp.seam import CongestionController, WindowSource
from testbed.tcp.state import CLOSED, CLOSING, EVENTS, FIN_WAIT_1, LAST_ACK, Event, Failure
from testbed.wire.segment import SocketAddress

if TYPE_CHECKING:
    from testbed.mptcp.closing import Closing
    from testbed.mptcp.data_arrival import DataArrival
    from testbed.mptcp.fallback import Fallback
    from testbed.mptcp.fast_close import FastClose
    from testbed.mptcp.host import Host
    from testbed.mptcp.reinjection import Reinjection
    from testbed.mptcp.signalling import Signalling
    from testbed.mptcp.subflow import Subflow
    from testbed.mptcp.transmission import Transmission


class ConnectionState:
    """State of one connection, and questions about it that several parts ask."""

    __slots__ = (
        "_events",
        "_subflow_count",
        "arrival",
        "checksum",
        "closing",
        "congestion_group",
        "counters",
        "data_ack",
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

    closing: Closing
    fallback: Fallback
    fast_closing: FastClose
    reinjection: Reinjection
    arrival: DataArrival
    transmission: Transmission
    signalling: Signalling

    def __init__(
        self, host: Host, parameters: Parameters, is_client: bool, keys: KeyPair, local: SocketAddress
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
        # --- what all subflows share ---
        # W7 (RFC 8684 §3.3.5): at least as much room for sending as for receiving.
        self.send_queue = SendQueue(max(parameters.send_buffer, parameters.receive_buffer), self.counters)
        self.receive_queue = ReceiveQueue(parameters.receive_buffer, parameters.tcp.out_of_order_limit, self.counters)
        self.shared_window = SharedWindow(self.receive_queue)
        self.send_window = SendWindow()
        self.congestion_group = make_group(parameters.congestion_control, parameters.tcp.initial_window)
        self.wrap_guard = WrapGuard(0, parameters.tcp.msl_ns)

    # --- for subflows ---

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

    def peer_dsn_is_wide(self, is_wide: bool) -> None:
        """D15: our DATA_ACKs are as wide as the DSN last received in the connection."""
        for subflow in self.subflows:
            subflow.peer_sends_wide_dsn = is_wide

    def require_wide_dsn(self) -> None:
        """D12: 64-bit DSNs from now on, whatever the option policy says."""
        for subflow in self.subflows:
            subflow.wide_dsn_required = True
            subflow.sized_for = -1

    # --- what may be done ---

    def accepts_subflows(self) -> bool:
        """MPTCP is spoken and there is, or may be, something to carry."""
        state = self.closing.state
        return (
            self.keys_are_known
            and not self.fallen_back
            and not self.fast_closing.waits
            and state is not M_TIME_WAIT
            and state is not M_CLOSED
            and state is not M_LAST_ACK
        )

    def is_contiguous(self, ignore_joins: bool = False) -> bool:
        """One subflow, and what is in flight on it follows the stream without gap or repetition, both ways: an infinite
        mapping can take over (RFC 8684 §3.7). A join that neither end can have used yet does not count; with
        ``ignore_joins`` none does that has carried no data so far."""
        subflow = self.only_subflow()
        if subflow is None or self.receive_queue.out_of_order or self.send_queue.reinjections:
            return False
        for other in self.subflows:
            if other is not subflow and not other.is_gone and not other.is_unused_join(ignore_joins):
                return False
        state = self.closing.state
        unmapped = subflow.unmapped
        if unmapped.is_passed or unmapped.has_lost or state is M_TIME_WAIT or state is M_CLOSED:
            return False
        bit = 1 << subflow.number
        for mapping in self.send_queue.all_outstanding():
            if mapping.carriers & ~bit:
                return False
        return all(mapping.origin is None for mapping in subflow.outgoing.unacknowledged())

    def may_fall_back(self) -> bool:
        """Only the first subflow ever was, and all is contiguous (Linux ``allow_infinite_fallback``)."""
        return (
            not self.has_joined
            and not self.has_reinjected
            and self.is_contiguous()
            and not self.holds_what_may_be_copies()
        )

    def holds_what_may_be_copies(self) -> bool:
        """Data without a mapping is held although mappings had come before: it may be data sent again, which nothing
        but a mapping (or the checksum failure that made us wait) can tell."""
        subflow = self.only_subflow()
        return (
            subflow is not None
            and (bool(subflow.unmapped.pieces) or subflow.unmapped.is_tried_again)
            and self.mapping_heard
            and self.fallback.failed is None
        )

    # --- what the user is told ---

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

    @property
    def send_buffer_room(self) -> int:
        """Octets that ``send`` would take now."""
        return self.send_queue.room()

    @property
    def unacknowledged_octets(self) -> int:
        """Octets given to ``send`` that are not DATA_ACKed (after fallback: acknowledged)."""
        return self.send_queue.snd_end - self.send_queue.snd_una

    @property
    def awaits_acknowledgment(self) -> bool:
        """Something of ours that the peer's user waits for is not acknowledged: data, the DATA_FIN, after fallback the
        FIN. The FIN of a subflow says nothing to a user (D20), and its path may never come back."""
        if self.unacknowledged_octets or self.data_fin_due != NOT_KNOWN:
            return True
        if not self.fallen_back:
            return False
        for subflow in self.subflows:
            state = subflow.tcp.state
            if state is FIN_WAIT_1 or state is CLOSING or state is LAST_ACK:
                return True
        return False

    @property
    def is_closed(self) -> bool:
        """All is over at both levels, TIME_WAIT included."""
        if self.closing.state is not M_CLOSED:
            return False
        return all(subflow.tcp.state is CLOSED and not subflow.tcp.outbox for subflow in self.subflows)
