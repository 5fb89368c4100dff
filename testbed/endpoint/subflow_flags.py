"""Whether a subflow is a backup, from the kernel's socket monitoring interface (sock_diag(7)), in binary netlink.

struct tcp_info does not tell. INET_DIAG_INFO answers for one socket, named by addresses and ports, with the attribute
INET_DIAG_ULP_INFO, in which MPTCP nests its subflow's flags (net/mptcp/diag.c; MPTCP_SUBFLOW_ATTR_FLAGS in
include/uapi/linux/mptcp.h). Needs CAP_NET_ADMIN; without it, or without the diagnosis module, the answer is None.
"""

from __future__ import annotations

import socket
import struct

from testbed.endpoint.kernel_state import Endpoints

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST = 1
_NLMSG_ERROR = 2
_INET_DIAG_INFO, _INET_DIAG_ULP_INFO = 2, 19
_ULP_INFO_MPTCP = 3
_MPTCP_ATTR_FLAGS = 8
_ALL_STATES = 0xFFFFFFFF
_NO_COOKIE = 0xFFFFFFFF
_ATTRIBUTE_TYPE_MASK = 0x3FFF
BACKUP_REMOTE, BACKUP_LOCAL = 1 << 4, 1 << 5
"""MPTCP_SUBFLOW_FLAG_BKUP_REM, _LOC: who asked for it."""
FULLY_ESTABLISHED = 1 << 6
"""MPTCP_SUBFLOW_FLAG_FULLY_ESTABLISHED: of a join, that this end knows that the other took it."""

_HEADER = struct.Struct("=IHHII")
_DIAG_MESSAGE_BYTES = 72
"""sizeof(struct inet_diag_msg)."""


def prepare() -> None:
    """Ask once for what is not there: the kernel loads its module of diagnosis for that.

    Without it the first look at the first connection would: 87 ms of a guest's time, in which nothing else is sampled.
    """
    subflow_flags(("127.0.0.1", 0, "127.0.0.1", 0))


def backup_flag(endpoints: Endpoints) -> bool | None:
    """True when either end made this subflow a backup; None when the kernel does not tell."""
    return is_backup(subflow_flags(endpoints))


def is_backup(flags: int | None) -> bool | None:
    """The same, of flags that are known already."""
    return None if flags is None else bool(flags & (BACKUP_REMOTE | BACKUP_LOCAL))


def subflow_flags(endpoints: Endpoints) -> int | None:
    """MPTCP_SUBFLOW_FLAG_* of the subflow of this network namespace with these addresses; None when not told."""
    local_address, local_port, remote_address, remote_port = endpoints
    family = socket.AF_INET6 if ":" in local_address else socket.AF_INET
    body = struct.pack("=BBBBI", family, socket.IPPROTO_TCP, 1 << (_INET_DIAG_INFO - 1), 0, _ALL_STATES)
    body += struct.pack("!HH", local_port, remote_port)
    body += socket.inet_pton(family, local_address).ljust(16, b"\0")
    body += socket.inet_pton(family, remote_address).ljust(16, b"\0")
    body += struct.pack("=III", 0, _NO_COOKIE, _NO_COOKIE)
    request = _HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0) + body
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as netlink:
        netlink.settimeout(1)
        netlink.send(request)
        answer = netlink.recv(8192)
    if _HEADER.unpack_from(answer)[1] == _NLMSG_ERROR:
        return None
    nested = _attribute(answer[_HEADER.size + _DIAG_MESSAGE_BYTES :], _INET_DIAG_ULP_INFO)
    mptcp = _attribute(nested, _ULP_INFO_MPTCP) if nested else None
    flags = _attribute(mptcp, _MPTCP_ATTR_FLAGS) if mptcp else None
    return struct.unpack("=I", flags)[0] if flags else None


def _attribute(data: bytes, wanted: int) -> bytes | None:
    """Payload of the first netlink attribute of a type."""
    offset = 0
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, offset)
        if length < 4:
            return None
        if kind & _ATTRIBUTE_TYPE_MASK == wanted:
            return data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return None
