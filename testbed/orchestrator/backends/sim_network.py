"""A topology in virtual time: the same addresses, routes and seeds as a lab of real namespaces has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from testbed.net.forwarding import MAIN, ForwardingTable, Prefix
from testbed.net.network import Endpoint, HostNode, Network
from testbed.net.simulator import Simulator
from testbed.orchestrator import routing
from testbed.orchestrator.network_commands import derived_seed
from testbed.orchestrator.network_plan import interface_name
from topologies.model import Topology


@dataclass(frozen=True, slots=True)
class SimulatedInterface:
    """An interface of a host, named as Mininet names it."""

    host: str
    name: str
    link: str


def forwarding_tables(topology: Topology) -> Mapping[str, ForwardingTable]:
    """Node -> its tables: those of ``routing``, and the prefixes of its own links."""
    tables = {node.name: ForwardingTable() for node in topology.nodes}
    for (node, link, _), address in topology.addresses().items():
        tables[node].add_route(Prefix(address.network.network_address.packed, address.network.prefixlen, link))
    for rule in routing.rules(topology):
        tables[rule.node].add_rule(rule.priority, rule.source.packed, rule.table)
    for route in routing.routes(topology):
        prefix = Prefix(route.prefix.network_address.packed, route.prefix.prefixlen, route.link)
        tables[route.node].add_route(prefix, MAIN if route.table is None else route.table)
    return tables


def host_addresses(topology: Topology, host: str) -> list[bytes]:
    """Of all links and families, in the order of the links."""
    table = topology.addresses()
    links = topology.links_of(host)
    return [table[host, link.name, family].ip.packed for family in topology.families for link in links]


def interfaces(topology: Topology) -> list[SimulatedInterface]:
    """Of all hosts, in order."""
    return [
        SimulatedInterface(host.name, interface_name(host.name, position), link.name)
        for host in topology.hosts
        for position, link in enumerate(topology.links_of(host.name))
    ]


def build(
    topology: Topology, simulator: Simulator, endpoints: Mapping[str, Endpoint], seed: int
) -> tuple[Network, Mapping[str, HostNode]]:
    """``topology`` resolved; ``endpoints`` by the name of their host. Each link has its seed as with the relay."""
    network = Network(simulator)
    tables = forwarding_tables(topology)
    for host in topology.hosts:
        network.add_host(host.name, endpoints[host.name], tables[host.name], host_addresses(topology, host.name))
    for router in topology.routers:
        network.add_router(router.name, tables[router.name])
    for link in topology.links:
        network.add_link(
            link.name,
            (link.a, link.b),
            link.forward,
            link.backward,
            link.changes,
            derived_seed(seed, f"link {link.name}"),
            link.middleboxes,
        )
    return network, network.hosts
