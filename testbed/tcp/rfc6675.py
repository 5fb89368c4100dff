"""Loss detection by counting: DupThresh and IsLost (RFC 6675 §4), for connections with SACK but without RACK."""

from __future__ import annotations

from typing import Final

from testbed.tcp.sent_queue import LOST, RETRANSMITTED, SACKED, SentQueue, SentRange

DUP_THRESH: Final = 3
"""RFC 5681 §3.2, RFC 6675 §2."""


def mark_lost(queue: SentQueue, smss: int) -> None:
    """Mark every range for which IsLost is true: DupThresh discontiguous SACKed sequences, or more than
    (DupThresh - 1) * SMSS SACKed octets, lie above it."""
    if not queue.sacked:
        return
    ranges = queue.ranges
    blocks = 0
    octets = 0
    block_end = -1
    index = min(queue.index_of(queue.highest_delivered - 1), len(ranges) - 1)
    while index >= 0:
        sent_range = ranges[index]
        if sent_range.marks & SACKED:
            octets += sent_range.end - sent_range.start
            if block_end != index + 1:
                blocks += 1
            block_end = index
        elif blocks >= DUP_THRESH or octets > (DUP_THRESH - 1) * smss:
            break
        index -= 1
    for candidate in ranges[: index + 1]:
        # A retransmission that is lost again is not told by counting: that takes RACK or the RTO.
        if not candidate.marks & (SACKED | LOST | RETRANSMITTED):
            queue.mark_lost(candidate)


def mark_head_lost(queue: SentQueue, smss: int) -> None:
    """The third duplicate ACK says that the segment at SND.UNA is lost (RFC 6675 §5 step 4.3, RFC 6582 §3.2)."""
    if queue.ranges and not queue.ranges[0].marks & (SACKED | LOST | RETRANSMITTED):
        head = queue.ranges[0]
        if head.end - head.start > smss:
            queue.split(0, head.start + smss)
        queue.mark_lost(head)


def next_without_new_data(queue: SentQueue, high_rescue: int, recovery_point: int) -> tuple[SentRange | None, bool]:
    """NextSeg rules 3 and 4 (RFC 6675 §4), when rule 1 has nothing lost left and rule 2 no new data.

    Returns the range, and whether it is the rescue retransmission (once per recovery, the end of the window).
    """
    for sent_range in queue.ranges:
        if sent_range.start >= queue.highest_delivered:
            break
        if not sent_range.marks & (SACKED | LOST | RETRANSMITTED):
            return sent_range, False
    if high_rescue < 0 and queue.ranges:
        for sent_range in reversed(queue.ranges):
            if sent_range.end <= recovery_point and not sent_range.marks & (SACKED | RETRANSMITTED):
                return sent_range, True
    return None, False
