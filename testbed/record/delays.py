"""How long what was displaced had to wait: SACK ranges for their report, payload for its mapping.

*Information delay* of a SACK range: from the first segment sent while the range was wanted to the first that reports
it; *never* if it was acknowledged cumulatively before. A range that grows is as many ranges as it has grown by from one
segment to the next. *Map delay*: for each octet of payload, from its first transmission to the first mapping on that
subflow that covers it. State is kept of what waits, not of what has passed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Range = tuple[int, int]
"""First number and the one after the last."""

_DIGITS = 4
"""Values are kept with so many significant digits: then few differ, however many there are."""


class Distribution:
    """Integers with weights, in constant memory; quantiles are exact to four digits."""

    __slots__ = ("_weights", "total")

    def __init__(self) -> None:
        self._weights: dict[int, int] = {}
        self.total = 0

    def add(self, value: int, weight: int = 1) -> None:
        """Once more."""
        step = 10 ** max(0, len(str(value)) - _DIGITS)
        rounded = value - value % step if step > 1 else value
        self._weights[rounded] = self._weights.get(rounded, 0) + weight
        self.total += weight

    def update(self, other: Distribution) -> None:
        """All of another."""
        for value, weight in other._weights.items():
            self._weights[value] = self._weights.get(value, 0) + weight
        self.total += other.total

    def quantile(self, share: float) -> int | None:
        """The least value that so much of the weight does not exceed; None without any."""
        left = share * self.total
        for value in sorted(self._weights):
            left -= self._weights[value]
            if left <= 0:
                return value
        return None


class InformationDelay:
    """Of one subflow, as one side sends on it."""

    __slots__ = ("_ack", "_known", "_reported", "_waiting", "delays", "never")

    def __init__(self) -> None:
        self.delays = Distribution()
        """ns; one value for each range that was reported."""
        self.never = 0
        self._waiting: list[tuple[int, int, int]] = []
        self._reported: list[Range] = []
        self._ack: int | None = None
        self._known: dict[int, int] = {}
        """First number of a range that was wanted -> its end then."""

    @property
    def ranges(self) -> int:
        """In all."""
        return self.delays.total + self.never

    def take(self, time_ns: int, ack: int, wanted: Sequence[Range], sent: int) -> None:
        """A segment that wants to report ``wanted`` and reports the first ``sent`` of them."""
        if ack != self._ack:
            self._ack = ack
            self._acknowledge(ack)
        skipped = 1 if is_duplicate(ack, wanted) else 0
        known = self._known
        for start, end in wanted[skipped:]:
            until = known.get(start)
            if until == end:
                continue
            known[start] = end
            if until is not None and until < end:
                start = until  # it has grown at its end, as ranges mostly do
            for low, high in without((start, end), [*self._reported, *((a, b) for a, b, _ in self._waiting)]):
                self._waiting.append((low, high, time_ns))
        for start, end in wanted[skipped:sent]:
            if self._waiting:
                self._report(time_ns, start, end)

    def finish(self) -> None:
        """Nothing more comes."""
        self.never += len(self._waiting)
        self._waiting = []

    def _acknowledge(self, ack: int) -> None:
        if self._waiting:
            kept = []
            for low, high, since in self._waiting:
                if high <= ack:
                    self.never += 1
                else:
                    kept.append((max(low, ack), high, since))
            self._waiting = kept
        if self._reported:
            self._reported = [each for each in self._reported if each[1] > ack]
        if self._known:
            self._known = {start: end for start, end in self._known.items() if end > ack}

    def _report(self, time_ns: int, start: int, end: int) -> None:
        kept = []
        for low, high, since in self._waiting:
            if low < end and start < high:
                self.delays.add(time_ns - since)
                kept += [(left, right, since) for left, right in without((low, high), [(start, end)])]
            else:
                kept.append((low, high, since))
        self._waiting = kept
        self._reported = merged([*self._reported, (start, end)])


class MapDelay:
    """Of one subflow, as one side sends on it."""

    __slots__ = ("_count", "_waiting", "delays_ns", "delays_segments", "immediate")

    def __init__(self) -> None:
        self.immediate = 0
        """Octets that left under a mapping that was on their segment or had left before."""
        self.delays_ns = Distribution()
        """Of the octets that waited."""
        self.delays_segments = Distribution()
        self._waiting: list[tuple[int, int, int, int]] = []
        self._count = 0

    @property
    def never(self) -> int:
        """Octets whose mapping has not come."""
        return sum(high - low for low, high, _, _ in self._waiting)

    @property
    def is_waiting(self) -> bool:
        """Whether a mapping is still owed."""
        return bool(self._waiting)

    def quantiles(self, share: float) -> tuple[int | None, int | None]:
        """(ns, segments) that so much of all payload that has got its mapping did not wait longer for."""
        whole = self.immediate + self.delays_ns.total
        if not whole:
            return None, None
        if share * whole <= self.immediate:
            return 0, 0
        rest = (share * whole - self.immediate) / self.delays_ns.total
        return self.delays_ns.quantile(rest), self.delays_segments.quantile(rest)

    def take(self, time_ns: int, data: Range | None, is_known: bool, mapping: Range | None) -> None:
        """A data segment (or a pure ACK with a mapping: ``data`` None). ``data``: octets that leave for the first time;
        ``is_known``: an earlier mapping covers them."""
        if data is not None:
            self._count += 1
            missing = [] if is_known else without(data, [mapping] if mapping is not None else [])
            self.immediate += data[1] - data[0] - sum(high - low for low, high in missing)
            self._waiting += [(low, high, time_ns, self._count) for low, high in missing]
        if mapping is None or not self._waiting:
            return
        kept = []
        for low, high, since, number in self._waiting:
            left = without((low, high), [mapping])
            mapped = high - low - sum(b - a for a, b in left)
            if mapped:
                self.delays_ns.add(time_ns - since, mapped)
                self.delays_segments.add(self._count - number, mapped)
            kept += [(a, b, since, number) for a, b in left]
        self._waiting = kept


def is_duplicate(ack: int, ranges: Sequence[Range]) -> bool:
    """Whether the first range is a D-SACK: below the acknowledgment, or within the second (RFC 2883 section 4)."""
    if not ranges:
        return False
    first = ranges[0]
    return first[0] < ack or (len(ranges) > 1 and ranges[1][0] <= first[0] and first[1] <= ranges[1][1])


def without(whole: Range, taken: Iterable[Range]) -> list[Range]:
    """What of a range is in none of the others."""
    rest = [whole]
    for start, end in taken:
        parts: list[Range] = []
        for low, high in rest:
            if low < end and start < high:
                parts += [part for part in ((low, start), (end, high)) if part[0] < part[1]]
            else:
                parts.append((low, high))
        rest = parts
    return rest


def merged(ranges: Sequence[Range]) -> list[Range]:
    """The same octets in as few ranges as possible, in order."""
    found: list[Range] = []
    for start, end in sorted(ranges):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found
