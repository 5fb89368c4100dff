"""What has arrived: in order for the user, and out of order behind a hole (RFC 9293 SHLD-31, RFC 2018, RFC 2883)."""

from __future__ import annotations

from bisect import bisect_right

Block = tuple[int, int]


class ReceiveQueue:
    """Octets in order that the user has not taken, and segments that wait for a hole to be filled.

    ``blocks`` are the ranges that wait, the most recently changed first: the order RFC 2018 §4 asks of SACK blocks.
    """

    __slots__ = ("_payloads", "_starts", "blocks", "dropped", "dsack", "in_order", "limit", "unread")

    def __init__(self, limit: int) -> None:
        self.in_order: list[tuple[int, bytes]] = []
        """(offset, octets) since the user last took."""
        self.unread = 0
        """Octets in ``in_order``."""
        self.blocks: list[Block] = []
        self.dsack: Block | None = None
        """A range that came twice and is still to be reported (RFC 2883)."""
        self.limit = limit
        self.dropped = 0
        """Segments refused because ``limit`` of them were waiting."""
        self._starts: list[int] = []
        self._payloads: list[bytes] = []

    @property
    def waiting(self) -> int:
        """Pieces that wait for a hole to be filled."""
        return len(self._starts)

    def take(self) -> list[tuple[int, bytes]]:
        """All that is in order, as (offset, octets) pairs."""
        taken = self.in_order
        self.in_order = []
        self.unread = 0
        return taken

    def read(self, limit: int) -> bytes:
        """At most ``limit`` octets in order."""
        queue = self.in_order
        if not queue or limit <= 0:
            return b""
        if len(queue) == 1 and len(queue[0][1]) <= limit:
            self.in_order = []
            self.unread = 0
            return queue[0][1]
        pieces: list[bytes] = []
        index = 0
        missing = limit
        while index < len(queue) and missing > 0:
            start, piece = queue[index]
            if len(piece) > missing:
                queue[index] = (start + missing, piece[missing:])
                piece = piece[:missing]
            else:
                index += 1
            missing -= len(piece)
            pieces.append(piece)
        del queue[:index]
        self.unread -= limit - missing
        return b"".join(pieces)

    def insert(self, start: int, payload: bytes, rcv_nxt: int) -> int:
        """Take octets from offset ``start``, of which none lies outside the window. Returns the new rcv_nxt.

        The first copy of an octet wins; a copy of what is here already is noted in ``dsack``.
        """
        end = start + len(payload)
        if start < rcv_nxt:
            self.dsack = (start, min(end, rcv_nxt))
            if end <= rcv_nxt:
                return rcv_nxt
            payload = payload[rcv_nxt - start :]
            start = rcv_nxt
        if start == rcv_nxt and (not self._starts or end <= self._starts[0]):
            self._deliver(start, payload)
            if not self._starts or end < self._starts[0]:
                return end
            return self._join(end)
        if start == rcv_nxt:
            # It fills the hole and overlaps what waits: taken whatever the limit says, for nothing else ends the wait.
            waiting = self._starts[0]
            self._deliver(start, payload[: waiting - start])
            joined = self._join(waiting)
            self.dsack = (waiting, min(end, joined))
            return joined if end <= joined else self.insert(joined, payload[joined - start :], joined)
        self._store(start, payload)
        return rcv_nxt

    def _deliver(self, start: int, payload: bytes) -> None:
        self.in_order.append((start, payload))
        self.unread += len(payload)

    def _join(self, rcv_nxt: int) -> int:
        """Deliver the waiting pieces that are contiguous from ``rcv_nxt`` on."""
        count = 0
        for start, payload in zip(self._starts, self._payloads, strict=True):
            if start != rcv_nxt:
                break
            self._deliver(start, payload)
            rcv_nxt += len(payload)
            count += 1
        del self._starts[:count]
        del self._payloads[:count]
        self.blocks = [block for block in self.blocks if block[1] > rcv_nxt]
        return rcv_nxt

    def _store(self, start: int, payload: bytes) -> None:
        """Put what is new of [start, end) among the waiting pieces."""
        if len(self._starts) >= self.limit:
            self.dropped += 1
            return
        end = start + len(payload)
        starts = self._starts
        index = bisect_right(starts, start)
        position = start
        if index > 0:
            before_end = starts[index - 1] + len(self._payloads[index - 1])
            if before_end > start:
                self.dsack = (start, min(before_end, end))
                position = before_end
        while position < end:
            gap_end = min(end, starts[index]) if index < len(starts) else end
            if gap_end > position:
                starts.insert(index, position)
                self._payloads.insert(index, payload[position - start : gap_end - start])
                index += 1
            if index >= len(starts) or gap_end == end:
                break
            piece_end = starts[index] + len(self._payloads[index])
            self.dsack = (starts[index], min(piece_end, end))
            position = piece_end
            index += 1
        self._merge_block(start, end)

    def _merge_block(self, start: int, end: int) -> None:
        """The range that holds [start, end) becomes the first block."""
        blocks = self.blocks
        if blocks:
            first_start, first_end = blocks[0]
            if first_end == start and len(blocks) == 1:
                blocks[0] = (first_start, end)
                return
        rest: list[Block] = []
        for block in blocks:
            if block[1] < start or block[0] > end:
                rest.append(block)
            else:
                start = min(start, block[0])
                end = max(end, block[1])
        rest.insert(0, (start, end))
        self.blocks = rest

    def sack_blocks(self) -> list[Block]:
        """What to report, in the order of RFC 2018 §4 and RFC 2883 §4: the duplicate first, then the newest."""
        duplicate = self.dsack
        if duplicate is None:
            return self.blocks[:4]
        # The block that contains the duplicate follows it (RFC 2883 §4, case of a partial or out-of-order duplicate).
        reported = [duplicate]
        reported.extend(block for block in self.blocks if block[0] <= duplicate[0] and duplicate[1] <= block[1])
        reported.extend(block for block in self.blocks[:4] if block not in reported)
        return reported[:4]

    def clear(self) -> None:
        """Drop everything that waits; what is in order stays for the user."""
        self._starts = []
        self._payloads = []
        self.blocks = []
        self.dsack = None
