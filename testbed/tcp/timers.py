"""The timers of a connection but those of loss recovery: one deadline each, in ns."""

from __future__ import annotations

from typing import Final

NEVER: Final = (1 << 63) - 1

DELAYED_ACK: Final = 0
"""An acknowledgment that waited for company leaves (RFC 9293 §3.8.6.3)."""
PERSIST: Final = 1
"""The window is too small to send: probe it, or override silly-window avoidance (RFC 9293 §3.8.6.1, §3.8.6.2.1)."""
KEEPALIVE: Final = 2
"""Nothing has come for long (RFC 9293 §3.8.4)."""
USER_TIMEOUT: Final = 3
"""Data has waited too long for its acknowledgment (RFC 9293 §3.10, RFC 5482)."""
TIME_WAIT: Final = 4
"""2 MSL are over."""
RAISE_PATH_MTU: Final = 5
"""Try a larger packet again (RFC 8201 §4: not before 10 minutes)."""

_COUNT: Final = 6


class Timers:
    """Deadlines by number; NEVER is off."""

    __slots__ = ("deadlines",)

    def __init__(self) -> None:
        self.deadlines: list[int] = [NEVER] * _COUNT

    def set(self, timer: int, deadline: int) -> None:
        """(Re)start."""
        self.deadlines[timer] = deadline

    def stop(self, timer: int) -> None:
        """Turn off."""
        self.deadlines[timer] = NEVER

    def stop_all(self) -> None:
        """Turn all off."""
        self.deadlines = [NEVER] * _COUNT

    def is_set(self, timer: int) -> bool:
        """Whether it runs."""
        return self.deadlines[timer] != NEVER

    def expired(self, timer: int, now: int) -> bool:
        """Whether it is due; if so it is off from now on."""
        if self.deadlines[timer] > now:
            return False
        self.deadlines[timer] = NEVER
        return True

    def next(self) -> int:
        """The earliest deadline, or NEVER."""
        return min(self.deadlines)
