"""A network as a value: hosts, routers, links with a profile per direction, and named paths from client to server.

A Topology has no effects and no addresses of a machine; a backend realises it. Addresses are derived
(:meth:`Topology.addresses`), so that the same value gives the same packets everywhere. A link is *shaped* when a
direction does anything to packets, or may later; every shaped link is realised on a middle node of its own, never on a
sending host, whose TCP would feel the queue.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from topologies import quantity
from topologies.link_profile import Change, LinkProfile, ProfileError
from topologies.middlebox import Middlebox

Role = Literal["client", "server", "other"]
Family = Literal[4, 6]
Address = ipaddress.IPv4Interface | ipaddress.IPv6Interface

_NAME = re.compile(r"[a-z][a-z0-9_]{0,14}")


class TopologyError(ValueError):
    """The parts do not make a network; the message names the topology and the part."""


@dataclass(frozen=True, slots=True)
class Host:
    """An end system. It never forwards."""

    name: str
    role: Role = "other"


@dataclass(frozen=True, slots=True)
class Router:
    """Forwards between its links; routes are the shortest ones."""

    name: str


Node = Host | Router


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Two ends and what happens in between; ``forward`` is from ``a`` to ``b``."""

    name: str
    a: str
    b: str
    forward: LinkProfile = field(default_factory=LinkProfile)
    backward: LinkProfile = field(default_factory=LinkProfile)
    changes: tuple[Change, ...] = ()
    """What happens to the link during the traffic, kept in order of time."""
    middleboxes: tuple[Middlebox, ...] = ()
    """What handles the packets of both directions as they come to the link: forward in this order, backward in the
    reverse of it. Those of a profile stand between these and the rest of that profile."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "changes", tuple(sorted(self.changes, key=lambda change: change.at_ns)))
        for direction, profile in (("forward", self.forward), ("backward", self.backward)):
            for change in self.changes:
                if change.direction in ("both", direction):
                    try:
                        profile = change.applied_to(profile)
                    except ProfileError as error:
                        at = quantity.format_time(change.at_ns)
                        raise TopologyError(f"link {self.name}: the change at {at} does not fit: {error}") from None

    def is_shaped(self) -> bool:
        """Whether it needs a middle node."""
        return bool(self.changes or self.middleboxes) or not (self.forward.is_wire() and self.backward.is_wire())

    def other(self, node: str) -> str:
        """The node at the far end from ``node``."""
        return self.b if node == self.a else self.a


def symmetric(name: str, a: str, b: str, profile: LinkProfile, changes: tuple[Change, ...] = ()) -> Link:
    """A link with the same profile in both directions."""
    return Link(name=name, a=a, b=b, forward=profile, backward=profile, changes=changes)


@dataclass(frozen=True, slots=True)
class Path:
    """A way from the client to the server that a subflow may take; ``links`` in that order."""

    name: str
    links: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """A validated network. Raises TopologyError when its parts do not fit together."""

    name: str
    summary: str
    """One sentence: what this network is for."""
    hosts: tuple[Host, ...]
    routers: tuple[Router, ...] = ()
    links: tuple[Link, ...] = ()
    paths: tuple[Path, ...] = ()
    families: tuple[Family, ...] = (4,)

    def __post_init__(self) -> None:
        self._check_names()
        for path in self.paths:
            self._check_path(path)
        if not self.families or set(self.families) - {4, 6}:
            raise TopologyError(f"topology {self.name}: families is a selection of 4 and 6, not {self.families}")

    @property
    def client(self) -> Host:
        """The first host with that role."""
        return self._with_role("client")

    @property
    def server(self) -> Host:
        """The first host with that role."""
        return self._with_role("server")

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Hosts, then routers."""
        return (*self.hosts, *self.routers)

    def link(self, name: str) -> Link:
        """The link of that name. Raises KeyError."""
        return {link.name: link for link in self.links}[name]

    def path(self, name: str) -> Path:
        """The path of that name. Raises KeyError."""
        return {path.name: path for path in self.paths}[name]

    def links_of(self, node: str) -> tuple[Link, ...]:
        """The links that end at ``node``, in their order; the n-th is its n-th interface."""
        return tuple(link for link in self.links if node in (link.a, link.b))

    def shaped_links(self) -> tuple[Link, ...]:
        """The links that need a middle node."""
        return tuple(link for link in self.links if link.is_shaped())

    def path_nodes(self, path: Path) -> tuple[str, ...]:
        """The nodes that ``path`` visits, client first."""
        nodes = [self.client.name]
        for name in path.links:
            nodes.append(self.link(name).other(nodes[-1]))
        return tuple(nodes)

    def path_delay_ns(self, path: Path) -> int:
        """Round-trip propagation delay of a path."""
        links = [self.link(name) for name in path.links]
        return sum(link.forward.delay_ns + link.backward.delay_ns for link in links)

    def addresses(self) -> Mapping[tuple[str, str, Family], Address]:
        """(node, link, family) -> address with prefix: link i is 10.x.y.0/24 and fd00:i::/64, ``a`` 1, ``b`` 2."""
        table: dict[tuple[str, str, Family], Address] = {}
        for index, link in enumerate(self.links, start=1):
            for host_part, node in ((1, link.a), (2, link.b)):
                if 4 in self.families:
                    table[node, link.name, 4] = ipaddress.IPv4Interface(f"10.{index >> 8}.{index & 255}.{host_part}/24")
                if 6 in self.families:
                    table[node, link.name, 6] = ipaddress.IPv6Interface(f"fd00:{index:x}::{host_part}/64")
        return table

    def hops_from(self, start: str) -> Mapping[str, tuple[str, ...]]:
        """Node -> the links of a shortest way there from ``start``; only routers forward, ties: the earlier link."""
        routers = {router.name for router in self.routers}
        ways: dict[str, tuple[str, ...]] = {start: ()}
        queue = deque([start])
        while queue:
            node = queue.popleft()
            if node != start and node not in routers:
                continue
            for link in self.links_of(node):
                far = link.other(node)
                if far not in ways:
                    ways[far] = (*ways[node], link.name)
                    queue.append(far)
        return ways

    def resolved(self) -> Topology:
        """Every implicit value explicit: a queue without a limit gets one BDP of the longest path across its link."""
        round_trips = {
            link.name: max(
                [self.path_delay_ns(path) for path in self.paths if link.name in path.links]
                or [link.forward.delay_ns + link.backward.delay_ns]
            )
            for link in self.links
        }
        links = tuple(
            dataclasses.replace(
                link,
                forward=link.forward.resolved(round_trips[link.name]),
                backward=link.backward.resolved(round_trips[link.name]),
            )
            for link in self.links
        )
        return dataclasses.replace(self, links=links)

    def with_link(self, link: Link) -> Topology:
        """The same network with the link of that name replaced. Raises TopologyError when there is none."""
        if link.name not in (old.name for old in self.links):
            names = ", ".join(old.name for old in self.links)
            raise TopologyError(f"topology {self.name} has no link {link.name}; there are {names}")
        return dataclasses.replace(self, links=tuple(link if old.name == link.name else old for old in self.links))

    def _with_role(self, role: Role) -> Host:
        for host in self.hosts:
            if host.role == role:
                return host
        raise TopologyError(f"topology {self.name}: no host has the role {role}")

    def _check_names(self) -> None:
        names = {node.name for node in self.nodes}
        for word, values in (
            ("node", [node.name for node in self.nodes]),
            ("link", [link.name for link in self.links]),
            ("path", [path.name for path in self.paths]),
        ):
            for value in values:
                if not _NAME.fullmatch(value):
                    raise TopologyError(
                        f"topology {self.name}: {word} name {value!r} is not a lower-case word of at most 15 characters"
                    )
                if values.count(value) > 1:
                    raise TopologyError(f"topology {self.name}: two {word}s are called {value}")
        for link in self.links:
            for end in (link.a, link.b):
                if end not in names:
                    raise TopologyError(f"topology {self.name}: link {link.name} ends at {end}, which is not there")
            if link.a == link.b:
                raise TopologyError(f"topology {self.name}: link {link.name} ends where it begins, at {link.a}")

    def _check_path(self, path: Path) -> None:
        known = {link.name for link in self.links}
        routers = {router.name for router in self.routers}
        node = self.client.name
        for position, name in enumerate(path.links):
            where = f"topology {self.name}: path {path.name}"
            if name not in known:
                raise TopologyError(f"{where} uses link {name}, which is not there")
            link = self.link(name)
            if node not in (link.a, link.b):
                raise TopologyError(f"{where}: link {name} does not start at {node}")
            if position and node not in routers:
                raise TopologyError(f"{where} crosses {node}, which is not a router")
            node = link.other(node)
        if node != self.server.name:
            raise TopologyError(f"topology {self.name}: path {path.name} ends at {node}, not at the server")


def endpoints(topology: Topology) -> Iterator[tuple[Host, Link]]:
    """Each (host, link) pair: the interfaces of the end systems, in order."""
    for host in topology.hosts:
        for link in topology.links_of(host.name):
            yield host, link
