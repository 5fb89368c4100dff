"""What the timers of loss recovery do when they expire."""

from __future__ import annotations

from typing import TYPE_CHECKING

from testbed.tcp.recovery_states import LOSS, RECOVERY, TimeoutAction
from testbed.tcp.recovery_steps import detect, enter_recovery

if TYPE_CHECKING:
    from testbed.tcp.loss_recovery import LossRecovery


def look_again(recovery: LossRecovery, now: int) -> TimeoutAction:
    """RACK's reordering timer: what has waited long enough is lost (RFC 8985 §6.3)."""
    recovery.look_again_at = 0
    flight = recovery.snd_nxt - recovery.snd_una
    detect(recovery, now)
    if not recovery.queue.waiting:
        return TimeoutAction.NOTHING
    if recovery.state < RECOVERY:
        recovery.delivery.clear()
        enter_recovery(recovery, flight, now)
        recovery.counters.add("TcpExtTCPSackRecovery")
    return TimeoutAction.RETRANSMIT


def retransmission_timeout(recovery: LossRecovery, now: int) -> TimeoutAction:
    """RFC 6298 (5.4) to (5.6), RFC 5681 §3.1, RFC 5682 §2."""
    queue = recovery.queue
    congestion = recovery.congestion
    recovery.counters.add("TcpExtTCPTimeouts")
    recovery.backoff = min(recovery.backoff + 1, 32)
    recovery.timeouts += 1
    recovery.armed_at = now
    recovery.look_again_at = 0
    recovery.tlp.due = False
    recovery.tlp.end = 0
    recovery.limited_until = -1
    recovery.clean = False
    if recovery.established:
        is_first = recovery.state != LOSS or recovery.timeouts == 1
        recovery.frto.timed_out(is_first and recovery.state < RECOVERY and recovery.snd_una >= recovery.recovery_point)
        if is_first:
            flight = recovery.snd_nxt - recovery.snd_una - queue.lost + queue.retransmitted
            congestion.on_timeout(now, min(flight, congestion.cwnd))
            recovery.undo_octets = 0
            recovery.undo_from = recovery.snd_una
        else:
            congestion.cwnd = recovery.smss
        recovery.state = LOSS
        recovery.recovery_point = recovery.snd_nxt
        recovery.dup_acks = 0
    queue.forget_sacks()
    queue.mark_all_lost()
    recovery.forced = True
    return TimeoutAction.RETRANSMIT
