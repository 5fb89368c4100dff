"""Records of pcap files (draft-ietf-opsawg-pcap), a chunk at a time."""

from __future__ import annotations

from typing import Final

import numpy as np

from analysis.capture.chains import RecordWalk
from analysis.capture.errors import CaptureError
from analysis.capture.records import LONGEST_RECORD, Interface, Records
from analysis.capture.window import Window

FILE_HEADER_OCTETS: Final = 24
RECORD_HEADER_OCTETS: Final = 16

_MICROSECONDS: Final = 0xA1B2C3D4
_NANOSECONDS: Final = 0xA1B23C4D
_MODIFIED: Final = 0xA1B2CD34
_SECOND: Final = 1_000_000_000


class PcapReader:
    """Takes records out of a window."""

    def __init__(self, name: str, window: Window) -> None:
        """Read the file header; raises CaptureError."""
        header = window.buffer[: min(FILE_HEADER_OCTETS, len(window))].tobytes()
        magic = int.from_bytes(header[:4], "little")
        self._order = "<"
        if magic not in (_MICROSECONDS, _NANOSECONDS, _MODIFIED):
            magic = int.from_bytes(header[:4], "big")
            self._order = ">"
        if magic == _MODIFIED:
            raise CaptureError(
                f"{name}: is pcap as modified by A. Kuznetzov, whose records have further fields:"
                " convert it first (editcap -F pcap)"
            )
        if len(header) < FILE_HEADER_OCTETS:
            raise CaptureError(f"{name}: is pcap, but ends within the file header, at octet {len(header)}")
        major, minor = np.frombuffer(header, self._order + "u2", 2, 4).tolist()
        if major != 2:
            raise CaptureError(f"{name}: is pcap of version {major}.{minor}; only 2 is known")
        snaplen, link = np.frombuffer(header, self._order + "u4", 2, 16).tolist()
        self._unit = 1 if magic == _NANOSECONDS else 1000
        # before 2.4, lengths came in either order; what was captured was never the longer
        self._either_order = minor < 4
        # the upper half may tell the length of the frame check sequence
        self.interfaces = [Interface(0, 0, 0, link & 0xFFFF, snaplen, "")]
        self.packets = 0
        self.problem = ""
        """Why nothing more can be taken, if it is not that the file is at its end."""
        window.start = FILE_HEADER_OCTETS
        self._walk = RecordWalk(self._order, 1_000_000_000 // self._unit, self._either_order)

    def take(self, window: Window) -> Records | None:
        """The whole records in the window; None when more octets are needed, or when there is a ``problem``."""
        starts, self.problem = self._walk.starts(window.buffer, window.start, window.end)
        if not len(starts):
            return None
        words = np.ndarray(window.end - 15, "V16", window.buffer, 0, (1,))[starts].view(self._order + "u4")
        seconds, fraction, captured, wire = words.reshape(-1, 4).T
        if self._either_order:
            captured, wire = np.minimum(captured, wire), np.maximum(captured, wire)
        time_ns = seconds.astype(np.int64)
        time_ns *= _SECOND
        time_ns += fraction.astype(np.int64) * self._unit
        first_frame = self.packets + 1
        self.packets += len(starts)
        window.start = int(starts[-1]) + RECORD_HEADER_OCTETS + int(captured[-1])
        return Records(
            buffer=window.buffer,
            offset=starts + RECORD_HEADER_OCTETS,
            captured=captured.astype(np.uint32),
            wire=wire.astype(np.uint32),
            time_ns=time_ns,
            interface=np.zeros(len(starts), np.uint16),
            link=np.full(len(starts), self.interfaces[0].link, np.uint16),
            first_frame=first_frame,
        )

    def unfinished(self, window: Window) -> str:
        """What is wrong with a file that ends with what is in the window; empty when nothing is."""
        left = len(window)
        if not left:
            return ""
        if left < RECORD_HEADER_OCTETS:
            return f"the file ends within a record header, {left} of {RECORD_HEADER_OCTETS} octets are there"
        captured, wire = np.frombuffer(window.buffer, self._order + "u4", 2, window.start + 8).tolist()
        if self._either_order:
            captured = min(captured, wire)
        there = left - RECORD_HEADER_OCTETS
        return f"the file ends within a packet, {there} of {captured} octets are there"


def too_long(captured: int) -> str:
    """What is wrong with a packet of so many octets."""
    return f"a packet of {captured} octets is not believed (the limit is {LONGEST_RECORD})"
