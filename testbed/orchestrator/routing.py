"""Which way packets go: main tables, a table per source address, and the rules that pick it. Pure.

The path of a subflow is that of the *client's* address, in both directions:

- a client's table for an address leaves through the interface of that address, whatever the destination;
- the other hosts' tables follow the true way (over routers only) to the destination, through the interface of the
  source when it has one, so that the answer to the client's second address comes back over the second path;
- a prefix that no router touches is reached through the host that owns the address on it: Linux accepts a packet for
  any of its addresses on any interface (weak host model, RFC 1122 section 3.3.4.2). Thus a full mesh has all its
  pairs;
- the main table prefers the way of the named path to an address, otherwise the shortest true way, so a subflow to an
  announced address, for which the kernel binds no source, leaves over the path that this address stands for.

Sources: ip-rule(8), ip-route(8), RFC 8684 section 3.1.2 (joining), net/mptcp/pm_kernel.c.
"""

from __future__ import annotations

import ipaddress
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from topologies.model import Family, Router, Topology

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

FIRST_TABLE = 101
FIRST_PRIORITY = 1001

_DEFAULT: Mapping[Family, Network] = {4: ipaddress.IPv4Network("0.0.0.0/0"), 6: ipaddress.IPv6Network("::/0")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One route of a node: ``prefix`` leaves over ``link``; ``via`` None: the prefix is that of the link itself."""

    node: str
    prefix: Network
    link: str
    via: IpAddress | None
    table: int | None = None
    """None: the main table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Packets of ``node`` that come from ``source`` are routed by ``table``."""

    node: str
    source: IpAddress
    table: int
    priority: int


@dataclass(frozen=True, slots=True)
class _Way:
    """How a node reaches the prefix of a link: its first link, the number of links, and whether only routers
    forward."""

    first: str
    length: int
    true: bool


class _Graph:
    """The topology with what the functions below look up again and again."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self.addresses = topology.addresses()
        self.routers = {router.name for router in topology.routers}
        self.ends = {link.name: (link.a, link.b) for link in topology.links}
        self.neighbours: dict[str, list[tuple[str, str]]] = {node.name: [] for node in topology.nodes}
        for link in topology.links:
            self.neighbours[link.a].append((link.name, link.b))
            self.neighbours[link.b].append((link.name, link.a))

    def far(self, node: str, link: str) -> str:
        a, b = self.ends[link]
        return b if node == a else a

    def ways(self, start: str, first: str) -> Mapping[str, _Way]:
        """Link -> the shortest way to its prefix from ``start`` that begins with the link ``first``."""
        distances = {self.far(start, first): 1}
        queue = deque(distances)
        while queue:
            node = queue.popleft()
            if node not in self.routers:
                continue
            for _, far in self.neighbours[node]:
                if far != start and far not in distances:
                    distances[far] = distances[node] + 1
                    queue.append(far)
        ways: dict[str, _Way] = {}
        for node, distance in distances.items():
            for link, _ in self.neighbours[node]:
                way = _Way(first, distance, node in self.routers)
                if link != first and (link not in ways or _cost(way) < _cost(ways[link])):
                    ways[link] = way
        return ways


def rules(topology: Topology) -> Iterator[Rule]:
    """A rule per address of every host with more than one link."""
    graph = _Graph(topology)
    for host in topology.hosts:
        links = graph.neighbours[host.name]
        if len(links) < 2:
            continue
        for number, (link, _) in enumerate(links):
            for family in topology.families:
                yield Rule(
                    node=host.name,
                    source=graph.addresses[host.name, link, family].ip,
                    table=FIRST_TABLE + number,
                    priority=FIRST_PRIORITY + number,
                )


def routes(topology: Topology) -> Iterator[Route]:
    """All routes beyond those that come with the addresses."""
    graph = _Graph(topology)
    for node in topology.nodes:
        links = [link for link, _ in graph.neighbours[node.name]]
        ways = {link: graph.ways(node.name, link) for link in links}
        own = set(links)
        targets = [link.name for link in topology.links if link.name not in own]
        named = _named_ways(topology, node.name)
        main = {target: way for target in targets if (way := _main(ways, target, named)) is not None}
        yield from _table(graph, node.name, main, None)
        if isinstance(node, Router) or len(links) < 2:
            continue
        for number, link in enumerate(links):
            table = FIRST_TABLE + number
            chosen = {
                target.name: way
                for target in topology.links
                if target.name != link
                and (way := _from_source(ways, link, target.name, node.role == "client", target.name in own))
            }
            yield from _own_prefix(graph, node.name, link, table)
            yield from _table(graph, node.name, chosen, table)


def _named_ways(topology: Topology, node: str) -> Mapping[str, str]:
    """Far link -> near link of the first path that has both, seen from the client or from the server."""
    named: dict[str, str] = {}
    for path in topology.paths:
        near, far = (0, -1) if node == topology.client.name else (-1, 0)
        if node in (topology.client.name, topology.server.name):
            named.setdefault(path.links[far], path.links[near])
    return named


def _main(ways: Mapping[str, Mapping[str, _Way]], target: str, named: Mapping[str, str]) -> _Way | None:
    """The way in the main table: that of the named path to this address, otherwise the best."""
    along = ways.get(named.get(target, ""), {}).get(target)
    return along if along is not None and along.true else _best(ways, target)


def _cost(way: _Way) -> tuple[bool, int]:
    return not way.true, way.length


def _best(ways: Mapping[str, Mapping[str, _Way]], target: str) -> _Way | None:
    found = [by_link[target] for by_link in ways.values() if target in by_link]
    return min(found, key=_cost, default=None)


def _from_source(
    ways: Mapping[str, Mapping[str, _Way]], link: str, target: str, client: bool, attached: bool
) -> _Way | None:
    """The way of packets whose source is the address on ``link``."""
    own = ways[link].get(target)
    if client or (own is not None and own.true):
        return own
    best = None if attached else _best(ways, target)
    return best if best is not None and best.true else own


def _own_prefix(graph: _Graph, node: str, link: str, table: int) -> Iterator[Route]:
    for family in graph.topology.families:
        prefix = graph.addresses[node, link, family].network
        yield Route(node=node, prefix=prefix, link=link, via=None, table=table)


def _table(graph: _Graph, node: str, ways: Mapping[str, _Way], table: int | None) -> Iterator[Route]:
    """The routes of one table; one default route when all of them leave the same way."""
    if not ways:
        return
    firsts = {way.first for way in ways.values()}
    for family in graph.topology.families:
        if len(firsts) == 1:
            (first,) = firsts
            via = graph.addresses[graph.far(node, first), first, family].ip
            yield Route(node=node, prefix=_DEFAULT[family], link=first, via=via, table=table)
            continue
        for target, way in ways.items():
            via = graph.addresses[graph.far(node, way.first), way.first, family].ip
            prefix = graph.addresses[graph.ends[target][0], target, family].network
            yield Route(node=node, prefix=prefix, link=way.first, via=via, table=table)
