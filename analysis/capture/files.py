"""From a path to the records of a capture, a chunk at a time: pcap and pcapng, plain or gzip, a file or a pipe."""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import TracebackType
from typing import Final

from analysis.capture.errors import CaptureError
from analysis.capture.pcap import PcapReader
from analysis.capture.pcapng import BEGINNING as PCAPNG_BEGINNING
from analysis.capture.pcapng import PcapngReader
from analysis.capture.records import Damage, Interface, Records
from analysis.capture.sources import Source, open_source, refuse_what_is_no_capture
from analysis.capture.window import Window

CHUNK_OCTETS: Final = 1 << 22
_FEW_RECORDS: Final = 1 << 14
"""Records in a chunk under which a wider one is faster."""


class CaptureFile:
    """An open capture.

    ``interfaces``, ``damage`` and ``warnings`` are filled by a pass over ``chunks()``, and the same after each.
    """

    def __init__(self, source: Source) -> None:
        """Look at the beginning; raises CaptureError."""
        self._source = source
        self.name = source.name
        self.interfaces: list[Interface] = []
        """Those that were described so far."""
        self.packets = 0
        """Taken so far."""
        self.damage: Damage | None = None
        self.warnings: list[str] = []
        """One line each, beginning with the name of the file."""
        self._begin(Window(source.stream(), 1 << 12))

    def __enter__(self) -> CaptureFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the file back; no pass can go on after this."""
        self._source.close()

    def chunks(self, octets: int | None = None) -> Iterator[Records]:
        """Go over the file from its beginning; in steps of so many octets, or as many as are fast.

        The buffer of a chunk is used for the next: take what is needed out of it before asking for more.
        """
        window = Window(self._source.stream(), CHUNK_OCTETS if octets is None else max(octets, 1))
        reader = self._begin(window)
        while not reader.problem:
            records = reader.take(window)
            if records is not None:
                self.packets = reader.packets
                yield records
                if octets is None and len(records) < _FEW_RECORDS and not window.ended:
                    window.widen_if_narrow()
            if reader.problem or (records is None and window.ended):
                break
            window.refill()
        self._end(reader, window)

    def _begin(self, window: Window) -> PcapReader | PcapngReader:
        window.refill()
        while len(window) < 64 and not window.ended:
            window.refill()
        if not len(window):
            raise CaptureError(f"{self.name}: {window.failure or 'is empty'}")
        beginning = window.buffer[: min(len(window), 8)].tobytes()
        refuse_what_is_no_capture(self.name, beginning)
        reader = (PcapngReader if beginning.startswith(PCAPNG_BEGINNING) else PcapReader)(self.name, window)
        self.interfaces = reader.interfaces
        self.packets = 0
        self.damage = None
        self.warnings = []
        return reader

    def _end(self, reader: PcapReader | PcapngReader, window: Window) -> None:
        what = reader.problem or window.failure or reader.unfinished(window)
        if what:
            octet = window.position if reader.problem_at is None else reader.problem_at
            self.damage = Damage(octet, reader.packets, what)
            self.warnings.append(f"{self.name}: damaged at octet {octet} after {reader.packets} packets: {what}")
        if reader.untimed:
            self.warnings.append(
                f"{self.name}: {reader.untimed} of {reader.packets} packets have no time that can be told"
            )


def open_file(path: str | os.PathLike[str]) -> CaptureFile:
    """Open a capture; ``-`` is standard input, and a pipe is read to its end first.

    Raises CaptureError, with one line that names the file and says what it is, for what is no capture, empty,
    a directory, or cannot be read.
    """
    source = open_source(path)
    try:
        return CaptureFile(source)
    except BaseException:
        source.close()
        raise
