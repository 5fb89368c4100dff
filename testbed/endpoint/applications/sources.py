"""Where the bytes of an application come from when a connection asks for them."""

from __future__ import annotations

from testbed.endpoint.meter import Sent
from testbed.endpoint.payload import Pattern

NOTHING_NOW = memoryview(b"")


class PatternSource:
    """Seeded bytes up to a total that may grow, counted and hashed as the socket takes them."""

    def __init__(self, pattern: Pattern, meter: Sent, write_bytes: int, total: int | None, ending: bool) -> None:
        self.total = total
        """Bytes that may be sent so far; None: any number."""
        self.ending = ending
        """Whether the stream ends at ``total``."""
        self._pattern = pattern
        self._meter = meter
        self._write_bytes = write_bytes

    @property
    def exhausted(self) -> bool:
        """Everything up to ``total`` was taken."""
        return self.total is not None and self._pattern.position >= self.total

    def end_here(self) -> None:
        """What was taken so far is all there is."""
        self.total = self._pattern.position
        self.ending = True

    def upcoming(self) -> memoryview | None:
        """As :class:`testbed.endpoint.transport.Source`."""
        if self.total is None:
            return self._pattern.upcoming(self._write_bytes)
        left = self.total - self._pattern.position
        if left <= 0:
            return None if self.ending else NOTHING_NOW
        return self._pattern.upcoming(min(self._write_bytes, left))

    def sent(self, count: int) -> None:
        """As :class:`testbed.endpoint.transport.Source`."""
        self._meter.add(self._pattern.upcoming(count))
        self._pattern.advance(count)
