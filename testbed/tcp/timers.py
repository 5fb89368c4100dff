"""The timers of a connection but those of loss recovery: one deadline each, in ns."""

from __future__ import annotations

from typing import Final

NEVER: Final = (1 << 62) - 1
"""146 years in ns; the largest number that the compiled code keeps in a register."""

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
    """Deadlines; NEVER is off. The delayed ACK's, which changes with every other segment, is kept apart from the rest,
    so that the earliest of the rest need not be looked for each time."""

    __slots__ = ("_rare", "delayed_ack", "earliest_rare")

    def __init__(self) -> None:
        self.delayed_ack = NEVER
        self._rare: list[int] = [NEVER] * _COUNT
        """By number; that of DELAYED_ACK is not used."""
        self.earliest_rare = NEVER

    def set(self, timer: int, deadline: int) -> None:
        """(Re)start."""
        if timer == DELAYED_ACK:
            self.delayed_ack = deadline
        else:
            self._rare[timer] = deadline
            self.earliest_rare = min(self._rare)

    def stop(self, timer: int) -> None:
        """Turn off."""
        self.set(timer, NEVER)

    def stop_all(self) -> None:
        """Turn all off."""
        self.delayed_ack = NEVER
        self._rare = [NEVER] * _COUNT
        self.earliest_rare = NEVER

    def is_set(self, timer: int) -> bool:
        """Whether it runs."""
        return (self.delayed_ack if timer == DELAYED_ACK else self._rare[timer]) != NEVER

    def expired(self, timer: int, now: int) -> bool:
        """Whether it is due; if so it is off from now on."""
        if (self.delayed_ack if timer == DELAYED_ACK else self._rare[timer]) > now:
            return False
        self.set(timer, NEVER)
        return True

    def next(self) -> int:
        """The earliest deadline, or NEVER."""
        return self.delayed_ack if self.delayed_ack < self.earliest_rare else self.earliest_rare
