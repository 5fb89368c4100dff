"""What an application counts about one direction of its bytes: how many, which, when, and the longest silence.

A stream that both ends know beforehand (payload.py) is compared as it comes, byte by byte. Only what nobody knows is
hashed: SHA-256 at both ends was two thirds of an endpoint's own instructions (29 for a byte on a processor without
SHA-NI, as QEMU's is).
"""

from __future__ import annotations

import hashlib

from testbed.endpoint.payload import Pattern


class Sent:
    """Bytes that the socket has accepted from the application. ``known``: to the peer, beforehand."""

    def __init__(self, *, known: bool) -> None:
        self.count = 0
        self._hash = None if known else hashlib.sha256()

    def add(self, view: memoryview) -> None:
        """These bytes were accepted."""
        self.count += len(view)
        if self._hash is not None:
            self._hash.update(view)

    def sha256(self) -> str | None:
        """Hex digest of everything so far; None: the peer knows it."""
        return None if self._hash is None else self._hash.hexdigest()


class Received:
    """Bytes that the application has read. Times are ns since the epoch of the trial.

    ``expected``: what the peer sends; each byte is compared with it. None: they are hashed.
    """

    def __init__(self, expected: Pattern | None = None) -> None:
        self.count = 0
        self.first_ns: int | None = None
        self.last_ns: int | None = None
        self.opened_ns: int | None = None
        """When bytes could come; None: they could not yet, or are not meant to."""
        self.longest_stall_ns = 0
        self.longest_stall_start_ns: int | None = None
        self.first_mismatch: int | None = None
        """Stream offset of the first byte that is not what was sent; None: none seen."""
        self._expected = expected
        self._hash = hashlib.sha256() if expected is None else None

    @property
    def compared(self) -> bool:
        """Whether it was known what would come."""
        return self._expected is not None

    def opened(self, now_ns: int) -> None:
        """The connection stands. The silence from here to the first byte is no stall, unless none ever comes."""
        self.opened_ns = now_ns

    def add(self, view: memoryview, now_ns: int) -> None:
        """These bytes were read at ``now_ns``."""
        if self.last_ns is not None:
            self._silence(self.last_ns, now_ns)
        if self.first_ns is None:
            self.first_ns = now_ns
        self.last_ns = now_ns
        if self._hash is not None:
            self._hash.update(view)
        if self._expected is not None and self.first_mismatch is None:
            wrong = self._expected.mismatch(view)
            if wrong is not None:
                self.first_mismatch = self.count + wrong
        self.count += len(view)

    def end(self, now_ns: int) -> None:
        """Reading stops at ``now_ns`` although more could have come: the silence until then counts."""
        since_ns = self.opened_ns if self.last_ns is None else self.last_ns
        if since_ns is not None:
            self._silence(since_ns, now_ns)

    def sha256(self) -> str | None:
        """Hex digest of everything so far; None: it was compared instead."""
        return None if self._hash is None else self._hash.hexdigest()

    def _silence(self, since_ns: int, now_ns: int) -> None:
        if now_ns - since_ns > self.longest_stall_ns:
            self.longest_stall_ns = now_ns - since_ns
            self.longest_stall_start_ns = since_ns
