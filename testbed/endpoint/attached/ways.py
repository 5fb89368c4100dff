"""Which interface a segment leaves by, and under which Ethernet header: the kernel's answer, kept until it changes.

Asking the kernel costs some 30 us, so an answer is kept per pair of addresses until a notice says that links,
addresses, routes or neighbours have changed. While a neighbour is unresolved a few segments wait for it, as in the
kernel (net/core/neighbour.c, unres_qlen).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from testbed.endpoint.attached.frames import ethernet_header
from testbed.endpoint.attached.interfaces import Interface, KernelTables, NextHop
from testbed.endpoint.attached.packet_port import PacketPort
from testbed.wire.segment import Segment

WAITING_LIMIT = 64
"""Segments that wait for one neighbour; more are lost, as any packet may be."""

WAYS_LIMIT = 4096
"""Pairs of addresses remembered; then all are asked for anew."""


class Way:
    """How segments between one pair of addresses leave; ``ethernet`` is empty while the neighbour is unresolved."""

    __slots__ = ("ethernet", "hop", "port", "waiting")

    def __init__(self, port: PacketPort | None, hop: NextHop | None) -> None:
        self.port = port
        """None: there is no route, or it leads through an interface that we are not attached to."""
        self.hop = hop
        self.ethernet = b""
        self.waiting: list[Segment] = []


class Ways:
    """All of them."""

    def __init__(self, tables: KernelTables) -> None:
        self._tables = tables
        self._ways: dict[tuple[bytes, bytes], Way] = {}
        self._interfaces: Mapping[int, Interface] = {}
        self._ports: Mapping[int, PacketPort] = {}
        self._last_known: dict[NextHop, bytes] = {}

    def renew(self, interfaces: Iterable[Interface], ports: Mapping[int, PacketPort]) -> None:
        """Links, addresses or routes have changed: ask anew. What waits is lost."""
        self._interfaces = {interface.index: interface for interface in interfaces}
        self._ports = ports
        self._ways.clear()

    def find(self, source: bytes, destination: bytes) -> Way:
        """The way for a packet between these addresses."""
        way = self._ways.get((source, destination))
        if way is None:
            if len(self._ways) >= WAYS_LIMIT:  # whoever forges addresses shall not fill our memory
                self._ways.clear()
                self._last_known.clear()
            way = self._ways[source, destination] = self._ask(source, destination)
        return way

    def can_reach(self, source: bytes, destination: bytes) -> bool:
        """Whether a packet could leave; what the path manager asks before it pairs addresses."""
        return len(source) == len(destination) and self.find(source, destination).port is not None

    def neighbours_changed(self) -> list[Way]:
        """Look again at all neighbours; the ways that can take what waited for them."""
        resolved = []
        for (_, destination), way in self._ways.items():
            if way.port is not None:
                self._resolve(way, len(destination))
                if way.ethernet and way.waiting:
                    resolved.append(way)
        return resolved

    def _ask(self, source: bytes, destination: bytes) -> Way:
        hop = self._tables.next_hop(source, destination)
        way = Way(self._ports.get(hop.index) if hop is not None else None, hop)
        if way.port is not None:
            self._resolve(way, len(destination))
        return way

    def _resolve(self, way: Way, address_octets: int) -> None:
        assert way.hop is not None
        interface = self._interfaces[way.hop.index]
        if interface.is_loopback:
            way.ethernet = ethernet_header(bytes(6), bytes(6), address_octets)
            return
        address = self._tables.hardware_address(way.hop)
        if address is not None:
            self._last_known[way.hop] = address
        elif not way.ethernet:
            self._tables.resolve(way.hop)
            # An entry that the kernel forgot because it does not see us use it is still right, until a notice corrects.
            address = self._last_known.get(way.hop)
        if address is not None:
            way.ethernet = ethernet_header(address, interface.mac, address_octets)
