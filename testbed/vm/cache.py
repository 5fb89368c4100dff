"""What is made once and used by many machines: kernels and root file systems, each named by what it was made from.

    $XDG_CACHE_HOME/mptcp-testbed/vm/{kernels,rootfs,sites,checkouts}/DIGEST, names/, apt/, downloads/
    and runs/ID, which is a machine's

An entry is made in a directory of its own under a lock and renamed when it is whole, so what has its name is complete
and never changes. Who uses one holds a shared flock on its file ``lock`` (flock(2)); the lock lives in the open file,
so a virtual machine that inherited the descriptor keeps its images for as long as it runs, whoever started it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from testbed.orchestrator.errors import InvalidTrial, Unsupported
from testbed.record.files import sync_directory

KERNELS, ROOTFS, SITES, CHECKOUTS, RUNS = "kernels", "rootfs", "sites", "checkouts", "runs"
LISTS, DOWNLOADS = "apt", "downloads"
"""Scratch: package lists, and packages on their way into an entry."""
KINDS = (KERNELS, ROOTFS, SITES, CHECKOUTS, RUNS)
LOCK = "lock"
_PARTIAL, _REMOVED = ".partial", ".removed"
_BLOCK = 512
"""Bytes of st_blocks (stat(2)): images have holes, and what they take of the disk is what counts."""


class Gone(InvalidTrial):
    """The entry was removed before it could be held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing in the cache."""

    kind: str
    path: Path
    size_bytes: int
    """On the disk."""
    used_ns: int
    """When it was made or last held, in the clock of the file system."""
    in_use: bool

    @property
    def digest(self) -> str:
        """Its name."""
        return self.path.name


@contextmanager
def held(path: Path) -> Iterator[int]:
    """Keep an entry from being removed; yields the descriptor to hand on. Raises Gone when it is no more."""
    try:
        descriptor = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        raise Gone(f"{path} is no more") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        ours = os.fstat(descriptor)
        try:
            named = (path / LOCK).stat()
        except FileNotFoundError:
            raise Gone(f"{path} was removed") from None
        if (named.st_dev, named.st_ino) != (ours.st_dev, ours.st_ino):
            raise Gone(f"{path} was replaced")
        os.utime(descriptor)
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def unused(path: Path) -> Iterator[bool]:
    """Whether nobody holds an entry; who wants to meanwhile waits for the end of the block."""
    try:
        descriptor = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        yield False  # somebody removed it
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        free = True
    except BlockingIOError:
        free = False
    try:
        yield free
    finally:
        os.close(descriptor)


class Cache:
    """The directory, made when it is first written to."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or default_root()

    @property
    def runs(self) -> Path:
        """Where machines keep what is theirs alone; made private to the user, for secrets lie there."""
        path = self._directory(RUNS)
        path.chmod(stat.S_IRWXU)
        return path

    def path(self, kind: str, digest: str) -> Path:
        """Where the entry of that name is, or would be."""
        return self.root / kind / digest

    def find(self, kind: str, digest: str) -> Path | None:
        """The entry of that name, if it is there."""
        path = self.path(kind, digest)
        return path if path.is_dir() else None

    def made(self, kind: str, digest: str, make: Callable[[Path], None], *, again: bool = False) -> Path:
        """The entry of that name; ``make`` fills its directory when it is not there, and one at a time does.

        With ``again`` one that is there is replaced once the new one is whole. Whatever ``make`` raises leaves nothing
        behind. Raises Unsupported when the disk is full, or the one to replace is in use.
        """
        path = self.path(kind, digest)
        if path.is_dir() and not again:
            return path
        self._directory(kind)
        with self.exclusive(_building(kind, digest)):
            if path.is_dir() and not again:  # somebody else made it while we waited
                return path
            partial = path.with_name(f".{digest}{_PARTIAL}")
            _remove(partial)  # of one that was killed: the lock is ours
            partial.mkdir()
            try:
                make(partial)
                (partial / LOCK).touch()
                sync_directory(partial)
                if path.is_dir() and not _removed_unless_held(path):
                    raise Unsupported(f"{path} is in use by a machine that runs: 'testbed vm stop' first")
                partial.rename(path)
            except OSError as error:
                _remove(partial)
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                raise Unsupported(f"no space left in {self.root}; 'testbed vm prune' makes room") from None
            except BaseException:
                _remove(partial)
                raise
            sync_directory(path.parent)
        return path

    def scratch(self, name: str) -> Path:
        """A directory that may be emptied at any time: package lists, downloads."""
        return self._directory(name)

    @contextmanager
    def exclusive(self, name: str, *, wait: bool = True) -> Iterator[None]:
        """One at a time does what has this name. Raises BlockingIOError when somebody does and we do not wait."""
        path = self._directory("locks") / name
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        finally:
            os.close(descriptor)

    def entries(self, kind: str) -> list[Entry]:
        """All of a kind, the one used last first."""
        found = []
        for path in self._paths(kind):
            if path.name.startswith(".") or not path.is_dir():
                continue
            with suppress(FileNotFoundError):  # removed meanwhile
                found.append(_entry(kind, path))
        return sorted(found, key=lambda entry: (-entry.used_ns, entry.digest))

    def prune(self, kind: str, keep: int) -> list[Entry]:
        """Remove all but the ``keep`` that were used last, and never what somebody uses; returns what was removed.

        What killed processes left half-made goes with it.
        """
        removed = [entry for entry in self.entries(kind)[keep:] if _removed_unless_held(entry.path)]
        for path in self._paths(kind):
            if path.name.endswith((_PARTIAL, _REMOVED)):
                digest = path.name[1:].removesuffix(_PARTIAL).removesuffix(_REMOVED)
                with suppress(BlockingIOError), self.exclusive(_building(kind, digest), wait=False):
                    _remove(path)
        return removed

    def clear(self, name: str) -> None:
        """Empty a scratch directory of what nobody is at: who is, holds ``exclusive(NAME-ITS NAME)``."""
        for path in self._paths(name):
            with suppress(BlockingIOError), self.exclusive(f"{name}-{path.name}", wait=False):
                _remove(path)

    # --- inside ---

    def _directory(self, name: str) -> Path:
        path = self.root / name
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Unsupported(
                f"{path}: {error.strerror}; set XDG_CACHE_HOME to a directory that can be written"
            ) from None
        return path

    def _paths(self, kind: str) -> list[Path]:
        with suppress(FileNotFoundError):
            return sorted((self.root / kind).iterdir())
        return []


def default_root() -> Path:
    """XDG Base Directory Specification: $XDG_CACHE_HOME, ~/.cache when it is not set or not absolute."""
    chosen = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return (chosen if chosen.is_absolute() else Path.home() / ".cache") / "mptcp-testbed" / "vm"


def size_on_disk(path: Path) -> int:
    """Bytes that a tree takes, holes not counted."""
    total = 0
    for directory, _folders, names in os.walk(path):
        for name in names:
            with suppress(FileNotFoundError):
                total += os.lstat(Path(directory) / name).st_blocks * _BLOCK
    return total


def _building(kind: str, digest: str) -> str:
    return f"{kind}-{digest}"


def _entry(kind: str, path: Path) -> Entry:
    lock = path / LOCK
    used_ns = (lock if lock.exists() else path).stat().st_mtime_ns
    in_use = False
    if lock.exists():
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            in_use = True
        finally:
            os.close(descriptor)
    return Entry(kind=kind, path=path, size_bytes=size_on_disk(path), used_ns=used_ns, in_use=in_use)


def _removed_unless_held(path: Path) -> bool:
    moved = path.with_name(f".{path.name}{_REMOVED}")
    with unused(path) as free:
        if not free:
            return False
        _remove(moved)  # of one that was killed here
        try:
            path.rename(moved)  # from here on nobody finds it
        except FileNotFoundError:
            return False  # somebody else was quicker
    _remove(moved)
    return True


def _remove(path: Path) -> None:
    """Unpacked packages may hold directories that cannot be written; somebody else may be removing the same."""

    def unless_gone(_function: object, _name: object, error: tuple[type[BaseException], BaseException, object]) -> None:
        if not isinstance(error[1], FileNotFoundError):
            raise error[1]

    for directory, _folders, _names in os.walk(path):
        with suppress(FileNotFoundError):
            Path(directory).chmod(stat.S_IRWXU)
    shutil.rmtree(path, onerror=unless_gone)
