"""What may leave now: losses, new data, FIN, acknowledgments, and SYNs until they are answered (RFC 9293 §3.8).

Loss recovery says what is lost and how much new data the congestion window lets leave; :mod:`testbed.tcp.departure`
builds the segments.
"""

from __future__ import annotations

from typing import Final

from testbed.tcp.control_block import M32, ControlBlock
from testbed.tcp.departure import acknowledged, depart, prepare, send_ack, send_ack_as_planned, window_field
from testbed.tcp.state import ESTABLISHED, SYN_RECEIVED, SYN_SENT
from testbed.tcp.syn_transmission import send_syn
from testbed.tcp.timers import PERSIST
from testbed.wire.segment import ACK, CWR, ECN_ECT0, ECN_NOT_ECT, FIN, PSH, URG, Segment

_ACKS_AT_ONCE: Final = 4
"""An option that has left may call for one more ACK, with what it displaced or with what still waits."""


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
            send_ack(tcb, out, now)
        recovery = tcb.recovery
        if not recovery.clean:
            _send_losses(tcb, out, now)
        if tcb.snd_nxt < tcb.send_buffer.end or tcb.snd_nxt == tcb.fin_offset:
            _send_new(tcb, out, now)
        if not recovery.clean:
            _send_without_new_data(tcb, out, now)
        for _ in range(_ACKS_AT_ONCE):
            if not tcb.acks_due:
                break
            send_ack(tcb, out, now)
    elif state is SYN_SENT or state is SYN_RECEIVED:
        _send_syn_if_due(tcb, out, now)
    return out


def _send_syn_if_due(tcb: ControlBlock, out: list[Segment], now: int) -> None:
    recovery = tcb.recovery
    if tcb.snd_nxt == 0:
        send_syn(tcb, out, False, now)
        recovery.transmitted(0, 1, now, False)
        tcb.snd_nxt = 1
    elif recovery.segment_to_retransmit(now, 1) is not None or tcb.fast_open.syn_repeat:
        send_syn(tcb, out, True, now)
        recovery.transmitted(0, 1, now, True)
    tcb.fast_open.syn_repeat = False
    if tcb.state is SYN_RECEIVED:
        # RFC 7413 §4.2.2: a server that took the SYN's data may answer before the handshake is complete.
        if tcb.fast_open.accepted and tcb.passive and tcb.snd_nxt < tcb.send_buffer.end:
            _send_new(tcb, out, now)
        if tcb.acks_due:
            send_ack(tcb, out, now)


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
        prepare(tcb, ACK, ssn, 0, now)
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
                prepare(tcb, ACK, ssn, 0, now)
            plan.ssn = ssn
            plan.length = available
            options.fill(plan)
            length = plan.length
            if length == 0:
                # The policy wants an option out first, on a segment without data (seam); then it is asked again.
                send_ack_as_planned(tcb, out)
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
                    acknowledged(tcb)
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
    out.append(depart(tcb, flags, ssn, tcb.send_buffer.slice(ssn, length), ecn, urgent, gso))
    if flags & FIN:
        end += 1
    tcb.snd_nxt = end
    tcb.recovery.transmitted(ssn, end, now, False)


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


def _send_fin(tcb: ControlBlock, out: list[Segment], now: int) -> None:
    """A FIN by itself: all data has left before."""
    ssn = tcb.snd_nxt
    prepare(tcb, ACK | FIN, ssn, 0, now)
    plan = tcb.plan
    plan.is_retransmission = False
    tcb.options.fill(plan)
    out.append(depart(tcb, ACK | FIN, ssn, b"", ECN_NOT_ECT, 0, 0))
    tcb.snd_nxt = ssn + 1
    tcb.recovery.transmitted(ssn, ssn + 1, now, False)
    plan.length = 0
    tcb.options.has_left(plan)


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
    prepare(tcb, flags, start, length, now)
    plan = tcb.plan
    plan.is_retransmission = True
    tcb.options.fill(plan)
    if plan.length == 0 and length:
        send_ack_as_planned(tcb, out)
        prepare(tcb, flags, start, length, now)
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
    out.append(depart(tcb, flags, start, payload, ECN_NOT_ECT, urgent, 0))
    tcb.recovery.transmitted(start, end, now, True)
    tcb.options.has_left(plan)
    plan.is_retransmission = False
    return True
