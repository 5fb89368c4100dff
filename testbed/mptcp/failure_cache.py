"""Which peers dropped our SYNs with MP_CAPABLE, so that the next attempt need not wait (RFC 8684 §3.1, §3.9.3)."""

from __future__ import annotations

from typing import Final

KEPT_NS: Final = 3600 * 1_000_000_000
"""Linux ``blackhole_timeout``: an hour."""


class FailureCache:
    """Remote address -> until when it gets plain SYNs. Bounded: the oldest entry gives way."""

    __slots__ = ("_until", "kept_ns", "limit")

    def __init__(self, kept_ns: int = KEPT_NS, limit: int = 1024) -> None:
        self._until: dict[bytes, int] = {}
        self.kept_ns = kept_ns
        self.limit = limit

    def failed(self, remote: bytes, now: int) -> None:
        """SYNs with MP_CAPABLE went unanswered and a plain one had to be sent."""
        self._until.pop(remote, None)
        while len(self._until) >= self.limit:
            del self._until[next(iter(self._until))]
        self._until[remote] = now + self.kept_ns

    def succeeded(self, remote: bytes) -> None:
        """An MP_CAPABLE came back: forget what was."""
        self._until.pop(remote, None)

    def advises_against(self, remote: bytes, now: int) -> bool:
        """Whether to do without MP_CAPABLE now."""
        until = self._until.get(remote)
        if until is None:
            return False
        if now < until:
            return True
        del self._until[remote]
        return False
