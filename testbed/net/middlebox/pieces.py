"""Segments cut into pieces."""

from __future__ import annotations

from testbed.net.middlebox.segments import padded
from testbed.wire.options import NOP, Option
from testbed.wire.segment import CWR, FIN, PSH, URG, Segment


def pieces(segment: Segment, octets: int, options: str = "copy") -> list[Segment]:
    """The segment with at most so much payload in each, in order: FIN and PSH on the last, CWR on the first.

    ``options`` on every piece (``copy``), or on the ``first`` or ``last`` one, the others having timestamps at most.
    """
    payload = segment.payload
    bare = segment.options if options == "copy" else _timestamps_alone(segment)
    last = (len(payload) - 1) // octets
    whole = (0, last) if options == "copy" else (0, 0) if options == "first" else (last, last)
    made: list[Segment] = []
    for index in range(last + 1):
        begin = index * octets
        flags = segment.flags
        if index < last:
            flags &= ~(FIN | PSH)
        if index:
            flags &= ~CWR
        urgent = segment.urgent - begin
        if urgent <= 0:  # the pointer is to what a piece before has
            flags &= ~URG
            urgent = 0
        made.append(
            Segment(
                segment.source,
                segment.destination,
                (segment.seq + begin) & 0xFFFFFFFF,
                segment.ack,
                flags,
                segment.window,
                segment.options if index in whole else bare,
                payload[begin : begin + octets],
                urgent,
                segment.ecn,
            )
        )
    return made


def _timestamps_alone(segment: Segment) -> tuple[Option, ...]:
    """Aligned as in RFC 7323 appendix A."""
    timestamps = segment.timestamps
    return () if timestamps is None else padded([NOP, NOP, timestamps])
