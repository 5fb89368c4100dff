"""Trees of files as tar streams: what is sent, and what is taken of what another machine sends.

Nothing that comes from there may land outside of its place: no absolute name, no ``..``, no link that leads out, no
file through a link, no device, nothing twice. Refused means refused whole; half a tree is not kept.

Source: tar(5); the cases are those of PEP 706, decided by the same rules but made here, since Python 3.11.2 (Debian 12)
has no extraction filters.
"""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from testbed.record import files
from testbed.remote.errors import UnsafeTree

_CHUNK = 1 << 16
_SYMLINK_MODE = 0o777


class Writable(Protocol):
    """What tar writes to."""

    def write(self, data: bytes, /) -> object:
        """Takes all of it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file (content, or where it is to be read), a symbolic link, or a directory (neither)."""

    name: str
    """Relative, with slashes; bytes that are no UTF-8 as surrogates (os.fsdecode)."""
    executable: bool = False
    content: bytes | Path | None = None
    link: str | None = None


def entries_of(root: Path) -> Iterator[Entry]:
    """Everything below a directory, in a fixed order. Raises UnsafeTree for what is neither file, link nor directory,
    and for a link that leads out."""
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_symlink():
            yield Entry(name, link=checked_link(root, path))
        elif path.is_dir():
            yield Entry(name)
        elif path.is_file():
            yield Entry(name, bool(path.stat().st_mode & 0o100), path)
        else:
            raise UnsafeTree(f"{path} is neither a file nor a directory and is not sent")


def checked_link(root: Path, path: Path) -> str:
    """Where a link points to. Raises UnsafeTree when that is outside of ``root``."""
    target = os.fspath(path.readlink())
    if not _stays_inside(root, path):
        raise UnsafeTree(f"{path} is a link to {target}, which is outside of {root}")
    return target


def write_tar(entries: Iterable[Entry], out: Writable) -> None:
    """One stream; owners and times are nobody's business."""
    with tarfile.open(
        fileobj=_Sink(out), mode="w|", format=tarfile.GNU_FORMAT, encoding="utf-8", errors="surrogateescape"
    ) as tar:
        for entry in entries:
            header = tarfile.TarInfo(entry.name)
            header.mode = 0o755 if entry.executable else 0o644
            if entry.link is not None:
                header.type, header.linkname, header.mode = tarfile.SYMTYPE, entry.link, _SYMLINK_MODE
                tar.addfile(header)
            elif entry.content is None:
                header.type, header.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(header)
            elif isinstance(entry.content, bytes):
                header.size = len(entry.content)
                tar.addfile(header, io.BytesIO(entry.content))
            else:
                with entry.content.open("rb") as file:
                    header.size = os.fstat(file.fileno()).st_size
                    tar.addfile(header, file)


def read_tar(stream: IO[bytes], destination: Path) -> None:
    """Make ``destination`` of what comes, synced to the disk.

    Raises UnsafeTree, RecordError for a full disk, and whatever the stream raises; then nothing is left of it.
    """
    with files.space_needed_for("the fetched files", destination):
        destination.mkdir(parents=True)
    try:
        with (
            files.space_needed_for("the fetched files", destination),
            tarfile.open(fileobj=stream, mode="r|", encoding="utf-8", errors="surrogateescape") as tar,
        ):
            _take(tar, destination)
    except tarfile.TarError as error:
        shutil.rmtree(destination)
        raise UnsafeTree(f"what came is no tar stream, or half of one: {error}") from None
    except BaseException:
        shutil.rmtree(destination)
        raise


def _take(tar: tarfile.TarFile, destination: Path) -> None:
    links: list[tuple[Path, str]] = []
    folders = {destination}
    for member in tar:
        parts = _parts(member.name)
        if not parts:  # the root itself
            continue
        path = destination.joinpath(*parts)
        for depth in range(1, len(parts)):  # links come last, so none of these can be one
            folder = destination.joinpath(*parts[:depth])
            folder.mkdir(exist_ok=True)
            folders.add(folder)
        if member.isdir():
            path.mkdir(exist_ok=True)
            folders.add(path)
        elif member.issym():
            links.append((path, member.linkname))
        elif member.isreg() and not member.issparse():
            _write(tar, member, path)
        else:
            raise UnsafeTree(f"{member.name!r} is neither a plain file, a directory nor a symbolic link")
    for path, target in links:
        if path.is_symlink() or path.exists():
            raise UnsafeTree(f"{path.name!r} came twice")
        path.symlink_to(target)
    for path, target in links:
        if not _stays_inside(destination, path):
            raise UnsafeTree(f"{path.name!r} is a link to {target!r}, which leads out")
    for folder in folders:
        files.sync_directory(folder)


def _parts(name: str) -> tuple[str, ...]:
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts:
        raise UnsafeTree(f"{name!r} would land outside of its place")
    return pure.parts


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    if member.size > shutil.disk_usage(path.parent).free:
        raise UnsafeTree(f"{member.name!r} says that it has {member.size} bytes, more than there is room for")
    source = tar.extractfile(member)
    assert source is not None
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o755 if member.mode & 0o100 else 0o644)
    except FileExistsError:
        raise UnsafeTree(f"{member.name!r} came twice") from None
    with os.fdopen(descriptor, "wb") as file:
        shutil.copyfileobj(source, file, _CHUNK)
        file.flush()
        os.fsync(file.fileno())


def _stays_inside(root: Path, link: Path) -> bool:
    real = Path(os.path.realpath(root))
    return (not os.path.isabs(os.readlink(link))) and Path(os.path.realpath(link)).is_relative_to(real)  # noqa: PTH115,PTH117


class _Sink(io.RawIOBase):
    """A file object for tarfile, which wants one."""

    def __init__(self, out: Writable) -> None:
        self._out = out

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, data: object) -> int:
        """All of it."""
        block = bytes(data)  # type: ignore[call-overload]
        self._out.write(block)
        return len(block)
