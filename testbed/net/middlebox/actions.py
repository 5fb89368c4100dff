"""Actions on the packets that match an expression."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final

from testbed.net.chance import derive_seed
from testbed.net.match import matcher
from testbed.net.middlebox.behaviour import Matching, Output
from testbed.net.middlebox.segments import changed
from testbed.wire.segment import ECN_CE, ECN_ECT0, ECN_ECT1, ECN_NOT_ECT, Segment
from topologies.middlebox.actions import Delay, Drop, Duplicate, Hold, Mark

CODEPOINTS: Final[Mapping[str, int]] = {
    "ce": ECN_CE,
    "ect0": ECN_ECT0,
    "ect1": ECN_ECT1,
    "not-ect": ECN_NOT_ECT,
}


class Dropper(Matching):
    """Drops what matches."""

    __slots__ = ()

    def __init__(self, value: Drop, seed: int) -> None:
        super().__init__(value.match, seed)

    def process(self, segment: Segment, way: int, now: int, out: Output) -> None:
        """As Behaviour."""
        if not self.matches(segment, way, now):
            out.pass_on(segment, way)


class Duplicator(Matching):
    """Lets a copy follow what matches."""

    __slots__ = ()

    def __init__(self, value: Duplicate, seed: int) -> None:
        super().__init__(value.match, seed)

    def process(self, segment: Segment, way: int, now: int, out: Output) -> None:
        """As Behaviour."""
        out.pass_on(segment, way)
        if self.matches(segment, way, now):
            out.pass_on(segment, way)


class Marker(Matching):
    """Sets the ECN field of what matches."""

    __slots__ = ("_codepoint",)

    def __init__(self, value: Mark, seed: int) -> None:
        super().__init__(value.match, seed)
        self._codepoint = CODEPOINTS[value.codepoint]

    def process(self, segment: Segment, way: int, now: int, out: Output) -> None:
        """As Behaviour."""
        if self.matches(segment, way, now) and segment.ecn != self._codepoint:
            segment = changed(segment, ecn=self._codepoint)
        out.pass_on(segment, way)


class Waiting:
    """A packet that was kept, and when it has to go at the latest."""

    __slots__ = ("due_ns", "segment", "way")

    def __init__(self, segment: Segment, way: int, due_ns: int) -> None:
        self.segment = segment
        self.way = way
        self.due_ns = due_ns


class Delayer(Matching):
    """Lets what matches wait for a fixed time."""

    __slots__ = ("_delay_ns", "_waiting")

    def __init__(self, value: Delay, seed: int) -> None:
        super().__init__(value.match, seed)
        self._delay_ns = value.delay_ns
        self._waiting: deque[Waiting] = deque()
        """In the order of their times."""

    def process(self, segment: Segment, way: int, now: int, out: Output) -> None:
        """As Behaviour."""
        if self.matches(segment, way, now):
            self._waiting.append(Waiting(segment, way, now + self._delay_ns))
            out.keep()
        else:
            out.pass_on(segment, way)

    def next_timeout(self) -> int | None:
        """As Behaviour."""
        return self._waiting[0].due_ns if self._waiting else None

    def handle_timeout(self, now: int, out: Output) -> None:
        """As Behaviour."""
        waiting = self._waiting
        while waiting and waiting[0].due_ns <= now:
            one = waiting.popleft()
            out.release(one.segment, one.way)


class Holder(Matching):
    """Keeps what matches until something else has passed."""

    __slots__ = ("_at_most_ns", "_until", "_waiting")

    def __init__(self, value: Hold, seed: int) -> None:
        super().__init__(value.match, seed)
        self._until = matcher(value.until, derive_seed(seed, "until"))
        self._at_most_ns = value.at_most_ns
        self._waiting: deque[Waiting] = deque()

    def process(self, segment: Segment, way: int, now: int, out: Output) -> None:
        """As Behaviour."""
        releases = self._until.matches(segment, way, now)
        held = self.matches(segment, way, now)
        if not held:
            out.pass_on(segment, way)
        if releases:
            self._release_until(now + self._at_most_ns, out)  # all of them: none came later than now
        if held:
            self._waiting.append(Waiting(segment, way, now + self._at_most_ns))
            out.keep()

    def next_timeout(self) -> int | None:
        """As Behaviour."""
        return self._waiting[0].due_ns if self._waiting else None

    def handle_timeout(self, now: int, out: Output) -> None:
        """As Behaviour."""
        self._release_until(now, out)

    def _release_until(self, due_ns: int, out: Output) -> None:
        waiting = self._waiting
        while waiting and waiting[0].due_ns <= due_ns:
            one = waiting.popleft()
            out.release(one.segment, one.way)
