"""Segments made from others, as middleboxes make them."""

from __future__ import annotations

from testbed.wire.options import KIND_EOL, KIND_NOP, NOP, Option
from testbed.wire.segment import Segment, SocketAddress


def changed(
    segment: Segment,
    *,
    source: SocketAddress | None = None,
    destination: SocketAddress | None = None,
    seq: int | None = None,
    ack: int | None = None,
    flags: int | None = None,
    window: int | None = None,
    options: tuple[Option, ...] | None = None,
    payload: bytes | None = None,
    ecn: int | None = None,
) -> Segment:
    """The same segment with other values for what is given. Sequence numbers wrap."""
    return Segment(
        segment.source if source is None else source,
        segment.destination if destination is None else destination,
        segment.seq if seq is None else seq & 0xFFFFFFFF,
        segment.ack if ack is None else ack & 0xFFFFFFFF,
        segment.flags if flags is None else flags,
        segment.window if window is None else window,
        segment.options if options is None else options,
        segment.payload if payload is None else payload,
        segment.urgent,
        segment.ecn if ecn is None else ecn,
        segment.gso_octets,
    )


def with_options(segment: Segment, options: tuple[Option, ...]) -> Segment:
    """The same segment with another option area."""
    return changed(segment, options=options)


def padded(options: list[Option]) -> tuple[Option, ...]:
    """An option area that ends with a whole word: padding at its end taken away, and NOPs up to the word."""
    while options and options[-1].kind in (KIND_NOP, KIND_EOL):
        options.pop()
    octets = 0
    for option in options:
        octets += option.size
    return (*options, *([NOP] * (-octets & 3)))
