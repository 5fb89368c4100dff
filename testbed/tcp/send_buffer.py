"""What the user has sent and the peer has not acknowledged: chunks by reference, found by offset."""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

_COMPACT_ABOVE: Final = 512


class SendBuffer:
    """Octets [una, end) as the chunks that came in; a segment that is a whole chunk takes it without a copy."""

    __slots__ = ("_chunks", "_guess", "_head", "_starts", "end", "una")

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._starts: list[int] = []
        self._head = 0
        self._guess = 0
        """Index of the chunk in which the octet after those last asked for is, or will be."""
        self.una = 1
        """Offset of the first octet kept (the SYN has offset 0)."""
        self.end = 1
        """Offset after the last octet."""

    def append(self, chunk: bytes) -> None:
        """Queue octets behind those that are here."""
        self._starts.append(self.end)
        self._chunks.append(chunk)
        self.end += len(chunk)

    def slice(self, start: int, length: int) -> bytes:
        """``length`` octets from offset ``start``, all of which must be here."""
        starts = self._starts
        index = self._guess
        skip = start - starts[index] if index < len(starts) else -1
        if skip < 0 or skip >= len(self._chunks[index]):
            index = bisect_right(starts, start, self._head) - 1
            skip = start - starts[index]
        chunk = self._chunks[index]
        rest = len(chunk) - skip
        if rest > length:
            self._guess = index
            return chunk[skip : skip + length]
        self._guess = index + 1
        if rest == length:
            return chunk if skip == 0 else chunk[skip:]
        return self._gather(index, skip, length)

    def _gather(self, index: int, skip: int, length: int) -> bytes:
        pieces = [self._chunks[index][skip:]]
        missing = length - len(pieces[0])
        while missing > 0:
            index += 1
            piece = self._chunks[index]
            if len(piece) > missing:
                piece = piece[:missing]
            else:
                self._guess = index + 1
            pieces.append(piece)
            missing -= len(piece)
        return b"".join(pieces)

    def release(self, upto: int) -> None:
        """Forget the chunks that lie wholly before ``upto``: they are acknowledged."""
        starts = self._starts
        chunks = self._chunks
        head = self._head
        count = len(starts)
        while head < count and starts[head] + len(chunks[head]) <= upto:
            chunks[head] = b""
            head += 1
        self._head = head
        self.una = upto if upto < self.end else self.end
        if head > _COMPACT_ABOVE and 2 * head > count:
            del starts[:head]
            del chunks[:head]
            self._guess = max(0, self._guess - head)
            self._head = 0

    def clear(self) -> None:
        """Drop everything: the connection is gone."""
        self._chunks = []
        self._starts = []
        self._head = 0
        self._guess = 0
