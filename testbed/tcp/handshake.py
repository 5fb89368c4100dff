"""Opening a connection, actively, passively or from both sides at once (RFC 9293 §3.5), with Fast Open (RFC 7413)."""

from __future__ import annotations

from typing import Final

from testbed.tcp.control_block import M32, MINIMUM_MSS, TIMESTAMP_TICK_NS, ControlBlock
from testbed.tcp.fast_open import FastOpen
from testbed.tcp.resets import reset_for
from testbed.tcp.state import ESTABLISHED, FIN_WAIT_1, SYN_RECEIVED, SYN_SENT, Event, Failure
from testbed.tcp.timers import KEEPALIVE, USER_TIMEOUT
from testbed.tcp.windows import scale_for
from testbed.wire.options import FastOpen as FastOpenOption
from testbed.wire.options import MaximumSegmentSize, SackPermitted, WindowScale
from testbed.wire.segment import ACK, CWR, ECE, RST, SYN, Segment

MAXIMUM_SHIFT: Final = 14
"""RFC 7323 §2.3."""


def begin_active(tcb: ControlBlock, fast_open: FastOpen | None) -> None:
    """OPEN, active (§3.10.1): a SYN is due."""
    parameters = tcb.parameters
    tcb.move(SYN_SENT)
    tcb.counters.add("TcpActiveOpens")
    tcb.passive = False
    tcb.rcv_shift = _own_shift(tcb)
    tcb.ecn.asked = parameters.ecn
    if fast_open is not None and parameters.fast_open:
        tcb.fast_open.host = fast_open
        known = fast_open.known(tcb.remote.host)
        tcb.fast_open.cookie = b"" if known is None else known[0]
        if known is not None:
            tcb.peer_mss = known[1]
            tcb.set_mss()


def accept_syn(tcb: ControlBlock, segment: Segment, now: int, fast_open: FastOpen | None) -> None:
    """A SYN has come to a listener (§3.10.7.2): SYN-RECEIVED, a SYN/ACK is due."""
    tcb.move(SYN_RECEIVED)
    tcb.counters.add("TcpPassiveOpens")
    tcb.passive = True
    tcb.rcv_shift = _own_shift(tcb)
    _take_syn(tcb, segment, now)
    tcb.ecn.on = tcb.parameters.ecn and segment.flags & (ECE | CWR) == ECE | CWR
    tcb.fast_open.host = fast_open
    if fast_open is not None and tcb.parameters.fast_open:
        _take_cookie(tcb, segment, fast_open, now)


def _own_shift(tcb: ControlBlock) -> int:
    parameters = tcb.parameters
    if not parameters.window_scaling:
        return 0
    shift = parameters.window_scale
    return scale_for(parameters.receive_buffer) if shift is None else min(shift, MAXIMUM_SHIFT)


def _take_syn(tcb: ControlBlock, segment: Segment, now: int) -> None:
    """Sequence numbers, window and options of the peer's SYN. The window of a SYN is never scaled (RFC 7323 §2.2)."""
    parameters = tcb.parameters
    tcb.irs = segment.seq
    tcb.advance_rcv_nxt(1)
    tcb.last_ack_sent = 1
    tcb.rcv_adv = 1 + min(65535, tcb.window.receive_window(1))
    tcb.snd_wnd = tcb.max_snd_wnd = segment.window
    tcb.snd_wl1 = 0
    scale: WindowScale | None = None
    sack_permitted = False
    for option in segment.options:
        if isinstance(option, MaximumSegmentSize):
            tcb.peer_mss = max(MINIMUM_MSS, option.mss)
        elif isinstance(option, WindowScale):
            scale = option
        elif isinstance(option, SackPermitted):
            sack_permitted = True
    if scale is not None and parameters.window_scaling:
        tcb.snd_shift = min(MAXIMUM_SHIFT, scale.shift)
    else:
        tcb.snd_shift = tcb.rcv_shift = 0
        tcb.scaling_on = False
    tcb.sack_on = parameters.sack and sack_permitted
    timestamps = segment.timestamps
    tcb.timestamps_on = parameters.timestamps and timestamps is not None
    if timestamps is not None:
        tcb.ts_recent = timestamps.val
        tcb.ts_recent_age = now
    tcb.set_mss()
    tcb.payload_mss = tcb.mss - (12 if tcb.timestamps_on else 0)


def _cookie_of(segment: Segment) -> bytes | None:
    for option in segment.options:
        if isinstance(option, FastOpenOption):
            return option.cookie
    return None


def _take_cookie(tcb: ControlBlock, segment: Segment, host: FastOpen, now: int) -> None:
    """Server (RFC 7413 §4.2.2): with a good cookie the SYN's data is taken at once; else a cookie goes back."""
    cookie = _cookie_of(segment)
    if cookie is None:
        return
    client = tcb.remote.host
    if not cookie or not host.is_valid(cookie, client):
        tcb.fast_open.cookie = host.cookie_for(client)
        if cookie:
            tcb.counters.add("TcpExtTCPFastOpenPassiveFail")
        else:
            tcb.counters.add("TcpExtTCPFastOpenCookieReqd")
        return
    if not host.may_accept():
        tcb.counters.add("TcpExtTCPFastOpenListenOverflow")
        return
    host.pending += 1
    tcb.fast_open.counted = True
    tcb.fast_open.accepted = True
    tcb.recovery.established_now(now, tcb.payload_mss, tcb.sack_on)  # an answer may leave before the handshake ends
    tcb.counters.add("TcpExtTCPFastOpenPassive")
    data = segment.payload[: tcb.rcv_adv - 1]
    if data:
        tcb.fast_open.syn_data = len(data)
        tcb.advance_rcv_nxt(tcb.queue.insert(1, data, 1))
        tcb.tell(Event.READABLE)


def passive_syn_again(tcb: ControlBlock, segment: Segment, now: int) -> None:
    """The peer repeats its SYN: ours, with its ACK, was lost or is late. It leaves again."""
    if segment.timestamps is not None and tcb.timestamps_on:
        tcb.ts_recent = segment.timestamps.val
        tcb.ts_recent_age = now
    tcb.fast_open.syn_repeat = True


def syn_sent_arrives(tcb: ControlBlock, segment: Segment, now: int) -> bool:
    """§3.10.7.3. True: the peer's SYN was taken."""
    flags = segment.flags
    sent = tcb.snd_nxt + tcb.fast_open.syn_data
    ack = tcb.snd_offset_of(segment.ack) if flags & ACK else 0
    if flags & ACK and not 0 < ack <= sent:
        answer = reset_for(segment)
        if answer is not None:
            tcb.outbox.append(answer)
        return False
    if flags & RST:
        if flags & ACK:
            tcb.enter_closed(Event.RESET, Failure.REFUSED)
            return True
        return False
    if not flags & SYN:
        return False
    _take_syn(tcb, segment, now)
    if not flags & ACK:
        # Simultaneous open (figure 8): our SYN leaves again, with the ACK (MUST-10).
        tcb.move(SYN_RECEIVED)
        tcb.ecn.on = tcb.ecn.asked and flags & (ECE | CWR) == ECE | CWR
        tcb.fast_open.syn_repeat = True
        tcb.fast_open.syn_data = 0
        return True
    tcb.ecn.on = tcb.ecn.asked and flags & (ECE | CWR) == ECE
    if tcb.fast_open.host is not None:
        _fast_open_answered(tcb, segment, ack, now)
    rtt: int | None = None
    if tcb.timestamps_on and segment.timestamps is not None and segment.timestamps.ecr:
        rtt = ((tcb.timestamp_now(now) - segment.timestamps.ecr) & M32) * TIMESTAMP_TICK_NS
    tcb.recovery.acknowledge(ack, (), now, rtt, False, False)
    tcb.advance_snd_una(ack)
    tcb.send_buffer.release(ack)
    tcb.acks_due = max(tcb.acks_due, 1)
    established(tcb, now, segment.window)
    return True


def _fast_open_answered(tcb: ControlBlock, segment: Segment, ack: int, now: int) -> None:
    """Client (RFC 7413 §4.2.1): keep the cookie; data that was in the SYN and is not acknowledged leaves as usual."""
    state = tcb.fast_open
    host = state.host
    assert host is not None
    cookie = _cookie_of(segment)
    if cookie:
        host.remember(tcb.remote.host, cookie, tcb.peer_mss)
    taken = ack - 1
    if state.syn_data and taken:
        tcb.recovery.transmitted(1, ack, state.syn_time, False)
        tcb.snd_nxt = ack
        state.accepted = True
        tcb.counters.add("TcpExtTCPFastOpenActive")
    elif state.syn_data:
        tcb.counters.add("TcpExtTCPFastOpenActiveFail")
    state.syn_data = taken


def established(tcb: ControlBlock, now: int, window: int) -> None:
    """The three-way handshake is complete; a close that waited for it goes on."""
    tcb.move(ESTABLISHED)
    tcb.tell(Event.ESTABLISHED)
    tcb.snd_wnd = window
    tcb.max_snd_wnd = max(tcb.max_snd_wnd, window)
    tcb.fast_open.no_longer_pending()
    if not tcb.recovery.established:
        tcb.recovery.established_now(now, tcb.payload_mss, tcb.sack_on)
    parameters = tcb.parameters
    if parameters.keepalive_ns is not None:
        tcb.timers.set(KEEPALIVE, now + parameters.keepalive_ns)
    if parameters.user_timeout_ns is not None:
        if tcb.send_buffer.end > tcb.snd_una:
            tcb.timers.set(USER_TIMEOUT, now + parameters.user_timeout_ns)
        else:
            tcb.timers.stop(USER_TIMEOUT)
    if tcb.send_buffer.end < tcb.parameters.send_buffer:
        tcb.tell(Event.WRITABLE)
    if tcb.fin_offset >= 0:
        tcb.move(FIN_WAIT_1)
