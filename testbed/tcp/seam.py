"""What the layer above plugs into a TCP connection: an option policy, a window source, a congestion controller.

Base classes rather than Protocols: compiled (mypyc), a call through a base class is a vtable call. Sequence numbers
inside the stack are *offsets*: unbounded integers in which the SYN is 0 and the first byte of data is 1 (in MPTCP's
words: relative SSNs). Only building and reading a segment converts them to the 32 bits of the wire.
"""

from __future__ import annotations

from typing import ClassVar

from mypy_extensions import mypyc_attr

from testbed.wire.options import Option
from testbed.wire.segment import Segment


class SegmentPlan:
    """A segment about to leave: TCP fills in what it wants; the option policy answers in the last three fields.

    One instance per connection is reused for every segment: a policy keeps nothing of it.
    """

    __slots__ = (
        "ack",
        "fast_open_cookie",
        "flags",
        "irs",
        "is_retransmission",
        "length",
        "mss",
        "mss_option",
        "now",
        "option_octets",
        "options",
        "sack_blocks",
        "sack_permitted",
        "ssn",
        "timestamps",
        "window_scale",
    )

    def __init__(self) -> None:
        self.now = 0
        """ns."""
        self.flags = 0
        """Flags of the segment (testbed.wire.segment); the policy may not change them."""
        self.ssn = 0
        """Offset of the first payload byte (of the SYN: 0; of a pure ACK: snd_nxt)."""
        self.ack = 0
        """rcv_nxt as an offset."""
        self.irs = 0
        """The peer's initial sequence number, which leads from ``sack_blocks`` to offsets; set along with them."""
        self.is_retransmission = False
        self.mss = 0
        """Octets for options + payload in one packet: the MSS in force, before options are deducted (RFC 6691)."""
        self.sack_blocks: tuple[tuple[int, int], ...] = ()
        """Blocks wanted, in RFC 2018/2883 order, edges as on the wire; the policy may leave out from the end."""
        self.timestamps: tuple[int, int] | None = None
        """(TSval, TSecr); None: not negotiated."""
        self.mss_option: int | None = None
        """The next four on SYN and SYN/ACK only; None/False: not to be offered."""
        self.window_scale: int | None = None
        self.sack_permitted = False
        self.fast_open_cookie: bytes | None = None
        """b"": request."""
        # --- answers ---
        self.length = 0
        """In: payload octets available to send now (several mss for a super-segment). Out: at most that, after the
        policy has applied its own boundaries (a mapping's end). TCP caps each packet at mss - option_octets."""
        self.options: tuple[Option, ...] = ()
        """The option area exactly, padded to a multiple of 4."""
        self.option_octets = 0
        """Its size; at most 40."""


@mypyc_attr(allow_interpreted_subclasses=True)
class OptionPolicy:
    """Asked once for each segment about to leave, and told when it has left."""

    def fill(self, plan: SegmentPlan) -> None:
        """Answer ``options``, ``option_octets`` and, perhaps lowered, ``length``. Must not have side effects: TCP may
        ask and then not send (Nagle, silly window, congestion window)."""
        raise NotImplementedError

    def has_left(self, plan: SegmentPlan) -> None:
        """The segment as answered is on its way; ``length`` is its payload now. Pending signals are struck off here."""

    def is_signal(self, segment: Segment) -> bool:
        """Asked of an arriving ACK that looks like a duplicate (RFC 5681 §2): whether it was sent for its options' sake
        and so says nothing of losses (RFC 8684 §3: MUST NOT be taken as a sign of congestion)."""
        return False

    def proves_reset(self, segment: Segment) -> bool:
        """Asked of a RST in the window that has not the exact next number (RFC 5961 §3.2): whether an option shows that
        the peer has sent it. Data that is on its way has been overtaken, then; nobody will answer a challenge."""
        return False


@mypyc_attr(allow_interpreted_subclasses=True)
class WindowSource:
    """Where the receive window comes from, and whether the peer's window limits this connection's own sending."""

    limits_sending = True
    """False: the layer above has already applied the peer's window (RFC 8684 §3.3.1: relative to the DATA_ACK)."""

    def receive_window(self, rcv_nxt: int) -> int:
        """Octets that may be advertised beyond ``rcv_nxt`` (offset) now. TCP never lets the right edge shrink."""
        raise NotImplementedError


@mypyc_attr(allow_interpreted_subclasses=True)
class CongestionController:
    """cwnd and ssthresh of one connection, in octets, and what changes them. One instance per connection.

    Loss detection, pipe, PRR and the RTO are TCP's; it calls these. A coupled controller knows its siblings through
    the group that its factory gave it.
    """

    name: ClassVar[str] = ""

    cwnd: int
    ssthresh: int

    def on_established(self, now: int, mss: int, srtt: int | None) -> None:
        """The handshake is complete: sets the initial window (RFC 6928) from ``mss`` (payload octets)."""
        raise NotImplementedError

    def on_ack(self, now: int, acked: int, srtt: int, rtt: int | None, flight: int, is_cwnd_limited: bool) -> None:
        """``acked`` octets newly acknowledged outside recovery; slow start or avoidance. Times in ns; ``rtt``: this
        ack's sample; ``flight``: octets outstanding before the ack."""
        raise NotImplementedError

    def on_congestion_event(self, now: int, flight: int) -> None:
        """Fast recovery begins (or ECE arrived): lower ssthresh. TCP's PRR moves cwnd during the recovery."""
        raise NotImplementedError

    def on_recovery_exit(self, now: int) -> None:
        """Recovery is complete: cwnd = ssthresh."""
        self.cwnd = self.ssthresh

    def on_timeout(self, now: int, flight: int) -> None:
        """The RTO expired (RFC 5681 §3.1): lower ssthresh, one segment of cwnd; not for later RTOs of one segment."""
        raise NotImplementedError

    def on_spurious(self, now: int) -> None:
        """The last reduction turned out spurious (D-SACK, F-RTO): restore what it took."""

    def on_idle(self, now: int, idle_ns: int, rto_ns: int) -> None:
        """Sending restarts after ``idle_ns`` without: RFC 5681 §4.1 restart window."""

    def on_mss_change(self, mss: int) -> None:
        """Path MTU discovery changed the payload size."""
