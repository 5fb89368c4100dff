"""Text, urgent pointer and FIN of an acceptable segment, and what acknowledgment they are owed (RFC 9293 §3.10.7.4,
sixth to eighth check; RFC 5681 §4.2)."""

from __future__ import annotations

from testbed.tcp.closing import abort_with_reset, enter_time_wait
from testbed.tcp.control_block import ControlBlock
from testbed.tcp.state import CLOSE_WAIT, CLOSING, ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, TIME_WAIT, Event, Failure
from testbed.tcp.timers import NEVER
from testbed.tcp.timers import TIME_WAIT as TIME_WAIT_TIMER
from testbed.wire.segment import FIN, Segment


def owe_delayed_ack(tcb: ControlBlock, octets: int, now: int) -> None:
    """In-order data: acknowledge every second full segment at once, less after a while (MUST-40, SHLD-18, 19).

    More than the largest segment seen makes two, as in Linux (``__tcp_ack_snd_check``): of full segments one may be
    shorter than the other by its options.
    """
    tcb.events |= 2  # Event.READABLE, without the enum on the hot path
    if tcb.rcv_mss < octets <= tcb.mss_offered:
        tcb.rcv_mss = octets
    unacked = tcb.unacked_octets + octets
    tcb.unacked_octets = unacked
    delay = tcb.parameters.delayed_ack_ns
    if unacked > tcb.rcv_mss or delay == 0:
        if tcb.acks_due == 0:
            tcb.acks_due = 1
    elif tcb.timers.delayed_ack == NEVER:
        tcb.timers.delayed_ack = now + delay


def take_urgent(tcb: ControlBlock, segment: Segment, offset: int) -> None:
    """The urgent pointer is the offset after the last urgent octet (MUST-62); the data stays inline."""
    if not ESTABLISHED <= tcb.state <= FIN_WAIT_2:
        return
    pointer = offset + segment.urgent
    if pointer > tcb.rcv_up:
        tcb.rcv_up = pointer
        if pointer > tcb.rcv_nxt - tcb.queue.unread:
            tcb.tell(Event.URGENT)


def take_text(tcb: ControlBlock, segment: Segment, offset: int, now: int) -> None:
    """Seventh and eighth check: text and FIN, in any order of arrival."""
    payload = segment.payload
    if tcb.state > FIN_WAIT_2:
        # CLOSE-WAIT and later: the peer has sent its FIN before, so this cannot be text. A copy is acknowledged.
        tcb.acks_due = max(tcb.acks_due, 1)
        if tcb.state is TIME_WAIT and segment.flags & FIN:
            tcb.timers.set(TIME_WAIT_TIMER, now + 2 * tcb.parameters.msl_ns)
        return
    end = offset + len(payload)
    if not tcb.accepting_input and end > tcb.rcv_nxt and payload:
        _refuse_input(tcb, now)
        return
    fin = segment.flags & FIN != 0
    if end > tcb.rcv_adv:
        # Beyond the window: only what lies within is taken, and no FIN behind it.
        payload = payload[: max(0, tcb.rcv_adv - offset)]
        fin = False
        tcb.counters.add("TcpExtTCPRcvQDrop")
        tcb.acks_due = max(tcb.acks_due, 1)
    # A FIN below what has come is no end of this stream (it would lie in the past, and cut off all that follows).
    if fin and end >= tcb.rcv_nxt and (tcb.peer_fin < 0 or end == tcb.peer_fin):
        tcb.peer_fin = end
    elif tcb.peer_fin >= 0 and end > tcb.peer_fin:
        payload = payload[: max(0, tcb.peer_fin - offset)]  # octets behind a FIN do not exist
    if payload:
        _take_octets(tcb, offset, payload, now)
    if tcb.rcv_nxt == tcb.peer_fin:
        _take_fin(tcb, now)
    elif fin:
        tcb.acks_due = max(tcb.acks_due, 1)


def _take_octets(tcb: ControlBlock, offset: int, payload: bytes, now: int) -> None:
    queue = tcb.queue
    before = tcb.rcv_nxt
    dropped = queue.dropped
    had_hole = bool(queue.blocks)
    rcv_nxt = queue.insert(offset, payload, before)
    if queue.dsack is not None and not (tcb.sack_on and tcb.parameters.dsack):
        queue.dsack = None
    if rcv_nxt > before:
        tcb.advance_rcv_nxt(rcv_nxt)
        owe_delayed_ack(tcb, rcv_nxt - before, now)
        if had_hole or queue.dsack is not None:
            tcb.acks_due = max(tcb.acks_due, 1)  # RFC 5681 §4.2: at once when a hole is filled
        return
    if queue.dropped > dropped:
        tcb.counters.add("TcpExtTCPOFODrop")
    elif offset > before:
        tcb.counters.add("TcpExtTCPOFOQueue")
    # RFC 5681 §4.2: a segment out of order is acknowledged at once, each with its own ACK when only their number tells.
    tcb.acks_due = max(tcb.acks_due, 1) if tcb.sack_on else tcb.acks_due + 1


def _refuse_input(tcb: ControlBlock, now: int) -> None:
    """Data for a user who has closed for reading too: a reset says that it is lost (SHLD-3)."""
    tcb.counters.add("TcpExtTCPAbortOnData")
    abort_with_reset(tcb, Event.CLOSED, Failure.ABORTED, now)


def _take_fin(tcb: ControlBlock, now: int) -> None:
    """All text before the peer's FIN is here (eighth check)."""
    tcb.advance_rcv_nxt(tcb.peer_fin + 1)
    if tcb.rcv_adv < tcb.rcv_nxt:
        tcb.rcv_adv = tcb.rcv_nxt
    tcb.queue.clear()
    tcb.peer_closed = True
    tcb.tell(Event.PEER_CLOSED)
    tcb.acks_due = max(tcb.acks_due, 1)
    state = tcb.state
    if state is ESTABLISHED:
        tcb.move(CLOSE_WAIT)
    elif state is FIN_WAIT_1:
        tcb.move(CLOSING)
    elif state is FIN_WAIT_2:
        enter_time_wait(tcb, now)
