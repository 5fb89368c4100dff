"""The connected stream sockets of another process, lent to us by pidfd_getfd(2) (Linux 5.6).

Each is a duplicate: to be closed soon, because the connection lives as long as any of them. Needs the right to trace
the process, which a parent has over its child unless the machine forbids tracing altogether; then nothing is found.
"""

from __future__ import annotations

import ctypes
import platform
import socket
from collections.abc import Iterator
from pathlib import Path

from testbed.endpoint.kernel_state import IPPROTO_MPTCP

SYS_PIDFD_GETFD = 438
"""The same on every architecture (it is from after the numbers were unified), except alpha."""

_libc = ctypes.CDLL(None, use_errno=True)


def connections_of(pid: int, pidfd: int) -> Iterator[tuple[str, socket.socket]]:
    """(name of the socket's inode, duplicate) of each TCP or MPTCP connection of a process; close each duplicate."""
    if platform.machine() == "alpha":
        return
    try:
        descriptors = [(int(path.name), str(path.readlink())) for path in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:  # it ended, or closed a descriptor between the two calls: there is another look soon
        return
    for descriptor, target in sorted(descriptors):
        if not target.startswith("socket:"):
            continue
        duplicate = _libc.syscall(SYS_PIDFD_GETFD, pidfd, descriptor, 0)
        if duplicate < 0:
            continue
        sock = socket.socket(fileno=duplicate)
        if is_connection(sock):
            yield target, sock
        else:
            sock.close()


def is_connection(sock: socket.socket) -> bool:
    """Whether this is a connected TCP or MPTCP socket."""
    if sock.type != socket.SOCK_STREAM or sock.proto not in (socket.IPPROTO_TCP, IPPROTO_MPTCP):
        return False
    try:
        sock.getpeername()
    except OSError:
        return False
    return True
