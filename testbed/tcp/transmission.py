"""What may leave now, and building it: SYN, losses, new data, FIN, pure ACKs, resets, probes (RFC 9293 §3.8).

The option policy is asked for each segment through the connection's one plan; the receive window through the window
source. Loss recovery says what is lost and how much new data the congestion window lets leave.
"""

from __future__ import annotations

from typing import Final

from testbed.tcp.control_block import M32, TIMESTAMP_TICK_NS, ControlBlock
from testbed.tcp.state import (
    CLOSE_WAIT,
    ESTABLISHED,
    SYN_RECEIVED,
    SYN_SENT,
)
from testbed.tcp.timers import NEVER, PERSIST
from testbed.wire.options import KIND_SACK
from testbed.wire.segment import ACK, CWR, ECE, ECN_ECT0, ECN_NOT_ECT, FIN, PSH, RST, SYN, URG, Segment

_NO_BLOCKS: Final[tuple[tuple[int, int], ...]] = ()


def segments_to_send(tcb: ControlBlock, now: int) -> list[Segment]:
    """Everything that may leave now."""
    out = tcb.outbox
    if out:
        tcb.outbox = []
    else:
        out = []
    state = tcb.state
    if state is ESTABLISHED or state >= ESTABLISHED:  # the comparison of an enum is slow when compiled
        while tcb.acks_due > 1:
            _send_ack(tcb, out, now)
        recovery = tcb.recovery
        if not recovery.clean:
            _send_losses(tcb, out, now)
        if tcb.snd_nxt < tcb.send_buffer.end or tcb.snd_nxt == tcb.fin_offset:
            _send_new(tcb, out, now)
        if not recovery.clean:
            _send_without_new_data(tcb, out, now)
        if tcb.acks_due:
            _send_ack(tcb, out, now)
    elif state is SYN_SENT or state is SYN_RECEIVED:
        _send_syn_if_due(tcb, out, now)
    return out


# --- one segment ---


def _prepare(tcb: ControlBlock, flags: int, ssn: int, length: int, now: int) -> None:
    """Put into the plan what TCP wants of a segment that is no SYN."""
    plan = tcb.plan
    plan.now = now
    plan.flags = flags
    plan.ssn = ssn
    plan.ack = tcb.rcv_nxt
    plan.length = length
    plan.mss = tcb.mss
    if tcb.timestamps_on:
        val = (now // TIMESTAMP_TICK_NS + tcb.timestamp_offset) & M32
        pair = tcb.timestamp_pair
        if pair[0] != val or pair[1] != tcb.ts_recent:
            pair = tcb.timestamp_pair = (val, tcb.ts_recent)
        plan.timestamps = pair
    queue = tcb.queue
    if tcb.sack_on and (queue.blocks or queue.dsack is not None):
        irs = tcb.irs
        plan.sack_blocks = tuple(((irs + start) & M32, (irs + end) & M32) for start, end in queue.sack_blocks())
    else:
        plan.sack_blocks = _NO_BLOCKS


def _depart(tcb: ControlBlock, flags: int, ssn: int, payload: bytes, ecn: int, urgent: int, gso: int) -> Segment:
    """Build the segment that the plan describes; the ACK it carries settles what was owed."""
    plan = tcb.plan
    if tcb.ecn.echo:
        flags |= ECE
    segment = Segment(
        tcb.local,
        tcb.remote,
        (tcb.iss + ssn) & M32,
        tcb.rcv_wire,
        flags,
        window_field(tcb),
        plan.options,
        payload,
        urgent,
        ecn,
        gso,
    )
    _acknowledged(tcb)
    if plan.sack_blocks and tcb.queue.dsack is not None:
        for option in plan.options:
            if option.kind == KIND_SACK:
                tcb.queue.dsack = None  # RFC 2883 §4: reported once
                tcb.counters.add("TcpExtTCPDSACKOfoSent")
    return segment


def _acknowledged(tcb: ControlBlock) -> None:
    """A segment with our ACK leaves: nothing more is owed."""
    tcb.last_ack_sent = tcb.rcv_nxt
    tcb.unacked_octets = 0
    if tcb.acks_due:
        tcb.acks_due -= 1
    tcb.timers.delayed_ack = NEVER


def window_field(tcb: ControlBlock) -> int:
    """The 16 bits of the window; moves ``rcv_adv``, the right edge.

    An own window never shrinks (SHLD-14) and opens by steps worth the while (MUST-39, §3.8.6.2.2). A shared one
    (``limits_sending`` False) is the layer's above: it is advertised as it is, and what was advertised before stays
    acceptable.
    """
    rcv_nxt = tcb.rcv_nxt
    source = tcb.window
    offered = source.receive_window(rcv_nxt)
    shift = tcb.rcv_shift
    standing = tcb.rcv_adv - rcv_nxt
    if source.limits_sending:
        if offered < standing or (
            offered - standing < tcb.rcv_mss and 2 * (offered - standing) < tcb.parameters.receive_buffer
        ):
            offered = standing
        field = offered >> shift
        if (field << shift) < standing:
            field += 1  # rounding down would move the edge back (RFC 7323 §2.4)
    else:
        field = offered >> shift
    if field > 65535:
        field = 65535
    if (field << shift) > standing:
        tcb.rcv_adv = rcv_nxt + (field << shift)
    return field


def _send_ack(tcb: ControlBlock, out: list[Segment], now: int) -> None:
    """A segment without data: <SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK>."""
    ssn = tcb.snd_nxt
    _prepare(tcb, ACK, ssn, 0, now)
    plan = tcb.plan
    plan.is_retransmission = False
    tcb.options.fill(plan)
    out.append(_depart(tcb, ACK, ssn, b"", ECN_NOT_ECT, 0, 0))
    plan.length = 0
    tcb.options.has_left(plan)


# --- new data and FIN ---


def send_room(tcb: ControlBlock, now: int) -> int:
    """Payload octets that cwnd, and the peer's window if it limits, let leave beyond what is queued."""
    state = tcb.state
    if state is not ESTABLISHED and state is not CLOSE_WAIT:
        return 0
    room = tcb.recovery.send_allowance(now)
    if tcb.window.limits_sending:
        usable = tcb.snd_una + tcb.snd_wnd - tcb.snd_nxt
        if usable < room:
            room = usable
    return room - (tcb.send_buffer.end - tcb.snd_nxt)


def _send_new(tcb: ControlBlock, out: list[Segment], now: int) -> None:
    """New data as far as cwnd, the window, Nagle and silly-window avoidance let it; then the FIN.

    What seldom changes within one call (acknowledgment, timestamps, window) is put into the plan once, unless the
    connection is in one of the states in which each segment may differ: ``is_plain`` False.
    """
    recovery = tcb.recovery
    options = tcb.options
    plan = tcb.plan
    ssn = tcb.snd_nxt
    end = tcb.send_buffer.end
    if ssn < end:
        limit = tcb.parameters.super_segment
        mss = tcb.mss
        largest = limit if limit > mss else mss
        edge = tcb.snd_una + tcb.snd_wnd if tcb.window.limits_sending else end
        if edge <= ssn:
            _wait_for_window(tcb, now)
            return
        room = recovery.send_allowance(now)
        if room <= 0:
            return
        _prepare(tcb, ACK, ssn, 0, now)
        plan.is_retransmission = False
        is_plain = not tcb.ecn.on and tcb.snd_up <= ssn and tcb.fin_offset < 0 and not plan.sack_blocks
        field = -1
        while ssn < end:
            unsent = end - ssn
            usable = edge - ssn
            available = unsent if unsent < usable else usable
            if room < available:
                available = room
            if largest < available:
                available = largest
            if available <= 0:
                if usable <= 0:
                    _wait_for_window(tcb, now)
                return
            if not is_plain:
                _prepare(tcb, ACK, ssn, 0, now)
            plan.ssn = ssn
            plan.length = available
            options.fill(plan)
            length = plan.length
            if length == 0:
                # The policy wants an option out first, on a segment without data (seam); then it is asked again.
                _send_ack_as_planned(tcb, out)
                plan.length = available
                options.fill(plan)
                length = plan.length
                if length == 0:
                    return
            payload_mss = mss - plan.option_octets
            gso = 0
            if length >= payload_mss:
                if limit <= payload_mss:
                    length = payload_mss
                elif length > payload_mss:
                    gso = payload_mss
                    if length == available and length < unsent:
                        length -= length % payload_mss  # no short piece in the middle of the stream
                tcb.payload_mss = payload_mss
            elif length == available and not _may_leave_short(tcb, length, unsent, usable, room, now):
                return
            plan.length = length
            if is_plain:
                if field < 0:
                    field = window_field(tcb)
                    _acknowledged(tcb)
                out.append(
                    Segment(
                        tcb.local,
                        tcb.remote,
                        (tcb.iss + ssn) & M32,
                        tcb.rcv_wire,
                        ACK if length < unsent else ACK | PSH,  # MUST-61: on the last of what is queued
                        field,
                        plan.options,
                        tcb.send_buffer.slice(ssn, length),
                        0,
                        ECN_NOT_ECT,
                        gso,
                    )
                )
                tcb.snd_nxt = ssn + length
                recovery.transmitted(ssn, ssn + length, now, False)
            else:
                _send_octets(tcb, out, ssn, length, gso, now)
            options.has_left(plan)
            ssn += length
            room = room - length if recovery.clean else recovery.send_allowance(now)
        if tcb.probe_end >= 0 or tcb.silly_override:
            tcb.probe_end = -1
            tcb.silly_override = False
    if tcb.snd_nxt == tcb.fin_offset:
        _send_fin(tcb, out, now)


def _send_octets(tcb: ControlBlock, out: list[Segment], ssn: int, length: int, gso: int, now: int) -> None:
    """``length`` octets of new data leave, as planned."""
    end = ssn + length
    flags = ACK
    if end == tcb.send_buffer.end:
        flags = ACK | PSH  # MUST-61: the last of what is queued
        if end == tcb.fin_offset:
            flags = ACK | PSH | FIN
            tcb.plan.flags = flags
    urgent = 0
    if tcb.snd_up > ssn:
        flags |= URG
        urgent = min(65535, tcb.snd_up - ssn)
    ecn = ECN_NOT_ECT
    if tcb.ecn.on:
        ecn = ECN_ECT0
        if tcb.recovery.cwr_pending:
            flags |= CWR
            tcb.recovery.cwr_pending = False
    out.append(_depart(tcb, flags, ssn, tcb.send_buffer.slice(ssn, length), ecn, urgent, gso))
    if flags & FIN:
        end += 1
    tcb.snd_nxt = end
    tcb.recovery.transmitted(ssn, end, now, False)


def _send_ack_as_planned(tcb: ControlBlock, out: list[Segment]) -> None:
    out.append(_depart(tcb, ACK, tcb.snd_nxt, b"", ECN_NOT_ECT, 0, 0))
    tcb.plan.length = 0
    tcb.options.has_left(tcb.plan)


def _may_leave_short(tcb: ControlBlock, length: int, unsent: int, usable: int, room: int, now: int) -> bool:
    """Less than a full segment: Nagle (§3.7.4) and the sender's silly-window avoidance (§3.8.6.2.1)."""
    if length == unsent:
        # All there is (with the FIN, nothing follows that could fill the segment).
        parameters = tcb.parameters
        if parameters.nagle and tcb.fin_offset < 0 and tcb.snd_up <= tcb.snd_nxt:
            held_by = tcb.small_end if parameters.minshall else tcb.snd_nxt
            if held_by > max(tcb.snd_una, 1):  # a SYN is no data
                return False
        tcb.small_end = tcb.snd_nxt + length
        return True
    if length == room and room < usable:
        return False  # cwnd has no room for a full segment; an ACK will make it
    if 2 * usable >= tcb.max_snd_wnd or tcb.silly_override:
        return True
    _wait_for_window(tcb, now)
    return False


def _wait_for_window(tcb: ControlBlock, now: int) -> None:
    """The window lets nothing, or too little, leave: with nothing in flight only a probe finds out when it opens."""
    if tcb.snd_una == tcb.snd_nxt and not tcb.timers.is_set(PERSIST):
        recovery = tcb.recovery
        tcb.timers.set(PERSIST, now + min(recovery.rtt.rto << tcb.persist_backoff, tcb.parameters.max_rto_ns))


def send_window_probe(tcb: ControlBlock, now: int) -> None:
    """One octet of new data at a closed window (MUST-35, SHLD-29); it does not count as sent until it is taken."""
    ssn = tcb.snd_nxt
    if ssn >= tcb.send_buffer.end:
        return
    _prepare(tcb, ACK, ssn, 1, now)
    plan = tcb.plan
    plan.is_retransmission = False
    tcb.options.fill(plan)
    octet = tcb.send_buffer.slice(ssn, 1) if plan.length else b""
    plan.length = len(octet)
    tcb.probe_end = ssn + 1 if octet else -1
    tcb.outbox.append(_depart(tcb, ACK, ssn, octet, ECN_NOT_ECT, 0, 0))
    tcb.options.has_left(plan)
    tcb.counters.add("TcpExtTCPWinProbe")


def send_probe(tcb: ControlBlock, now: int) -> None:
    """A segment just before the window, which the peer must answer with an ACK (§3.8.4)."""
    ssn = tcb.snd_nxt - 1
    _prepare(tcb, ACK, ssn, 0, now)
    plan = tcb.plan
    plan.is_retransmission = False
    tcb.options.fill(plan)
    tcb.outbox.append(_depart(tcb, ACK, ssn, b"", ECN_NOT_ECT, 0, 0))
    plan.length = 0
    tcb.options.has_left(plan)
    tcb.counters.add("TcpExtTCPKeepAlive")


def _send_fin(tcb: ControlBlock, out: list[Segment], now: int) -> None:
    """A FIN by itself: all data has left before."""
    ssn = tcb.snd_nxt
    _prepare(tcb, ACK | FIN, ssn, 0, now)
    plan = tcb.plan
    plan.is_retransmission = False
    tcb.options.fill(plan)
    out.append(_depart(tcb, ACK | FIN, ssn, b"", ECN_NOT_ECT, 0, 0))
    tcb.snd_nxt = ssn + 1
    tcb.recovery.transmitted(ssn, ssn + 1, now, False)
    plan.length = 0
    tcb.options.has_left(plan)


# --- retransmission ---


def _send_losses(tcb: ControlBlock, out: list[Segment], now: int) -> None:
    recovery = tcb.recovery
    while True:
        lost = recovery.segment_to_retransmit(now, tcb.mss)
        if lost is None:
            return
        if not _send_again(tcb, out, lost[0], lost[1], now):
            return


def _send_without_new_data(tcb: ControlBlock, out: list[Segment], now: int) -> None:
    """A tail loss probe or a rescue, unless new data could leave instead."""
    lost = tcb.recovery.segment_without_new_data(now, tcb.mss)
    if lost is not None:
        _send_again(tcb, out, lost[0], lost[1], now)


def _send_again(tcb: ControlBlock, out: list[Segment], start: int, end: int, now: int) -> bool:
    """Offsets [start, end), SYN and FIN among them, leave once more; the policy may shorten. False: nothing left."""
    flags = ACK
    data_end = end
    if 0 <= tcb.fin_offset < end:
        data_end = tcb.fin_offset
        flags |= FIN
    length = data_end - start
    _prepare(tcb, flags, start, length, now)
    plan = tcb.plan
    plan.is_retransmission = True
    tcb.options.fill(plan)
    if plan.length == 0 and length:
        _send_ack_as_planned(tcb, out)
        _prepare(tcb, flags, start, length, now)
        tcb.options.fill(plan)
        if plan.length == 0:
            plan.is_retransmission = False
            return False
    octets = min(plan.length, tcb.mss - plan.option_octets)
    if octets < length:
        flags &= ~FIN
        end = start + octets
    payload = tcb.send_buffer.slice(start, octets) if octets else b""
    if payload and start + octets == tcb.send_buffer.end:
        flags |= PSH
    urgent = 0
    if tcb.snd_up > start:
        flags |= URG
        urgent = min(65535, tcb.snd_up - start)
    plan.length = octets
    out.append(_depart(tcb, flags, start, payload, ECN_NOT_ECT, urgent, 0))
    tcb.recovery.transmitted(start, end, now, True)
    tcb.options.has_left(plan)
    plan.is_retransmission = False
    return True


# --- SYN, RST ---


def _send_syn_if_due(tcb: ControlBlock, out: list[Segment], now: int) -> None:
    recovery = tcb.recovery
    if tcb.snd_nxt == 0:
        _send_syn(tcb, out, False, now)
        recovery.transmitted(0, 1, now, False)
        tcb.snd_nxt = 1
    elif recovery.segment_to_retransmit(now, 1) is not None or tcb.fast_open.syn_repeat:
        _send_syn(tcb, out, True, now)
        recovery.transmitted(0, 1, now, True)
    tcb.fast_open.syn_repeat = False
    if tcb.state is SYN_RECEIVED:
        # RFC 7413 §4.2.2: a server that took the SYN's data may answer before the handshake is complete.
        if tcb.fast_open.accepted and tcb.passive and tcb.snd_nxt < tcb.send_buffer.end:
            _send_new(tcb, out, now)
        if tcb.acks_due:
            _send_ack(tcb, out, now)


def _send_syn(tcb: ControlBlock, out: list[Segment], again: bool, now: int) -> None:
    """SYN or SYN/ACK; its window is not scaled (RFC 7323 §2.2)."""
    answers = tcb.state is SYN_RECEIVED
    parameters = tcb.parameters
    flags = SYN | ACK if answers else SYN
    if answers:
        flags |= ECE if tcb.ecn.on else 0
    elif tcb.ecn.asked and not again:
        flags |= ECE | CWR  # RFC 3168 §6.1.1.1: a SYN that is lost is retried without
    elif again:
        tcb.ecn.asked = False
    state = tcb.fast_open
    payload = b""
    if again and not answers:
        state.cookie = None  # RFC 7413 §4.1.3: retried without Fast Open
        state.syn_data = 0
    elif not answers and state.cookie:
        available = min(tcb.send_buffer.end - 1, tcb.mss - 40)
        if available > 0:
            payload = tcb.send_buffer.slice(1, available)
    plan = tcb.plan
    _prepare(tcb, flags, 0, len(payload), now)
    plan.sack_blocks = _NO_BLOCKS
    if not answers:
        plan.timestamps = (tcb.timestamp_now(now), 0) if parameters.timestamps else None
    plan.is_retransmission = again
    plan.mss_option = tcb.mss_offered
    plan.window_scale = tcb.rcv_shift if parameters.window_scaling and _offers_scale(tcb, answers) else None
    plan.sack_permitted = tcb.sack_on
    plan.fast_open_cookie = state.cookie
    tcb.options.fill(plan)
    if answers and plan.timestamps is None:
        tcb.timestamps_on = False  # the policy has left the timestamps out: they are declined (RFC 7323 §3.2)
    payload = payload[: plan.length]
    plan.length = len(payload)
    if payload:
        state.syn_data = len(payload)
        state.syn_time = now
    window = min(65535, tcb.window.receive_window(tcb.rcv_nxt))
    seq = tcb.iss
    ack = tcb.rcv_wire if answers else 0
    out.append(Segment(tcb.local, tcb.remote, seq, ack, flags, window, plan.options, payload))
    if answers:
        tcb.last_ack_sent = tcb.rcv_nxt
    tcb.options.has_left(plan)
    plan.mss_option = plan.window_scale = plan.fast_open_cookie = None
    plan.sack_permitted = False
    plan.timestamps = None
    plan.is_retransmission = False


def _offers_scale(tcb: ControlBlock, answers: bool) -> bool:
    """A SYN/ACK carries the option only if the SYN did (RFC 7323 §2.2)."""
    return not answers or tcb.scaling_on


def build_reset(tcb: ControlBlock, now: int) -> Segment:
    """Our RST with the next number, which the peer accepts at once (RFC 5961 §3.2); the policy may add options."""
    plan = tcb.plan
    flags = RST | ACK
    ssn = tcb.snd_nxt
    _prepare(tcb, flags, ssn, 0, now)
    plan.sack_blocks = _NO_BLOCKS
    plan.is_retransmission = False
    tcb.options.fill(plan)
    segment = Segment(tcb.local, tcb.remote, (tcb.iss + ssn) & M32, tcb.rcv_wire, flags, 0, plan.options)
    plan.length = 0
    tcb.options.has_left(plan)
    return segment
