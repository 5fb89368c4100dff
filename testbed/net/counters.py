"""What one direction of a link did, counted in packets and bytes of whole frames.

Conservation, at every instant: arrived + duplicated == delivered + the sum of the drops, plus, with a managed queue,
what waits.
"""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(slots=True)
class LinkCounters:
    """Counts since the model was made."""

    arrived_packets: int = 0
    arrived_bytes: int = 0
    delivered_packets: int = 0
    """Decided to be delivered; the release may still be ahead."""
    delivered_bytes: int = 0
    dropped_loss: int = 0
    dropped_overflow: int = 0
    dropped_outage: int = 0
    duplicated: int = 0
    """Copies made; a copy that then found the queue full is in ``dropped_overflow`` too."""
    marked_ce: int = 0
    """Marked by the queue's discipline (RFC 3168), among them packets that carried CE already."""
    corrupted: int = 0
    """Delivered with one bit flipped."""
    reordered: int = 0
    """Delivered without the delay, by the reordering impairment."""

    def dropped(self) -> int:
        """Packets and copies that were not delivered."""
        return self.dropped_loss + self.dropped_overflow + self.dropped_outage

    def as_dict(self) -> dict[str, int]:
        """Name -> count."""
        return {item.name: getattr(self, item.name) for item in fields(self)}
