"""The states of a TCP connection and what it tells its user, as data (RFC 9293 §3.3.2, figure 5)."""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class State(IntEnum):
    """RFC 9293 §3.3.2. The order is used: from ESTABLISHED on a state is *synchronized*."""

    CLOSED = 0
    LISTEN = 1
    SYN_SENT = 2
    SYN_RECEIVED = 3
    ESTABLISHED = 4
    FIN_WAIT_1 = 5
    FIN_WAIT_2 = 6
    CLOSE_WAIT = 7
    CLOSING = 8
    LAST_ACK = 9
    TIME_WAIT = 10


# Bound once: a member looked up through its class costs a descriptor call each time.
CLOSED: Final = State.CLOSED
LISTEN: Final = State.LISTEN
SYN_SENT: Final = State.SYN_SENT
SYN_RECEIVED: Final = State.SYN_RECEIVED
ESTABLISHED: Final = State.ESTABLISHED
FIN_WAIT_1: Final = State.FIN_WAIT_1
FIN_WAIT_2: Final = State.FIN_WAIT_2
CLOSE_WAIT: Final = State.CLOSE_WAIT
CLOSING: Final = State.CLOSING
LAST_ACK: Final = State.LAST_ACK
TIME_WAIT: Final = State.TIME_WAIT

TRANSITIONS: dict[State, frozenset[State]] = {
    CLOSED: frozenset({LISTEN, SYN_SENT, SYN_RECEIVED}),
    LISTEN: frozenset({SYN_SENT, SYN_RECEIVED, CLOSED}),
    SYN_SENT: frozenset({SYN_RECEIVED, ESTABLISHED, CLOSED}),
    SYN_RECEIVED: frozenset({ESTABLISHED, FIN_WAIT_1, CLOSE_WAIT, LISTEN, CLOSED}),
    ESTABLISHED: frozenset({FIN_WAIT_1, CLOSE_WAIT, CLOSED}),
    FIN_WAIT_1: frozenset({FIN_WAIT_2, CLOSING, TIME_WAIT, CLOSED}),
    FIN_WAIT_2: frozenset({TIME_WAIT, CLOSED}),
    CLOSE_WAIT: frozenset({LAST_ACK, CLOSED}),
    CLOSING: frozenset({TIME_WAIT, CLOSED}),
    LAST_ACK: frozenset({CLOSED}),
    TIME_WAIT: frozenset({CLOSED}),
}
"""Every legal step. To CLOSED from anywhere: RST, abort, time-out. A passive open begins in SYN_RECEIVED: the LISTEN
state is the listener's, which is an object of its own."""


class Event(IntEnum):
    """What the user is told, by bit; told in the order of the numbers. Why: ``Connection.error``."""

    ESTABLISHED = 1
    READABLE = 2
    URGENT = 4
    """The urgent pointer has advanced (RFC 9293 §3.8.5, MUST-32)."""
    WRITABLE = 8
    """There is room again after ``send`` took less than it was given."""
    PEER_CLOSED = 16
    """The peer's FIN is in order: after what is readable there comes nothing."""
    SOFT_ERROR = 32
    """ICMP reported a condition that may pass (MUST-55, SHLD-25)."""
    DATA_TROUBLE = 64
    """R1 is reached: the same data has been retransmitted several times (RFC 9293 §3.8.3)."""
    RESET = 128
    TIMED_OUT = 256
    CLOSED = 512
    """The connection is gone; nothing follows."""


EVENTS: tuple[Event, ...] = tuple(Event)


class Failure(IntEnum):
    """Why a connection ended, or the soft error that was reported last."""

    NONE = 0
    REFUSED = 1
    """RST in answer to our SYN."""
    RESET = 2
    TIMED_OUT = 3
    UNREACHABLE = 4
    """ICMP: net or host unreachable, time exceeded, parameter problem (soft, RFC 9293 §3.9.2.2)."""
    PROTOCOL_UNREACHABLE = 5
    """ICMP hard errors: protocol or port unreachable."""
    ABORTED = 6
    """By our user."""
    BAD_SEGMENT = 7
    """The peer broke a rule that asks for an abort."""
