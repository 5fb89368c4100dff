"""SYN and SYN/ACK: what they offer and carry (RFC 9293 §3.5, RFC 7323 §2.2, RFC 3168 §6.1.1, RFC 7413 §4)."""

from __future__ import annotations

from testbed.tcp.control_block import ControlBlock
from testbed.tcp.departure import NO_BLOCKS, prepare
from testbed.tcp.state import SYN_RECEIVED
from testbed.wire.segment import ACK, CWR, ECE, SYN, Segment


def send_syn(tcb: ControlBlock, out: list[Segment], again: bool, now: int) -> None:
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
        state.cookie = None  # RFC 7413 §4.1.3: retried without Fast Open; the first SYN may still be answered
    elif not answers and state.cookie:
        available = min(tcb.send_buffer.end - 1, tcb.mss - 40)
        if available > 0:
            payload = tcb.send_buffer.slice(1, available)
    plan = tcb.plan
    prepare(tcb, flags, 0, len(payload), now)
    plan.sack_blocks = NO_BLOCKS
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
