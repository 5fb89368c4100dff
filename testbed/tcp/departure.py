"""Building the segments of a synchronized connection, one at a time: options, window, acknowledgment (RFC 9293 §3.8).

The option policy is asked for each through the connection's one plan, the receive window through the window source.
"""

from __future__ import annotations

from typing import Final

from testbed.tcp.control_block import M32, TIMESTAMP_TICK_NS, ControlBlock
from testbed.tcp.timers import NEVER
from testbed.wire.options import KIND_SACK
from testbed.wire.segment import ACK, ECE, ECN_NOT_ECT, RST, Segment

NO_BLOCKS: Final[tuple[tuple[int, int], ...]] = ()


def prepare(tcb: ControlBlock, flags: int, ssn: int, length: int, now: int) -> None:
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
        if val != tcb.timestamp_val or tcb.ts_recent != tcb.timestamp_echo:
            tcb.timestamp_val = val
            tcb.timestamp_echo = tcb.ts_recent
            tcb.timestamp_pair = (val, tcb.ts_recent)
        plan.timestamps = tcb.timestamp_pair
    queue = tcb.queue
    if (queue.blocks or queue.dsack is not None) and tcb.sack_on:
        irs = tcb.irs
        plan.irs = irs
        plan.sack_blocks = tuple([((irs + start) & M32, (irs + end) & M32) for start, end in queue.sack_blocks()])
    else:
        plan.sack_blocks = NO_BLOCKS


def depart(tcb: ControlBlock, flags: int, ssn: int, payload: bytes, ecn: int, urgent: int, gso: int) -> Segment:
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
    acknowledged(tcb)
    if plan.sack_blocks and tcb.queue.dsack is not None:
        for option in plan.options:
            if option.kind == KIND_SACK:
                is_old = tcb.queue.dsack is not None and tcb.queue.dsack[1] <= tcb.rcv_nxt
                tcb.counters.add("TcpExtTCPDSACKOldSent" if is_old else "TcpExtTCPDSACKOfoSent")
                tcb.queue.dsack = None  # RFC 2883 §4: reported once
    return segment


def acknowledged(tcb: ControlBlock) -> None:
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


def send_ack(tcb: ControlBlock, out: list[Segment], now: int) -> None:
    """A segment without data: <SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK>."""
    ssn = tcb.snd_nxt
    prepare(tcb, ACK, ssn, 0, now)
    plan = tcb.plan
    plan.is_retransmission = False
    tcb.options.fill(plan)
    out.append(depart(tcb, ACK, ssn, b"", ECN_NOT_ECT, 0, 0))
    plan.length = 0
    tcb.options.has_left(plan)


def send_ack_as_planned(tcb: ControlBlock, out: list[Segment]) -> None:
    """The plan as the policy has answered it leaves without data."""
    out.append(depart(tcb, ACK, tcb.snd_nxt, b"", ECN_NOT_ECT, 0, 0))
    tcb.plan.length = 0
    tcb.options.has_left(tcb.plan)


def send_window_probe(tcb: ControlBlock, now: int) -> None:
    """One octet of new data at a closed window (MUST-35, SHLD-29); it does not count as sent until it is taken."""
    ssn = tcb.snd_nxt
    if ssn >= tcb.send_buffer.end:
        return
    prepare(tcb, ACK, ssn, 1, now)
    plan = tcb.plan
    plan.is_retransmission = False
    tcb.options.fill(plan)
    octet = tcb.send_buffer.slice(ssn, 1) if plan.length else b""
    plan.length = len(octet)
    tcb.probe_end = ssn + 1 if octet else -1
    tcb.outbox.append(depart(tcb, ACK, ssn, octet, ECN_NOT_ECT, 0, 0))
    tcb.options.has_left(plan)
    tcb.counters.add("TcpExtTCPWinProbe")


def send_probe(tcb: ControlBlock, now: int) -> None:
    """A segment just before the window, which the peer must answer with an ACK (§3.8.4)."""
    ssn = tcb.snd_nxt - 1
    prepare(tcb, ACK, ssn, 0, now)
    plan = tcb.plan
    plan.is_retransmission = False
    tcb.options.fill(plan)
    tcb.outbox.append(depart(tcb, ACK, ssn, b"", ECN_NOT_ECT, 0, 0))
    plan.length = 0
    tcb.options.has_left(plan)
    tcb.counters.add("TcpExtTCPKeepAlive")


def build_reset(tcb: ControlBlock, now: int) -> Segment:
    """Our RST with the next number, which the peer accepts at once (RFC 5961 §3.2); the policy may add options."""
    plan = tcb.plan
    flags = RST | ACK
    ssn = tcb.snd_nxt
    prepare(tcb, flags, ssn, 0, now)
    plan.sack_blocks = NO_BLOCKS
    plan.is_retransmission = False
    tcb.options.fill(plan)
    segment = Segment(tcb.local, tcb.remote, (tcb.iss + ssn) & M32, tcb.rcv_wire, flags, 0, plan.options)
    plan.length = 0
    tcb.options.has_left(plan)
    return segment
