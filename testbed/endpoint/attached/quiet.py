"""Keeps the kernel's own TCP away from our ports: it would answer with RST what it knows no connection of.

An nftables table of this process drops what comes for the ports, in ``inet prerouting`` with priority raw: after every
AF_PACKET socket and before the kernel's TCP. The table has the flag ``owner``: it is bound to the netlink socket that
made it and vanishes with it, so also when the process is killed. Nobody else can change it meanwhile.

Sources: linux/netfilter/nf_tables.h; net/netfilter/nf_tables_api.c (nft_rcv_nl_event); ``flags owner`` is Linux 5.12.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterable

from testbed.endpoint.attached.netlink import (
    NETLINK_NETFILTER,
    NLA_F_NESTED,
    NLM_F_CREATE,
    Netlink,
    attribute,
)
from testbed.endpoint.attached.port_filter import PortRange

_SUBSYSTEM = 10
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_NEW_TABLE, _NEW_CHAIN, _NEW_RULE = (_SUBSYSTEM << 8 | number for number in (0, 3, 6))
_NFPROTO_INET, _NF_INET_PRE_ROUTING, _PRIORITY_RAW = 1, 0, -300
_TABLE_OWNER = 0x2
_REGISTER_1, _REGISTER_VERDICT, _NF_DROP = 1, 0, 0
_META_L4PROTO, _TRANSPORT_HEADER = 16, 2
_EQUAL, _AT_MOST, _AT_LEAST = 0, 3, 5
_CHAIN = b"prerouting\0"
_NLM_F_APPEND = 0x800


class QuietError(OSError):
    """The kernel would not take the table; the message says why and what helps."""


class KernelKeptQuiet:
    """Drops TCP for our ports as long as this object lives. Raises QuietError."""

    def __init__(self, name: str, ports: Iterable[PortRange]) -> None:
        self._netlink = Netlink(NETLINK_NETFILTER)
        self._table = name.encode() + b"\0"
        messages = [
            (_NEW_TABLE, NLM_F_CREATE, _head() + attribute(1, self._table) + _be32(2, _TABLE_OWNER)),
            (_NEW_CHAIN, NLM_F_CREATE, _head() + self._chain()),
            *((_NEW_RULE, NLM_F_CREATE | _NLM_F_APPEND, _head() + self._rule(ports_)) for ports_ in ports),
        ]
        try:
            self._netlink.batch(messages, _BATCH_BEGIN, _BATCH_END, struct.pack("!BBH", 0, 0, _SUBSYSTEM))
        except OSError as error:
            self._netlink.close()
            raise QuietError(error.errno, _explain(error)) from error

    def close(self) -> None:
        """The kernel takes the table away."""
        self._netlink.close()

    def _chain(self) -> bytes:
        hook = _be32(1, _NF_INET_PRE_ROUTING) + _be32(2, _PRIORITY_RAW)
        return attribute(1, self._table) + attribute(3, _CHAIN) + _nested(4, hook) + attribute(7, b"filter\0")

    def _rule(self, ports: PortRange) -> bytes:
        first, last = (port.to_bytes(2, "big") for port in ports)
        drop = _nested(2, _nested(2, _be32(1, _NF_DROP)))
        expressions = (
            _expression("meta", _be32(1, _REGISTER_1) + _be32(2, _META_L4PROTO)),
            _compare(_EQUAL, bytes([socket.IPPROTO_TCP])),
            _expression("payload", _be32(1, _REGISTER_1) + _be32(2, _TRANSPORT_HEADER) + _be32(3, 2) + _be32(4, 2)),
            _compare(_AT_LEAST, first),
            _compare(_AT_MOST, last),
            _expression("immediate", _be32(1, _REGISTER_VERDICT) + drop),
        )
        return attribute(1, self._table) + attribute(2, _CHAIN) + _nested(4, b"".join(expressions))


def _explain(error: OSError) -> str:
    if error.errno in (errno.EPERM, errno.EACCES):
        return "nftables refused (CAP_NET_ADMIN is needed: run as root)"
    if error.errno in (errno.EOPNOTSUPP, errno.EINVAL):
        return f"nftables refused ({error.strerror}): tables with an owner need Linux 5.12 with CONFIG_NF_TABLES_INET"
    return f"nftables refused: {error.strerror}"


def _head() -> bytes:
    return struct.pack("!BBH", _NFPROTO_INET, 0, 0)


def _be32(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("!i", value))


def _nested(kind: int, data: bytes) -> bytes:
    return attribute(kind | NLA_F_NESTED, data)


def _expression(name: str, data: bytes) -> bytes:
    return _nested(1, attribute(1, name.encode() + b"\0") + _nested(2, data))


def _compare(operator: int, value: bytes) -> bytes:
    return _expression("cmp", _be32(1, _REGISTER_1) + _be32(2, operator) + _nested(3, attribute(1, value)))
