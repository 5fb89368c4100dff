"""A flipped bit: what a receiver that checks its checksums makes of it."""

from __future__ import annotations

from typing import Final

from testbed.wire.codec import decode, encode
from testbed.wire.errors import DecodeError
from testbed.wire.segment import Segment

ADDRESSES_END: Final = {4: 20, 16: 40}
"""Octets of an address -> where the IP header ends: a flipped address would take the packet elsewhere."""


def damaged(segment: Segment, corrupt_at: float) -> Segment | None:
    """``segment`` with one bit past the IP addresses flipped; ``corrupt_at`` in [0, 1) chooses the bit.

    None: the receiver drops it. The Internet checksum finds every single bit (RFC 1071), so this is the rule.
    """
    packet = bytearray(encode(segment))
    start = ADDRESSES_END[len(segment.source.host)]
    bit = int(corrupt_at * 8 * (len(packet) - start))
    packet[start + bit // 8] ^= 1 << bit % 8
    try:
        return decode(bytes(packet))
    except DecodeError:
        return None
