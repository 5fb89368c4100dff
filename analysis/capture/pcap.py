"""Records of pcap files (draft-ietf-opsawg-pcap), a chunk at a time."""

from __future__ import annotations

import struct
from typing import Final

import numpy as np
from numpy.typing import NDArray

from analysis.capture.chains import Bytes, Places, RecordWalk
from analysis.capture.errors import CaptureError
from analysis.capture.records import LONGEST_RECORD, Interface, Records
from analysis.capture.window import Window

FILE_HEADER_OCTETS: Final = 24
RECORD_HEADER_OCTETS: Final = 16

_MICROSECONDS: Final = 0xA1B2C3D4
_NANOSECONDS: Final = 0xA1B23C4D
_MODIFIED: Final = 0xA1B2CD34
_SECOND: Final = 1_000_000_000
_NEAR_SECONDS: Final = 1 << 21
"""24 days, the time by which the records of one chunk may be apart without the plain loop."""


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
        self._lengths = struct.Struct(self._order + "II").unpack_from
        self._first_seconds = 0
        """Of the records to be taken: others are looked for near it."""
        self.packets = 0
        self.problem = ""
        """Why nothing more can be taken, if it is not that the file is at its end."""
        self.problem_at: int | None = None
        self.untimed = 0
        window.start = FILE_HEADER_OCTETS
        self._walk = RecordWalk(
            self._order,
            header=RECORD_HEADER_OCTETS,
            field=8,
            added=RECORD_HEADER_OCTETS,
            multiple=1,
            shortest=RECORD_HEADER_OCTETS,
            longest=RECORD_HEADER_OCTETS + LONGEST_RECORD,
        )

    def take(self, window: Window) -> Records | None:
        """The whole records in the window; None when more octets are needed, or when there is a ``problem``."""
        buffer, start, end = window.buffer, window.start, window.end
        if self._either_order:
            starts = self._walk_either_order(buffer, start, end)
        else:
            self._first_seconds = self._lengths(buffer.data, start)[0]
            starts = self._walk.starts(buffer, start, end, self._find)
        if not len(starts):
            self.problem = self._problem(buffer, start, end)
            return None
        words = self._headers(buffer, end)[starts].view(self._order + "u4")
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

    def _captured(self, buffer: Bytes, start: int) -> int:
        captured, wire = self._lengths(buffer.data, start + 8)
        return int(min(captured, wire) if self._either_order else captured)

    def _problem(self, buffer: Bytes, start: int, end: int) -> str:
        """Why the record that begins there cannot be taken, if it is not that there is too little of it."""
        if start + RECORD_HEADER_OCTETS > end or (captured := self._captured(buffer, start)) <= LONGEST_RECORD:
            return ""
        return f"a packet of {captured} octets is not believed (the limit is {LONGEST_RECORD})"

    def _walk_either_order(self, buffer: Bytes, start: int, end: int) -> Places:
        """The plain loop: such files are old and small."""
        found = []
        while start + RECORD_HEADER_OCTETS <= end:
            captured = self._captured(buffer, start)
            following = start + RECORD_HEADER_OCTETS + captured
            if captured > LONGEST_RECORD or following > end:
                break
            found.append(start)
            start = following
        return np.array(found, np.int64)

    @staticmethod
    def _headers(buffer: Bytes, end: int) -> NDArray[np.void]:
        """A record header for each octet at which one may begin; up to the end, where one would be in the slack."""
        return np.ndarray(end + 1, f"V{RECORD_HEADER_OCTETS}", buffer, 0, (1,))

    def _find(self, buffer: Bytes, places: Places, width: int, end: int) -> tuple[NDArray[np.intp], Places]:
        """What looks like a record header with lengths below 65,536 and has another such header behind it."""
        strides = (int(places[1] - places[0]) if len(places) > 1 else 1, 1)

        def octets(at: int) -> Bytes:
            """One of a header, for each place that one may begin at."""
            return np.ndarray((len(places), width), np.uint8, buffer, int(places[0]) + at, strides)

        little = self._order == "<"
        seconds = 3 if little else 0
        looks = octets(seconds) == self._first_seconds.to_bytes(4, "little" if little else "big")[seconds]
        high = octets(10 if little else 8) | octets(11 if little else 9)
        high |= octets(14 if little else 12)
        high |= octets(15 if little else 13)
        looks &= high == 0
        index, within = np.divmod(np.flatnonzero(looks), width)
        found = places[index] + within
        good, following = self._plausible(buffer, found, end)
        index, found, following = index[good], found[good], following[good]
        good = self._plausible(buffer, following, end)[0]
        good |= following > end - RECORD_HEADER_OCTETS
        return index[good], found[good]

    def _plausible(self, buffer: Bytes, starts: Places, end: int) -> tuple[NDArray[np.bool_], Places]:
        """Whether what begins there may be a record, and where the next would begin, at the end at the most."""
        words = self._headers(buffer, end)[starts].view(self._order + "u4").reshape(-1, 4)
        seconds, fraction, captured, wire = words.T
        good = seconds - np.uint32(self._first_seconds) + np.uint32(_NEAR_SECONDS) < np.uint32(2 * _NEAR_SECONDS)
        good &= fraction < _SECOND // self._unit
        good &= captured <= np.minimum(wire, LONGEST_RECORD)
        return good, np.minimum(starts + RECORD_HEADER_OCTETS + captured, end)
