"""The rtnetlink messages that build a network: veth pairs, bridges, addresses, routes, rules, neighbours; and dumps.

A veth pair is made with both ends already in their namespaces, under their final names, indexes and hardware addresses,
and up, in one message. Nothing is looked up: the plan chose the interface indexes.

Sources: rtnetlink(7); linux/{if_link,rtnetlink,fib_rules,veth}.h; net/core/rtnetlink.c (rtnl_newlink),
drivers/net/veth.c.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
from dataclasses import dataclass

from testbed.orchestrator import netlink
from testbed.orchestrator.netlink import NLM_F_CREATE, NLM_F_EXCL, Message, Netlink, attribute, nested, text, u32

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_GETADDR = 20, 22
RTM_NEWROUTE, RTM_GETROUTE = 24, 26
RTM_NEWNEIGH = 28
RTM_NEWRULE, RTM_GETRULE = 32, 34

IFF_UP = 1
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINK, IFLA_MASTER, IFLA_OPERSTATE = 1, 3, 4, 5, 10, 16
IFLA_LINKINFO, IFLA_STATS64, IFLA_NET_NS_FD, IFLA_GSO_MAX_SEGS = 18, 23, 28, 40
IFLA_INFO_KIND, IFLA_INFO_DATA, VETH_INFO_PEER, IFLA_VLAN_ID = 1, 2, 1, 1
IFA_ADDRESS, IFA_LOCAL, IFA_F_NODAD = 1, 2, 0x02
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PREFSRC, RTA_TABLE = 1, 4, 5, 7, 15
FRA_SRC, FRA_PRIORITY, FRA_TABLE = 2, 6, 15
NDA_DST, NDA_LLADDR, NUD_PERMANENT = 1, 2, 0x80
RT_TABLE_MAIN, RTPROT_STATIC, RT_SCOPE_UNIVERSE, RT_SCOPE_LINK, RTN_UNICAST, FR_ACT_TO_TBL = 254, 4, 0, 253, 1, 1

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface
IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_LINK = struct.Struct("=BBHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")
_NEIGHBOUR = struct.Struct("=BBHiHBB")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewInterface:
    """One end of a pair that is about to be made."""

    namespace_fd: int
    name: str
    index: int
    mac: bytes
    mtu: int
    gso_max_segs: int | None = None


def family_of(address: Network | Interface | IpAddress) -> int:
    """AF_INET or AF_INET6."""
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


def new_veth(a: NewInterface, b: NewInterface) -> Message:
    """A veth pair, each end in its namespace. Send it from any namespace.

    ``a`` comes up with it; ``b`` is set up afterwards, for a peer cannot open before the pair is complete
    (veth_open()).
    """
    peer = _LINK.pack(0, 0, 0, b.index, 0, 0) + _interface_attributes(b)
    info = nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, "veth"), nested(IFLA_INFO_DATA, attribute(VETH_INFO_PEER, peer)))
    body = _LINK.pack(0, 0, 0, a.index, IFF_UP, IFF_UP) + _interface_attributes(a) + info
    return Message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body, f"ip link add {a.name} type veth peer {b.name}")


def new_bridge(name: str, index: int) -> Message:
    """A bridge without spanning tree, up."""
    body = _LINK.pack(0, 0, 0, index, IFF_UP, IFF_UP) + text(IFLA_IFNAME, name)
    body += nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, "bridge"))
    return Message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body, f"ip link add {name} type bridge")


def new_vlan(name: str, index: int, mtu: int, *, device: int, vlan_id: int, namespace_fd: int) -> Message:
    """A VLAN (IEEE 802.1Q) of the interface ``device``, in another namespace; send it where ``device`` is."""
    data = nested(IFLA_INFO_DATA, attribute(IFLA_VLAN_ID, struct.pack("=H", vlan_id)))
    body = _LINK.pack(0, 0, 0, index, 0, 0) + text(IFLA_IFNAME, name) + u32(IFLA_MTU, mtu) + u32(IFLA_LINK, device)
    body += u32(IFLA_NET_NS_FD, namespace_fd) + nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, "vlan"), data)
    what = f"ip link add link {device} name {name} index {index} type vlan id {vlan_id}"
    return Message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body, what)


def move(index: int, name: str, namespace_fd: int, what: str) -> Message:
    """Put an interface into another namespace, under another name; it is down there."""
    body = _LINK.pack(0, 0, 0, index, 0, IFF_UP) + u32(IFLA_NET_NS_FD, namespace_fd) + text(IFLA_IFNAME, name)
    return Message(RTM_NEWLINK, 0, body, what)


def set_mtu(index: int, mtu: int, what: str) -> Message:
    """Of an interface."""
    return Message(RTM_NEWLINK, 0, _LINK.pack(0, 0, 0, index, 0, 0) + u32(IFLA_MTU, mtu), what)


def delete_link(index: int, what: str) -> Message:
    """Remove a virtual interface, at once."""
    return Message(RTM_DELLINK, 0, _LINK.pack(0, 0, 0, index, 0, 0), what)


def set_master(index: int, master: int, what: str) -> Message:
    """Make an interface a port of a bridge."""
    return Message(RTM_NEWLINK, 0, _LINK.pack(0, 0, 0, index, 0, 0) + u32(IFLA_MASTER, master), what)


def set_up(index: int, what: str, *, up: bool = True) -> Message:
    """Set an interface up or down."""
    return Message(RTM_NEWLINK, 0, _LINK.pack(0, 0, 0, index, IFF_UP if up else 0, IFF_UP), what)


def new_address(interface: Interface, index: int, what: str) -> Message:
    """An address, usable at once (no duplicate address detection)."""
    packed = interface.ip.packed
    flags = IFA_F_NODAD if interface.version == 6 else 0
    body = _ADDRESS.pack(family_of(interface), interface.network.prefixlen, flags, RT_SCOPE_UNIVERSE, index)
    body += attribute(IFA_LOCAL, packed) + attribute(IFA_ADDRESS, packed)
    return Message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, body, what)


def new_route(
    destination: Network, index: int, via: IpAddress | None, table: int | None, source: IpAddress | None, what: str
) -> Message:
    """A route out of interface ``index``, through ``via`` or directly; ``table`` None is main."""
    number = table or RT_TABLE_MAIN
    scope = RT_SCOPE_LINK if via is None and destination.version == 4 else RT_SCOPE_UNIVERSE
    body = _ROUTE.pack(
        family_of(destination), destination.prefixlen, 0, 0, min(number, 252) if number != RT_TABLE_MAIN else 254,
        RTPROT_STATIC, scope, RTN_UNICAST, 0,
    )  # fmt: skip
    if destination.prefixlen:
        body += attribute(RTA_DST, destination.network_address.packed)
    body += u32(RTA_OIF, index) + u32(RTA_TABLE, number)
    if via is not None:
        body += attribute(RTA_GATEWAY, via.packed)
    if source is not None:
        body += attribute(RTA_PREFSRC, source.packed)
    return Message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, body, what)


def new_rule(source: IpAddress, table: int, priority: int, what: str) -> Message:
    """Packets from ``source`` are routed by ``table``."""
    length = source.max_prefixlen
    body = _ROUTE.pack(family_of(source), 0, length, 0, table if table < 256 else 0, 0, 0, FR_ACT_TO_TBL, 0)
    body += attribute(FRA_SRC, source.packed) + u32(FRA_PRIORITY, priority) + u32(FRA_TABLE, table)
    return Message(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, body, what)


def new_neighbour(address: IpAddress, mac: bytes, index: int, what: str) -> Message:
    """A permanent neighbour entry: no ARP and no neighbour discovery for it."""
    body = _NEIGHBOUR.pack(family_of(address), 0, 0, index, NUD_PERMANENT, 0, 0)
    body += attribute(NDA_DST, address.packed) + attribute(NDA_LLADDR, mac)
    return Message(RTM_NEWNEIGH, NLM_F_CREATE | netlink.NLM_F_REPLACE, body, what)


def _interface_attributes(interface: NewInterface) -> bytes:
    packed = text(IFLA_IFNAME, interface.name) + attribute(IFLA_ADDRESS, interface.mac) + u32(IFLA_MTU, interface.mtu)
    packed += u32(IFLA_NET_NS_FD, interface.namespace_fd)
    if interface.gso_max_segs is not None:
        packed += u32(IFLA_GSO_MAX_SEGS, interface.gso_max_segs)
    return packed


# --- what is really there -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedInterface:
    """An interface as the kernel lists it."""

    index: int
    name: str
    mtu: int
    mac: str
    up: bool
    """Set up by someone, and the other end is there and up too (operational state)."""
    gso_max_segs: int | None
    tx_dropped: int = 0
    """Packets that it was to send and could not, since it is there."""


@dataclass(frozen=True, slots=True)
class ObservedRule:
    """An ``ip rule`` with a source of full length."""

    source: IpAddress
    table: int


def interfaces(connection: Netlink) -> list[ObservedInterface]:
    """All interfaces of the namespace."""
    found = []
    for kind, body in connection.dump(Message(RTM_GETLINK, 0, _LINK.pack(0, 0, 0, 0, 0, 0), "ip link show")):
        if kind != RTM_NEWLINK:
            continue
        _, _, _, index, flags, _ = _LINK.unpack_from(body)
        found_attributes = netlink.attributes(body[16:])
        operational = found_attributes.get(IFLA_OPERSTATE, b"\0")[0]
        segments = found_attributes.get(IFLA_GSO_MAX_SEGS)
        found.append(
            ObservedInterface(
                index=index,
                name=found_attributes[IFLA_IFNAME].rstrip(b"\0").decode(),
                mtu=struct.unpack("=I", found_attributes[IFLA_MTU])[0],
                mac=found_attributes.get(IFLA_ADDRESS, b"").hex(":"),
                up=bool(flags & IFF_UP) and operational in (0, 6),  # RFC 2863: unknown (loopback) or up
                gso_max_segs=struct.unpack("=I", segments)[0] if segments else None,
                tx_dropped=struct.unpack_from("=8Q", found_attributes[IFLA_STATS64])[7],
            )
        )
    return found


def addresses(connection: Netlink) -> list[tuple[int, Interface]]:
    """(interface index, address with prefix) of the namespace, both families."""
    found: list[tuple[int, Interface]] = []
    for kind, body in connection.dump(Message(RTM_GETADDR, 0, _ADDRESS.pack(0, 0, 0, 0, 0), "ip address show")):
        if kind == RTM_NEWADDR:
            _, length, _, _, index = _ADDRESS.unpack_from(body)
            values = netlink.attributes(body[8:])
            packed = values.get(IFA_LOCAL) or values[IFA_ADDRESS]
            found.append((index, ipaddress.ip_interface((packed, length))))
    return found


def source_rules(connection: Netlink, family: int) -> list[ObservedRule]:
    """The rules "from ADDRESS lookup TABLE" of ``family`` (AF_INET or AF_INET6)."""
    found = []
    request = Message(RTM_GETRULE, 0, _ROUTE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0), "ip rule show")
    for kind, body in connection.dump(request):
        values = netlink.attributes(body[12:])
        if kind == RTM_NEWRULE and FRA_SRC in values:
            found.append(ObservedRule(ipaddress.ip_address(values[FRA_SRC]), struct.unpack("=I", values[FRA_TABLE])[0]))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedRoute:
    """A route of any table."""

    prefix: Network
    index: int
    via: IpAddress | None
    table: int


def routes(connection: Netlink) -> list[ObservedRoute]:
    """The unicast routes of all tables, both families."""
    found = []
    request = Message(RTM_GETROUTE, 0, _ROUTE.pack(0, 0, 0, 0, 0, 0, 0, 0, 0), "ip route show table all")
    for kind, body in connection.dump(request):
        family, length, _, _, _, _, _, route_type, _ = _ROUTE.unpack_from(body)
        values = netlink.attributes(body[12:])
        if kind != RTM_NEWROUTE or route_type != RTN_UNICAST or RTA_OIF not in values:
            continue
        width = 4 if family == socket.AF_INET else 16
        network = ipaddress.ip_network((values.get(RTA_DST, bytes(width)), length))
        via = ipaddress.ip_address(values[RTA_GATEWAY]) if RTA_GATEWAY in values else None
        index, table = struct.unpack("=i", values[RTA_OIF])[0], struct.unpack("=I", values[RTA_TABLE])[0]
        found.append(ObservedRoute(prefix=network, index=index, via=via, table=table))
    return found


def route_to(connection: Netlink, destination: IpAddress, source: IpAddress | None) -> int | None:
    """The index of the interface by which the kernel would send to ``destination``; None: it has no route."""
    family = family_of(destination)
    length = destination.max_prefixlen
    body = _ROUTE.pack(family, length, length if source else 0, 0, 0, 0, 0, 0, 0)
    body += attribute(RTA_DST, destination.packed)
    if source is not None:
        body += attribute(2, source.packed)  # RTA_SRC
    try:
        answers = connection.ask(Message(RTM_GETROUTE, 0, body, f"ip route get {destination}"))
    except netlink.NetlinkError as error:
        if error.errno not in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EINVAL, errno.ENONET, errno.EACCES):
            raise
        return None
    for kind, answer in answers:
        oif = netlink.attributes(answer[12:]).get(RTA_OIF)
        if kind == RTM_NEWROUTE and oif is not None:
            return int(struct.unpack("=i", oif)[0])
    return None
