"""Hosts, routers and links in virtual time: packets travel as segment values from host to host.

A packet's way is looked up once for each pair of addresses, with the nodes' forwarding tables, and kept: the links
that do something to packets, and the host at the end. A wire passes at once. Bytes are made only where somebody wants
to see them: for captures and for a bit that is flipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from testbed.net.capture import Capture
from testbed.net.chance import derive_seed
from testbed.net.damage import damaged
from testbed.net.forwarding import ForwardingTable
from testbed.net.link import Delivery, Drop, LinkDirection
from testbed.net.middlebox import Chain
from testbed.net.schedule import NEVER_NS, changes_for
from testbed.net.simulator import Event, Simulator
from testbed.wire.options import NOP, Option
from testbed.wire.segment import CWR, FIN, PSH, Segment
from topologies.link_profile import ETHERNET_HEADER_BYTES, Change, LinkProfile

IPV4_TCP_OCTETS: Final = ETHERNET_HEADER_BYTES + 20 + 20
IPV6_TCP_OCTETS: Final = ETHERNET_HEADER_BYTES + 40 + 20
"""Of a frame, without TCP options and payload."""
MOST_HOPS: Final = 64
"""Links on one way; more is a loop in the forwarding tables."""


class Endpoint(Protocol):
    """What lives on a host: a TCP/MPTCP stack, or a toy in a test."""

    def segment_arrives(self, segment: Segment, now: int) -> None:
        """A packet for this host."""

    def segments_to_send(self, now: int) -> list[Segment]:
        """Everything that may leave now."""

    def next_timeout(self) -> int | None:
        """When :meth:`handle_timeout` is due."""

    def handle_timeout(self, now: int) -> None:
        """It is due."""


class Link:
    """One direction of a link with its middleboxes."""

    __slots__ = ("direction", "is_wire", "middleboxes", "name", "to")

    def __init__(self, name: str, to: str, profile: LinkProfile, changes: Sequence[Change], seed: int) -> None:
        self.name = name
        self.to = to
        """The node at its end."""
        self.direction = LinkDirection(profile, changes, seed)
        self.middleboxes = Chain(profile.middleboxes) if profile.middleboxes else None
        self.is_wire = profile.is_wire() and not changes


class Way:
    """What a packet of one pair of addresses meets."""

    __slots__ = ("arrival", "departure", "header_octets", "hops", "host", "is_direct", "links")

    def __init__(
        self, links: tuple[Link, ...], host: HostNode, header_octets: int, departure: str, arrival: str
    ) -> None:
        self.links = links
        """Without the wires."""
        self.hops = len(links)
        self.is_direct = bool(links) and links[0].middleboxes is None
        """The first thing that happens to a packet is the model of the first link."""
        self.host = host
        self.header_octets = header_octets
        self.departure = departure
        """Link over which it leaves the sending host: the interface there."""
        self.arrival = arrival
        """Link over which it comes to the receiving host."""


class HostNode:
    """An end system: its endpoint, its one pending wake-up, its captures."""

    __slots__ = ("_armed", "_armed_ns", "_network", "_ways", "captures", "endpoint", "name")

    def __init__(self, network: Network, name: str, endpoint: Endpoint) -> None:
        self.name = name
        self.endpoint = endpoint
        self.captures: dict[str, Capture] = {}
        """Link -> capture of the interface on it."""
        self._network = network
        self._ways: dict[tuple[bytes, bytes], Way | None] = {}
        self._armed: Event | None = None
        self._armed_ns = NEVER_NS

    def flush(self) -> None:
        """Send what the endpoint has, and see to it that it is asked again when it wants to be."""
        endpoint = self.endpoint
        now_ns = self._network.simulator.now_ns
        for segment in endpoint.segments_to_send(now_ns):
            octets = segment.gso_octets
            if octets and octets < len(segment.payload):
                for piece in cut(segment):
                    self._send(piece)
            else:
                self._send(segment)
        due_ns = endpoint.next_timeout()
        if due_ns is not None and due_ns < self._armed_ns:
            self._arm(due_ns)

    def _arm(self, due_ns: int) -> None:
        """An earlier wake-up than the one that is pending; a later one is found when that one fires."""
        if self._armed is not None:
            self._armed.cancel()
        now_ns = self._network.simulator.now_ns
        self._armed_ns = due_ns if due_ns > now_ns else now_ns
        self._armed = self._network.simulator.call_at(self._armed_ns, self._wake)

    def _wake(self) -> None:
        self._armed = None
        self._armed_ns = NEVER_NS
        now_ns = self._network.simulator.now_ns
        due_ns = self.endpoint.next_timeout()
        if due_ns is not None and due_ns > now_ns:
            self._arm(due_ns)
            return
        if due_ns is not None:
            self.endpoint.handle_timeout(now_ns)
        self.flush()

    def _send(self, segment: Segment) -> None:
        key = (segment.source.host, segment.destination.host)
        way = self._ways.get(key)
        if way is None:
            way = self._network.way(self.name, *key)
            if way is None:
                self._network.unroutable += 1
                return
            self._ways[key] = way
        network = self._network
        network.packets += 1
        if self.captures:
            self.captures[way.departure].add(segment, network.simulator.now_ns)
        if way.is_direct:
            network.cross(segment, way, 0)
        else:
            network.forward(segment, way, 0)


class Network:
    """Everything between the endpoints. Build it with the ``add_`` methods, then run its simulator."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.hosts: dict[str, HostNode] = {}
        self.links: dict[tuple[str, str], Link] = {}
        """(name, node where it begins) -> direction."""
        self.packets = 0
        """Sent by all hosts."""
        self.unroutable = 0
        self.damaged = 0
        """Packets that a receiver dropped because of their checksum."""
        self._options: tuple[Option, ...] = ()
        self._option_octets = 0
        """Octets of ``_options``, those of the packet that crossed a link last."""
        self._arriving = self._arrive
        """Bound once for all packets."""
        self._tables: dict[str, ForwardingTable] = {}
        self._owners: dict[bytes, str] = {}

    def add_host(self, name: str, endpoint: Endpoint, table: ForwardingTable, addresses: Sequence[bytes]) -> HostNode:
        """An end system with its addresses."""
        node = self.hosts[name] = HostNode(self, name, endpoint)
        self._tables[name] = table
        self._owners.update(dict.fromkeys(addresses, name))
        return node

    def add_router(self, name: str, table: ForwardingTable) -> None:
        """A node that forwards."""
        self._tables[name] = table

    def add_link(
        self,
        name: str,
        ends: tuple[str, str],
        forward: LinkProfile,
        backward: LinkProfile,
        changes: Sequence[Change] = (),
        seed: int = 0,
    ) -> None:
        """Both directions between two nodes; profiles resolved. Their chance is independent, derived as ``link.duplex``
        does: with the same seed a real relay decides alike."""
        a, b = ends
        there, back = changes_for("forward", changes), changes_for("backward", changes)
        self.links[name, a] = Link(name, b, forward, there, derive_seed(seed, "forward"))
        self.links[name, b] = Link(name, a, backward, back, derive_seed(seed, "backward"))

    def way(self, start: str, source: bytes, destination: bytes) -> Way | None:
        """From a host to the owner of an address; None when the tables lead nowhere, or to another host."""
        links: list[Link] = []
        node, last = start, self._owners.get(destination)
        while node != last or not links:
            if len(links) > MOST_HOPS or (node in self.hosts and links):
                return None
            name = self._tables[node].link_for(source, destination)
            if name is None or (name, node) not in self.links:
                return None
            links.append(self.links[name, node])
            node = links[-1].to
        header = IPV6_TCP_OCTETS if len(destination) == 16 else IPV4_TCP_OCTETS
        shaping = tuple(link for link in links if not link.is_wire)
        return Way(shaping, self.hosts[node], header, links[0].name, links[-1].name)

    def forward(self, segment: Segment, way: Way, index: int) -> None:
        """The packet has come to the ``index``-th link of its way."""
        simulator = self.simulator
        if index == len(way.links):
            simulator.call_at(simulator.now_ns, self._arrive, segment, way)
            return
        link = way.links[index]
        if link.middleboxes is not None:
            for packet in link.middleboxes.process(segment):
                self.cross(packet, way, index)
            return
        self.cross(segment, way, index)

    def cross(self, segment: Segment, way: Way, index: int) -> None:
        """The packet enters the ``index``-th link, past its middleboxes."""
        options = segment.options
        if options is not self._options:  # the packets of one chunk share theirs
            self._options = options
            self._option_octets = 0
            for option in options:
                self._option_octets += 1 if option is NOP else option.size
        octets = way.header_octets + len(segment.payload) + self._option_octets
        simulator = self.simulator
        outcome = way.links[index].direction.arrives(octets, simulator.now_ns)
        if isinstance(outcome, int):
            index += 1
            if index == way.hops:
                simulator.post(outcome, self._arriving, (segment, way))
            else:
                simulator.post(outcome, self.forward, (segment, way, index))
        elif not isinstance(outcome, Drop):
            for delivery in outcome:
                self._deliver_special(segment, way, index, delivery)

    def _deliver_special(self, segment: Segment, way: Way, index: int, delivery: Delivery) -> None:
        """One of several, or a damaged one: a receiver drops that, whose checksum is wrong (RFC 9293 section 3.1)."""
        if delivery.corrupt_at is not None:
            survivor = damaged(segment, delivery.corrupt_at)
            if survivor is None:
                self.simulator.call_at(delivery.release_ns, self._discard)
                return
            segment = survivor
        if index + 1 == len(way.links):
            self.simulator.call_at(delivery.release_ns, self._arrive, segment, way)
        else:
            self.simulator.call_at(delivery.release_ns, self.forward, segment, way, index + 1)

    def _discard(self) -> None:
        self.damaged += 1

    def _arrive(self, segment: Segment, way: Way) -> None:
        host = way.host
        now_ns = self.simulator.now_ns
        if host.captures:
            host.captures[way.arrival].add(segment, now_ns)
        host.endpoint.segment_arrives(segment, now_ns)
        host.flush()


def cut(segment: Segment) -> list[Segment]:
    """The packets of a super-segment, as GSO makes them: options on each, FIN and PSH on the last, CWR on the first."""
    payload, octets = segment.payload, segment.gso_octets
    pieces = []
    last = (len(payload) - 1) // octets
    for index in range(last + 1):
        flags = segment.flags
        if index < last:
            flags &= ~(FIN | PSH)
        if index:
            flags &= ~CWR
        pieces.append(
            Segment(
                segment.source,
                segment.destination,
                (segment.seq + index * octets) & 0xFFFFFFFF,
                segment.ack,
                flags,
                segment.window,
                segment.options,
                payload[index * octets : (index + 1) * octets],
                segment.urgent,
                segment.ecn,
            )
        )
    return pieces
