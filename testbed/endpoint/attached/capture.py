"""Captures of an attached endpoint: one pcap file per interface, with the headers as they are meant to be on the wire.

What leaves with a partial checksum is written with a complete one, and a super-segment as one packet, as tcpdump would
show it on this interface. Times are CLOCK_REALTIME.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import BinaryIO

from testbed.wire import pcap
from testbed.wire.codec import encode
from testbed.wire.segment import Segment


class CaptureFiles:
    """Files ``NAME-INTERFACE.pcap`` beside each other, made when the first packet comes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._files: dict[str, BinaryIO] = {}

    def note(self, interface: str, segment: Segment) -> None:
        """A segment crossed the interface."""
        file = self._files.get(interface)
        if file is None:
            name = f"{self._path.stem}-{interface}{self._path.suffix or '.pcap'}"
            file = self._files[interface] = self._path.with_name(name).open("wb")
            file.write(pcap.file_header(pcap.LINK_RAW))
        file.write(pcap.record(time.time_ns(), encode(segment)))

    def close(self) -> None:
        """Everything is on disk."""
        for file in self._files.values():
            file.close()
        self._files.clear()
