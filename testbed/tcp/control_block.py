"""The variables of one connection (RFC 9293 §3.3.1): what arrival, transmission and the user calls work on.

Offsets (``snd_*``, ``rcv_*``) are unbounded integers: the SYN is 0, the first octet of data 1. Only ``*_wire`` are the
32 bits of a segment, kept beside so that the common case needs no conversion.
"""

from __future__ import annotations

import random
from typing import Final

from testbed.tcp.challenge import ChallengeThrottle
from testbed.tcp.counters import Counters
from testbed.tcp.ecn import EcnState
from testbed.tcp.fast_open import FastOpenState
from testbed.tcp.loss_recovery import LossRecovery
from testbed.tcp.parameters import Parameters
from testbed.tcp.path_mtu import PathMtu
from testbed.tcp.receive_queue import ReceiveQueue
from testbed.tcp.seam import CongestionController, OptionPolicy, SegmentPlan, WindowSource
from testbed.tcp.send_buffer import SendBuffer
from testbed.tcp.state import CLOSED, TRANSITIONS, Event, Failure, State
from testbed.tcp.timers import Timers
from testbed.tcp.windows import OwnWindow
from testbed.wire.segment import Segment, SocketAddress

M32: Final = 0xFFFFFFFF
HALF: Final = 0x80000000
TIMESTAMP_TICK_NS: Final = 1_000_000
"""RFC 7323 §5.4: between 1 ms and 1 s; 1 ms as Linux."""
DEFAULT_MSS_V4: Final = 536
"""RFC 9293 MUST-15: when the peer sends no MSS option."""
DEFAULT_MSS_V6: Final = 1220
IP_AND_TCP_V4: Final = 40
IP_AND_TCP_V6: Final = 60
MINIMUM_MSS: Final = 88
"""A smaller offer, or path, is taken as this (net/ipv4: TCP_MIN_SND_MSS, 48 there): 40 octets of options leave room."""


class IllegalTransition(Exception):
    """A step that the state table does not have: a bug of ours, never the peer's doing."""


class ControlBlock:
    """State of one connection. Sequence variables carry the RFC's names."""

    __slots__ = (
        "accepting_input",
        "acks_due",
        "challenge",
        "congestion",
        "counters",
        "ecn",
        "error",
        "events",
        "fast_open",
        "fin_offset",
        "irs",
        "iss",
        "keepalives_sent",
        "last_ack_sent",
        "last_arrival",
        "local",
        "max_snd_wnd",
        "mss",
        "mss_offered",
        "options",
        "outbox",
        "parameters",
        "passive",
        "path_mtu",
        "payload_mss",
        "peer_closed",
        "peer_fin",
        "peer_mss",
        "persist_backoff",
        "plan",
        "probe_end",
        "queue",
        "rcv_adv",
        "rcv_mss",
        "rcv_nxt",
        "rcv_shift",
        "rcv_up",
        "rcv_wire",
        "recovery",
        "remote",
        "rng",
        "sack_on",
        "scaling_on",
        "send_buffer",
        "silly_override",
        "small_end",
        "snd_nxt",
        "snd_shift",
        "snd_una",
        "snd_up",
        "snd_wl1",
        "snd_wl2",
        "snd_wnd",
        "state",
        "timers",
        "timestamp_echo",
        "timestamp_offset",
        "timestamp_pair",
        "timestamp_val",
        "timestamps_on",
        "troubles",
        "ts_recent",
        "ts_recent_age",
        "una_wire",
        "unacked_octets",
        "wants_room",
        "window",
    )

    def __init__(
        self,
        local: SocketAddress,
        remote: SocketAddress,
        parameters: Parameters,
        rng: random.Random,
        isn: int,
        counters: Counters,
        options: OptionPolicy,
        window: WindowSource | None,
        congestion: CongestionController,
    ) -> None:
        # --- who, with what ---
        self.local = local
        self.remote = remote
        self.parameters = parameters
        self.rng = rng
        self.counters = counters
        self.options = options
        self.congestion = congestion
        self.recovery = LossRecovery(parameters, congestion, counters)
        self.state: State = CLOSED
        self.passive = False
        """MUST-11: whether SYN-RECEIVED was reached from a listener."""
        self.error: Failure = Failure.NONE
        self.events = 0
        """Bits of Event that the user has not been told."""
        # --- send ---
        self.iss = isn & M32
        self.snd_una = 0
        self.snd_nxt = 0
        """Highest offset sent; never goes back: retransmission is loss recovery's."""
        self.una_wire = self.iss
        self.snd_wnd = 0
        self.snd_wl1 = 0
        self.snd_wl2 = 0
        self.max_snd_wnd = 0
        self.snd_shift = 0
        self.snd_up = 0
        """Offset after the urgent data we have sent or shall send; 0: none."""
        self.fin_offset = -1
        """Offset of our FIN once ``close`` was called."""
        self.send_buffer = SendBuffer()
        self.wants_room = False
        self.probe_end = -1
        """snd_nxt + 1 while a window probe with one new octet is out: that octet does not count as sent."""
        self.persist_backoff = 0
        self.silly_override = False
        self.troubles = 0
        """Events that have been told since snd_una advanced: DATA_TROUBLE, SOFT_ERROR."""
        self.small_end = 0
        """Offset after the last small segment sent, one that ended what was queued (Linux's snd_sml)."""
        # --- receive ---
        self.irs = 0
        self.rcv_nxt = 0
        self.rcv_wire = 0
        """SEG.SEQ of offset rcv_nxt."""
        self.rcv_adv = 0
        """Right edge of the window: the greatest that was ever advertised."""
        self.rcv_shift = 0
        self.rcv_mss = DEFAULT_MSS_V4
        """Size of the peer's full segments, as seen (for the delayed ACK)."""
        self.rcv_up = 0
        self.queue = ReceiveQueue(parameters.out_of_order_limit)
        self.window: WindowSource = OwnWindow(self.queue, parameters.receive_buffer) if window is None else window
        self.peer_fin = -1
        """Offset of the peer's FIN, once seen."""
        self.peer_closed = False
        self.accepting_input = True
        """False after ``close(reading=False)``: data that comes is answered with a reset (SHLD-3)."""
        self.last_ack_sent = 0
        self.acks_due = 0
        """Pure ACKs that must leave now, unless data carries one; above 1 when each repeats (dup ACKs without SACK)."""
        self.unacked_octets = 0
        self.last_arrival = 0
        self.keepalives_sent = 0
        # --- negotiated ---
        is_v6 = len(local.host) == 16
        self.path_mtu = PathMtu(parameters.mtu, is_v6)
        self.mss_offered = parameters.mtu - (IP_AND_TCP_V6 if is_v6 else IP_AND_TCP_V4)
        self.peer_mss = DEFAULT_MSS_V6 if is_v6 else DEFAULT_MSS_V4
        self.mss = min(self.peer_mss, self.mss_offered)
        """Octets of options and payload in one packet (RFC 9293 §3.7.1, Eff.snd.MSS before options)."""
        self.payload_mss = self.mss
        """Payload of the last full segment: mss less the options it carried."""
        self.timestamps_on = parameters.timestamps
        self.timestamp_offset = rng.getrandbits(32)
        self.timestamp_val = 0
        self.timestamp_echo = 0
        self.timestamp_pair: tuple[int, int] | None = (0, 0)
        """(TSval, TSecr) of the last segment: the same object until one of them changes, which option policies use."""
        self.ts_recent = 0
        self.ts_recent_age = 0
        self.sack_on = parameters.sack
        self.scaling_on = parameters.window_scaling
        # --- parts ---
        self.timers = Timers()
        self.ecn = EcnState()
        self.fast_open = FastOpenState()
        self.challenge = ChallengeThrottle()
        self.plan = SegmentPlan()
        self.outbox: list[Segment] = []
        """Segments that are ready: resets, challenge ACKs."""

    # --- small steps that several parts share ---

    def move(self, state: State) -> None:
        """Go to ``state``: only along the table."""
        if state is not self.state:
            if state not in TRANSITIONS[self.state]:
                raise IllegalTransition(f"{self.state.name} -> {state.name}")
            self.state = state

    def tell(self, event: Event) -> None:
        """Note what the user is to be told."""
        self.events |= event

    def advance_rcv_nxt(self, rcv_nxt: int) -> None:
        """Set rcv_nxt and its wire form."""
        self.rcv_nxt = rcv_nxt
        self.rcv_wire = (self.irs + rcv_nxt) & M32

    def advance_snd_una(self, snd_una: int) -> None:
        """Set snd_una and its wire form."""
        self.snd_una = snd_una
        self.una_wire = (self.iss + snd_una) & M32

    def offset_of(self, seq: int) -> int:
        """The offset near rcv_nxt of a received SEG.SEQ."""
        delta = (seq - self.rcv_wire) & M32
        return self.rcv_nxt + (delta if delta < HALF else delta - (1 << 32))

    def snd_offset_of(self, ack: int) -> int:
        """The offset near snd_una of a received SEG.ACK."""
        delta = (ack - self.una_wire) & M32
        return self.snd_una + (delta if delta < HALF else delta - (1 << 32))

    def timestamp_now(self, now: int) -> int:
        """TSval (RFC 7323 §5.4)."""
        return (now // TIMESTAMP_TICK_NS + self.timestamp_offset) & M32

    def set_mss(self) -> None:
        """Recompute the MSS in force from what the peer offered and what the path carries (RFC 9293 §3.7.1)."""
        header = IP_AND_TCP_V6 if len(self.local.host) == 16 else IP_AND_TCP_V4
        options = self.mss - self.payload_mss
        self.mss = max(MINIMUM_MSS, min(self.peer_mss, self.path_mtu.mtu - header))
        self.payload_mss = self.mss - options

    def enter_closed(self, event: Event, failure: Failure) -> None:
        """The connection is gone: free what it holds, keep what the user has not read."""
        if self.state is CLOSED:
            return
        self.move(CLOSED)
        if failure is not Failure.NONE:
            self.error = failure
        self.tell(event)
        self.tell(Event.CLOSED)
        self.fast_open.no_longer_pending()
        self.timers.stop_all()
        self.queue.clear()
        self.send_buffer.clear()
        self.acks_due = 0
