"""Two stacks and n paths between them in virtual time: the same seed gives the same segments.

Path i joins the client's address i with the server's address i; with ``full_mesh`` any pair of addresses is joined, by
the path of the client's address. What a path does to segments (drop, change, delay) is plain functions in ``filters``.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from testbed.mptcp.connection import Connection
from testbed.mptcp.parameters import Parameters
from testbed.mptcp.stack import Stack
from testbed.wire.segment import Segment, SocketAddress

MS = 1_000_000
SECOND = 1_000_000_000
PORT = 5001

Filter = Callable[[Segment, int], Segment | None]
"""(segment, now) -> what goes on, or None: dropped."""


@dataclass
class Path:
    delay_ns: int = 10 * MS
    rate_bits: int | None = None
    queue_ns: int = 200 * MS
    """Longest wait for the line; beyond it segments are dropped."""
    loss: float = 0.0
    duplicates: float = 0.0
    jitter_ns: int = 0
    """Each segment is late by a random time up to this: reorders."""
    is_up: bool = True
    filters: list[Filter] = field(default_factory=list)
    """Both directions, in order."""
    busy_until: dict[bool, int] = field(default_factory=lambda: {True: 0, False: 0})


@dataclass(frozen=True)
class Sent:
    """One line of the transcript."""

    time: int
    from_client: bool
    segment: Segment


def client_address(number: int, ipv6: bool = False) -> bytes:
    return bytes(15) + bytes((number + 1,)) if ipv6 else bytes((10, 0, number, 1))


def server_address(number: int, ipv6: bool = False) -> bytes:
    return bytes((0x20,)) + bytes(14) + bytes((number + 1,)) if ipv6 else bytes((10, 0, number, 2))


class TwoHosts:
    def __init__(
        self,
        parameters: Parameters | None = None,
        server_parameters: Parameters | None = None,
        *,
        paths: list[Path] | int = 1,
        seed: int = 1,
        full_mesh: bool = False,
        ipv6: bool = False,
        port: int = PORT,
    ) -> None:
        parameters = parameters or Parameters()
        self.paths = [Path() for _ in range(paths)] if isinstance(paths, int) else paths
        self.ipv6 = ipv6
        self.full_mesh = full_mesh
        self.chance = random.Random(seed)
        self.client_addresses = [client_address(number, ipv6) for number in range(len(self.paths))]
        self.server_addresses = [server_address(number, ipv6) for number in range(len(self.paths))]
        self.client = Stack(self.client_addresses, parameters, random.Random(seed * 2), can_reach=self._joined)
        self.server = Stack(
            self.server_addresses, server_parameters or parameters, random.Random(seed * 2 + 1), can_reach=self._joined
        )
        self.port = port
        self.listener = self.server.listen(port)
        self.now = SECOND
        self.transcript: list[Sent] = []
        self._serial = 0
        self._flying: list[tuple[int, int, Stack, Segment]] = []

    # --- network ---

    def _number(self, address: bytes) -> int:
        if address in self.client_addresses:
            return self.client_addresses.index(address)
        return self.server_addresses.index(address)

    def _joined(self, one: bytes, other: bytes) -> bool:
        return self.full_mesh or self._number(one) == self._number(other)

    def path_of(self, segment: Segment) -> Path:
        source = segment.source.host
        at_client = source if source in self.client_addresses else segment.destination.host
        return self.paths[self.client_addresses.index(at_client)]

    def _transmit(self, sender: Stack, segment: Segment) -> None:
        from_client = sender is self.client
        self.transcript.append(Sent(self.now, from_client, segment))
        if segment.source.host not in sender.addresses:
            return  # the interface that had this address is gone
        path = self.path_of(segment)
        if not path.is_up or self.chance.uniform(0, 1) < path.loss:
            return
        passed: Segment | None = segment
        for change in path.filters:
            passed = change(passed, self.now)
            if passed is None:
                return
        self._fly(path, from_client, passed)
        if path.duplicates and self.chance.uniform(0, 1) < path.duplicates:
            self._fly(path, from_client, passed)

    def _fly(self, path: Path, from_client: bool, segment: Segment) -> None:
        leaves = self.now
        if path.rate_bits is not None:
            leaves = max(self.now, path.busy_until[from_client])
            if leaves - self.now > path.queue_ns:
                return
            leaves += (len(segment.payload) + 60) * 8 * SECOND // path.rate_bits
            path.busy_until[from_client] = leaves
        arrives = leaves + path.delay_ns + (self.chance.randrange(path.jitter_ns + 1) if path.jitter_ns else 0)
        self._serial += 1
        heapq.heappush(self._flying, (arrives, self._serial, self.server if from_client else self.client, segment))

    def flush(self) -> None:
        """Let everything leave that may."""
        for stack in (self.client, self.server):
            for segment in stack.segments_to_send(self.now):
                self._transmit(stack, segment)

    def deliver(self, stack: Stack, segment: Segment) -> None:
        """Inject a segment, now."""
        stack.segment_arrives(segment, self.now)
        self.flush()

    # --- time ---

    def next_event(self) -> int | None:
        times = [self._flying[0][0]] if self._flying else []
        times += [when for stack in (self.client, self.server) if (when := stack.next_timeout()) is not None]
        return min(times, default=None)

    def step(self, until: int | None = None) -> bool:
        """The next event; False when there is none (before ``until``)."""
        self.flush()
        when = self.next_event()
        if when is None or (until is not None and when > until):
            return False
        self.now = max(self.now, when)
        if self._flying and self._flying[0][0] <= self.now:
            _, _, stack, segment = heapq.heappop(self._flying)
            stack.segment_arrives(segment, self.now)
        else:
            for stack in (self.client, self.server):
                stack.handle_timeout(self.now)
        self.flush()
        return True

    def run(self, duration_ns: int) -> None:
        """For so long, however little happens."""
        end = self.now + duration_ns
        while self.step(end):
            pass
        self.now = end
        self.flush()

    def run_until(self, condition: Callable[[], bool], limit_ns: int = 600 * SECOND) -> bool:
        """Until it holds; False when it does not within ``limit_ns`` or nothing happens any more."""
        end = self.now + limit_ns
        while not condition():
            if not self.step(end):
                return condition()
        return True

    # --- connections ---

    def open(self, local: int = 0, remote: int | None = None, port: int = 0) -> Connection:
        """The client's active open from its address ``local``; the SYN has left."""
        connection = self.client.connect(
            SocketAddress(self.server_addresses[local if remote is None else remote], self.port),
            self.now,
            SocketAddress(self.client_addresses[local], port),
        )
        self.flush()
        return connection

    def accept(self, limit_ns: int = 30 * SECOND) -> Connection:
        found: list[Connection] = []

        def accepted() -> bool:
            connection = self.listener.accept()
            if connection is not None:
                found.append(connection)
            return bool(found)

        assert self.run_until(accepted, limit_ns), "nothing to accept"
        return found[0]

    def connect(self) -> tuple[Connection, Connection]:
        """Both ends of an established connection."""
        client = self.open()
        return client, self.accept()

    def transfer(
        self, sender: Connection, receiver: Connection, data: bytes, limit_ns: int = 600 * SECOND, chunk: int = 1 << 16
    ) -> bytes:
        """Send ``data`` and read until all of it is there, or nothing happens any more; what was read."""
        received = bytearray()
        offset = 0
        end = self.now + limit_ns
        while True:
            while offset < len(data):
                taken = sender.send(data[offset : offset + chunk], self.now)
                offset += taken
                if not taken:
                    break
            while piece := receiver.receive(1 << 20):
                received += piece
            if len(received) >= len(data):
                self.flush()
                return bytes(received)
            if not self.step(end):
                return bytes(received)

    def sent(self, from_client: bool | None = None) -> list[Segment]:
        """The transcript's segments, of one side or both."""
        return [line.segment for line in self.transcript if from_client in (None, line.from_client)]
