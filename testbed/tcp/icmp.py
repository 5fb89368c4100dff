"""ICMP about a connection (RFC 9293 §3.9.2.2, RFC 1191, RFC 8201, with the checks of RFC 5927)."""

from __future__ import annotations

from enum import Enum

from testbed.tcp.control_block import ControlBlock
from testbed.tcp.expiry import change_mss
from testbed.tcp.path_mtu import RAISE_AFTER_NS
from testbed.tcp.state import ESTABLISHED, Event, Failure
from testbed.tcp.timers import RAISE_PATH_MTU


class IcmpKind(Enum):
    """What the message means to TCP, whichever the IP version."""

    SOFT = "soft"
    """Net or host unreachable, source route failed, time exceeded, parameter problem (MUST-56)."""
    HARD = "hard"
    """Protocol or port unreachable (SHLD-26)."""
    TOO_BIG = "too-big"
    """Fragmentation needed, Packet Too Big."""
    SOURCE_QUENCH = "source-quench"
    """Silently discarded (MUST-55)."""


class Icmp:
    """One message: its kind, the SEG.SEQ of the packet it quotes, and for TOO_BIG the next hop's MTU (0: not said)."""

    __slots__ = ("kind", "mtu", "quoted_seq")

    def __init__(self, kind: IcmpKind, quoted_seq: int, mtu: int = 0) -> None:
        self.kind = kind
        self.quoted_seq = quoted_seq
        self.mtu = mtu


def icmp_arrives(tcb: ControlBlock, message: Icmp, now: int) -> None:
    """Act on a message that quotes a segment in flight; any other is a guess from off the path (RFC 5927 §4.1)."""
    offset = tcb.snd_offset_of(message.quoted_seq)
    if message.kind is IcmpKind.SOURCE_QUENCH or not tcb.snd_una <= offset < max(tcb.snd_nxt, tcb.snd_una + 1):
        tcb.counters.add("TcpExtOutOfWindowIcmps")
        return
    if message.kind is IcmpKind.TOO_BIG:
        if tcb.path_mtu.too_big(message.mtu):
            tcb.timers.set(RAISE_PATH_MTU, now + RAISE_AFTER_NS)
            change_mss(tcb, now)
    elif message.kind is IcmpKind.HARD:
        if tcb.state >= ESTABLISHED:
            # RFC 5927 §5.2, as Linux: once synchronized a hard error may be forged; what counts is who gives up.
            _note(tcb, Failure.PROTOCOL_UNREACHABLE)
        else:
            tcb.enter_closed(Event.RESET, Failure.PROTOCOL_UNREACHABLE)
    else:
        _note(tcb, Failure.UNREACHABLE)


def _note(tcb: ControlBlock, failure: Failure) -> None:
    """MUST-56: a soft error does not abort; it is told, and is the reason given if the connection times out."""
    tcb.error = failure
    tcb.troubles |= Event.SOFT_ERROR
    tcb.tell(Event.SOFT_ERROR)
