"""Where a scripted peer lives: what a driver drives before there is a script, and the transport of its session."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Callable, Mapping, Sequence

from testbed.endpoint.clock import Clock
from testbed.endpoint.kernel_state import ConnectionState, Endpoints
from testbed.endpoint.protocol import Configuration, InForce, LedgerRow
from testbed.endpoint.script.actions import Program
from testbed.endpoint.script.peer import ScriptedPeer, Surroundings
from testbed.endpoint.sockets import Unsupported
from testbed.endpoint.transport import Connection, Handle, Listener, Transport, User
from testbed.tcp.icmp import Icmp
from testbed.wire.segment import Segment, SocketAddress

LOCAL_PORTS = (40_001, 40_064)
"""Of a host that belongs to the peer alone: above what services have, below the kernel's own choice of ports."""


class ScriptHost:
    """A host that says what a script tells it to, and nothing else. Drivers call it as they call a stack."""

    def __init__(
        self,
        addresses: Sequence[bytes],
        chance: random.Random,
        clock: Clock,
        local_ports: tuple[int, int] = LOCAL_PORTS,
    ) -> None:
        self.addresses = tuple(addresses)
        self.chance = chance
        self.clock = clock
        self.local_ports = local_ports
        self.peer: ScriptedPeer | None = None

    def segment_arrives(self, segment: Segment, now: int) -> None:
        """A packet for this host."""
        if self.peer is not None:
            self.peer.segment_arrives(segment, now)

    def segments_to_send(self, now: int) -> list[Segment]:
        """Everything that may leave now."""
        return [] if self.peer is None else self.peer.segments_to_send(now)

    def next_timeout(self) -> int | None:
        """When :meth:`handle_timeout` is due."""
        return None if self.peer is None else self.peer.next_timeout()

    def handle_timeout(self, now: int) -> None:
        """It is due."""
        if self.peer is not None:
            self.peer.handle_timeout(now)

    # --- what a driver on real interfaces tells besides: a script has no use for it ---

    def add_address(self, address: bytes, now: int) -> None:
        """An address has come up."""

    def remove_address(self, address: bytes, now: int) -> None:
        """An address has gone."""

    def icmp_arrives(self, local: SocketAddress, remote: SocketAddress, message: Icmp, now: int) -> None:
        """An ICMP error."""


class ScriptTransport(Transport):
    """Gives a session its peer; of the connections of other applications it has none."""

    def __init__(self, host: ScriptHost, configuration: Configuration) -> None:
        self.host = host
        self._configuration = configuration

    def make_peer(self, program: Program, stream: bytes, expected: Callable[[memoryview], int | None]) -> ScriptedPeer:
        """The peer of this host. Raises Unsupported when there is one already."""
        configuration = self._configuration
        if self.host.peer is not None:
            raise Unsupported("two scripted peers on one host: give each flow a host of its own")
        paths = tuple((name, _packed(own), _packed(other)) for name, own, other in configuration.paths)
        surroundings = Surroundings(port=configuration.port, local_ports=self.host.local_ports, paths=paths)
        self.host.peer = ScriptedPeer(program, surroundings, self.host.chance, stream, expected)
        return self.host.peer

    def take_ledger(self, epoch_ns: int) -> list[LedgerRow]:
        """None: what a script says is in its lines."""
        return []

    def listen(self) -> Listener:
        """As Transport."""
        raise _no_connections()

    def connect(self, user: User, local_port: int = 0) -> Connection:
        """As Transport."""
        raise _no_connections()

    def adopt(self, handle: Handle, user: User) -> Connection:
        """As Transport."""
        raise _no_connections()

    def read(self, handle: Handle) -> ConnectionState:
        """As Transport."""
        raise _no_connections()

    def subflow_flags(self, endpoints: Endpoints) -> int | None:
        """As Transport."""
        return None

    def endpoints(self, handle: Handle) -> Endpoints:
        """As Transport."""
        raise _no_connections()

    def implementation_in_force(self, handle: Handle) -> InForce:
        """As Transport."""
        raise _no_connections()

    def options_in_force(self, handle: Handle) -> Mapping[str, str | int | bool | None]:
        """As Transport."""
        return {}


def _no_connections() -> Unsupported:
    return Unsupported("implementation 'script' runs the application 'script' only")


def _packed(address: str) -> bytes:
    return ipaddress.ip_address(address).packed
