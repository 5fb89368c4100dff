"""Where the octets of a capture come from: a file, a gzip file, a pipe that is kept in an unnamed file."""

from __future__ import annotations

import io
import os
import stat
import sys
import tempfile
import zlib
from pathlib import Path
from typing import BinaryIO, Final

from analysis.capture.errors import CaptureError

STANDARD_INPUT: Final = "-"

_GZIP: Final = b"\x1f\x8b"
_OTHER_COMPRESSION: Final = (
    (b"\xfd7zXZ\x00", "xz"),
    (b"BZh", "bzip2"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"PK\x03\x04", "zip"),
)
_CAPTURE_BEGINNINGS: Final = (
    b"\xd4\xc3\xb2\xa1",
    b"\xa1\xb2\xc3\xd4",
    b"\x4d\x3c\xb2\xa1",
    b"\xa1\xb2\x3c\x4d",
    b"\x0a\x0d\x0d\x0a",
    b"\x34\xcd\xb2\xa1",
    b"\xa1\xb2\xcd\x34",
)
"""pcap with microseconds and with nanoseconds, pcapng, pcap as modified by A. Kuznetzov; in both byte orders."""

_PIECE: Final = 1 << 18


class Stream:
    """One pass over the octets, from the first."""

    failure = ""
    """Why the stream ended before its time; empty when it did not."""

    def read_into(self, room: memoryview) -> int:
        """Fill a part of ``room`` (not empty); 0 only at the end."""
        raise NotImplementedError

    def skip(self, octets: int) -> int:
        """Pass over octets; fewer than asked for only at the end."""
        scratch = memoryview(bytearray(min(octets, _PIECE)))
        left = octets
        while left and (got := self.read_into(scratch[: min(left, _PIECE)])):
            left -= got
        return octets - left


class _PlainStream(Stream):
    """A file as it is, up to the size it had when it was opened: one that still grows is the same in each pass."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size
        self._at = 0

    def read_into(self, room: memoryview) -> int:
        room = room[: self._size - self._at]
        if not room:
            return 0
        try:
            got = os.preadv(self._file.fileno(), [room], self._at)
        except OSError as error:
            self.failure = f"the file cannot be read further: {error.strerror}"
            return 0
        self._at += got
        return got

    def skip(self, octets: int) -> int:
        octets = min(octets, self._size - self._at)
        self._at += octets
        return octets


class _GzipStream(Stream):
    """Unpacked on the way. Members one after another count as one file, as for gzip itself (RFC 1952 section 2.2)."""

    def __init__(self, packed: Stream) -> None:
        self._packed = packed
        self._room = memoryview(bytearray(_PIECE))
        self._waiting = self._room[:0]
        self._unpacker: zlib._Decompress | None = zlib.decompressobj(wbits=31)
        self._feed = _PIECE
        """Octets given to it at a time."""

    def read_into(self, room: memoryview) -> int:
        while self._unpacker is not None:
            if not self._waiting:
                self._waiting = self._more()
            if not self._waiting:
                self._end("its gzip data ends too early")
                break
            piece = self._waiting[: self._feed]
            before = self._unpacker.copy() if self._feed > 1 else self._unpacker
            try:
                data = self._unpacker.decompress(piece, len(room))
            except zlib.error as error:
                if self._feed == 1:
                    self._end(f"its gzip data is broken ({str(error).split(': ')[-1]})")
                    break
                # what was unpacked before the damage is lost with the error: once more, an octet at a time
                self._feed = 1
                self._unpacker = before
                continue
            left = self._unpacker.unused_data if self._unpacker.eof else self._unpacker.unconsumed_tail
            self._waiting = self._waiting[len(piece) - len(left) :]
            if self._unpacker.eof:
                self._next_member()
            if data:
                room[: len(data)] = data
                return len(data)
        return 0

    def _more(self) -> memoryview:
        return self._room[: self._packed.read_into(self._room)]

    def _next_member(self) -> None:
        """Look whether one follows. Zeros are padding, as tapes have it."""
        rest = bytes(self._waiting).lstrip(b"\0")
        while len(rest) < len(_GZIP) and (more := self._more()):
            rest += bytes(more)
            rest = rest.lstrip(b"\0")
        self._waiting = memoryview(rest)
        if rest.startswith(_GZIP):
            self._unpacker = zlib.decompressobj(wbits=31)
        else:
            self._end("behind its gzip data comes something else" if rest else "")

    def _end(self, failure: str) -> None:
        self.failure = self._packed.failure or failure
        self._unpacker = None


class Source:
    """An open capture file: as many passes over it as wanted, also at once."""

    def __init__(self, name: str, file: BinaryIO) -> None:
        self.name = name
        self._file = file
        self._size = os.fstat(file.fileno()).st_size
        self.packed = self._beginning(_PlainStream(file, self._size)) == _GZIP

    @staticmethod
    def _beginning(stream: Stream) -> bytes:
        room = memoryview(bytearray(2))
        return bytes(room[: stream.read_into(room)])

    def stream(self) -> Stream:
        """A new pass."""
        plain = _PlainStream(self._file, self._size)
        return _GzipStream(plain) if self.packed else plain

    def close(self) -> None:
        """No pass can go on after this."""
        self._file.close()


def open_source(path: str | os.PathLike[str]) -> Source:
    """Open a file, or take in what comes through a pipe or standard input (``-``).

    Raises CaptureError for what cannot be opened or is no file; what is in it is not looked at.
    """
    name = os.fspath(path)
    if name == STANDARD_INPUT:
        return _kept("standard input", _standard_input())
    try:
        kind = Path(name).stat().st_mode
        if stat.S_ISDIR(kind):
            raise CaptureError(f"{name}: is a directory, not a capture")
        if not (stat.S_ISREG(kind) or stat.S_ISFIFO(kind)):
            raise CaptureError(f"{name}: is neither a file nor a pipe")
        file = Path(name).open("rb", buffering=0)  # noqa: SIM115 - the source closes it
    except OSError as error:
        raise CaptureError(f"{name}: cannot be opened: {error.strerror}") from error
    except ValueError as error:
        if isinstance(error, CaptureError):
            raise
        raise CaptureError(f"{name!r}: cannot be opened: {error}") from error
    if stat.S_ISREG(kind):
        return Source(name, file)
    with file:
        return _kept(name, file)


def _standard_input() -> BinaryIO:
    try:
        descriptor = sys.stdin.fileno()
    except (AttributeError, ValueError, io.UnsupportedOperation) as error:
        raise CaptureError("standard input: is closed") from error
    if os.isatty(descriptor):
        raise CaptureError("standard input: is a terminal; pipe a capture into it")
    return os.fdopen(descriptor, "rb", buffering=0, closefd=False)


def _kept(name: str, pipe: BinaryIO) -> Source:
    """What comes through a pipe, in a file without a name: nobody else can open it, and nothing of it can stay behind.

    What does not begin as a capture is refused at once, as it may never end.
    """
    spool = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - the source closes it
    try:
        beginning = b""
        while len(beginning) < 8 and (more := pipe.read(8 - len(beginning))):
            beginning += more
        if beginning:
            refuse_what_is_no_capture(name, beginning, packed_too=True)
        piece = memoryview(beginning)
        while piece:
            piece = piece[spool.write(piece) :] or memoryview(pipe.read(_PIECE))
    except OSError as error:
        spool.close()
        raise CaptureError(f"{name}: cannot be kept while it is read: {error.strerror}") from error
    except BaseException:
        spool.close()
        raise
    return Source(name, spool)


def refuse_what_is_no_capture(name: str, beginning: bytes, packed_too: bool = False) -> None:
    """Raise CaptureError when a file that begins so can be no capture, saying what it is where that can be told."""
    if beginning.startswith(_CAPTURE_BEGINNINGS) or (packed_too and beginning.startswith(_GZIP)):
        return
    for mark, what in _OTHER_COMPRESSION:
        if beginning.startswith(mark):
            raise CaptureError(f"{name}: is compressed with {what}: unpack it first")
    if beginning.startswith(_GZIP):
        raise CaptureError(f"{name}: is compressed twice: unpack it first")
    raise CaptureError(f"{name}: is no capture (neither pcap nor pcapng): it begins with {beginning[:8].hex(' ')}")
