"""An acknowledgment where something is, or may be, lost, reordered, SACKed or marked: what it means, state by state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from testbed.tcp.recovery_states import LOSS, OPEN, RECOVERY
from testbed.tcp.recovery_steps import detect, enter_recovery, exit_recovery, grow, settle, undo
from testbed.tcp.sent_queue import Delivery

if TYPE_CHECKING:
    from testbed.tcp.loss_recovery import LossRecovery


def acknowledge_carefully(
    recovery: LossRecovery,
    ack: int,
    blocks: Sequence[tuple[int, int]],
    now: int,
    rtt_from_timestamps: int | None,
    ece: bool,
    may_be_duplicate: bool,
) -> int:
    """As :meth:`LossRecovery.acknowledge`, where anything is, or becomes, suspicious."""
    queue = recovery.queue
    delivery = recovery.delivery
    delivery.clear()
    before = recovery.snd_una
    flight = recovery.snd_nxt - before
    dsack = _dsack_octets(ack, blocks) if blocks else 0
    if ack > before:
        queue.acknowledge(ack, delivery)
        recovery.snd_una = ack
        recovery.armed_at = recovery.progress_at = now
        recovery.timeouts = 0
    if blocks and recovery.sack_on:
        for left, right in blocks:
            if ack < right <= recovery.snd_nxt and left < right:
                queue.sack(max(left, ack), right, delivery)
    _measure(recovery, delivery, now, rtt_from_timestamps)
    recovery.rack.update(delivery, now, recovery.rtt.min_rtt)
    is_duplicate = delivery.sacked > 0 if recovery.sack_on else may_be_duplicate and ack == before and not dsack
    if recovery.established:
        if dsack:
            _dsack_arrived(recovery, dsack, blocks[0][1], now)
        if recovery.tlp.end:
            _settle_probe(recovery, ack, dsack, is_duplicate or (may_be_duplicate and ack == before), now)
        if ece:
            _ece_arrived(recovery, ack, flight, now)
        _advance(recovery, delivery, flight, is_duplicate, ece, now)
    settle(recovery)
    return delivery.acked


def _measure(recovery: LossRecovery, delivery: Delivery, now: int, rtt_from_timestamps: int | None) -> None:
    """Karn's algorithm: no sample from an ACK that covers a retransmission, but from a timestamp (RFC 7323 §4).

    What had waited behind the hole is acknowledged with it: its age says nothing about the path.
    """
    if delivery.oldest_sent_at >= 0 and not delivery.retransmission_acked:
        recovery.rtt.sample(now - delivery.oldest_sent_at, now)
    elif delivery.acked and rtt_from_timestamps is not None:
        recovery.rtt.sample(rtt_from_timestamps, now)
    else:
        return
    recovery.backoff = 0


def _advance(recovery: LossRecovery, delivery: Delivery, flight: int, is_duplicate: bool, ece: bool, now: int) -> None:
    """The state machine: what this acknowledgment means for the state that the sender is in."""
    ack = recovery.snd_una
    state = recovery.state
    if state >= RECOVERY and ack >= recovery.recovery_point and delivery.acked:
        exit_recovery(recovery, now)
        if state == RECOVERY:
            return
        state = OPEN
    if state == LOSS:
        _advance_after_timeout(recovery, delivery, flight, now)
        return
    if delivery.acked:
        if state == RECOVERY:
            if not recovery.sack_on:
                recovery.newreno.partial_ack(recovery, delivery.acked, now)
                return
        else:
            recovery.dup_acks = 0
            if not ece and ack >= recovery.cwr_until:
                grow(recovery, delivery, flight, now)
    if is_duplicate:
        recovery.dup_acks += 1
    if not recovery.sack_on:
        if is_duplicate:
            recovery.newreno.duplicate_ack(recovery, flight, now)
        return
    detect(recovery, now)
    if recovery.state == RECOVERY:
        if recovery.use_prr and delivery.delivered:
            recovery.congestion.cwnd = recovery.prr.window(
                delivery.delivered, recovery.pipe, recovery.congestion.ssthresh, recovery.smss
            )
    elif recovery.queue.waiting:
        enter_recovery(recovery, flight, now)
        recovery.counters.add("TcpExtTCPSackRecovery")


def _advance_after_timeout(recovery: LossRecovery, delivery: Delivery, flight: int, now: int) -> None:
    if recovery.frto.phase:
        waited_for_second = recovery.frto.waits_for_second_ack
        if recovery.frto.acknowledged(delivery.acked > 0, recovery.smss):
            recovery.counters.add("TcpExtTCPSpuriousRTOs")
            undo(recovery, now)
            return
        if recovery.frto.phase:
            return  # the next ACK decides
        if waited_for_second:
            # Step 3a: the two new segments are in flight; room for them and for what was lost.
            recovery.congestion.cwnd = max(recovery.congestion.cwnd, 3 * recovery.smss)
    if delivery.acked:
        grow(recovery, delivery, recovery.pipe + delivery.delivered, now)
    if recovery.sack_on and recovery.detection == "rack":
        detect(recovery, now)


def _dsack_octets(ack: int, blocks: Sequence[tuple[int, int]]) -> int:
    """Octets that the first block reports as received twice (RFC 2883 §4), else 0."""
    left, right = blocks[0]
    if left >= right or left < 0:
        return 0
    if right <= ack:
        return right - left
    if len(blocks) > 1 and blocks[1][0] <= left and right <= blocks[1][1]:
        return right - left
    return 0


def _dsack_arrived(recovery: LossRecovery, octets: int, end: int, now: int) -> None:
    recovery.counters.add("TcpExtTCPDSACKRecv")
    recovery.rack.note_dsack(recovery.snd_una, recovery.snd_nxt)
    if recovery.undo_octets > 0 and end > recovery.undo_from:
        recovery.undo_octets -= octets
        if recovery.undo_octets <= 0:
            # Every retransmission was superfluous: nothing had been lost.
            recovery.counters.add("TcpExtTCPDSACKUndo")
            undo(recovery, now)


def _settle_probe(recovery: LossRecovery, ack: int, dsack: int, is_duplicate: bool, now: int) -> None:
    """RFC 8985 §7.4.2: did the probe repair a loss that nobody else saw?"""
    tlp = recovery.tlp
    if not tlp.is_retransmission or recovery.state >= RECOVERY:
        if ack >= tlp.end or recovery.state >= RECOVERY:
            tlp.end = 0
        return
    if ack < tlp.end:
        return
    if dsack or (ack == tlp.end and is_duplicate and ack == recovery.snd_una and not recovery.delivery.acked):
        tlp.end = 0  # original and probe both arrived
    elif ack > tlp.end:
        tlp.end = 0
        recovery.counters.add("TcpExtTCPLossProbeRecovery")
        recovery.congestion.on_congestion_event(now, recovery.pipe + recovery.delivery.delivered)
        recovery.congestion.on_recovery_exit(now)


def _ece_arrived(recovery: LossRecovery, ack: int, flight: int, now: int) -> None:
    """RFC 3168 §6.1.2: as a single loss, at most once per window of data.

    CWR rides on the octet at ``cwr_until``; an ACK of what lies before it says ECE all the same (RFC 3168 §6.1.3).
    """
    if ack > recovery.cwr_until and recovery.state < RECOVERY and flight:
        recovery.congestion.on_congestion_event(now, min(flight, recovery.congestion.cwnd))
        recovery.congestion.on_recovery_exit(now)
        recovery.cwr_until = recovery.snd_nxt
        recovery.cwr_pending = True
