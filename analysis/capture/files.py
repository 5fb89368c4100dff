"""From a path to the records of a capture, a chunk at a time: pcap and pcapng, plain or gzip, a file or a pipe."""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import TracebackType
from typing import Final

from analysis.capture.errors import CaptureError
from analysis.capture.pcap import PcapReader
from analysis.capture.records import Damage, Interface, Records
from analysis.capture.sources import Source, open_source, refuse_what_is_no_capture
from analysis.capture.window import Window

CHUNK_OCTETS: Final = 1 << 22
_FEW_RECORDS: Final = 1 << 14
"""Records in a chunk under which a wider one is faster."""

_PCAPNG: Final = b"\x0a\x0d\x0d\x0a"


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
            elif reader.problem or window.ended:
                break
            window.refill() if not reader.problem else None
        self._end(reader, window)

    def _begin(self, window: Window) -> PcapReader:
        window.refill()
        while len(window) < 64 and not window.ended:
            window.refill()
        if not len(window):
            raise CaptureError(f"{self.name}: {window.failure or 'is empty'}")
        beginning = window.buffer[: min(len(window), 8)].tobytes()
        refuse_what_is_no_capture(self.name, beginning)
        reader = PcapReader(self.name, window)
        self.interfaces = reader.interfaces
        self.packets = 0
        self.damage = None
        self.warnings = []
        return reader

    def _end(self, reader: PcapReader, window: Window) -> None:
        what = reader.problem or window.failure or reader.unfinished(window)
        if what:
            self.damage = Damage(window.position, reader.packets, what)
            self.warnings.append(
                f"{self.name}: damaged at octet {window.position} after {reader.packets} packets: {what}"
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
