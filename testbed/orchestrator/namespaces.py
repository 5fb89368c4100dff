"""Network namespaces kept by a file descriptor, and switching the calling thread between them.

A namespace made here has no name in the file system: it lives as long as someone holds a descriptor or runs inside,
so a killed orchestrator cannot leave one behind (namespaces(7), "The /proc/pid/ns/ directory"). Only the calling
thread is switched (setns(2)); sockets, ``/proc/sys/net`` and children started meanwhile belong to the namespace that
was entered.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from testbed.orchestrator.errors import Unsupported

CLONE_NEWNS = 0x0002_0000
CLONE_NEWUTS = 0x0400_0000
CLONE_NEWIPC = 0x0800_0000
CLONE_NEWPID = 0x2000_0000
CLONE_NEWNET = 0x4000_0000

CURRENT_NET = "/proc/thread-self/ns/net"

_PARALLEL_FROM = 8
"""Making a namespace takes the kernel about 0.8 ms and two can be made at once; below this a thread costs more."""

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, call: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        message = f"{call}: {os.strerror(number)}"
        if number == errno.EPERM:
            raise Unsupported(f"{message} (namespaces need root; run it with sudo)")
        raise OSError(number, message)


def unshare(flags: int) -> None:
    """unshare(2) for the calling thread. Raises Unsupported without privileges, OSError otherwise."""
    _check(_libc.unshare(flags), f"unshare({flags:#x})")


def setns(fd: int, kind: int = CLONE_NEWNET) -> None:
    """setns(2): move the calling thread into the namespace behind ``fd``."""
    _check(_libc.setns(fd, kind), f"setns(fd {fd})")


@contextmanager
def inside(fd: int) -> Iterator[None]:
    """Run the block with the calling thread in the network namespace behind ``fd``; about 10 us there and back."""
    home = os.open(CURRENT_NET, os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(fd)
        try:
            yield
        finally:
            setns(home)
    finally:
        os.close(home)


def make_namespaces(count: int) -> list[int]:
    """``count`` new network namespaces, as descriptors that the caller closes. All or none are made."""
    if count < _PARALLEL_FROM:
        return _make(count)
    half = count // 2
    with ThreadPoolExecutor(1, "namespaces") as helper:
        other = helper.submit(_make, half)
        try:
            mine = _make(count - half)
        except BaseException:
            if other.exception() is None:
                close_all(other.result())
            raise
        try:
            return mine + other.result()
        except BaseException:
            close_all(mine)
            raise


def close_all(fds: list[int]) -> None:
    """Let go of the namespaces; the kernel frees them afterwards, in its own time."""
    while fds:
        os.close(fds.pop())


def identity(fd: int) -> int:
    """The inode number of the namespace: equal numbers, same namespace."""
    return os.fstat(fd).st_ino


def _make(count: int) -> list[int]:
    home = os.open(CURRENT_NET, os.O_RDONLY | os.O_CLOEXEC)
    made: list[int] = []
    try:
        try:
            for _ in range(count):
                unshare(CLONE_NEWNET)
                made.append(os.open(CURRENT_NET, os.O_RDONLY | os.O_CLOEXEC))
        finally:
            setns(home)
    except BaseException:
        close_all(made)
        raise
    finally:
        os.close(home)
    return made
