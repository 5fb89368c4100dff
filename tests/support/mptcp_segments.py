"""Segments of MPTCP in tests: find an option, change it as a middlebox would."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from testbed.net.middlebox import with_options
from testbed.wire.options import MptcpOption, Option
from testbed.wire.segment import ACK, FIN, RST, SYN, Segment, SocketAddress

T = TypeVar("T", bound=Option)


def find(segment: Segment, kind: type[T]) -> T | None:
    for option in segment.options:
        if isinstance(option, kind):
            return option
    return None


def having(segments: Iterable[Segment], kind: type[Option]) -> list[Segment]:
    return [segment for segment in segments if find(segment, kind) is not None]


def options_of(segments: Iterable[Segment], kind: type[T]) -> list[T]:
    return [option for segment in segments for option in segment.options if isinstance(option, kind)]


def without(segment: Segment, kind: type[Option]) -> Segment:
    """The option closed up."""
    return with_options(segment, tuple(option for option in segment.options if not isinstance(option, kind)))


def changed(segment: Segment, kind: type[T], change: Callable[[T], Option]) -> Segment:
    return with_options(
        segment, tuple(change(option) if isinstance(option, kind) else option for option in segment.options)
    )


def strip(
    kind: type[Option], when: Callable[[Segment], bool] = lambda segment: True
) -> Callable[[Segment, int], Segment]:
    """A filter that takes the option out of every segment for which ``when`` holds."""
    return lambda segment, now: without(segment, kind) if when(segment) else segment


def drop_first(when: Callable[[Segment], bool], times: int = 1) -> Callable[[Segment, int], Segment | None]:
    """A filter that drops the first so many segments for which ``when`` holds."""
    left = [times]

    def change(segment: Segment, now: int) -> Segment | None:
        if left[0] and when(segment):
            left[0] -= 1
            return None
        return segment

    return change


def is_syn(segment: Segment) -> bool:
    return segment.flags & (SYN | ACK) == SYN


def is_syn_ack(segment: Segment) -> bool:
    return segment.flags & (SYN | ACK) == SYN | ACK


def is_pure_ack(segment: Segment) -> bool:
    return segment.flags & (SYN | FIN | RST | ACK) == ACK and not segment.payload


def is_reset(segment: Segment) -> bool:
    return bool(segment.flags & RST)


def mptcp_options(segment: Segment) -> list[MptcpOption]:
    return [option for option in segment.options if isinstance(option, MptcpOption)]


def option_area(segment: Segment) -> int:
    return sum(option.size for option in segment.options)


def syn(source: SocketAddress, destination: SocketAddress, *options: Option, seq: int = 1000) -> Segment:
    return Segment(source, destination, seq, 0, SYN, 65535, options)


def ack(
    source: SocketAddress, destination: SocketAddress, seq: int, number: int, *options: Option, payload: bytes = b""
) -> Segment:
    return Segment(source, destination, seq, number, ACK, 65535, options, payload)
