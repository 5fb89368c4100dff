"""The ends of a connection: TIME-WAIT, our reset, giving up, and whether a new SYN may take over (RFC 9293 §3.6)."""

from __future__ import annotations

from testbed.tcp.control_block import HALF, M32, ControlBlock
from testbed.tcp.departure import build_reset
from testbed.tcp.state import ESTABLISHED, SYN_RECEIVED, TIME_WAIT, Event, Failure
from testbed.tcp.timers import TIME_WAIT as TIME_WAIT_TIMER
from testbed.wire.segment import ACK, RST, SYN, Segment


def enter_time_wait(tcb: ControlBlock, now: int) -> None:
    """Both FINs are acknowledged: 2 MSL from now (MUST-13)."""
    tcb.move(TIME_WAIT)
    tcb.timers.stop_all()
    tcb.timers.set(TIME_WAIT_TIMER, now + 2 * tcb.parameters.msl_ns)
    tcb.send_buffer.clear()


def abort_with_reset(tcb: ControlBlock, event: Event, failure: Failure, now: int) -> None:
    """Reset the peer, if it knows of the connection, and forget it (RFC 9293 §3.10.5)."""
    if SYN_RECEIVED <= tcb.state < TIME_WAIT:
        tcb.outbox.append(build_reset(tcb, now))
        tcb.counters.add("TcpOutRsts")
    tcb.enter_closed(event, failure)


def give_up(tcb: ControlBlock, now: int) -> None:
    """R2, the user timeout or the keepalive's limit is reached (RFC 9293 §3.8.3): the error ICMP gave, if any."""
    tcb.counters.add("TcpExtTCPAbortOnTimeout")
    failure = tcb.error if tcb.error is not Failure.NONE else Failure.TIMED_OUT
    if tcb.state >= ESTABLISHED:
        abort_with_reset(tcb, Event.TIMED_OUT, failure, now)
    else:
        tcb.enter_closed(Event.TIMED_OUT, failure)


def may_be_reused_by(tcb: ControlBlock, syn: Segment) -> bool:
    """Whether a new SYN may take over this connection in TIME-WAIT (RFC 6191, RFC 9293 MAY-2).

    With timestamps on both: when the new one is later, or the same and the sequence number is beyond; without: when the
    sequence number is beyond what was received.
    """
    if tcb.state is not TIME_WAIT or syn.flags & (SYN | ACK | RST) != SYN:
        return False
    beyond = 0 < (syn.seq - tcb.rcv_wire) & M32 < HALF or syn.seq == tcb.rcv_wire
    if tcb.timestamps_on and syn.timestamps is not None:
        later = (syn.timestamps.val - tcb.ts_recent) & M32
        return 0 < later < HALF or (later == 0 and beyond)
    return beyond
