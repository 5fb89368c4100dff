"""Where the records of a buffer begin."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from analysis.capture.records import LONGEST_RECORD


class RecordWalk:
    """Of pcap."""

    def __init__(self, order: str, fractions: int, either_order: bool) -> None:
        self._lengths = struct.Struct(order + "II")
        self._either_order = either_order

    def starts(self, buffer: NDArray[np.uint8], start: int, end: int) -> tuple[NDArray[np.int64], str]:
        """Of the whole records in a stretch, and what is wrong with the next, if anything is."""
        found = []
        view = buffer.data
        problem = ""
        unpack = self._lengths.unpack_from
        while start + 16 <= end:
            captured, wire = unpack(view, start + 8)
            if self._either_order:
                captured = min(captured, wire)
            if captured > LONGEST_RECORD:
                problem = f"a packet of {captured} octets is not believed (the limit is {LONGEST_RECORD})"
                break
            if start + 16 + captured > end:
                break
            found.append(start)
            start += 16 + captured
        return np.array(found, np.int64), problem
