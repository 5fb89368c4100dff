"""How often an acknowledgment may answer a segment that should not have come (RFC 5961 §7)."""

from __future__ import annotations

from typing import Final

INTERVAL_NS: Final = 5_000_000_000
LIMIT: Final = 10
"""RFC 5961 §7: at most 10 in any 5 seconds, both tunable."""


class ChallengeThrottle:
    """Counts challenge ACKs in windows of 5 s, for one connection (a global count is a side channel)."""

    __slots__ = ("_count", "_since", "limit")

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self._since = -INTERVAL_NS
        self._count = 0

    def allows(self, now: int) -> bool:
        """Whether one more may leave now; if so it is counted."""
        if now - self._since >= INTERVAL_NS:
            self._since = now
            self._count = 0
        if self._count >= self.limit:
            return False
        self._count += 1
        return True
