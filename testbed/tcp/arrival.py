"""SEGMENT ARRIVES (RFC 9293 §3.10.7) in a synchronized state, with RFC 5961, RFC 7323 and RFC 3168.

The common case, in-order data or a pure ACK in ESTABLISHED, is taken first and by itself; everything else follows the
RFC's order of checks: sequence number (timestamps before it), RST, SYN, ACK, URG, text, FIN.
"""

from __future__ import annotations

from typing import Final

from testbed.tcp.closing import abort_with_reset, enter_time_wait
from testbed.tcp.control_block import HALF, M32, TIMESTAMP_TICK_NS, ControlBlock
from testbed.tcp.handshake import established, passive_syn_again, syn_sent_arrives
from testbed.tcp.resets import reset_for
from testbed.tcp.state import (
    CLOSE_WAIT,
    CLOSED,
    CLOSING,
    ESTABLISHED,
    FIN_WAIT_1,
    FIN_WAIT_2,
    LAST_ACK,
    LISTEN,
    SYN_RECEIVED,
    SYN_SENT,
    TIME_WAIT,
    Event,
    Failure,
)
from testbed.tcp.timers import NEVER, PERSIST, USER_TIMEOUT
from testbed.tcp.timers import TIME_WAIT as TIME_WAIT_TIMER
from testbed.wire.segment import ACK, CWR, ECE, ECN_CE, FIN, RST, SYN, URG, Segment

_COMMON_MASK: Final = FIN | SYN | RST | ACK | URG | ECE | CWR
_OUTDATED_NS: Final = 24 * 86_400 * 1_000_000_000
"""RFC 7323 §5.5: TS.Recent is not trusted after 24 days."""
_NO_BLOCKS: Final[tuple[tuple[int, int], ...]] = ()


def segment_arrives(tcb: ControlBlock, segment: Segment, now: int) -> bool:
    """Take a segment. False: it is not acceptable, and nothing of it may be acted on."""
    tcb.last_arrival = now
    if (
        segment.flags & _COMMON_MASK == ACK
        and tcb.state is ESTABLISHED
        and segment.seq == tcb.rcv_wire
        and segment.ecn != ECN_CE
        and not tcb.queue.blocks
        and tcb.peer_fin < 0
    ):
        advance = (segment.ack - tcb.una_wire) & M32
        octets = len(segment.payload)
        if advance <= tcb.snd_nxt - tcb.snd_una and octets <= tcb.rcv_adv - tcb.rcv_nxt:
            if tcb.timestamps_on:
                timestamps = segment.timestamps
                if timestamps is None or (timestamps.val - tcb.ts_recent) & M32 >= HALF:
                    return _segment_arrives(tcb, segment, now)
                if tcb.last_ack_sent == tcb.rcv_nxt:
                    tcb.ts_recent = timestamps.val
                    tcb.ts_recent_age = now
            if advance or not octets or segment.sack is not None or segment.window << tcb.snd_shift != tcb.snd_wnd:
                _take_ack(tcb, segment, tcb.rcv_nxt, tcb.snd_una + advance, octets, now)
            else:
                tcb.snd_wl1 = tcb.rcv_nxt
                tcb.snd_wl2 = tcb.snd_una
            if octets:
                queue = tcb.queue
                rcv_nxt = tcb.rcv_nxt
                queue.in_order.append((rcv_nxt, segment.payload))
                queue.unread += octets
                tcb.rcv_nxt = rcv_nxt + octets
                tcb.rcv_wire = (tcb.rcv_wire + octets) & M32
                _owe_delayed_ack(tcb, octets, now)
            return True
    return _segment_arrives(tcb, segment, now)


def _segment_arrives(tcb: ControlBlock, segment: Segment, now: int) -> bool:
    state = tcb.state
    if state >= SYN_RECEIVED:
        return _numbered_arrives(tcb, segment, now)
    if state is SYN_SENT:
        if not syn_sent_arrives(tcb, segment, now):
            return False
        if tcb.state is ESTABLISHED and (segment.payload or segment.flags & FIN):
            _take_text(tcb, segment, 1, now)
        return True
    if state is CLOSED or state is LISTEN:
        answer = reset_for(segment)
        if answer is not None:
            tcb.outbox.append(answer)
    return False


def _numbered_arrives(tcb: ControlBlock, segment: Segment, now: int) -> bool:
    """SYN-RECEIVED and later: the checks in the order of §3.10.7.4."""
    flags = segment.flags
    offset = tcb.offset_of(segment.seq)
    length = segment.seq_length
    if tcb.state is SYN_RECEIVED and flags & SYN and offset == 0 and not flags & RST:
        if not flags & ACK or tcb.passive:
            passive_syn_again(tcb, segment, now)
            return False
        # Simultaneous open (figure 8): the peer's SYN/ACK repeats its SYN, of which only the ACK is news.
        offset = 1
        length -= 1
        flags &= ~SYN
    if tcb.timestamps_on and not flags & RST and not _timestamps_acceptable(tcb, segment, length, now):
        return False
    end = offset + length
    # From what was acknowledged last on, as Linux: an old ACK that was overtaken is still news. One octet at a closed
    # window passes here for its ACK, URG or RST (§3.10.7.4) and is trimmed later.
    if offset > tcb.rcv_adv or end < tcb.last_ack_sent or (length > 0 and end == tcb.last_ack_sent):
        if not flags & RST:
            _refuse(tcb, segment, offset, length, now)
        return False
    if flags & RST:
        return _reset_arrives(tcb, offset, now)
    if flags & SYN:
        _challenge(tcb, "TcpExtTCPSYNChallenge", now)
        return False
    if not flags & ACK:
        return False
    ack = tcb.snd_offset_of(segment.ack)
    if tcb.state is SYN_RECEIVED:
        if not tcb.snd_una < ack <= tcb.snd_nxt:
            answer = reset_for(segment)
            if answer is not None:
                tcb.outbox.append(answer)
            return False
    elif not _ack_in_range(tcb, ack, now):
        return False
    timestamps = segment.timestamps
    if (
        tcb.timestamps_on
        and timestamps is not None
        and offset <= tcb.last_ack_sent
        and (timestamps.val - tcb.ts_recent) & M32 < HALF
    ):
        tcb.ts_recent = timestamps.val
        tcb.ts_recent_age = now
    if tcb.state is SYN_RECEIVED:
        tcb.snd_wl1 = offset - 1  # so that the window of this segment, the first that is scaled, is taken
        _take_ack(tcb, segment, offset, ack, length, now)
        established(tcb, now, tcb.snd_wnd)
    elif ack >= tcb.snd_una:
        _take_ack(tcb, segment, offset, ack, length, now)
    if tcb.fin_offset >= 0 and tcb.snd_una > tcb.fin_offset and not _fin_acknowledged(tcb, now):
        return True
    if tcb.ecn.on:
        _note_congestion_marks(tcb, segment)
    if flags & URG:
        _take_urgent(tcb, segment, offset)
    if length:
        _take_text(tcb, segment, offset, now)
    return True


def _timestamps_acceptable(tcb: ControlBlock, segment: Segment, length: int, now: int) -> bool:
    """RFC 7323 §3.2 (a segment without the option is dropped) and PAWS (§5.3 R1)."""
    timestamps = segment.timestamps
    if timestamps is None:
        if not tcb.parameters.require_timestamps:
            return True
        tcb.counters.add("TcpExtTSMissing")
        return False
    if (timestamps.val - tcb.ts_recent) & M32 < HALF or now - tcb.ts_recent_age > _OUTDATED_NS:
        if now - tcb.ts_recent_age > _OUTDATED_NS:
            tcb.ts_recent = timestamps.val
            tcb.ts_recent_age = now
        return True
    tcb.counters.add("TcpExtPAWSEstab")
    if length or tcb.challenge.allows(now):
        tcb.acks_due = max(tcb.acks_due, 1)
    return False


def _refuse(tcb: ControlBlock, segment: Segment, offset: int, length: int, now: int) -> None:
    """Outside the window: an ACK says where we are (§3.10.7.4, first check), a copy is reported (RFC 2883)."""
    end = offset + len(segment.payload)
    if length == 0:
        if not tcb.challenge.allows(now):
            return
    elif segment.payload and end <= tcb.rcv_nxt and tcb.sack_on and tcb.parameters.dsack:
        tcb.queue.dsack = (offset, end)
        tcb.counters.add("TcpExtTCPDSACKOldSent")
    tcb.acks_due = max(tcb.acks_due, 1)
    if tcb.state is TIME_WAIT and segment.flags & FIN:
        tcb.timers.set(TIME_WAIT_TIMER, now + 2 * tcb.parameters.msl_ns)


def _challenge(tcb: ControlBlock, counter: str, now: int) -> None:
    """Answer with an ACK, seldom enough (RFC 5961 §7)."""
    tcb.counters.add(counter)
    if tcb.challenge.allows(now):
        tcb.counters.add("TcpExtTCPChallengeACK")
        tcb.acks_due = max(tcb.acks_due, 1)


def _reset_arrives(tcb: ControlBlock, offset: int, now: int) -> bool:
    """RFC 5961 §3.2: only the exact next number resets; another in the window is challenged."""
    if offset != tcb.rcv_nxt:
        _challenge(tcb, "TcpExtTCPRSTChallenge", now)
        return False
    if tcb.state is SYN_RECEIVED and not tcb.passive:
        tcb.enter_closed(Event.RESET, Failure.REFUSED)
    elif tcb.state is TIME_WAIT or tcb.state is LAST_ACK or tcb.state is CLOSING:
        tcb.enter_closed(Event.CLOSED, Failure.NONE)
    else:
        tcb.enter_closed(Event.RESET, Failure.RESET)
    return True


def _ack_in_range(tcb: ControlBlock, ack: int, now: int) -> bool:
    """RFC 5961 §5.2: SND.UNA - MAX.SND.WND <= SEG.ACK <= SND.NXT."""
    if ack > tcb.snd_nxt:
        if ack == tcb.probe_end:
            # The octet of a window probe was taken: it counts as sent now. Not measured (Karn).
            tcb.recovery.transmitted(tcb.snd_nxt, ack, now, True)
            tcb.snd_nxt = ack
            tcb.probe_end = -1
            return True
        _challenge(tcb, "TcpExtTCPACKSkippedChallenge", now)
        return False
    if ack < tcb.snd_una - tcb.max_snd_wnd:
        _challenge(tcb, "TcpExtTCPACKSkippedChallenge", now)
        return False
    return True


def _take_ack(tcb: ControlBlock, segment: Segment, offset: int, ack: int, length: int, now: int) -> None:
    """An acceptable ACK: release what it covers, tell loss recovery, take the window (§3.10.7.4, fifth check)."""
    snd_una = tcb.snd_una
    window = segment.window << tcb.snd_shift
    sack = segment.sack
    if ack > snd_una or (tcb.snd_nxt > snd_una and (length == 0 or sack is not None)):
        rtt: int | None = None
        recovery = tcb.recovery
        if ack > snd_una and tcb.timestamps_on and not recovery.clean:
            # Only beside a retransmission does the echo know more than the time of sending (Karn; RFC 7323 §4).
            timestamps = segment.timestamps
            if timestamps is not None and timestamps.ecr:
                ticks = (now // TIMESTAMP_TICK_NS + tcb.timestamp_offset - timestamps.ecr) & M32
                if ticks < HALF:
                    rtt = ticks * TIMESTAMP_TICK_NS
        recovery.acknowledge(
            ack,
            _NO_BLOCKS if sack is None or not tcb.sack_on else _sacked_offsets(tcb, sack.blocks),
            now,
            rtt,
            tcb.ecn.on and segment.flags & ECE != 0,
            length == 0 and window == tcb.snd_wnd and (ack > snd_una or not tcb.options.is_signal(segment)),
        )
        if ack > snd_una:
            tcb.snd_una = ack
            tcb.una_wire = segment.ack
            tcb.send_buffer.release(ack)
            tcb.r1_reported = False
            if tcb.wants_room or tcb.parameters.user_timeout_ns is not None:
                _progress(tcb, now)
    if tcb.snd_wl1 < offset or (tcb.snd_wl1 == offset and tcb.snd_wl2 <= ack):
        tcb.snd_wnd = window
        tcb.snd_wl1 = offset
        tcb.snd_wl2 = ack
        if window > tcb.max_snd_wnd:
            tcb.max_snd_wnd = window
        if tcb.timers.earliest_rare != NEVER and tcb.timers.is_set(PERSIST):
            _window_probe_answered(tcb)


def _sacked_offsets(tcb: ControlBlock, blocks: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    """SACK blocks as offsets; a D-SACK may lie below snd_una."""
    offsets: list[tuple[int, int]] = []
    for left, right in blocks:
        start = tcb.snd_offset_of(left)
        end = tcb.snd_offset_of(right)
        if start < end <= tcb.snd_nxt:
            offsets.append((start, end))
    return tuple(offsets)


def _progress(tcb: ControlBlock, now: int) -> None:
    """snd_una has advanced and somebody waits for that."""
    if tcb.wants_room and tcb.send_buffer.end - tcb.snd_una <= tcb.parameters.send_buffer * 2 // 3:
        tcb.wants_room = False
        tcb.tell(Event.WRITABLE)
    user_timeout = tcb.parameters.user_timeout_ns
    if user_timeout is not None:
        if tcb.snd_una < tcb.send_buffer.end:
            tcb.timers.set(USER_TIMEOUT, now + user_timeout)
        else:
            tcb.timers.stop(USER_TIMEOUT)


def _window_probe_answered(tcb: ControlBlock) -> None:
    """An ACK came while the window was being probed: the peer lives; a window that opened ends the probing."""
    usable = tcb.snd_una + tcb.snd_wnd - tcb.snd_nxt
    if usable >= min(tcb.payload_mss, tcb.send_buffer.end - tcb.snd_nxt):
        tcb.timers.stop(PERSIST)
        tcb.persist_backoff = 0


def _fin_acknowledged(tcb: ControlBlock, now: int) -> bool:
    """Our FIN is acknowledged. False: nothing more of the segment is to be processed."""
    state = tcb.state
    if state is FIN_WAIT_1:
        tcb.move(FIN_WAIT_2)
        if not tcb.accepting_input:
            # Nobody waits for the peer's FIN any more; as Linux (tcp_fin_timeout) we do not for ever either.
            tcb.timers.set(TIME_WAIT_TIMER, now + 2 * tcb.parameters.msl_ns)
    elif state is CLOSING:
        enter_time_wait(tcb, now)
    elif state is LAST_ACK:
        tcb.enter_closed(Event.CLOSED, Failure.NONE)
        return False
    return True


def _note_congestion_marks(tcb: ControlBlock, segment: Segment) -> None:
    """RFC 3168 §6.1.3: echo CE until the peer confirms with CWR."""
    if segment.flags & CWR:
        tcb.ecn.echo = False
    if segment.ecn == ECN_CE and segment.payload:
        tcb.ecn.echo = True
        tcb.acks_due = max(tcb.acks_due, 1)


def _take_urgent(tcb: ControlBlock, segment: Segment, offset: int) -> None:
    """The urgent pointer is the offset after the last urgent octet (MUST-62); the data stays inline."""
    if not ESTABLISHED <= tcb.state <= FIN_WAIT_2:
        return
    pointer = offset + segment.urgent
    if pointer > tcb.rcv_up:
        tcb.rcv_up = pointer
        if pointer > tcb.rcv_nxt - tcb.queue.unread:
            tcb.tell(Event.URGENT)


def _owe_delayed_ack(tcb: ControlBlock, octets: int, now: int) -> None:
    """In-order data: acknowledge every second full segment at once, less after a while (MUST-40, SHLD-18, 19)."""
    tcb.events |= 2  # Event.READABLE, without the enum on the hot path
    if tcb.rcv_mss < octets <= tcb.mss_offered:
        tcb.rcv_mss = octets
    unacked = tcb.unacked_octets + octets
    tcb.unacked_octets = unacked
    delay = tcb.parameters.delayed_ack_ns
    if unacked >= 2 * tcb.rcv_mss or delay == 0:
        if tcb.acks_due == 0:
            tcb.acks_due = 1
    elif tcb.timers.delayed_ack == NEVER:
        tcb.timers.delayed_ack = now + delay


def _take_text(tcb: ControlBlock, segment: Segment, offset: int, now: int) -> None:
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
    if fin and (tcb.peer_fin < 0 or end == tcb.peer_fin):
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
        _owe_delayed_ack(tcb, rcv_nxt - before, now)
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
