"""SEGMENT ARRIVES (RFC 9293 §3.10.7) in a synchronized state, with RFC 5961, RFC 7323 and RFC 3168.

The common case, in-order data or a pure ACK in ESTABLISHED, is taken first and by itself; everything else follows the
RFC's order of checks: sequence number (timestamps before it), RST, SYN, ACK, URG, text, FIN.
"""

from __future__ import annotations

from typing import Final

from testbed.tcp.ack_arrival import fin_acknowledged, take_ack
from testbed.tcp.control_block import HALF, M32, ControlBlock
from testbed.tcp.handshake import established, passive_syn_again, syn_sent_arrives
from testbed.tcp.resets import reset_for
from testbed.tcp.state import (
    CLOSED,
    CLOSING,
    ESTABLISHED,
    LAST_ACK,
    LISTEN,
    SYN_RECEIVED,
    SYN_SENT,
    TIME_WAIT,
    Event,
    Failure,
)
from testbed.tcp.text_arrival import owe_delayed_ack, take_text, take_urgent
from testbed.tcp.timers import TIME_WAIT as TIME_WAIT_TIMER
from testbed.wire.segment import ACK, CWR, ECE, ECN_CE, FIN, RST, SYN, URG, Segment

_COMMON_MASK: Final = FIN | SYN | RST | ACK | URG | ECE | CWR
_OUTDATED_NS: Final = 24 * 86_400 * 1_000_000_000
"""RFC 7323 §5.5: TS.Recent is not trusted after 24 days."""


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
                take_ack(tcb, segment, tcb.rcv_nxt, tcb.snd_una + advance, octets, now)
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
                owe_delayed_ack(tcb, octets, now)
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
            take_text(tcb, segment, 1, now)
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
        return _reset_arrives(tcb, segment, offset, now)
    if flags & SYN:
        tcb.counters.add("TcpExtTCPSYNChallenge")
        _challenge(tcb, now)
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
        take_ack(tcb, segment, offset, ack, length, now)
        established(tcb, now, tcb.snd_wnd)
    elif ack >= tcb.snd_una:
        take_ack(tcb, segment, offset, ack, length, now)
    if tcb.fin_offset >= 0 and tcb.snd_una > tcb.fin_offset and not fin_acknowledged(tcb, now):
        return True
    if tcb.ecn.on:
        _note_congestion_marks(tcb, segment)
    if flags & URG:
        take_urgent(tcb, segment, offset)
    if length:
        take_text(tcb, segment, offset, now)
    return True


def _timestamps_acceptable(tcb: ControlBlock, segment: Segment, length: int, now: int) -> bool:
    """RFC 7323 §3.2 (a segment without the option is dropped) and PAWS (§5.3 R1)."""
    timestamps = segment.timestamps
    if timestamps is None:
        if not tcb.parameters.require_timestamps:
            return True
        tcb.counters.add("TestbedTimestampsMissing")
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
    if length == 0 or segment.flags & SYN:
        if tcb.challenge.allows(now):  # not a retransmission that waits for its ACK: a probe, or an attack
            tcb.acks_due = max(tcb.acks_due, 1)
        return
    if segment.payload and end <= tcb.rcv_nxt:
        if tcb.sack_on and tcb.parameters.dsack:
            tcb.queue.dsack = (offset, end)
        if tcb.timestamps_on:
            _echo_retransmission(tcb, segment, offset, now)
    tcb.acks_due = max(tcb.acks_due, 1)
    if tcb.state is TIME_WAIT and segment.flags & FIN:
        tcb.timers.set(TIME_WAIT_TIMER, now + 2 * tcb.parameters.msl_ns)


def _echo_retransmission(tcb: ControlBlock, segment: Segment, offset: int, now: int) -> None:
    """Data that came before, sent again since our ACK was lost: its timestamp is the one to echo (RFC 7323 §4.3 and
    appendix G (b) 1). The one before would measure all that time as a round trip, and the next timeout would wait for a
    multiple of it. Only near what was acknowledged last: a forged old segment must not move PAWS."""
    timestamps = segment.timestamps
    if (
        timestamps is not None
        and offset >= tcb.last_ack_sent - (tcb.rcv_adv - tcb.last_ack_sent)
        and tcb.snd_una - tcb.max_snd_wnd <= tcb.snd_offset_of(segment.ack) <= tcb.snd_nxt
        and (timestamps.val - tcb.ts_recent) & M32 < HALF
    ):
        tcb.ts_recent = timestamps.val
        tcb.ts_recent_age = now


def _challenge(tcb: ControlBlock, now: int) -> None:
    """Answer with an ACK, seldom enough (RFC 5961 §7)."""
    if tcb.challenge.allows(now):
        tcb.counters.add("TcpExtTCPChallengeACK")
        tcb.acks_due = max(tcb.acks_due, 1)
    else:
        tcb.counters.add("TcpExtTCPACKSkippedChallenge")


def _reset_arrives(tcb: ControlBlock, segment: Segment, offset: int, now: int) -> bool:
    """RFC 5961 §3.2: only the exact next number resets; another in the window is challenged."""
    if offset != tcb.rcv_nxt and not tcb.options.proves_reset(segment):
        _challenge(tcb, now)
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
        _challenge(tcb, now)
        return False
    if ack < tcb.snd_una - tcb.max_snd_wnd:
        _challenge(tcb, now)
        return False
    return True


def _note_congestion_marks(tcb: ControlBlock, segment: Segment) -> None:
    """RFC 3168 §6.1.3: echo CE until the peer confirms with CWR."""
    if segment.flags & CWR:
        tcb.ecn.echo = False
    if segment.ecn == ECN_CE and segment.payload:
        tcb.ecn.echo = True
        tcb.acks_due = max(tcb.acks_due, 1)
