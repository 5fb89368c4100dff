"""A capture file as batches of TCP packets: the way in for everything that is measured from captures.

A pass over ``batches()`` holds one chunk of the file and what it has learnt (flows, layouts), whatever the size of the
file; each further pass gives the same batches with the same numbers.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final

import numpy as np

from analysis.capture.batch import Batch, Layout, joined
from analysis.capture.dissection import Dissected, dissect
from analysis.capture.errors import CaptureError
from analysis.capture.files import CaptureFile, open_file
from analysis.capture.flows import Flows
from analysis.capture.layouts import Layouts
from analysis.capture.reasons import reason_in_words
from analysis.capture.records import NO_TIME, Interface

__all__ = ["Capture", "CaptureError", "Counts", "open_capture"]

_SMALL_BATCH: Final = 1 << 14
"""Packets: smaller batches are joined up to this."""


@dataclass(slots=True)
class Counts:
    """What a pass has seen so far."""

    packets: int = 0
    tcp: int = 0
    """Rows in the batches."""
    not_tcp: dict[str, int] = field(default_factory=dict)
    """Packets that are no rows, by reason."""
    truncated: int = 0
    """Packets of which less was captured than was on the wire."""
    incomplete: int = 0
    """Rows with a status other than 0: cut within the headers, or malformed."""
    fragments: int = 0
    """Rows that are the first fragment of an IP packet; later fragments are in ``not_tcp``."""
    first_time_ns: int | None = None
    last_time_ns: int | None = None
    """Earliest and latest of all packets, TCP or not; the file need not be in order."""


class Capture:
    """An open capture; see :func:`open_capture`."""

    def __init__(self, file: CaptureFile) -> None:
        self._file = file
        self._flows = Flows()
        self._layouts = Layouts()
        self.counts = Counts()
        """Of the last pass, complete when it is."""

    @property
    def name(self) -> str:
        """Of the file."""
        return self._file.name

    @property
    def flows(self) -> Flows:
        """All flows seen so far; their numbers never change."""
        return self._flows

    @property
    def layouts(self) -> list[Layout]:
        """All layouts seen so far; their numbers never change."""
        return self._layouts.layouts

    @property
    def interfaces(self) -> list[Interface]:
        """Of the capture, seen so far."""
        return self._file.interfaces

    @property
    def warnings(self) -> list[str]:
        """One line each, such as where the file is damaged; complete after a full pass."""
        return self._file.warnings

    @property
    def damaged(self) -> bool:
        """Whether the last pass ended before the end of the file."""
        return self._file.damage is not None

    def batches(self) -> Iterator[Batch]:
        """The TCP packets in the order of the file; from the beginning each time."""
        counts = self.counts = Counts()
        waiting: list[Batch] = []
        rows = 0
        for records in self._file.chunks():
            found = dissect(records, self._flows, self._layouts)
            _count(counts, records.time_ns, found)
            if not len(found.batch):
                continue
            waiting.append(found.batch)
            rows += len(found.batch)
            if rows >= _SMALL_BATCH:
                yield joined(waiting)
                waiting, rows = [], 0
        if waiting:
            yield joined(waiting)

    def close(self) -> None:
        """Give the file back."""
        self._file.close()

    def __enter__(self) -> Capture:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _count(counts: Counts, time_ns: np.ndarray[tuple[int], np.dtype[np.int64]], found: Dissected) -> None:
    counts.packets += len(time_ns)
    counts.tcp += len(found.batch)
    counts.truncated += found.truncated
    counts.incomplete += found.incomplete
    counts.fragments += found.fragments
    for code, number in found.not_tcp.items():
        word = reason_in_words(code)
        counts.not_tcp[word] = counts.not_tcp.get(word, 0) + number
    known = time_ns if len(time_ns) and time_ns.min() != NO_TIME else time_ns[time_ns != NO_TIME]
    if len(known):
        first, last = int(known.min()), int(known.max())
        counts.first_time_ns = first if counts.first_time_ns is None else min(first, counts.first_time_ns)
        counts.last_time_ns = last if counts.last_time_ns is None else max(last, counts.last_time_ns)


def open_capture(path: str | os.PathLike[str]) -> Capture:
    """Open a pcap or pcapng file, gzip or not; ``-`` is standard input.

    Raises CaptureError, with one line that names the file, for what is no capture, empty, or cannot be read.
    """
    return Capture(open_file(path))
