"""getsockopt(2) for a live connection: MPTCP_FULL_INFO, MPTCP_TCPINFO, MPTCP_SUBFLOW_ADDRS, MPTCP_INFO, TCP_INFO.

Sources: net/mptcp/sockopt.c (mptcp_getsockopt_full_info, mptcp_getsockopt_tcpinfo, mptcp_getsockopt_subflow_addrs) and
include/uapi/linux/mptcp.h. FULL_INFO (Linux 6.5) gives everything in one call and so in one instant; before it three
calls are needed, and a subflow that comes or goes between them is seen in one answer and not in the other: such a
round is repeated. These options read a header and pointers from the buffer, which needs ctypes.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
import termios
from dataclasses import dataclass
from typing import Literal

from testbed.endpoint.tcp_info import (
    FLAG_FALLBACK,
    MPTCP_INFO_BYTES,
    TCP_INFO_BYTES,
    Info,
    read_mptcp_info,
    read_tcp_info,
)

SOL_MPTCP = 284
MPTCP_INFO, MPTCP_TCPINFO, MPTCP_SUBFLOW_ADDRS, MPTCP_FULL_INFO = 1, 2, 3, 4
IPPROTO_MPTCP = 262

MOST_SUBFLOWS = 32
"""Room in our buffers; the kernel's path manager allows 8 additional ones, a userspace one more."""

_SUBFLOW_DATA = struct.Struct("=IIII")
_FULL_INFO_BYTES = 136
_FULL_INFO_HEAD = struct.Struct("=IIIIIIQQ")
_SUBFLOW_INFO_BYTES = 264
"""struct mptcp_subflow_info: id u32, padding, then two sockaddr_storage of 128 bytes."""
_ADDRESSES_BYTES = 256

Source = Literal["MPTCP_FULL_INFO", "MPTCP_TCPINFO", "TCP_INFO", "userspace"]
Endpoints = tuple[str, int, str, int]
"""Local address, local port, remote address, remote port."""

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class SubflowState:
    """One subflow (or the one TCP connection) at one instant."""

    id: int | None
    """The kernel's number, unique in the connection; None before MPTCP_FULL_INFO existed."""
    endpoints: Endpoints
    tcp_info: Info


@dataclass(frozen=True, slots=True)
class ConnectionState:
    """A connection at one instant. A plain TCP connection, and MPTCP that fell back, has no ``mptcp_info``."""

    source: Source
    mptcp_info: Info | None
    subflows: tuple[SubflowState, ...]

    @property
    def fallback(self) -> bool:
        """An MPTCP socket whose connection is plain TCP says so here, or has no ``mptcp_info`` at all."""
        return self.mptcp_info is None or bool((self.mptcp_info["flags"] or 0) & FLAG_FALLBACK)


def read_connection(sock: socket.socket, full_info: bool = True) -> ConnectionState:
    """The state of a connected socket of either protocol. Raises OSError when it is not connected any more.

    ``full_info`` false: do as on a kernel without MPTCP_FULL_INFO.
    """
    if is_mptcp(sock):
        for read in (_full_info, _separate_infos) if full_info else (_separate_infos,):
            try:
                return read(sock)
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.ENOPROTOOPT):
                    raise
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES)
    return ConnectionState("TCP_INFO", None, (SubflowState(None, endpoints_of(sock), read_tcp_info(info)),))


def endpoints_of(sock: socket.socket) -> Endpoints:
    """Addresses and ports of a connected socket; an IPv4 address stays one on a dual-stack socket."""
    local, remote = sock.getsockname(), sock.getpeername()
    return _plain(local[0]), local[1], _plain(remote[0]), remote[1]


def unacknowledged_bytes(sock: socket.socket) -> int:
    """SIOCOUTQ: bytes that the peer has not acknowledged (for MPTCP: not DATA_ACKed); a FIN counts as one."""
    count: int = struct.unpack("=i", fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)))[0]
    return count


def is_mptcp(sock: socket.socket) -> bool:
    """Whether this is an MPTCP socket; accept(2) on one gives a TCP socket when the peer did not speak MPTCP."""
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_PROTOCOL) == IPPROTO_MPTCP


def in_mptcp(sock: socket.socket) -> bool:
    """Whether this connection is MPTCP now: the right socket, and it did not fall back to TCP.

    After a fallback MPTCP_INFO fails with EOPNOTSUPP (Linux 6.18; ENOPROTOOPT over IPv6) or carries the flag (before).
    """
    if not is_mptcp(sock):
        return False
    try:
        info = read_mptcp_info(sock.getsockopt(SOL_MPTCP, MPTCP_INFO, MPTCP_INFO_BYTES))
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.ENOPROTOOPT):
            return False
        raise
    return not (info["flags"] or 0) & FLAG_FALLBACK


def _full_info(sock: socket.socket) -> ConnectionState:
    infos = ctypes.create_string_buffer(MOST_SUBFLOWS * TCP_INFO_BYTES)
    subflows = ctypes.create_string_buffer(MOST_SUBFLOWS * _SUBFLOW_INFO_BYTES)
    head = ctypes.create_string_buffer(_FULL_INFO_BYTES)
    _FULL_INFO_HEAD.pack_into(
        head,
        0,
        0,
        TCP_INFO_BYTES,
        0,
        _SUBFLOW_INFO_BYTES,
        0,
        MOST_SUBFLOWS,
        ctypes.addressof(subflows),
        ctypes.addressof(infos),
    )
    length = _getsockopt(sock, MPTCP_FULL_INFO, head)
    kernel_tcp, _, kernel_subflow, _, count, _, _, _ = _FULL_INFO_HEAD.unpack_from(head)
    count = min(count, MOST_SUBFLOWS)
    raws = _elements(subflows.raw, 0, count, min(kernel_subflow, _SUBFLOW_INFO_BYTES))
    tcp_infos = _elements(infos.raw, 0, count, min(kernel_tcp, TCP_INFO_BYTES))
    states = []
    for raw, info in zip(raws, tcp_infos, strict=True):
        states.append(SubflowState(struct.unpack_from("=I", raw)[0], _endpoints(raw[8:]), read_tcp_info(info)))
    return ConnectionState("MPTCP_FULL_INFO", read_mptcp_info(head.raw[_FULL_INFO_HEAD.size : length]), tuple(states))


def _separate_infos(sock: socket.socket) -> ConnectionState:
    while True:
        before = _array(sock, MPTCP_SUBFLOW_ADDRS, _ADDRESSES_BYTES)
        infos = _array(sock, MPTCP_TCPINFO, TCP_INFO_BYTES)
        mptcp_info = read_mptcp_info(sock.getsockopt(SOL_MPTCP, MPTCP_INFO, MPTCP_INFO_BYTES))
        if before == _array(sock, MPTCP_SUBFLOW_ADDRS, _ADDRESSES_BYTES) and len(before) == len(infos):
            pairs = zip(before, infos, strict=True)
            states = tuple(SubflowState(None, _endpoints(a), read_tcp_info(info)) for a, info in pairs)
            return ConnectionState("MPTCP_TCPINFO", mptcp_info, states)


def _array(sock: socket.socket, option: int, element_bytes: int) -> list[bytes]:
    """Elements of an option whose buffer begins with struct mptcp_subflow_data."""
    buffer = ctypes.create_string_buffer(_SUBFLOW_DATA.size + MOST_SUBFLOWS * element_bytes)
    _SUBFLOW_DATA.pack_into(buffer, 0, _SUBFLOW_DATA.size, 0, 0, element_bytes)
    _getsockopt(sock, option, buffer)
    _, count, kernel_bytes, _ = _SUBFLOW_DATA.unpack_from(buffer)
    return _elements(buffer.raw, _SUBFLOW_DATA.size, min(count, MOST_SUBFLOWS), min(kernel_bytes, element_bytes))


def _elements(data: bytes, start: int, count: int, each: int) -> list[bytes]:
    """The kernel puts the next one right after what it wrote, which is less than we asked for where its structure is
    smaller (struct tcp_info has 232 bytes in Linux 6.1, 248 in 6.12, 280 in 6.18)."""
    return [data[start + index * each : start + (index + 1) * each] for index in range(count)]


def _getsockopt(sock: socket.socket, option: int, buffer: ctypes.Array[ctypes.c_char]) -> int:
    length = ctypes.c_uint32(len(buffer))
    if _libc.getsockopt(sock.fileno(), SOL_MPTCP, option, buffer, ctypes.byref(length)) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return length.value


def _endpoints(raw: bytes) -> Endpoints:
    """Two struct sockaddr_storage, local and remote."""
    return (*_address(raw[:128]), *_address(raw[128:256]))


def _address(raw: bytes) -> tuple[str, int]:
    family, port = struct.unpack_from("=H", raw)[0], struct.unpack_from("!H", raw, 2)[0]
    if family == socket.AF_INET:
        return socket.inet_ntop(family, raw[4:8]), port
    if family == socket.AF_INET6:
        return _plain(socket.inet_ntop(family, raw[8:24])), port
    raise OSError(errno.EAFNOSUPPORT, f"the kernel named a subflow with address family {family}")


def _plain(address: str) -> str:
    """``::ffff:10.0.0.1`` is 10.0.0.1."""
    mapped = address.removeprefix("::ffff:")
    return mapped if "." in mapped else address
