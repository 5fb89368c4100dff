"""NewReno (RFC 6582 §3.2): fast recovery without SACK, by duplicate and partial ACKs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from testbed.tcp.recovery_states import RECOVERY
from testbed.tcp.recovery_steps import enter_recovery
from testbed.tcp.rfc6675 import DUP_THRESH, mark_head_lost

if TYPE_CHECKING:
    from testbed.tcp.loss_recovery import LossRecovery


class NewReno:
    """The steps of RFC 6582 §3.2, on the state that :class:`LossRecovery` holds."""

    __slots__ = ("first_partial_ack_at", "partial_acks")

    def __init__(self) -> None:
        self.partial_acks = 0
        """In this recovery: only the first restarts the timer (the "Impatient" variant)."""
        self.first_partial_ack_at = 0

    def duplicate_ack(self, recovery: LossRecovery, flight: int, now: int) -> None:
        """Steps 2 and 3: the third begins the recovery, each further one inflates cwnd."""
        congestion = recovery.congestion
        smss = recovery.smss
        if recovery.state == RECOVERY:
            congestion.cwnd += smss
        elif recovery.dup_acks >= DUP_THRESH and recovery.snd_una > recovery.recovery_point:
            # Not above recovery_point ("recover") the duplicates may be of our own go-back-N after a timeout.
            mark_head_lost(recovery.queue, smss)
            enter_recovery(recovery, flight, now)
            congestion.cwnd = congestion.ssthresh + DUP_THRESH * smss
            self.partial_acks = 0
            recovery.counters.add("TcpExtTCPRenoRecovery")

    def partial_ack(self, recovery: LossRecovery, acked: int, now: int) -> None:
        """Step 3, partial acknowledgment: the next hole leaves at once, cwnd deflates by what left the network."""
        congestion = recovery.congestion
        smss = recovery.smss
        mark_head_lost(recovery.queue, smss)
        recovery.forced = True
        congestion.cwnd = max(congestion.cwnd - acked, smss)
        if acked >= smss:
            congestion.cwnd += smss
        self.partial_acks += 1
        if self.partial_acks > 1:
            recovery.armed_at = self.first_partial_ack_at
        else:
            self.first_partial_ack_at = now

    def full_ack(self, recovery: LossRecovery, now: int) -> None:
        """Step 3, full acknowledgment, option (1): no burst."""
        congestion = recovery.congestion
        flight = recovery.snd_nxt - recovery.snd_una
        congestion.on_recovery_exit(now)
        congestion.cwnd = min(congestion.ssthresh, max(flight, recovery.smss) + recovery.smss)
