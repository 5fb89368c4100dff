"""The mappings that a peer has declared on one subflow, and the data that waits for one (RFC 8684 §3.3.1).

What a receiver does with mappings that are late, odd or missing is a matter of :class:`ReceiverRules`; this table says
what is the case (:class:`Verdict`), the data level acts on it. SSNs are TCP's offsets (SYN = 0), DSNs absolute, both
unbounded.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from enum import Enum

from testbed.wire.checksum import add, is_dss_checksum_right, ones_complement_sum, swap


class Verdict(Enum):
    """What became of a declared mapping."""

    STORED = "stored"
    KNOWN = "known"
    """Identical to one that is there, part of one (consistent), or about data that is mapped and done with."""
    NOT_IDENTICAL = "not identical"
    """Consistent with what is known but not the same, where the rules want the same (E4b)."""
    CONFLICT = "conflict"
    """It contradicts a mapping that is known (D3)."""
    TOO_MANY = "too many"


class IncomingMapping:
    """One mapping as declared; ``length`` is that of its data, without DATA_FIN."""

    __slots__ = ("_is_odd", "_sum", "checked", "checksum", "data_fin", "dsn", "end", "length", "pieces", "ssn")

    def __init__(self, ssn: int, dsn: int, length: int, checksum: int | None, data_fin: bool) -> None:
        self.ssn = ssn
        self.dsn = dsn
        self.length = length
        self.end = ssn + length
        self.checksum = checksum
        self.data_fin = data_fin
        self.pieces: list[bytes] = []
        """With a checksum: data that has arrived and is not delivered before all of it has been checked."""
        self.checked = 0
        """Octets of it in ``pieces``."""
        self._sum = 0
        self._is_odd = False

    def collect(self, piece: bytes) -> bool:
        """The next octets of the data; True when they are complete."""
        partial = ones_complement_sum(piece)
        self._sum = add(self._sum, swap(partial) if self._is_odd else partial)
        if len(piece) & 1:
            self._is_odd = not self._is_odd
        self.pieces.append(piece)
        self.checked += len(piece)
        return self.checked == self.length

    def is_intact(self, ssn_offset: int) -> bool:
        """Whether the complete data fits the checksum (D6); it counts the SSN as on the wire."""
        return self.checksum is None or is_dss_checksum_right(
            self.checksum, self.dsn, self.ssn - ssn_offset, self.length + self.data_fin, self._sum
        )


class IncomingMappings:
    """The table of one subflow; bounded by ``limit`` (a flood of mappings is dropped, and counted by the caller)."""

    __slots__ = ("_starts", "accept_sub_mapping", "current", "items", "limit", "mapped_to")

    def __init__(self, limit: int, accept_sub_mapping: bool) -> None:
        self.limit = limit
        self.accept_sub_mapping = accept_sub_mapping
        self.items: list[IncomingMapping] = []
        """Sorted by SSN, disjoint."""
        self._starts: list[int] = []
        self.current: IncomingMapping | None = None
        """The one found last: most segments ask for the same again."""
        self.mapped_to = 1
        """First SSN whose data has not been handed on with its DSN."""

    def declare(self, ssn: int, dsn: int, length: int, checksum: int | None, data_fin: bool) -> Verdict:
        """A mapping of ``length`` octets of data has arrived."""
        end = ssn + length
        if end <= self.mapped_to:
            return Verdict.KNOWN
        items = self.items
        if not items or ssn >= items[-1].end:
            index = len(items)
        else:
            index = bisect_right(self._starts, ssn)
            if index and items[index - 1].end > ssn:
                return self._overlapping(items[index - 1], ssn, dsn, length, checksum, data_fin)
            if index < len(items) and self._starts[index] < end:
                return self._overlapping(items[index], ssn, dsn, length, checksum, data_fin)
        if len(items) >= self.limit:
            return Verdict.TOO_MANY
        self._starts.insert(index, ssn)
        items.insert(index, IncomingMapping(ssn, dsn, length, checksum, data_fin))
        return Verdict.STORED

    def _overlapping(
        self, known: IncomingMapping, ssn: int, dsn: int, length: int, checksum: int | None, data_fin: bool
    ) -> Verdict:
        """It shares SSNs with ``known``."""
        if known.dsn - known.ssn != dsn - ssn:
            return Verdict.CONFLICT
        if known.ssn == ssn and known.length == length:
            return Verdict.KNOWN
        if not self.accept_sub_mapping:
            return Verdict.NOT_IDENTICAL
        if known.ssn <= ssn and ssn + length <= known.end:
            return Verdict.KNOWN
        if checksum is not None:
            # Its checksum covers octets that another mapping's checksum covers too: only parts could be verified.
            return Verdict.NOT_IDENTICAL
        # They reinforce each other (RFC 8684 §6): what reaches beyond is new. Never touch what was declared first.
        verdict = Verdict.KNOWN
        if ssn < known.ssn:
            verdict = self.declare(ssn, dsn, known.ssn - ssn, None, False)
        if ssn + length > known.end and verdict is not Verdict.CONFLICT:
            after = self.declare(known.end, dsn + known.end - ssn, ssn + length - known.end, None, data_fin)
            verdict = verdict if after is Verdict.KNOWN else after
        return verdict

    def covering(self, ssn: int) -> IncomingMapping | None:
        """The mapping of ``ssn``, made ``current``."""
        current = self.current
        if current is not None and current.ssn <= ssn < current.end:
            return current
        index = bisect_right(self._starts, ssn) - 1
        if index >= 0 and ssn < self.items[index].end:
            self.current = self.items[index]
            return self.current
        return None

    def next_start(self, ssn: int) -> int | None:
        """SSN at which the first mapping after ``ssn`` begins; None: there is none."""
        index = bisect_right(self._starts, ssn)
        return self._starts[index] if index < len(self._starts) else None

    def done_to(self, ssn: int) -> None:
        """All data before ``ssn`` is mapped and handed on: forget its mappings."""
        self.mapped_to = ssn
        items = self.items
        if items and items[0].end <= ssn:
            count = 1
            while count < len(items) and items[count].end <= ssn:
                count += 1
            del items[:count], self._starts[:count]
            if self.current is not None and self.current.end <= ssn:
                self.current = None

    def clear(self) -> None:
        """Forget all: fallback, or the subflow is gone."""
        self.items.clear()
        self._starts.clear()
        self.current = None


class UnmappedData:
    """In-order data of a subflow that has no mapping (yet): held for a while, not counted in the window (D8, D9)."""

    __slots__ = ("_arrivals", "has_lost", "is_passed", "is_tried_again", "octets", "peak", "pieces")

    def __init__(self) -> None:
        self.pieces: deque[tuple[int, bytes]] = deque()
        """(SSN, data), ascending."""
        self._arrivals: deque[tuple[int, int]] = deque()
        """(SSN after it, ns) of what has arrived, also of what is tried again: that has not become younger."""
        self.octets = 0
        self.peak = 0
        """Most octets that were held at once."""
        self.is_passed = False
        """Data after it has been mapped and delivered: it cannot be taken for the next of the stream any more."""
        self.is_tried_again = False
        """A mapping has come and the pieces are tried one by one: the rest is held, too, but not in ``pieces``."""
        self.has_lost = False
        """Some was thrown away: TCP's order is not the stream's any more."""

    def add(self, ssn: int, data: bytes, now: int) -> int:
        """Hold some; by how much that is more than ever was held at once."""
        end = ssn + len(data)
        if not self._arrivals or self._arrivals[-1][0] < end:
            self._arrivals.append((end, now))
        self.pieces.append((ssn, data))
        self.octets += len(data)
        self.since()  # forgets the arrivals of what is not held any more
        grown = self.octets - self.peak
        if grown <= 0:
            return 0
        self.peak = self.octets
        return grown

    def since(self) -> int | None:
        """When the first of what is held now arrived, ns."""
        if not self.pieces:
            return None
        first = self.pieces[0][0]
        arrivals = self._arrivals
        while arrivals[0][0] <= first:
            arrivals.popleft()
        return arrivals[0][1]

    def take(self) -> list[tuple[int, bytes]]:
        """All of it, for another try."""
        pieces = list(self.pieces)
        self.pieces.clear()
        self.octets = 0
        self.is_passed = False
        return pieces
