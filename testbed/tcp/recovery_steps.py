"""The steps of loss recovery that several events take: detect, enter, leave, undo, grow, settle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from testbed.tcp import rfc6675
from testbed.tcp.rack import enough_sacked
from testbed.tcp.recovery_states import DISORDER, LOSS, OPEN, RECOVERY
from testbed.tcp.sent_queue import Delivery

if TYPE_CHECKING:
    from testbed.tcp.loss_recovery import LossRecovery


def detect(recovery: LossRecovery, now: int) -> None:
    """Mark losses by the method in force."""
    queue = recovery.queue
    if recovery.detection == "rack":
        rtt = recovery.rtt
        window = recovery.rack.reordering_window(
            recovery.state >= RECOVERY,
            enough_sacked(queue.sacked, recovery.dup_acks, recovery.smss),
            rtt.min_rtt,
            rtt.srtt,
        )
        recovery.look_again_at = recovery.rack.detect(queue, now, window)
        return
    rfc6675.mark_lost(queue, recovery.smss)
    if recovery.dup_acks >= rfc6675.DUP_THRESH and recovery.state < RECOVERY and queue.sacked:
        rfc6675.mark_head_lost(queue, recovery.smss)


def enter_recovery(recovery: LossRecovery, flight: int, now: int) -> None:
    """Fast retransmit: halve (or whatever the controller does), and send the first loss at once."""
    recovery.state = RECOVERY
    recovery.recovery_point = recovery.snd_nxt
    recovery.undo_octets = 0
    recovery.undo_from = recovery.snd_una
    recovery.rescue = -1
    recovery.forced = True
    recovery.limited_until = -1
    congestion = recovery.congestion
    if recovery.snd_una >= recovery.cwr_until:  # else ECE has been answered in this very window
        # FlightSize (RFC 5681 §2) counts SACKed octets, which a long recovery lets grow far beyond cwnd.
        congestion.on_congestion_event(now, min(flight, congestion.cwnd))
    recovery.prr.begin(flight)
    if not recovery.use_prr or not recovery.sack_on:
        congestion.cwnd = congestion.ssthresh
    else:
        congestion.cwnd = recovery.prr.window(
            recovery.delivery.delivered, recovery.pipe, congestion.ssthresh, recovery.smss
        )


def exit_recovery(recovery: LossRecovery, now: int) -> None:
    """All that was outstanding when the recovery began is acknowledged."""
    if recovery.state == RECOVERY:
        if recovery.sack_on:
            recovery.congestion.on_recovery_exit(now)
            recovery.rack.recovery_exited()
        else:
            recovery.newreno.full_ack(recovery, now)
    recovery.frto.phase = 0
    recovery.state = OPEN
    recovery.dup_acks = 0
    recovery.forced = False
    recovery.look_again_at = 0


def undo(recovery: LossRecovery, now: int) -> None:
    """The last reduction was for nothing: nothing had been lost."""
    recovery.congestion.on_spurious(now)
    if recovery.state >= RECOVERY:
        recovery.queue.unmark_all_lost()
        recovery.state = OPEN
        recovery.dup_acks = 0
        recovery.forced = False
    recovery.frto.phase = 0
    recovery.undo_octets = -1


def grow(recovery: LossRecovery, delivery: Delivery, flight: int, now: int) -> None:
    """Tell the congestion controller of new acknowledgments outside of fast recovery."""
    congestion = recovery.congestion
    rtt = now - delivery.newest_sent_at if delivery.newest_sent_at >= 0 and not delivery.newest_retransmitted else None
    limited = (
        recovery.snd_una <= recovery.limited_until
        or recovery.state == LOSS
        or (congestion.cwnd < congestion.ssthresh and flight << 1 >= congestion.cwnd)
    )
    congestion.on_ack(now, delivery.acked, recovery.rtt.srtt, rtt, flight, limited)


def settle(recovery: LossRecovery) -> None:
    """Find out whether the short way can be taken again, and name the state between OPEN and RECOVERY."""
    queue = recovery.queue
    suspicious = recovery.dup_acks > 0 or queue.sacked > 0 or queue.lost > 0
    if recovery.state < RECOVERY:
        recovery.state = DISORDER if suspicious else OPEN
        if not queue.lost and not queue.sacked:
            recovery.look_again_at = 0
    recovery.clean = (
        recovery.established
        and recovery.state == OPEN
        and not queue.retransmitted
        and not recovery.tlp.end
        and not recovery.tlp.due
        and recovery.snd_una >= recovery.cwr_until
    )
