"""What has been sent and not cumulatively acknowledged: ranges with send time and marks (SACKed, lost, sent again).

The scoreboard of RFC 6675 §3 and the per-segment state of RFC 8985 §5.2 in one list, ordered by offset and without gaps
from ``snd_una`` to ``snd_nxt``. A range is what one segment carried; it is split where a SACK edge, a partial ACK or a
retransmission cuts it, and SACKed neighbours melt into one, so that a walk during a recovery meets holes and blocks
rather than packets.
"""

from __future__ import annotations

from bisect import bisect_right
from operator import attrgetter
from typing import Final

SACKED: Final = 1
LOST: Final = 2
RETRANSMITTED: Final = 4
"""Its latest retransmission is in flight (not known to be lost again)."""
EVER_RETRANSMITTED: Final = 8
"""For Karn's algorithm, F-RTO and the reordering test: an ACK of it is ambiguous."""

_end_of = attrgetter("end")


class SentRange:
    """Offsets ``start`` up to, not including, ``end``, sent (last) at ``sent_at``."""

    __slots__ = ("end", "marks", "sent_at", "start")

    def __init__(self, start: int, end: int, sent_at: int, marks: int = 0) -> None:
        self.start = start
        self.end = end
        self.sent_at = sent_at
        self.marks = marks

    def __repr__(self) -> str:
        letters = "".join(letter for bit, letter in zip(range(4), "SLRE", strict=True) if self.marks >> bit & 1)
        return f"[{self.start},{self.end}){letters}@{self.sent_at}"


class Delivery:
    """What one acknowledgment told, gathered while the queue is updated. One instance is reused."""

    __slots__ = (
        "acked",
        "delivered",
        "newest_end",
        "newest_retransmitted",
        "newest_sent_at",
        "oldest_sent_at",
        "original_above",
        "reordered",
        "retransmission_acked",
        "sacked",
    )

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Start a new acknowledgment."""
        self.acked = 0
        """Octets cumulatively acknowledged by it."""
        self.sacked = 0
        """Octets newly SACKed by it."""
        self.delivered = 0
        """Octets of which it is the first news, cumulative or selective (DeliveredData of RFC 6937)."""
        self.newest_sent_at = -1
        """Of the delivered range that was sent last (RACK.segment); -1: none."""
        self.newest_end = 0
        self.newest_retransmitted = False
        self.oldest_sent_at = -1
        """Of the first cumulatively acknowledged range that was never retransmitted (Karn); -1: none."""
        self.original_above = -1
        """Highest end of a newly delivered range that was never retransmitted; -1: none (F-RTO)."""
        self.retransmission_acked = False
        """Something that was retransmitted is cumulatively acknowledged."""
        self.reordered = False
        """A never retransmitted range was delivered after one above it (RFC 8985 §6.2 step 3)."""

    def note(self, sent_range: SentRange) -> None:
        """Count a range that is delivered now."""
        self.delivered += sent_range.end - sent_range.start
        retransmitted = sent_range.marks & EVER_RETRANSMITTED != 0
        sent_at = sent_range.sent_at
        if sent_at > self.newest_sent_at or (sent_at == self.newest_sent_at and sent_range.end > self.newest_end):
            self.newest_sent_at = sent_at
            self.newest_end = sent_range.end
            self.newest_retransmitted = retransmitted
        if not retransmitted and sent_range.end > self.original_above:
            self.original_above = sent_range.end


class SentQueue:
    """Ranges from ``snd_una`` to ``snd_nxt``, and the octet counts from which ``pipe`` follows at once."""

    __slots__ = (
        "due_from",
        "highest_delivered",
        "highest_retransmitted",
        "lost",
        "ranges",
        "retransmitted",
        "sacked",
        "waiting",
    )

    def __init__(self) -> None:
        self.ranges: list[SentRange] = []
        self.sacked = 0
        """Octets SACKed above snd_una."""
        self.lost = 0
        """Octets marked lost (and not SACKed), retransmitted or not."""
        self.retransmitted = 0
        """Octets of which a retransmission is in flight."""
        self.waiting = 0
        """Octets lost and not retransmitted since: what is to be retransmitted."""
        self.due_from = 0
        """No range that waits for its retransmission starts below."""
        self.highest_delivered = 0
        """RACK.fack: highest offset acknowledged or SACKed."""
        self.highest_retransmitted = 0

    def index_of(self, offset: int) -> int:
        """Index of the range that holds ``offset``; the number of ranges when it is beyond them."""
        return bisect_right(self.ranges, offset, key=_end_of)

    def split(self, index: int, at: int) -> None:
        """Cut range ``index`` at ``at``, strictly inside it."""
        head = self.ranges[index]
        self.ranges.insert(index + 1, SentRange(at, head.end, head.sent_at, head.marks))
        head.end = at

    # --- acknowledgment (the careful way; the common case is in LossRecovery.acknowledge) ---

    def acknowledge(self, ack: int, delivery: Delivery) -> None:
        """Take out all below ``ack``, a new cumulative acknowledgment."""
        ranges = self.ranges
        done = 0
        for head in ranges:
            if head.start >= ack:
                break
            if head.end > ack:
                rest = SentRange(ack, head.end, head.sent_at, head.marks)
                head.end = ack
                self._take_out(head, delivery)
                ranges[done] = rest
                break
            self._take_out(head, delivery)
            done += 1
        del ranges[:done]
        if ack > self.highest_delivered:
            self.highest_delivered = ack
        if ack > self.due_from:
            self.due_from = ack

    def _take_out(self, head: SentRange, delivery: Delivery) -> None:
        marks = head.marks
        octets = head.end - head.start
        delivery.acked += octets
        if marks & SACKED:
            self.sacked -= octets
            return
        if marks & EVER_RETRANSMITTED:
            delivery.retransmission_acked = True
        else:
            if delivery.oldest_sent_at < 0:
                delivery.oldest_sent_at = head.sent_at
            if head.end < self.highest_delivered:
                delivery.reordered = True
        self._unmark_lost(head)
        delivery.note(head)

    def _unmark_lost(self, sent_range: SentRange) -> None:
        marks = sent_range.marks
        octets = sent_range.end - sent_range.start
        if marks & LOST:
            self.lost -= octets
            if not marks & RETRANSMITTED:
                self.waiting -= octets
        if marks & RETRANSMITTED:
            self.retransmitted -= octets
        sent_range.marks = marks & ~(LOST | RETRANSMITTED)

    def sack(self, left: int, right: int, delivery: Delivery) -> None:
        """Mark what a SACK block covers, as far as it is not known yet; edges are cut where they fall."""
        ranges = self.ranges
        index = self.index_of(left)
        if index == len(ranges):
            return
        sent_range = ranges[index]
        if sent_range.marks & SACKED and sent_range.end >= right:
            return  # the same block as on the ACK before: nothing new
        if sent_range.start < left and not sent_range.marks & SACKED:
            self.split(index, left)
            index += 1
        before = self.highest_delivered
        while index < len(ranges):
            sent_range = ranges[index]
            if sent_range.start >= right:
                break
            if not sent_range.marks & SACKED:
                if sent_range.end > right:
                    self.split(index, right)
                octets = sent_range.end - sent_range.start
                self._unmark_lost(sent_range)
                delivery.note(sent_range)
                delivery.sacked += octets
                self.sacked += octets
                if not sent_range.marks & EVER_RETRANSMITTED and sent_range.end < before:
                    delivery.reordered = True
                sent_range.marks |= SACKED
                if sent_range.end > self.highest_delivered:
                    self.highest_delivered = sent_range.end
            if index and self._melts(ranges[index - 1], sent_range):
                ranges[index - 1].end = sent_range.end
                ranges[index - 1].sent_at = sent_range.sent_at
                del ranges[index]
            else:
                index += 1
        if index < len(ranges) and index and self._melts(ranges[index - 1], ranges[index]):
            ranges[index - 1].end = ranges[index].end
            del ranges[index]

    @staticmethod
    def _melts(one: SentRange, other: SentRange) -> bool:
        return one.marks & SACKED != 0 and one.marks == other.marks

    def forget_sacks(self) -> None:
        """RFC 2018 §8: after a retransmission timeout the receiver may have reneged on what it SACKed."""
        if self.sacked:
            for sent_range in self.ranges:
                sent_range.marks &= ~SACKED
            self.sacked = 0

    # --- loss and retransmission ---

    def mark_lost(self, sent_range: SentRange) -> None:
        """Range is lost, or its retransmission is: it waits for a retransmission."""
        marks = sent_range.marks
        octets = sent_range.end - sent_range.start
        if marks & RETRANSMITTED:
            self.retransmitted -= octets
        elif marks & LOST:
            return
        if not marks & LOST:
            self.lost += octets
        self.waiting += octets
        sent_range.marks = (marks | LOST) & ~RETRANSMITTED
        if sent_range.start < self.due_from:
            self.due_from = sent_range.start

    def mark_all_lost(self) -> None:
        """Everything that is not SACKed (RFC 5681 §3.1: after a timeout, all outstanding is sent again)."""
        for sent_range in self.ranges:
            if not sent_range.marks & SACKED:
                self.mark_lost(sent_range)

    def unmark_all_lost(self) -> None:
        """The losses were none (Eifel, F-RTO, D-SACK undo): what is outstanding is in flight."""
        for sent_range in self.ranges:
            sent_range.marks &= ~(LOST | RETRANSMITTED)
        self.lost = self.waiting = self.retransmitted = 0

    def next_lost(self, longest: int) -> tuple[int, int] | None:
        """The lowest octets that wait for their retransmission, at most ``longest``.

        As long as they are contiguous they leave together, however small the segments were that carried them (Linux
        ``tcp_retrans_try_collapse``).
        """
        if not self.waiting:
            return None
        ranges = self.ranges
        index = self.index_of(self.due_from)
        while ranges[index].marks & (LOST | RETRANSMITTED | SACKED) != LOST:
            index += 1
        start = ranges[index].start
        self.due_from = start
        limit = start + longest
        end = ranges[index].end
        index += 1
        while end < limit and index < len(ranges):
            if ranges[index].marks & (LOST | RETRANSMITTED | SACKED) != LOST:
                break
            end = ranges[index].end
            index += 1
        return start, end if end < limit else limit

    def retransmit(self, start: int, end: int, now: int) -> None:
        """``start`` to ``end`` left again at ``now``; ranges are cut at both."""
        ranges = self.ranges
        index = self.index_of(start)
        if index < len(ranges) and ranges[index].start < start:
            self.split(index, start)
            index += 1
        first = index
        while index < len(ranges):
            sent_range = ranges[index]
            if sent_range.start >= end:
                break
            if sent_range.end > end:
                self.split(index, end)
            marks = sent_range.marks
            if not marks & RETRANSMITTED:
                octets = sent_range.end - sent_range.start
                self.retransmitted += octets
                if marks & LOST:
                    self.waiting -= octets
            sent_range.marks = marks | RETRANSMITTED | EVER_RETRANSMITTED
            sent_range.sent_at = now
            index += 1
        if index > first + 1 and all(each.marks == ranges[first].marks for each in ranges[first:index]):
            ranges[first].end = ranges[index - 1].end  # one segment now
            del ranges[first + 1 : index]
        if end > self.highest_retransmitted:
            self.highest_retransmitted = end
