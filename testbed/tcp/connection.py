"""One TCP connection, sans-IO: the calls of RFC 9293 §3.9.1 and the five of every protocol core here.

``segment_arrives``, ``handle_timeout`` and the user calls change the connection; after any of them ask
``segments_to_send``, then ``next_event`` until it is None, then ``next_timeout``.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from testbed.tcp import arrival, closing, departure, expiry, handshake, icmp, transmission
from testbed.tcp.congestion_catalog import make as make_congestion
from testbed.tcp.control_block import ControlBlock
from testbed.tcp.counters import Counters
from testbed.tcp.fast_open import FastOpen
from testbed.tcp.parameters import Parameters
from testbed.tcp.seam import CongestionController, OptionPolicy, WindowSource
from testbed.tcp.state import (
    CLOSE_WAIT,
    CLOSED,
    ESTABLISHED,
    EVENTS,
    FIN_WAIT_1,
    LAST_ACK,
    SYN_RECEIVED,
    SYN_SENT,
    TIME_WAIT,
    Event,
    Failure,
    State,
)
from testbed.tcp.tcp_options import TcpOptions
from testbed.tcp.timers import NEVER, USER_TIMEOUT
from testbed.wire.segment import Segment, SocketAddress


class NotOpen(Exception):
    """A user call that the state of the connection does not allow (RFC 9293 §3.10: "connection does not exist",
    "connection closing")."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """STATUS (RFC 9293 §3.9.1.7): what a user may want to know at once. Octets and ns."""

    state: State
    error: Failure
    unsent: int
    unacknowledged: int
    unread: int
    out_of_order: int
    """Pieces that wait for a hole to be filled."""
    urgent: int
    """Urgent octets that the user has not read yet (MUST-33)."""
    snd_wnd: int
    rcv_wnd: int
    mss: int
    cwnd: int
    ssthresh: int
    srtt: int
    rttvar: int
    rto: int
    pipe: int
    in_recovery: bool


class Connection(ControlBlock):
    """See the module. Attributes are the control block's; others read them, only this class and its parts write."""

    __slots__ = ("_fast_open_host",)

    def __init__(
        self,
        local: SocketAddress,
        remote: SocketAddress,
        parameters: Parameters,
        rng: random.Random,
        *,
        isn: int,
        counters: Counters,
        options: OptionPolicy | None = None,
        window: WindowSource | None = None,
        congestion: CongestionController | None = None,
        fast_open: FastOpen | None = None,
        timestamp_offset: int | None = None,
    ) -> None:
        super().__init__(
            local,
            remote,
            parameters,
            rng,
            isn,
            counters,
            TcpOptions() if options is None else options,
            window,
            make_congestion("cubic") if congestion is None else congestion,
        )
        self._fast_open_host = fast_open
        if timestamp_offset is not None:
            self.timestamp_offset = timestamp_offset

    # --- opening ---

    def open(self, now: int) -> None:
        """OPEN, active: a SYN leaves with the next ``segments_to_send``. What ``send`` queued before may go in it."""
        self.last_arrival = now
        handshake.begin_active(self, self._fast_open_host)
        self._start_user_timeout(now)

    def accept_syn(self, segment: Segment, now: int) -> None:
        """OPEN, passive, for a SYN that came to a listener: a SYN/ACK leaves with the next ``segments_to_send``."""
        self.last_arrival = now
        handshake.accept_syn(self, segment, now, self._fast_open_host)

    def may_be_reused_by(self, syn: Segment, now: int) -> bool:
        """Whether this connection, in TIME-WAIT, makes way for a new one by ``syn`` (RFC 6191)."""
        return closing.may_be_reused_by(self, syn)

    # --- the core ---

    def segment_arrives(self, segment: Segment, now: int) -> bool:
        """Take a segment of this connection. False: not acceptable, nothing of it may be acted on."""
        return arrival.segment_arrives(self, segment, now)

    def segments_to_send(self, now: int) -> list[Segment]:
        """All that may leave now. Ask after every call that changes the connection, until it gives nothing."""
        return transmission.segments_to_send(self, now)

    def next_timeout(self) -> int | None:
        """When ``handle_timeout`` is due, in ns; ask again after every other call."""
        if self.state is CLOSED:
            return None
        timers = self.timers
        deadline = timers.delayed_ack
        if timers.earliest_rare < deadline:
            deadline = timers.earliest_rare
        if self.snd_una != self.snd_nxt:
            lost = self.recovery.next_timeout()
            if lost is not None and lost < deadline:
                return lost
        return deadline if deadline != NEVER else None

    def handle_timeout(self, now: int) -> None:
        """Time has come to ``next_timeout()``; too early or too often does no harm."""
        if self.state is not CLOSED:
            expiry.handle_timeout(self, now)

    def next_event(self) -> Event | None:
        """What the user is to be told next; ask until None."""
        events = self.events
        if not events:
            return None
        for event in EVENTS:
            if events & event:
                self.events = events & ~event
                return event
        return None

    # --- user calls ---

    def send(self, data: bytes, now: int, urgent: bool = False) -> int:
        """SEND: queue octets, by reference; returns how many were taken. Less than given: WRITABLE follows.

        ``urgent``: they end the urgent data (RFC 9293 §3.8.5).
        """
        state = self.state
        if state is not ESTABLISHED and state is not CLOSE_WAIT:
            if state > SYN_RECEIVED:
                raise NotOpen("connection closing")
            if self.error is not Failure.NONE:
                raise NotOpen("connection does not exist")
        if self.fin_offset >= 0:
            raise NotOpen("connection closing")
        buffer = self.send_buffer
        room = self.parameters.send_buffer - (buffer.end - self.snd_una)
        length = len(data)
        if length > room:
            self.wants_room = True
            if room <= 0:
                return 0
            data = data[:room]
            length = room
        if length:
            buffer.append(data)
            if urgent:
                self.snd_up = buffer.end
            if self.parameters.user_timeout_ns is not None:
                self._start_user_timeout(now)
        return length

    def receive(self, limit: int) -> bytes:
        """RECEIVE: at most ``limit`` octets in order; b"" when there are none (then look for PEER_CLOSED)."""
        data = self.queue.read(limit)
        if data:
            self._window_may_open()
        return data

    def take_received(self) -> list[tuple[int, bytes]]:
        """All in-order data since the last call, as (offset, octets); they are the caller's from then on."""
        return self.queue.take()

    def close(self, now: int, reading: bool = True) -> None:
        """CLOSE: a FIN follows what is queued. Reading goes on (half-close, §3.6.1) unless ``reading`` is False: then
        data that was not read, or comes later, resets the connection (SHLD-3)."""
        state = self.state
        if not reading:
            self.accepting_input = False
            if self.queue.unread and state >= ESTABLISHED:
                self.counters.add("TcpExtTCPAbortOnClose")
                closing.abort_with_reset(self, Event.CLOSED, Failure.ABORTED, now)
                return
        if state is CLOSED or self.fin_offset >= 0:
            return
        if state is SYN_SENT and self.send_buffer.end == 1:
            self.enter_closed(Event.CLOSED, Failure.NONE)  # §3.10.4
            return
        self.fin_offset = self.send_buffer.end
        if state is ESTABLISHED:
            self.move(FIN_WAIT_1)
        elif state is CLOSE_WAIT:
            self.move(LAST_ACK)

    def abort(self, now: int) -> None:
        """ABORT: reset the peer, forget everything."""
        if self.state is not CLOSED:
            closing.abort_with_reset(self, Event.CLOSED, Failure.ABORTED, now)

    def ack_now(self) -> None:
        """A pure ACK is to leave (unless data leaves anyway): the option policy has something to say."""
        if self.state >= ESTABLISHED or self.state is SYN_RECEIVED:
            self.acks_due = max(self.acks_due, 1)

    def probe(self, now: int) -> None:
        """Send a segment that the peer must answer, to see whether it is there (§3.8.4)."""
        if ESTABLISHED <= self.state < TIME_WAIT:
            departure.send_probe(self, now)

    def send_room(self, now: int) -> int:
        """Payload octets that cwnd, and the peer's window if it limits, let leave beyond what is queued; <= 0: none."""
        state = self.state
        if state is not ESTABLISHED and state is not CLOSE_WAIT:
            return 0
        recovery = self.recovery
        flight = self.snd_nxt - self.snd_una
        # Without loss and reordering what is in flight is what is not acknowledged.
        room = recovery.congestion.cwnd - flight if flight and recovery.clean else recovery.send_allowance(now)
        if self.window.limits_sending:
            usable = self.snd_una + self.snd_wnd - self.snd_nxt
            if usable < room:
                room = usable
        return room - (self.send_buffer.end - self.snd_nxt)

    def icmp_arrives(self, message: icmp.Icmp, now: int) -> None:
        """ICMP about a packet of this connection came (RFC 9293 §3.9.2.2)."""
        icmp.icmp_arrives(self, message, now)

    def status(self) -> Status:
        """STATUS."""
        recovery = self.recovery
        end = self.send_buffer.end
        return Status(
            state=self.state,
            error=self.error,
            unsent=max(0, end - max(1, self.snd_nxt)),
            unacknowledged=max(0, min(end, self.snd_nxt) - max(1, self.snd_una)),
            unread=self.queue.unread,
            out_of_order=self.queue.waiting,
            urgent=max(0, self.rcv_up - (self.rcv_nxt - self.queue.unread)),
            snd_wnd=self.snd_wnd,
            rcv_wnd=max(0, self.rcv_adv - self.rcv_nxt),
            mss=self.mss,
            cwnd=self.congestion.cwnd,
            ssthresh=self.congestion.ssthresh,
            srtt=recovery.srtt,
            rttvar=recovery.rttvar,
            rto=recovery.rto,
            pipe=recovery.pipe,
            in_recovery=recovery.in_recovery,
        )

    # --- what others read ---

    @property
    def snd_end(self) -> int:
        """Offset after the last octet given to ``send``."""
        return self.send_buffer.end

    @property
    def flight(self) -> int:
        """Octets sent and not cumulatively acknowledged."""
        return self.snd_nxt - self.snd_una

    @property
    def cwnd(self) -> int:
        """Octets."""
        return self.congestion.cwnd

    @property
    def srtt(self) -> int:
        """ns; 0 before the first sample."""
        return self.recovery.rtt.srtt

    @property
    def rttvar(self) -> int:
        """ns."""
        return self.recovery.rtt.rttvar

    @property
    def rto(self) -> int:
        """ns, backoff applied."""
        return self.recovery.rto

    @property
    def in_recovery(self) -> bool:
        """Fast recovery or the recovery after a timeout is under way."""
        return self.recovery.in_recovery

    # --- own steps ---

    def _start_user_timeout(self, now: int) -> None:
        """The user timeout runs from the first octet that waits for its acknowledgment (RFC 9293 §3.10.2)."""
        timeout = self.parameters.user_timeout_ns
        if timeout is not None and not self.timers.is_set(USER_TIMEOUT):
            self.timers.set(USER_TIMEOUT, now + timeout)

    def _window_may_open(self) -> None:
        """The user has read: tell the peer when the window has at least doubled by it (and by a full segment)."""
        if not ESTABLISHED <= self.state <= State.FIN_WAIT_2:
            return
        standing = self.rcv_adv - self.rcv_nxt
        offered = self.window.receive_window(self.rcv_nxt)
        if offered >= 2 * standing and offered - standing >= min(self.rcv_mss, self.parameters.receive_buffer // 2):
            self.acks_due = max(self.acks_due, 1)
