"""Captures in virtual time: what passed an interface, as a pcap file with the simulated clock.

Headers with all options are kept, the payload is not (its length is), as the captures of real interfaces do.
"""

from __future__ import annotations

from typing import Final

from testbed.wire import pcap
from testbed.wire.codec import encode
from testbed.wire.segment import Segment

SNAPLEN_OCTETS: Final = 146
"""Of the packet without Ethernet: the IPv6 header, and TCP with all its options, fit."""


class Capture:
    """One interface's capture, kept in memory until the end."""

    __slots__ = ("_records", "packets")

    def __init__(self) -> None:
        self._records: list[bytes] = [pcap.file_header(pcap.LINK_RAW)]
        self.packets = 0

    def add(self, segment: Segment, now_ns: int) -> None:
        """A packet passes at ``now_ns``."""
        packet = encode(segment)
        self.packets += 1
        self._records.append(pcap.record(now_ns, packet[:SNAPLEN_OCTETS], len(packet)))

    def content(self) -> bytes:
        """The file."""
        return b"".join(self._records)
