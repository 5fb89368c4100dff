"""RACK (RFC 8985 §5, §6): a segment is lost when one sent sufficiently later has been delivered."""

from __future__ import annotations

from typing import Final

from testbed.tcp.rfc6675 import DUP_THRESH
from testbed.tcp.sent_queue import LOST, RETRANSMITTED, SACKED, Delivery, SentQueue

PERSIST_RECOVERIES: Final = 16
"""RFC 8985 §6.2 step 4: recoveries without D-SACK after which the window shrinks back to min_RTT/4."""


class Rack:
    """State of RFC 8985 §5.3: the segment delivered that was sent last, and how much reordering is tolerated."""

    __slots__ = ("dsack_round", "end", "multiplier", "persist", "reordering_seen", "rtt", "sent_at")

    def __init__(self) -> None:
        self.sent_at = -1
        """RACK.xmit_ts."""
        self.end = 0
        """RACK.end_seq."""
        self.rtt = 0
        self.reordering_seen = False
        self.multiplier = 1
        """RACK.reo_wnd_mult."""
        self.persist = PERSIST_RECOVERIES
        self.dsack_round = -1
        """D-SACKs are not counted again until this offset is acknowledged; -1: none."""

    def update(self, delivery: Delivery, now: int, min_rtt: int) -> None:
        """Steps 2 and 3: adopt the most recently sent of what was delivered."""
        if delivery.reordered:
            self.reordering_seen = True
        sent_at = delivery.newest_sent_at
        if sent_at < 0:
            return
        rtt = now - sent_at
        if delivery.newest_retransmitted and rtt < min_rtt:
            return  # the original was delivered: too early for the retransmission
        if sent_at > self.sent_at or (sent_at == self.sent_at and delivery.newest_end > self.end):
            self.sent_at = sent_at
            self.end = delivery.newest_end
            self.rtt = rtt

    def note_dsack(self, snd_una: int, snd_nxt: int) -> None:
        """Step 4: a D-SACK says that the reordering window was too small; once per round trip."""
        if self.dsack_round >= 0 and snd_una >= self.dsack_round:
            self.dsack_round = -1
        if self.dsack_round < 0:
            self.dsack_round = snd_nxt
            self.multiplier += 1
            self.persist = PERSIST_RECOVERIES

    def recovery_exited(self) -> None:
        """Count recoveries without D-SACK; after 16 the reordering window is the smallest again."""
        if self.persist > 1:
            self.persist -= 1
        else:
            self.persist = PERSIST_RECOVERIES
            self.multiplier = 1

    def reordering_window(self, in_recovery: bool, enough_sacked: bool, min_rtt: int, srtt: int) -> int:
        """Step 4: none while no reordering was ever seen and the classic threshold is met; else multiples of
        min_RTT/4, bounded by SRTT."""
        if not self.reordering_seen and (in_recovery or enough_sacked):
            return 0
        return min(self.multiplier * (min_rtt >> 2), srtt)

    def detect(self, queue: SentQueue, now: int, window: int) -> int:
        """Step 5: mark what is lost; returns the time at which the rest is to be looked at again, 0: never."""
        latest = self.sent_at
        if latest < 0:
            return 0
        expired = now - self.rtt - window
        wait = 0
        for sent_range in queue.ranges:
            sent_at = sent_range.sent_at
            # Never retransmitted ranges stand in the order of their sending: beyond the first that is too young
            # nothing is older, except among retransmissions.
            if sent_at > latest:
                if sent_range.start >= queue.highest_retransmitted:
                    break
                continue
            marks = sent_range.marks
            if marks & SACKED or marks & (LOST | RETRANSMITTED) == LOST:
                continue
            if sent_at == latest and sent_range.end >= self.end:
                continue
            if sent_at <= expired:
                queue.mark_lost(sent_range)
            elif sent_at - expired > wait:
                wait = sent_at - expired
        return now + wait if wait else 0


def enough_sacked(sacked: int, dup_acks: int, smss: int) -> bool:
    """Whether at least DupThresh segments are SACKed above a hole."""
    return dup_acks >= DUP_THRESH or sacked > (DUP_THRESH - 1) * smss
