"""What a kernel can do, asked of itself: sent to a guest's Python, prints one JSON object. Uses nothing of ours.

Nothing is derived from a version: distributions take counters and options back into old kernels. What cannot be found
out is null, never 0. A connection over loopback in a network namespace of its own is what the lengths are asked of.

Sources: include/uapi/linux/mptcp.h (options of SOL_MPTCP; struct mptcp_subflow_data, mptcp_full_info); getsockopt(2)
and tcp(7): the kernel returns the length that it has filled.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import platform
import socket
import struct
import subprocess
from pathlib import Path
from typing import Any

IPPROTO_MPTCP = 262
SOL_MPTCP = 284
MPTCP_INFO, MPTCP_TCPINFO, MPTCP_SUBFLOW_ADDRS, MPTCP_FULL_INFO = 1, 2, 3, 4
CLONE_NEWNET = 0x4000_0000
SEED = 20260131
"""Any number that the kernel would not choose by itself."""
_ROOM = 4096
_SUBFLOW_DATA = struct.Struct("=IIII")
"""size_subflow_data, num_subflows, size_kernel, size_user"""
_FULL_INFO = struct.Struct("=IIIIIIQQ")
"""size_{tcpinfo,sfinfo}_{kernel,user} as four, num_subflows, size_arrays_user, pointers to the two arrays"""


def main() -> None:
    """Print it."""
    libc = ctypes.CDLL(None, use_errno=True)
    found: dict[str, Any] = {
        "kernel": os.uname().release,
        "build": os.uname().version,
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "iproute2": _output("ip", "-V"),
        "counters": counters(),
        "sysctls": sysctls(),
    }
    apart = libc.unshare(CLONE_NEWNET) == 0
    found |= lengths(libc)
    found["netem_seed"] = netem_seed() if apart else None
    print(json.dumps(found))


def counters(netstat: Path = Path("/proc/net/netstat")) -> list[str] | None:
    """The names of the kernel's MPTCP counters; null: it has no such table."""
    with contextlib.suppress(OSError):
        for line in netstat.read_text().splitlines():
            name, _, rest = line.partition(":")
            if name == "MPTcpExt":
                return rest.split()
    return None


def sysctls(directory: Path = Path("/proc/sys/net/mptcp")) -> dict[str, str] | None:
    """net.mptcp.* with their values."""
    if not directory.is_dir():
        return None
    return {path.name: path.read_text().strip() for path in sorted(directory.iterdir()) if path.is_file()}


def lengths(libc: ctypes.CDLL) -> dict[str, int | None]:
    """How long the kernel's structures are, each asked of a connection that is there."""
    found: dict[str, int | None] = {
        "mptcp_info_bytes": None,
        "mptcp_tcpinfo_bytes": None,
        "mptcp_subflow_addrs_bytes": None,
        "mptcp_full_info_bytes": None,
        "mptcp_subflow_info_bytes": None,
        "tcp_info_bytes": None,
    }
    with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
        _loopback_up()
        server = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP))
        server.bind(("127.0.0.1", 0))
        server.listen()
        client = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP))
        client.settimeout(5)
        client.connect(server.getsockname())
        accepted, _peer = server.accept()
        stack.enter_context(accepted)
        found["mptcp_info_bytes"] = _length(libc, client, SOL_MPTCP, MPTCP_INFO, b"")
        found["tcp_info_bytes"] = _length(libc, client, socket.IPPROTO_TCP, socket.TCP_INFO, b"")
        for name, option in (("tcpinfo", MPTCP_TCPINFO), ("subflow_addrs", MPTCP_SUBFLOW_ADDRS)):
            head = _SUBFLOW_DATA.pack(_SUBFLOW_DATA.size, 0, 0, _ROOM - _SUBFLOW_DATA.size)
            answer = _asked(libc, client, SOL_MPTCP, option, head)
            found[f"mptcp_{name}_bytes"] = _SUBFLOW_DATA.unpack_from(answer)[2] if answer else None
        answer = _asked(libc, client, SOL_MPTCP, MPTCP_FULL_INFO, bytes(_FULL_INFO.size))
        if answer is not None:
            found["mptcp_full_info_bytes"] = len(answer)
            found["mptcp_subflow_info_bytes"] = _FULL_INFO.unpack_from(answer)[2]
    return found


def netem_seed() -> bool | None:
    """Whether netem takes the seed that it is given (it is read back); null: tc here knows of none, or no netem."""
    _loopback_up()
    told = _output("tc", "qdisc", "add", "dev", "lo", "root", "netem", "loss", "1%", "seed", str(SEED))
    shown = _output("tc", "-j", "qdisc", "show", "dev", "lo")
    if told is None or shown is None:
        return None
    with contextlib.suppress(ValueError, LookupError, AttributeError):
        return int(json.loads(shown)[0]["options"].get("seed", -1)) == SEED
    return None


def _loopback_up() -> None:
    _output("ip", "link", "set", "lo", "up")


def _length(libc: ctypes.CDLL, sock: socket.socket, level: int, option: int, head: bytes) -> int | None:
    answer = _asked(libc, sock, level, option, head)
    return None if answer is None else len(answer)


def _asked(libc: ctypes.CDLL, sock: socket.socket, level: int, option: int, head: bytes) -> bytes | None:
    """What getsockopt(2) has filled; null: the kernel does not know the option."""
    buffer = ctypes.create_string_buffer(head, _ROOM)
    length = ctypes.c_uint32(_ROOM)
    if libc.getsockopt(sock.fileno(), level, option, buffer, ctypes.byref(length)) != 0:
        number = ctypes.get_errno()
        if number not in (errno.EOPNOTSUPP, errno.ENOPROTOOPT, errno.EINVAL):
            raise OSError(number, os.strerror(number))
        return None
    return buffer.raw[: length.value]


def _output(*argv: str) -> str | None:
    """Standard output of a program that succeeds."""
    with contextlib.suppress(OSError):
        done = subprocess.run(argv, capture_output=True, check=False, text=True)
        return done.stdout.strip() if done.returncode == 0 else None
    return None


if __name__ == "__main__":
    main()
