"""Mappings that follow their data by k segments (seed thread, S5): an experiment, which RFC 8684 forbids.

When no data follows for now, those that wait leave on ACKs: else the end of a transfer would wait for the
connection-level timer, which sends again under mappings that are late, too.
"""

from __future__ import annotations

from typing import Final

from testbed.mptcp.subflow_view import OutgoingMapping

_MOST_REMEMBERED: Final = 4096
"""Segments whose (foreign) mapping is remembered for a retransmission."""


class LateMappings:
    """Which data segment carries whose mapping, for one subflow."""

    def __init__(self, late_by: int) -> None:
        self._late_by = late_by
        self._segments = 0
        """Data segments sent for the first time."""
        self._waiting: list[tuple[int, OutgoingMapping]] = []
        """(number of the segment from which on it may ride, mapping), oldest first."""
        self._carried: dict[int, OutgoingMapping | None] = {}
        """SSN of a segment -> what it carried: a retransmission carries the same."""

    def mapping_for(self, own: OutgoingMapping, ssn: int, is_retransmission: bool) -> OutgoingMapping | None:
        """The mapping that the data segment at ``ssn`` carries; None: none is due yet. A retransmission carries what it
        carried before, its own when it begins elsewhere."""
        if is_retransmission:
            return self._carried.get(ssn, own)
        if self._waiting and self._waiting[0][0] <= self._segments:
            return self._waiting[0][1]
        return None

    def oldest(self) -> OutgoingMapping | None:
        """The mapping that has waited the longest; None: none waits."""
        return self._waiting[0][1] if self._waiting else None

    def carried_by_ack(self, mapping: OutgoingMapping) -> None:
        """A segment without data has taken it along."""
        if self._waiting and self._waiting[0][1] is mapping:
            del self._waiting[0]

    def has_left(
        self, ssn: int, is_retransmission: bool, own: OutgoingMapping, carried: OutgoingMapping | None
    ) -> None:
        """A data segment has left with the mapping ``carried``."""
        if not is_retransmission:
            if carried is not None and self._waiting and self._waiting[0][1] is carried:
                del self._waiting[0]
            if carried is not own and own.carried_at < 0 and not any(own is each for _, each in self._waiting):
                self._waiting.append((self._segments + self._late_by, own))
            self._segments += 1
            self._carried[ssn] = carried
            if len(self._carried) > _MOST_REMEMBERED:
                del self._carried[next(iter(self._carried))]
