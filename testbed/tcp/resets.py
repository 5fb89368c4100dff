"""The reset that answers a segment which belongs to no connection (RFC 9293 §3.10.7.1)."""

from __future__ import annotations

from testbed.wire.segment import ACK, RST, Segment


def reset_for(segment: Segment) -> Segment | None:
    """RST that the sender of ``segment`` will accept; None: a reset is never answered."""
    if segment.flags & RST:
        return None
    if segment.flags & ACK:
        return Segment(segment.destination, segment.source, segment.ack, 0, RST, 0)
    ack = (segment.seq + segment.seq_length) & 0xFFFFFFFF
    return Segment(segment.destination, segment.source, 0, ack, RST | ACK, 0)
