"""Hosts, routers and links in virtual time: packets travel as segment values from host to host.

A packet's way is looked up once for each pair of addresses, with the nodes' forwarding tables, and kept: the links
that do something to packets, and the host at the end. A way ends already at a link with middleboxes, which may change
addresses: what they let go is looked up anew. A wire passes at once. Bytes are made only where somebody wants to see
them: for captures and for a bit that is flipped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from testbed.net.capture import Capture
from testbed.net.chance import derive_seed
from testbed.net.damage import damaged
from testbed.net.forwarding import ForwardingTable
from testbed.net.gate import Gate
from testbed.net.link import Delivery, Drop
from testbed.net.managed_direction import ManagedDirection, direction_of
from testbed.net.middlebox import BACKWARD, FORWARD, Chain
from testbed.net.middlebox.segments import changed
from testbed.net.queue_server import QueueServer
from testbed.net.queues import Waiting
from testbed.net.schedule import NEVER_NS, changes_for
from testbed.net.simulator import Event, Simulator
from testbed.wire.options import NOP, Option
from testbed.wire.segment import CWR, ECN_CE, FIN, PSH, Segment
from topologies.link_profile import ETHERNET_HEADER_BYTES, Change, LinkProfile
from topologies.middlebox import Middlebox

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
    """One direction of a link."""

    __slots__ = ("direction", "gate", "is_wire", "name", "queue", "to", "way", "ways")

    def __init__(
        self, name: str, way: int, to: str, profile: LinkProfile, changes: Sequence[Change], seed: int
    ) -> None:
        self.name = name
        self.way = way
        """FORWARD or BACKWARD."""
        self.to = to
        """The node at its end."""
        self.direction = direction_of(profile, changes, seed)
        self.gate: Gate | None = None
        """The link's middleboxes."""
        self.queue: QueueServer | None = None
        """What serves its managed queue."""
        self.is_wire = profile.is_wire() and not changes
        self.ways: dict[tuple[bytes, bytes], Way | None] = {}
        """Ways that begin with it, behind its middleboxes and before its managed queue."""


class Way:
    """What a packet of one pair of addresses meets, up to a host, or to the middleboxes or managed queue of a link."""

    __slots__ = ("arrival", "departure", "end", "header_octets", "hops", "host", "links", "next")

    def __init__(
        self,
        links: tuple[Link, ...],
        end: Callable[[Segment, Way], None],
        host: HostNode | None,
        next_link: Link | None,
        header_octets: int,
        departure: str,
        arrival: str,
    ) -> None:
        self.links = links
        """Without the wires."""
        self.hops = len(links)
        self.end = end
        """What happens at the end of them."""
        self.host = host
        """At the end; None when that is at a link."""
        self.next = next_link
        """The link whose middleboxes or managed queue are at the end."""
        self.header_octets = header_octets
        self.departure = departure
        """Link over which it leaves the sending host: the interface there."""
        self.arrival = arrival
        """Link over which it comes to the receiving host."""


class Exits:
    """Where packets leave the middleboxes of a link."""

    __slots__ = ("_links", "_network")

    def __init__(self, network: Network, forward: Link, backward: Link) -> None:
        self._network = network
        self._links = (forward, backward)

    def leave(self, segment: Segment, way: int) -> None:
        """A packet enters the model of its direction."""
        self._network.enter(segment, self._links[way])


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
        if way.hops:
            network.cross(segment, way, 0)
        elif way.next is not None:
            way.end(segment, way)
        else:
            network.simulator.post(network.simulator.now_ns, way.end, (segment, way))


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
        self._crossing = self.cross
        self._arriving = self._arrive
        self._at_gate = self._pass_gate
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
        middleboxes: Sequence[Middlebox] = (),
    ) -> None:
        """Both directions between two nodes; profiles resolved. Their chance is independent, derived as ``link.duplex``
        does: with the same seed a real relay decides alike."""
        a, b = ends
        there, back = changes_for("forward", changes), changes_for("backward", changes)
        to_b = self.links[name, a] = Link(name, FORWARD, b, forward, there, derive_seed(seed, "forward"))
        to_a = self.links[name, b] = Link(name, BACKWARD, a, backward, back, derive_seed(seed, "backward"))
        if middleboxes or forward.middleboxes or backward.middleboxes:
            chain = Chain(middleboxes, forward.middleboxes, backward.middleboxes, seed)
            to_b.gate = to_a.gate = Gate(self.simulator, chain, Exits(self, to_b, to_a).leave)
        for link in (to_b, to_a):
            if isinstance(link.direction, ManagedDirection) and not link.is_wire:
                link.queue = QueueServer(self.simulator, link.direction, self._leave_queue)

    def way(self, start: str, source: bytes, destination: bytes) -> Way | None:
        """From a host to the owner of an address, or to the first link with middleboxes or a managed queue; None when
        the tables lead nowhere, or to another host."""
        return self._way([], start, source, destination)

    def reaches(self, start: str, source: bytes, destination: bytes) -> bool:
        """Whether the tables lead from a host to the owner of an address, middleboxes or not."""
        way = self.way(start, source, destination)
        while way is not None and way.next is not None:
            way = self._way([way.next], way.next.to, source, destination)
        return way is not None

    def enter(self, segment: Segment, link: Link) -> None:
        """The packet enters the model of a link, past its middleboxes."""
        key = (segment.source.host, segment.destination.host)
        way = link.ways.get(key)
        if way is None:
            way = self._way([link], link.to, *key)
            if way is None:
                self.unroutable += 1
                return
            link.ways[key] = way
        if link.queue is None:
            self.cross(segment, way, 0)
        else:
            link.queue.arrives(segment, way, self._octets(segment, way))

    def _way(self, begun: list[Link], start: str, source: bytes, destination: bytes) -> Way | None:
        """On from ``start``, after the links of ``begun``."""
        links = list(begun)
        node, last = start, self._owners.get(destination)
        departure = ""
        while node != last or not links:
            if len(links) > MOST_HOPS or (node in self.hosts and links):
                return None
            name = self._tables[node].link_for(source, destination)
            if name is None or (name, node) not in self.links:
                return None
            link = self.links[name, node]
            departure = departure or name
            if link.gate is not None or link.queue is not None:
                return self._made_way(begun, links, None, link, destination, departure)
            links.append(link)
            node = link.to
        return self._made_way(begun, links, self.hosts[node], None, destination, departure)

    def _made_way(
        self,
        begun: list[Link],
        links: list[Link],
        host: HostNode | None,
        next_link: Link | None,
        destination: bytes,
        departure: str,
    ) -> Way:
        header = IPV6_TCP_OCTETS if len(destination) == 16 else IPV4_TCP_OCTETS
        shaping = tuple(link for link in links if not link.is_wire or link in begun)
        end = self._at_gate if next_link is not None else self._arriving
        return Way(shaping, end, host, next_link, header, departure, links[-1].name if links else "")

    def _pass_gate(self, segment: Segment, way: Way) -> None:
        """The packet has come to middleboxes, or to a managed queue."""
        link = way.next
        assert link is not None
        if link.gate is not None:
            link.gate.arrives(segment, link.way)
        else:
            self.enter(segment, link)

    def cross(self, segment: Segment, way: Way, index: int) -> None:
        """The packet enters the ``index``-th link of its way."""
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
                simulator.post(outcome, way.end, (segment, way))
            else:
                simulator.post(outcome, self._crossing, (segment, way, index))
        elif not isinstance(outcome, Drop):
            for delivery in outcome:
                self._deliver_special(segment, way, index, delivery)

    def _octets(self, segment: Segment, way: Way) -> int:
        """Of the frame."""
        octets = way.header_octets + len(segment.payload)
        for option in segment.options:
            octets += 1 if option is NOP else option.size
        return octets

    def _leave_queue(self, segment: Segment, way: Way, item: Waiting) -> None:
        """A packet left the managed queue of the first link of its way."""
        if item.is_marked and segment.ecn != ECN_CE:
            segment = changed(segment, ecn=ECN_CE)
        if item.corrupt_at is None and way.hops == 1:
            self.simulator.post(item.release_ns, way.end, (segment, way))
        else:
            self._deliver_special(
                segment, way, 0, Delivery(item.release_ns, item.corrupt_at, item.reordered, item.is_copy)
            )

    def _deliver_special(self, segment: Segment, way: Way, index: int, delivery: Delivery) -> None:
        """One of several, or a damaged one: a receiver drops that, whose checksum is wrong (RFC 9293 section 3.1)."""
        if delivery.corrupt_at is not None:
            survivor = damaged(segment, delivery.corrupt_at)
            if survivor is None:
                self.simulator.call_at(delivery.release_ns, self._discard)
                return
            segment = survivor
        if index + 1 == way.hops:
            self.simulator.call_at(delivery.release_ns, way.end, segment, way)
        else:
            self.simulator.call_at(delivery.release_ns, self.cross, segment, way, index + 1)

    def _discard(self) -> None:
        self.damaged += 1

    def _arrive(self, segment: Segment, way: Way) -> None:
        host = way.host
        assert host is not None
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
