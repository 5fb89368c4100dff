"""The network as it will be on a Linux machine, as a value: namespaces, interfaces, addresses, routes, kernel settings.

:func:`plan_network` is pure: the same topology and settings give the same plan on every machine, names, hardware
addresses and interface indexes included. A backend carries it out; ``network_commands`` prints it. An impairment that
cannot be realised is an error here, before anything exists.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from testbed.orchestrator import netem, routing
from testbed.orchestrator.errors import Unsupported
from testbed.orchestrator.ip_mptcp import HostPathManager, plan_path_manager
from testbed.orchestrator.netem import QdiscFeatures
from testbed.orchestrator.offloads import Offloads
from testbed.orchestrator.routing import IpAddress, Route, Rule
from testbed.orchestrator.spec import PathManager
from topologies.link_profile import MTU_BYTES
from topologies.model import Address, Family, Link, Router, Topology

EMULATOR = "emulator"
"""The one namespace in which all shaped links are realised."""

INDEXES_PER_LINK = 10
"""Interface indexes are chosen here, so that nothing has to be looked up: link 1 has 11 (its end a), 12 (b), 13 and
14 (the emulator's), 15 (its bridge). The two ends of a pair never share a number: to the kernel such an interface
looks as if it were its own peer, and it handles the carrier of those up to a second late
(linkwatch_urgent_event()). Of a link whose end lives on another machine (``away``), 16 is the veth's other end there,
17 the bridge and 18 the private link's interface, on either machine."""

NAME_BYTES = 15
"""IFNAMSIZ - 1."""

_EVERY_QDISC = QdiscFeatures(tbf=True, netem=True, netem_seed=True)

NodeKind = Literal["host", "router", "emulator", "away"]
"""``away``: holds the ends of the links whose node lives on another machine."""
Realisation = Literal["relay", "qdisc"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSettings:
    """How a topology is made real; everything that is not in the topology itself."""

    realisation: Literal["auto", "netem", "relay"] = "auto"
    """Of shaped links: the kernel's qdiscs, our relay, or whichever can express the profile."""
    offloads: Literal["on", "off"] = "off"
    """Off: no TSO, GSO, GRO and single-segment sends, so that packets on the wire are MTU-sized."""
    tx_checksum: bool = True
    """Whether checksums may be left unfinished on virtual wires (captures then show wrong ones); off costs CPU."""
    mtu_bytes: int = MTU_BYTES
    sysctls: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Node name, or ``hosts`` or ``routers`` for all of them -> parameter -> value."""
    path_manager: PathManager = field(default_factory=lambda: PathManager(mode="none"))
    family: Family | None = None
    """Of the path manager's endpoints; None: the topology's first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """One end of a veth pair."""

    node: str
    name: str
    index: int
    mac: str
    mtu_bytes: int
    link: str
    addresses: tuple[Address, ...] = ()
    gso_max_segs: int | None = None
    offloads: Offloads | None = None
    """None leaves the device's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Veth:
    """Two ends of one virtual wire."""

    a: Interface
    b: Interface


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """A permanent neighbour entry: neither ARP nor neighbour discovery mixes with the traffic."""

    node: str
    interface: Interface
    address: IpAddress
    mac: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShapedLink:
    """A link with a middle: two interfaces of the emulator namespace and what is between them."""

    link: Link
    realisation: Realisation
    reason: str
    """Why this one."""
    a_side: Interface
    """The emulator's interface towards ``link.a``."""
    b_side: Interface
    seeded: bool = False
    """Whether netem is given seeds (``network_commands.qdisc_seed``)."""
    bridge: str | None = None
    bridge_index: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Splice:
    """A bridge between the end of a veth and the private link to another machine, on which the wire goes on."""

    end: Interface
    number: int
    """Of the topology's link, from 1: tells it from the others on the private link."""
    bridge: str
    bridge_index: int
    trunk: str
    """Name of the private link's interface in this node."""
    trunk_index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkNode:
    """One namespace."""

    name: str
    kind: NodeKind
    sysctls: Mapping[str, str]
    """Set before the node has any interface, so that new ones inherit ``default``."""
    path_manager: HostPathManager | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPlan:
    """Everything that a backend has to do, in the order of the fields."""

    topology: Topology
    """Resolved."""
    settings: NetworkSettings
    nodes: tuple[NetworkNode, ...]
    veths: tuple[Veth, ...]
    neighbours: tuple[Neighbour, ...]
    rules: tuple[Rule, ...]
    routes: tuple[Route, ...]
    shaped: tuple[ShapedLink, ...]
    splices: tuple[Splice, ...] = ()
    """Only when a node lives on another machine."""

    def node(self, name: str) -> NetworkNode:
        """The node of that name. Raises KeyError."""
        return {node.name: node for node in self.nodes}[name]

    def interfaces(self, node: str | None = None) -> tuple[Interface, ...]:
        """All interfaces, or those of one node in their order."""
        ends = [end for veth in self.veths for end in (veth.a, veth.b) if node in (None, end.node)]
        return tuple(sorted(ends, key=lambda end: end.index)) if node is not None else tuple(ends)

    def interface(self, node: str, link: str) -> Interface:
        """The interface of ``node`` on ``link``. Raises KeyError."""
        for end in self.interfaces(node):
            if end.link == link:
                return end
        raise KeyError(f"{node} has no interface on link {link}")


def plan_network(
    topology: Topology, settings: NetworkSettings | None = None, qdiscs: QdiscFeatures | None = None
) -> NetworkPlan:
    """The plan for this topology with these settings on a kernel with these qdiscs.

    Raises Unsupported when a link, or the path manager's mode, cannot be realised.
    """
    settings = settings or NetworkSettings()
    qdiscs = qdiscs or QdiscFeatures()
    topology = topology.resolved()
    if any(node.name == EMULATOR for node in topology.nodes):
        raise Unsupported(f"topology {topology.name}: a node cannot be called {EMULATOR}, which names the middle node")
    ends = _ends(topology, settings)
    shaped = _shaped_links(topology, settings, qdiscs)
    middles = {each.link.name: each for each in shaped}
    veths: list[Veth] = []
    for link in topology.links:
        a, b = ends[link.a, link.name], ends[link.b, link.name]
        middle = middles.get(link.name)
        if middle is None:
            veths.append(Veth(a=a, b=b))
        else:
            veths += [Veth(a=a, b=middle.a_side), Veth(a=b, b=middle.b_side)]
    return NetworkPlan(
        topology=topology,
        settings=settings,
        nodes=_nodes(topology, settings, bool(shaped)),
        veths=tuple(veths),
        neighbours=tuple(_neighbours(topology, ends)),
        rules=tuple(routing.rules(topology)),
        routes=tuple(routing.routes(topology)),
        shaped=shaped,
    )


def interface_name(node: str, position: int) -> str:
    """Mininet's name, ``client-eth0``, with the node's name cut where the kernel's 15 characters require it."""
    suffix = f"-eth{position}"
    return node[: NAME_BYTES - len(suffix)] + suffix


def _mac(link_number: int, end: int) -> str:
    """Locally administered, told by link (1, 2 ...) and end (1, 2: the link's; 10, 11: the emulator's)."""
    return f"02:00:{link_number >> 8:02x}:{link_number & 255:02x}:00:{end:02x}"


def _ends(topology: Topology, settings: NetworkSettings) -> Mapping[tuple[str, str], Interface]:
    """(node, link) -> interface, for all ends of all links."""
    table = topology.addresses()
    off = settings.offloads == "off"
    wanted = Offloads(tso=not off, gso=not off, gro=False, tx=settings.tx_checksum)
    positions = dict.fromkeys((node.name for node in topology.nodes), 0)
    ends: dict[tuple[str, str], Interface] = {}
    for number, link in enumerate(topology.links, start=1):
        for end, node in ((1, link.a), (2, link.b)):
            ends[node, link.name] = Interface(
                node=node,
                name=interface_name(node, positions[node]),
                index=INDEXES_PER_LINK * number + end,
                mac=_mac(number, end),
                mtu_bytes=settings.mtu_bytes,
                link=link.name,
                addresses=tuple(table[node, link.name, family] for family in topology.families),
                gso_max_segs=1 if off else None,
                offloads=wanted if off or not settings.tx_checksum else None,
            )
            positions[node] += 1
    return ends


def _shaped_links(topology: Topology, settings: NetworkSettings, qdiscs: QdiscFeatures) -> tuple[ShapedLink, ...]:
    shaped: list[ShapedLink] = []
    for link in topology.shaped_links():
        realisation, reason = _realisation(topology, link, settings, qdiscs)
        number = topology.links.index(link) + 1
        sides = [
            Interface(
                node=EMULATOR,
                name=_side_name(topology, link, side),
                index=INDEXES_PER_LINK * number + 3 + offset,
                mac=_mac(number, 10 + offset),
                mtu_bytes=settings.mtu_bytes,
                link=link.name,
            )
            for offset, side in enumerate("ab")
        ]
        qdisc = realisation == "qdisc"
        shaped.append(
            ShapedLink(
                link=link,
                realisation=realisation,
                reason=reason,
                a_side=sides[0],
                b_side=sides[1],
                seeded=qdisc and qdiscs.netem_seed,
                bridge=f"bridge{number}" if qdisc else None,
                bridge_index=INDEXES_PER_LINK * number + 5 if qdisc else None,
            )
        )
    return tuple(shaped)


def _side_name(topology: Topology, link: Link, side: str) -> str:
    short = link.name[: NAME_BYTES - 2]
    if sum(other.name.startswith(short) for other in topology.shaped_links()) > 1:
        short = f"link{topology.links.index(link) + 1}"
    return f"{short}-{side}"


def _realisation(
    topology: Topology, link: Link, settings: NetworkSettings, qdiscs: QdiscFeatures
) -> tuple[Realisation, str]:
    if settings.realisation == "relay":
        return "relay", "asked for"
    directions = [
        (link.forward, netem.for_direction(link.changes, "forward")),
        (link.backward, netem.for_direction(link.changes, "backward")),
    ]
    offered = _EVERY_QDISC if qdiscs.unknown else qdiscs  # what no qdisc can do is known without asking the kernel
    obstacles = [netem.inexpressible(*each, offered) for each in directions]
    obstacle = netem.NO_MIDDLEBOXES if link.middleboxes else next(filter(None, obstacles), None)
    if settings.realisation == "netem":
        if obstacle is not None:
            raise Unsupported(f"{topology.name}: link {link.name} cannot be realised by qdiscs: {obstacle}")
        return "qdisc", f"asked for; whether this kernel can: {qdiscs.unknown}" if qdiscs.unknown else "asked for"
    if obstacle is not None:
        return "relay", obstacle
    if qdiscs.unknown:
        return "relay", f"{qdiscs.unknown}: relay assumed"
    if any(netem.is_random(*each) for each in directions) and not qdiscs.netem_seed:
        return "relay", "this kernel's netem takes no seed, so its losses could not be repeated"
    return "qdisc", "the kernel's qdiscs express the profile"


def _nodes(topology: Topology, settings: NetworkSettings, with_emulator: bool) -> tuple[NetworkNode, ...]:
    managers = _path_managers(topology, settings)
    nodes = []
    for node in topology.nodes:
        kind: NodeKind = "router" if isinstance(node, Router) else "host"
        own = {**settings.sysctls.get(f"{kind}s", {}), **settings.sysctls.get(node.name, {})}
        nodes.append(
            NetworkNode(
                name=node.name,
                kind=kind,
                sysctls={**_sysctls(topology, kind), **own},
                path_manager=managers.get(node.name),
            )
        )
    unknown = set(settings.sysctls) - {node.name for node in nodes} - {"hosts", "routers"}
    if unknown:
        raise Unsupported(f"{topology.name}: sysctls for {', '.join(sorted(unknown))}, which is no node of it")
    if with_emulator:
        nodes.append(NetworkNode(name=EMULATOR, kind="emulator", sysctls={"net.ipv6.conf.default.disable_ipv6": "1"}))
    return tuple(nodes)


def _path_managers(topology: Topology, settings: NetworkSettings) -> Mapping[str, HostPathManager]:
    roles = {host.role for host in topology.hosts}
    if not {"client", "server"} <= roles:
        return {}
    return plan_path_manager(topology, settings.path_manager, settings.family)


def _sysctls(topology: Topology, kind: NodeKind) -> dict[str, str]:
    """Reverse path filtering would drop what comes over the other path; the rest makes trials independent and quiet."""
    forward = "1" if kind == "router" else "0"
    values = {
        "net.ipv4.conf.all.rp_filter": "0",
        "net.ipv4.conf.default.rp_filter": "0",
        "net.ipv4.ip_forward": forward,
    }
    if kind == "host":
        values["net.ipv4.tcp_no_metrics_save"] = "1"
    if 6 in topology.families:
        values |= {
            "net.ipv6.conf.default.accept_ra": "0",
            "net.ipv6.conf.default.accept_dad": "0",
            "net.ipv6.conf.default.router_solicitations": "0",
            "net.ipv6.conf.all.forwarding": forward,
        }
    else:
        values["net.ipv6.conf.default.disable_ipv6"] = "1"
    return values


def _neighbours(topology: Topology, ends: Mapping[tuple[str, str], Interface]) -> list[Neighbour]:
    return [
        Neighbour(node=node, interface=ends[node, link.name], address=address.ip, mac=ends[far, link.name].mac)
        for link in topology.links
        for node, far in ((link.a, link.b), (link.b, link.a))
        for address in ends[far, link.name].addresses
    ]
