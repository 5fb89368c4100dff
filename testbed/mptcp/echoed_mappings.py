"""Mappings that left on pure ACKs and are repeated until the peer has echoed them (N14).

A reliable way for what RFC 8684 knows only as unreliable: an experiment between two ends of this project, as the echo
is a private option.
"""

from __future__ import annotations

from testbed.mptcp.subflow_view import OutgoingMapping


class _Announced:
    """One without echo so far."""

    __slots__ = ("attempts", "deadline", "mapping")

    def __init__(self, mapping: OutgoingMapping) -> None:
        self.mapping = mapping
        self.attempts = 0
        """Times that it has left."""
        self.deadline = 0


class EchoedMappings:
    """Those of one subflow."""

    __slots__ = ("_pending",)

    def __init__(self) -> None:
        self._pending: dict[int, _Announced] = {}
        """By SSN (offset), oldest first."""

    def has_left(self, mapping: OutgoingMapping, now: int, rto: int) -> int:
        """It is on its way: the wait for its echo begins, doubled with each repetition, as that of ADD_ADDR.

        Returns how often it has left by now.
        """
        announced = self._pending.setdefault(mapping.ssn, _Announced(mapping))
        announced.deadline = now + (rto << min(announced.attempts, 6))
        announced.attempts += 1
        return announced.attempts

    def echoed(self, ssn: int) -> None:
        """The peer has it."""
        self._pending.pop(ssn, None)

    def due(self, now: int, acknowledged: int) -> OutgoingMapping | None:
        """The oldest whose echo is overdue; None: none is. What lies before the DSN ``acknowledged`` needs none."""
        for ssn, announced in list(self._pending.items()):
            if announced.mapping.dsn + announced.mapping.length <= acknowledged:
                del self._pending[ssn]
            elif announced.deadline <= now:
                return announced.mapping
        return None

    def next_timeout(self) -> int | None:
        """When the first echo is overdue."""
        return min((announced.deadline for announced in self._pending.values()), default=None)
