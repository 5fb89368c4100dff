"""What the timers do (RFC 9293 §3.10.8): give up, send again, probe, acknowledge, end TIME-WAIT."""

from __future__ import annotations

from typing import Final

from testbed.tcp.closing import give_up
from testbed.tcp.control_block import ControlBlock
from testbed.tcp.departure import send_probe, send_window_probe
from testbed.tcp.path_mtu import RAISE_AFTER_NS
from testbed.tcp.recovery_states import TimeoutAction
from testbed.tcp.state import CLOSED, ESTABLISHED, SYN_RECEIVED, SYN_SENT, TIME_WAIT, Event, Failure
from testbed.tcp.timers import DELAYED_ACK, KEEPALIVE, PERSIST, RAISE_PATH_MTU, USER_TIMEOUT
from testbed.tcp.timers import TIME_WAIT as TIME_WAIT_TIMER

R1: Final = 3
"""Retransmissions of one segment after which the user is told (RFC 9293 MUST-20, SHLD-10: at least 3)."""
_MAX_PERSIST_BACKOFF: Final = 32


def handle_timeout(tcb: ControlBlock, now: int) -> None:
    """Do what is due."""
    timers = tcb.timers
    if timers.expired(TIME_WAIT_TIMER, now):
        tcb.enter_closed(Event.CLOSED, Failure.NONE)
        return
    if timers.expired(DELAYED_ACK, now):
        tcb.acks_due = max(tcb.acks_due, 1)
        tcb.counters.add("TcpExtDelayedACKs")
    if timers.expired(USER_TIMEOUT, now):
        give_up(tcb, now)
        return
    action = tcb.recovery.handle_timeout(now)
    if action is TimeoutAction.RETRANSMIT:
        _retransmission_due(tcb, now)
        if tcb.state is CLOSED:
            return
    if timers.expired(PERSIST, now):
        _probe_window(tcb, now)
    if timers.expired(KEEPALIVE, now):
        _keep_alive(tcb, now)
    if timers.expired(RAISE_PATH_MTU, now) and tcb.path_mtu.raised():
        change_mss(tcb, now)


def _retransmission_due(tcb: ControlBlock, now: int) -> None:
    """R1 and R2 (RFC 9293 §3.8.3), and a size that the path may swallow (RFC 4821 §7.7)."""
    timeouts = tcb.recovery.timeouts
    if timeouts == 0:
        return
    limit = tcb.parameters.retries
    if tcb.state is SYN_SENT or tcb.state is SYN_RECEIVED:
        limit = tcb.parameters.syn_retries
    if timeouts > limit and not _peer_has_shut_window(tcb, now):
        give_up(tcb, now)
        return
    if timeouts >= R1 and not tcb.troubles & Event.DATA_TROUBLE:
        tcb.troubles |= Event.DATA_TROUBLE
        tcb.tell(Event.DATA_TROUBLE)
    if not tcb.parameters.black_hole_detection:
        return
    has_full_segment = tcb.state >= ESTABLISHED and tcb.snd_nxt - tcb.snd_una >= tcb.payload_mss
    if has_full_segment and tcb.path_mtu.timed_out(timeouts):
        tcb.counters.add("TcpExtTCPMTUPFail")
        tcb.timers.set(RAISE_PATH_MTU, now + RAISE_AFTER_NS)
        change_mss(tcb, now)


def _peer_has_shut_window(tcb: ControlBlock, now: int) -> bool:
    """SHLD-17: data beyond a right edge that moved back may stay unacknowledged, as long as the peer answers."""
    if tcb.state < ESTABLISHED:
        return False
    return tcb.snd_wnd < tcb.snd_nxt - tcb.snd_una and now - tcb.last_arrival < 2 * tcb.parameters.max_rto_ns


def _probe_window(tcb: ControlBlock, now: int) -> None:
    """§3.8.6.1: for as long as the peer acknowledges, with exponential backoff (MUST-36, MUST-37, SHLD-30)."""
    if tcb.state < ESTABLISHED or tcb.state is TIME_WAIT:
        return
    unsent = tcb.send_buffer.end - tcb.snd_nxt
    if unsent <= 0 or tcb.snd_una != tcb.snd_nxt:
        tcb.persist_backoff = 0
        return
    if tcb.persist_backoff > tcb.parameters.retries and now - tcb.last_arrival > 2 * tcb.parameters.max_rto_ns:
        give_up(tcb, now)  # not the window: the peer has stopped answering at all
        return
    if tcb.snd_una + tcb.snd_wnd > tcb.snd_nxt:
        tcb.silly_override = True  # §3.8.6.2.1 (4): the window is small, and no more of it has come
        return
    send_window_probe(tcb, now)
    tcb.persist_backoff = min(tcb.persist_backoff + 1, _MAX_PERSIST_BACKOFF)
    wait = min(tcb.recovery.rtt.rto << tcb.persist_backoff, tcb.parameters.max_rto_ns)
    tcb.timers.set(PERSIST, now + wait)


def _keep_alive(tcb: ControlBlock, now: int) -> None:
    """§3.8.4: only when asked for, only when nothing is outstanding, and one lost answer is no death (MUST-29)."""
    idle_ns = tcb.parameters.keepalive_ns
    if idle_ns is None or tcb.state < ESTABLISHED or tcb.state is TIME_WAIT:
        return
    idle_until = tcb.last_arrival + idle_ns
    if idle_until > now or tcb.snd_nxt != tcb.snd_una:
        tcb.keepalives_sent = 0
        tcb.timers.set(KEEPALIVE, max(idle_until, now + tcb.parameters.keepalive_interval_ns))
        return
    if tcb.keepalives_sent >= tcb.parameters.keepalive_probes:
        give_up(tcb, now)
        return
    tcb.keepalives_sent += 1
    send_probe(tcb, now)
    tcb.timers.set(KEEPALIVE, now + tcb.parameters.keepalive_interval_ns)


def change_mss(tcb: ControlBlock, now: int) -> None:
    """The path's MTU has changed: new segment size; what was sent too large counts as lost (RFC 1191 §6.5)."""
    before = tcb.mss
    tcb.set_mss()
    if tcb.mss != before:
        tcb.recovery.mss_changed(tcb.payload_mss, now)
