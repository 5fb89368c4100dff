"""Where bytes of a stream were exchanged for others: numbers before and after, both ways.

All edits put ``b`` octets in the place of ``a``. Of an edit, the i-th octet before is the i-th after, the last one
before is all the rest: so segments that begin or end within an edit, as repeats may, still join without gap or overlap.
"""

from __future__ import annotations

from bisect import bisect_left, insort

from testbed.wire.serial import widen

EDITS_LIMIT = 65536
"""Of one stream; what comes after that many is not searched."""


class Edits:
    """The edits of what one sender has sent. Numbers are unbounded integers."""

    __slots__ = ("_before", "_places", "_replacement", "high")

    def __init__(self, before: int, replacement: bytes, first: int) -> None:
        self._before = before
        self._replacement = replacement
        self._places: list[int] = []
        """First numbers of the edits, before; ascending, ``before`` apart at least."""
        self.high = first
        """Behind the highest number that the sender has used."""

    @property
    def is_full(self) -> bool:
        """Whether there may be no more."""
        return len(self._places) >= EDITS_LIMIT

    def add(self, place: int) -> None:
        """``before`` octets from ``place`` on are exchanged from now on; none of them was before."""
        insort(self._places, place)

    def widened(self, seq: int) -> int:
        """A number of the sender."""
        return widen(seq, self.high)

    def widened_after(self, seq: int) -> int:
        """A number of the receiver, about what the sender sent."""
        return widen(seq, self.after(self.high))

    def after(self, number: int) -> int:
        """What has become of a number of the sender."""
        done = bisect_left(self._places, number)  # edits that begin before it
        if done == 0:
            return number
        inside = number - self._places[done - 1]
        moved = number + (done - 1) * (len(self._replacement) - self._before)
        if inside < self._before:
            return moved - inside + min(inside, len(self._replacement))
        return moved + len(self._replacement) - self._before

    def before_down(self, number: int) -> int:
        """The highest number of the sender that has become ``number`` or less: what an acknowledgement stands for."""
        done = self._begun(number + 1)
        if done == 0:
            return number
        place = self._places[done - 1]
        inside = number - self._place_after(done - 1)
        if inside >= len(self._replacement):
            return place + self._before + inside - len(self._replacement)
        return place + min(inside, self._before - 1)

    def before_up(self, number: int) -> int:
        """A number of the sender that has become ``number`` or more, the lowest of them outside edits: where a SACK
        block begins."""
        done = self._begun(number)
        if done == 0:
            return number
        place = self._places[done - 1]
        inside = number - self._place_after(done - 1)
        if inside >= len(self._replacement):
            return place + self._before + inside - len(self._replacement)
        return place + min(inside, self._before)

    def rewritten(self, payload: bytes, first: int) -> bytes:
        """What becomes of the octets from ``first`` on; the same object where nothing is exchanged."""
        places = self._places
        end = first + len(payload)
        index = bisect_left(places, first - self._before + 1)
        if index == len(places) or places[index] >= end:
            return payload
        parts: list[bytes] = []
        done = first
        while index < len(places) and places[index] < end:
            place = places[index]
            parts.append(payload[done - first : max(place, first) - first])
            done = min(end, place + self._before)
            parts.append(self._replacement[self._part(max(first, place) - place) : self._part(done - place)])
            index += 1
        parts.append(payload[done - first :])
        return b"".join(parts)

    def _part(self, inside: int) -> int:
        """How much of the replacement is before the ``inside``-th octet."""
        return min(inside, len(self._replacement)) if inside < self._before else len(self._replacement)

    def _place_after(self, index: int) -> int:
        return self._places[index] + index * (len(self._replacement) - self._before)

    def _begun(self, number: int) -> int:
        """How many edits begin before ``number``, which is one after the edits."""
        low, high = 0, len(self._places)
        while low < high:
            middle = (low + high) // 2
            if self._place_after(middle) < number:
                low = middle + 1
            else:
                high = middle
        return low
