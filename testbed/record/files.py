"""Files that are there whole or not at all: written under a temporary name, synchronised, renamed.

Source: open(2), rename(2), fsync(2): a rename replaces atomically, and survives a crash once the directory is synced.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from testbed.record.errors import RecordError

_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def space_needed_for(what: str, path: Path) -> Iterator[None]:
    """A full disk, or a place that cannot be written, becomes a RecordError that says what was lost and what to do."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise RecordError(
                f"{path} cannot be written for {what}: {error.strerror}; make it writable, or choose another place"
            ) from error
        raise RecordError(
            f"no space left for {what} in {path}: nothing half-written was kept; make room and call the command again "
            "('testbed run' with --resume)"
        ) from error


def write_synced(path: Path, data: bytes) -> None:
    """Write and synchronise a file that nobody else looks at yet."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def write_atomically(path: Path, data: bytes) -> None:
    """Replace ``path`` by ``data``: a reader sees the old or the new. Raises RecordError when the disk is full."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with space_needed_for(path.name, path.parent):
        try:
            write_synced(temporary, data)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make renames inside ``path`` durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """SHA-256 (hex) of a file of any size."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
