"""The interfaces of this network namespace with their addresses, and the next hop of a packet, asked of the kernel.

Addresses, routes, rules and neighbours stay the kernel's; this only reads them. The one thing that it asks the kernel
to do is to resolve a neighbour (NTF_USE), which is what sending through the kernel would do.

Sources: rtnetlink(7); linux/{if_link,if_addr,rtnetlink,neighbour}.h; net/core/neighbour.c (neigh_add).
"""

from __future__ import annotations

import errno
import socket
import struct
from dataclasses import dataclass

from testbed.endpoint.attached.netlink import (
    NETLINK_ROUTE,
    NLM_F_ACK,
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_REPLACE,
    Netlink,
    attribute,
    attributes,
)

NOTICE_GROUPS = 0x1 | 0x4 | 0x10 | 0x40 | 0x100 | 0x400
"""RTMGRP_LINK, _NEIGH, _IPV4_IFADDR, _IPV4_ROUTE, _IPV6_IFADDR, _IPV6_ROUTE."""

_NEWLINK, _GETLINK, _NEWADDR, _GETADDR, _NEWROUTE, _GETROUTE, _NEWNEIGH, _GETNEIGH = 16, 18, 20, 22, 24, 26, 28, 30
NEIGHBOUR_NOTICES = frozenset((28, 29))
_LINK, _ADDRESS, _ROUTE, _NEIGHBOUR = (struct.Struct(form) for form in ("=BBHiII", "=BBBBI", "=BBBBBBBBI", "=BBHiHBB"))
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU = 1, 3, 4
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS = 1, 2, 8
_IFA_F_TENTATIVE, _IFA_F_DADFAILED = 0x40, 0x08
_RTA_DST, _RTA_SRC, _RTA_OIF, _RTA_GATEWAY = 1, 2, 4, 5
_NDA_DST, _NDA_LLADDR = 1, 2
_NTF_USE = 0x1
_NUD_USABLE = 0x02 | 0x04 | 0x08 | 0x10 | 0x40 | 0x80
"""REACHABLE, STALE, DELAY, PROBE, NOARP, PERMANENT: there is a hardware address that may be used."""
_IFF_UP, _IFF_LOOPBACK, _IFF_LOWER_UP = 0x1, 0x8, 0x10000
_ARPHRD_ETHER, _ARPHRD_LOOPBACK = 1, 772
_UNREACHABLE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EINVAL, errno.EACCES, errno.ENETDOWN, errno.ENODEV)
_UNRESOLVED = (errno.ENOENT, errno.ENODEV, errno.ENETDOWN, errno.EINVAL, errno.ENOBUFS)
"""No entry; or the interface has gone or gone down (notices about it follow those about its neighbours), or the table
is full (``neigh_create``): the neighbour has no address now, and a later notice may change that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """An Ethernet interface (or the loopback) as the kernel has it now."""

    index: int
    name: str
    mac: bytes
    mtu: int
    is_up: bool
    """Set up, and with a carrier."""
    is_loopback: bool
    addresses: tuple[bytes, ...]
    """Usable global ones in network order, in the kernel's order."""


@dataclass(frozen=True, slots=True)
class NextHop:
    """Where the kernel would send a packet."""

    index: int
    """Of the interface."""
    address: bytes
    """The gateway, or the destination itself."""


class KernelTables:
    """Questions to rtnetlink."""

    def __init__(self) -> None:
        self._netlink = Netlink(NETLINK_ROUTE)

    def close(self) -> None:
        """Close the socket."""
        self._netlink.close()

    def interfaces(self) -> list[Interface]:
        """All Ethernet interfaces and the loopback, by index."""
        usable: dict[int, list[bytes]] = {}
        for kind, body in self._netlink.request(_GETADDR, _ADDRESS.pack(0, 0, 0, 0, 0), NLM_F_DUMP):
            if kind == _NEWADDR:
                _, _, flags, scope, index = _ADDRESS.unpack_from(body)
                values = attributes(body[8:])
                flags = struct.unpack("=I", values[_IFA_FLAGS])[0] if _IFA_FLAGS in values else flags
                is_local = scope not in (0, 254)  # RT_SCOPE_UNIVERSE; 254 is the loopback's
                if not is_local and not flags & (_IFA_F_TENTATIVE | _IFA_F_DADFAILED):
                    usable.setdefault(index, []).append(values.get(_IFA_LOCAL) or values[_IFA_ADDRESS])
        found = []
        for kind, body in self._netlink.request(_GETLINK, _LINK.pack(0, 0, 0, 0, 0, 0), NLM_F_DUMP):
            _, _, link_type, index, flags, _ = _LINK.unpack_from(body)
            if kind != _NEWLINK or link_type not in (_ARPHRD_ETHER, _ARPHRD_LOOPBACK):
                continue
            values = attributes(body[16:])
            found.append(
                Interface(
                    index=index,
                    name=values[_IFLA_IFNAME].rstrip(b"\0").decode(),
                    mac=values.get(_IFLA_ADDRESS, bytes(6)),
                    mtu=struct.unpack("=I", values[_IFLA_MTU])[0],
                    is_up=bool(flags & _IFF_UP and flags & _IFF_LOWER_UP),
                    is_loopback=bool(flags & _IFF_LOOPBACK),
                    addresses=tuple(usable.get(index, ())),
                )
            )
        return sorted(found, key=lambda interface: interface.index)

    def next_hop(self, source: bytes, destination: bytes) -> NextHop | None:
        """By the kernel's rules and routes for a packet from ``source``; None: it has no route."""
        family = _family(destination)
        bits = 8 * len(destination)
        body = _ROUTE.pack(family, bits, bits, 0, 0, 0, 0, 0, 0)
        body += attribute(_RTA_DST, destination) + attribute(_RTA_SRC, source)
        try:
            answers = self._netlink.request(_GETROUTE, body)
        except OSError as error:
            if error.errno not in _UNREACHABLE:
                raise
            return None
        for kind, answer in answers:
            values = attributes(answer[12:])
            if kind == _NEWROUTE and _RTA_OIF in values and answer[7] in (1, 2):  # RTN_UNICAST, RTN_LOCAL
                index = struct.unpack("=i", values[_RTA_OIF])[0]
                return NextHop(index, values.get(_RTA_GATEWAY, destination))
        return None

    def hardware_address(self, hop: NextHop) -> bytes | None:
        """Of the neighbour; None: not resolved."""
        body = _NEIGHBOUR.pack(_family(hop.address), 0, 0, hop.index, 0, 0, 0) + attribute(_NDA_DST, hop.address)
        try:
            answers = self._netlink.request(_GETNEIGH, body)
        except OSError as error:
            if error.errno not in _UNRESOLVED:
                raise
            return None
        for kind, answer in answers:
            state = _NEIGHBOUR.unpack_from(answer)[4]
            address = attributes(answer[12:]).get(_NDA_LLADDR)
            if kind == _NEWNEIGH and state & _NUD_USABLE and address is not None and len(address) == 6:
                return address
        return None

    def resolve(self, hop: NextHop) -> None:
        """Have the kernel find the neighbour (ARP, neighbour discovery); a notice tells when it is there."""
        body = _NEIGHBOUR.pack(_family(hop.address), 0, 0, hop.index, 0, _NTF_USE, 0) + attribute(_NDA_DST, hop.address)
        try:
            self._netlink.request(_NEWNEIGH, body, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE)
        except OSError as error:
            if error.errno not in _UNRESOLVED:
                raise


def _family(address: bytes) -> int:
    return socket.AF_INET if len(address) == 4 else socket.AF_INET6
