"""The life of a connection as its subflows come and go: keys, fallback, subflows established and lost, the end.

Between :class:`testbed.mptcp.connection_state.ConnectionState` and :class:`testbed.mptcp.connection.Connection`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from testbed.mptcp.closing import M_CLOSED, M_TIME_WAIT
from testbed.mptcp.connection_state import ConnectionState
from testbed.mptcp.dsn import WrapGuard
from testbed.mptcp.subflow_view import NOT_KNOWN
from testbed.tcp.state import CLOSED, Event, Failure

if TYPE_CHECKING:
    from testbed.mptcp.subflow import Subflow


class ConnectionLife(ConnectionState):
    """What signalling and the subflows' TCPs report, and what follows from it."""

    __slots__ = ()

    # --- the beginning ---

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
        if self.fallen_back or self.closing.state is M_TIME_WAIT or self.closing.state is M_CLOSED:
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

    # --- subflows that end ---

    def subflow_events(self, subflow: Subflow, now: int) -> None:
        """What the subflow's TCP has to tell."""
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

    def subflow_closed(self, subflow: Subflow, now: int) -> None:
        """Its TCP is gone, by reset, time-out or in good order."""
        if subflow.is_gone:
            return
        subflow.is_gone = True
        failure = subflow.tcp.error
        self.fallback.subflow_closed(subflow)
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

    # --- the end ---

    def close_subflows(self, now: int) -> None:
        """D24: FIN on every subflow that remains."""
        for subflow in self.subflows:
            if not subflow.is_gone:
                subflow.tcp.close(now)

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
