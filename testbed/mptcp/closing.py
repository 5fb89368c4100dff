"""The end of a connection: DATA_FIN in both directions (RFC 8684 §3.3.3 and the state machine of appendix D)."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from testbed.mptcp.subflow_view import NOT_KNOWN
from testbed.tcp.state import Event

if TYPE_CHECKING:
    from testbed.mptcp.connection import Connection


class DataState(Enum):
    """RFC 8684 appendix D, figure 18. What comes before M_ESTABLISHED is the first subflow's handshake."""

    M_ESTABLISHED = "M_ESTAB"
    M_FIN_WAIT_1 = "M_FIN_WAIT1"
    M_FIN_WAIT_2 = "M_FIN_WAIT2"
    M_CLOSING = "M_CLOSING"
    M_TIME_WAIT = "M_TIME_WAIT"
    M_CLOSE_WAIT = "M_CLOSE_WAIT"
    M_LAST_ACK = "M_LAST_ACK"
    M_CLOSED = "M_CLOSED"


M_ESTABLISHED: Final = DataState.M_ESTABLISHED
M_FIN_WAIT_1: Final = DataState.M_FIN_WAIT_1
M_FIN_WAIT_2: Final = DataState.M_FIN_WAIT_2
M_CLOSING: Final = DataState.M_CLOSING
M_TIME_WAIT: Final = DataState.M_TIME_WAIT
M_CLOSE_WAIT: Final = DataState.M_CLOSE_WAIT
M_LAST_ACK: Final = DataState.M_LAST_ACK
M_CLOSED: Final = DataState.M_CLOSED

TRANSITIONS: dict[DataState, frozenset[DataState]] = {
    M_ESTABLISHED: frozenset({M_FIN_WAIT_1, M_CLOSE_WAIT, M_CLOSED}),
    M_FIN_WAIT_1: frozenset({M_FIN_WAIT_2, M_CLOSING, M_TIME_WAIT, M_CLOSED}),
    M_FIN_WAIT_2: frozenset({M_TIME_WAIT, M_CLOSED}),
    M_CLOSING: frozenset({M_TIME_WAIT, M_CLOSED}),
    M_TIME_WAIT: frozenset({M_CLOSED}),
    M_CLOSE_WAIT: frozenset({M_LAST_ACK, M_CLOSED}),
    M_LAST_ACK: frozenset({M_CLOSED}),
    M_CLOSED: frozenset(),
}
"""Every legal step; to M_CLOSED from anywhere: fast close, abort, time-out, fallback's TCP end."""


class IllegalTransition(Exception):
    """A step that the table does not have: a bug of ours, never the peer's doing."""


class Closing:
    """DATA_FIN both ways. Of a connection that has fallen back, only ``state`` is used: TCP's FIN does the rest."""

    __slots__ = (
        "connection",
        "deadline",
        "fin_dsn",
        "fin_is_acknowledged",
        "peer_fin_dsn",
        "peer_fin_reached",
        "state",
    )

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.state = M_ESTABLISHED
        self.fin_dsn = NOT_KNOWN
        """DSN of our DATA_FIN once the user has closed: one after the last octet (D20)."""
        self.fin_is_acknowledged = False
        self.peer_fin_dsn = NOT_KNOWN
        self.peer_fin_reached = False
        """All data before the peer's DATA_FIN has arrived: only then is it DATA_ACKed (D22)."""
        self.deadline: int | None = None
        """End of M_TIME_WAIT, ns."""

    def move(self, state: DataState) -> None:
        """Go to ``state``, along the table."""
        if state is self.state:
            return
        if state not in TRANSITIONS[self.state]:
            raise IllegalTransition(f"{self.state.name} -> {state.name}")
        self.state = state

    # --- our direction ---

    def close(self, now: int) -> None:
        """The user has no more to send."""
        if self.state is M_ESTABLISHED:
            self.move(M_FIN_WAIT_1)
        elif self.state is M_CLOSE_WAIT:
            self.move(M_LAST_ACK)
        else:
            return
        self.fin_dsn = self.connection.send_queue.snd_end
        if not self.connection.fallen_back:
            self.data_scheduled(now)

    def data_scheduled(self, now: int) -> None:
        """All data has been given to subflows: from now on the DATA_FIN rides on what has no data of its own (D21)."""
        connection = self.connection
        if self.fin_dsn == NOT_KNOWN or connection.send_queue.unsent_octets or self.fin_is_acknowledged:
            return
        if not connection.keys_are_known:
            return
        if connection.data_fin_due == NOT_KNOWN:
            connection.data_fin_due = self.fin_dsn
            connection.reinjection.progress(now)
            self.announce(now)

    def announce(self, now: int) -> None:
        """Our DATA_FIN (or the DATA_ACK of the peer's) leaves on every working subflow (``mptcp_subflow_shutdown``)."""
        for subflow in self.connection.subflows:
            if subflow.usable() or (subflow.is_stale and not subflow.is_gone):
                subflow.tcp.ack_now()

    def acknowledged(self, now: int) -> None:
        """The peer has DATA_ACKed our DATA_FIN."""
        if self.fin_is_acknowledged:
            return
        self.fin_is_acknowledged = True
        self.connection.data_fin_due = NOT_KNOWN
        if self.state is M_FIN_WAIT_1:
            self.move(M_FIN_WAIT_2)
        elif self.state is M_CLOSING:
            self._enter_time_wait(now)
        elif self.state is M_LAST_ACK:
            self.move(M_CLOSED)
            self.connection.close_subflows(now)

    # --- the peer's direction ---

    def peer_fin(self, dsn: int, now: int) -> bool:
        """A DATA_FIN has arrived; True: it had been DATA_ACKed, so that acknowledgment was lost and is due again."""
        if self.peer_fin_dsn != NOT_KNOWN:
            return self.peer_fin_reached
        queue = self.connection.receive_queue
        if dsn < queue.received_to() or dsn > queue.right_edge or self._is_mapped_beyond(dsn):
            self.connection.counters.add("TestbedDataFinImplausible")
            return False  # cannot be: behind what has come, or beyond what was allowed
        self.peer_fin_dsn = dsn
        queue.end = dsn
        self.check_peer_fin(now)
        return False

    def _is_mapped_beyond(self, dsn: int) -> bool:
        """The peer has declared a mapping of data from ``dsn`` on: a DATA_FIN there contradicts it."""
        for subflow in self.connection.subflows:
            for mapping in subflow.incoming.items:
                if mapping.dsn + mapping.length > dsn:
                    return True
        return False

    def check_peer_fin(self, now: int) -> None:
        """``rcv_nxt`` has advanced: have we reached the DATA_FIN (D22)?"""
        connection = self.connection
        if connection.receive_queue.rcv_nxt != self.peer_fin_dsn:
            return
        connection.data_ack = self.peer_fin_dsn + 1
        if self.peer_fin_reached:
            return
        self.peer_fin_reached = True
        if connection.live_subflows():
            connection.lonely_deadline = None  # the FIN that set it was in order: ours may take its time (D25)
        connection.tell(Event.PEER_CLOSED)
        self.announce(now)
        if self.state is M_ESTABLISHED:
            self.move(M_CLOSE_WAIT)
        elif self.state is M_FIN_WAIT_1:
            self.move(M_CLOSING)
        elif self.state is M_FIN_WAIT_2:
            self._enter_time_wait(now)

    # --- the end ---

    def _enter_time_wait(self, now: int) -> None:
        """Both DATA_FINs are acknowledged: subflows close with FIN (D24), and 2 MSL pass at this level too (D25)."""
        self.move(M_TIME_WAIT)
        self.deadline = now + 2 * self.connection.parameters.tcp.msl_ns
        self.connection.close_subflows(now)

    def handle_timeout(self, now: int) -> None:
        """M_TIME_WAIT may be over."""
        if self.deadline is not None and now >= self.deadline:
            self.deadline = None
            self.move(M_CLOSED)
            self.connection.check_closed()

    def force_closed(self) -> None:
        """Fast close, abort, time-out."""
        self.deadline = None
        self.connection.data_fin_due = NOT_KNOWN
        if self.state is not M_CLOSED:
            self.move(M_CLOSED)
