"""The stretch of a capture that is in memory: one buffer, used again and again, so that memory does not grow."""

from __future__ import annotations

from typing import Final

import numpy as np

from analysis.capture.records import SLACK
from analysis.capture.sources import Stream

WIDEST: Final = 1 << 24
"""Octets that the buffer may grow to by itself."""


class Window:
    """``buffer[start:end]`` is what was read and not yet taken; ``origin`` is where ``buffer[0]`` is in the stream."""

    __slots__ = ("_capacity", "_stream", "buffer", "end", "ended", "origin", "start")

    def __init__(self, stream: Stream, octets: int) -> None:
        self._stream = stream
        self._capacity = octets
        self.buffer = np.zeros(octets + SLACK, np.uint8)
        self.start = 0
        self.end = 0
        self.origin = 0
        self.ended = False
        """Nothing can be read any more: what is in the buffer is the rest."""

    @property
    def position(self) -> int:
        """In the stream, of what is taken next."""
        return self.origin + self.start

    @property
    def failure(self) -> str:
        """Why the stream ended before its time."""
        return self._stream.failure

    def __len__(self) -> int:
        return self.end - self.start

    def refill(self) -> None:
        """Move what is left to the front and read until the buffer is full; a full one grows."""
        left = len(self)
        if left == self._capacity:
            self.widen()
        elif self.start:
            self.buffer[:left] = self.buffer[self.start : self.end]
        self.origin += self.start
        self.start, self.end = 0, left
        room = self.buffer.data[: self._capacity]
        while not self.ended and self.end < self._capacity:
            got = self._stream.read_into(room[self.end :])
            self.end += got
            self.ended = not got
        self.buffer[self.end : self.end + SLACK] = 0

    def widen(self) -> None:
        """Twice the room, from now on."""
        self._capacity *= 2
        buffer = np.zeros(self._capacity + SLACK, np.uint8)
        buffer[: self.end] = self.buffer[: self.end]
        self.buffer = buffer

    def widen_if_narrow(self) -> None:
        """As ``widen``, up to what memory is spent on for speed."""
        if self._capacity < WIDEST:
            self.widen()

    def skip(self, octets: int) -> int:
        """Pass over octets, more than are in the buffer if need be; fewer only at the end."""
        within = min(octets, len(self))
        self.start += within
        beyond = octets - within
        if beyond:
            passed = self._stream.skip(beyond)
            # nothing is left in the buffer: its origin moves instead
            self.origin += passed
            return within + passed
        return within
