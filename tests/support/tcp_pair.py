"""Two TCP connections and a wire between them, in virtual time: the language of the TCP tests."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from typing import Any

from testbed.tcp.connection import Connection
from testbed.tcp.counters import Counters
from testbed.tcp.fast_open import FastOpen
from testbed.tcp.parameters import Parameters
from testbed.tcp.seam import CongestionController, OptionPolicy, WindowSource
from testbed.tcp.state import Event, State
from testbed.wire.options import NOP, MaximumSegmentSize, Option, SackPermitted, Timestamps, WindowScale
from testbed.wire.segment import ACK, RST, SYN, Segment, SocketAddress

MS = 1_000_000
SECOND = 1_000_000_000
CLIENT = SocketAddress(bytes([10, 0, 0, 1]), 40000)
SERVER = SocketAddress(bytes([10, 0, 0, 2]), 80)
CLIENT_V6 = SocketAddress(bytes.fromhex("20010db8000000000000000000000001"), 40000)
SERVER_V6 = SocketAddress(bytes.fromhex("20010db8000000000000000000000002"), 80)
Fate = Callable[[Segment, int], "list[int]"]
"""Of a segment that leaves at a time: the delays (ns) of the copies that arrive; none: it is lost."""


def make(
    local: SocketAddress,
    remote: SocketAddress,
    parameters: Parameters | None = None,
    *,
    seed: int = 1,
    isn: int = 1000,
    options: OptionPolicy | None = None,
    window: WindowSource | None = None,
    congestion: CongestionController | None = None,
    fast_open: FastOpen | None = None,
) -> Connection:
    return Connection(
        local,
        remote,
        parameters or Parameters(),
        random.Random(seed),
        isn=isn,
        counters=Counters(),
        options=options,
        window=window,
        congestion=congestion,
        fast_open=fast_open,
    )


class Pair:
    """Client and server; ``run`` lets time pass until nothing happens or the deadline comes."""

    def __init__(
        self,
        client: Parameters | None = None,
        server: Parameters | None = None,
        *,
        delay: int = 10 * MS,
        fate: Fate | None = None,
        v6: bool = False,
        isn: int = 0xFFFFF000,
        client_fast_open: FastOpen | None = None,
        server_fast_open: FastOpen | None = None,
    ) -> None:
        here, there = (CLIENT_V6, SERVER_V6) if v6 else (CLIENT, SERVER)
        self.now = 0
        self.client = make(here, there, client, isn=isn, fast_open=client_fast_open)
        self.server = make(there, here, server or client, isn=7, seed=2, fast_open=server_fast_open)
        self.delay = delay
        self.fate: Fate = fate or (lambda segment, now: [delay])
        self.sent: list[tuple[int, Segment]] = []
        self.events: dict[Connection, list[Event]] = {self.client: [], self.server: []}
        self.received: dict[Connection, bytearray] = {self.client: bytearray(), self.server: bytearray()}
        self.reads = True
        """Whether both users take what has arrived at once."""
        self._wire: list[tuple[int, int, Connection, Segment]] = []
        self._count = 0
        self._pending_sends: dict[Connection, bytes] = {}
        self._close_when_sent: set[Connection] = set()

    def connect(self) -> Pair:
        self.client.open(self.now)
        self.run(until=self.now + SECOND, stop=lambda: self.server.state >= State.ESTABLISHED)
        assert self.client.state is State.ESTABLISHED and self.server.state is State.ESTABLISHED
        return self

    def send_all(self, sender: Connection, data: bytes, close: bool = False) -> None:
        """Send as room comes; then perhaps close."""
        self._pending_sends[sender] = self._pending_sends.get(sender, b"") + data
        if close:
            self._close_when_sent.add(sender)
        self._feed(sender)
        self.pump()

    def inject(self, receiver: Connection, segment: Segment) -> bool:
        accepted = receiver.segment_arrives(segment, self.now)
        self.pump()
        return accepted

    def pump(self) -> list[Segment]:
        """Put on the wire what both have to send now."""
        left: list[Segment] = []
        for sender, receiver in ((self.client, self.server), (self.server, self.client)):
            for _ in range(1000):
                segments = sender.segments_to_send(self.now)
                if not segments:
                    break
                for segment in segments:
                    left.append(segment)
                    self.sent.append((self.now, segment))
                    for delay in self.fate(segment, self.now):
                        self._count += 1
                        heapq.heappush(self._wire, (self.now + delay, self._count, receiver, segment))
            else:
                raise AssertionError("a connection never stops sending")
        return left

    def _feed(self, sender: Connection) -> None:
        data = self._pending_sends.get(sender, b"")
        if data and sender.state is not State.CLOSED and sender.fin_offset < 0:
            taken = sender.send(data, self.now)
            self._pending_sends[sender] = data[taken:]
        if sender in self._close_when_sent and not self._pending_sends.get(sender):
            self._close_when_sent.discard(sender)
            sender.close(self.now)

    def _serve(self, connection: Connection) -> None:
        while (event := connection.next_event()) is not None:
            self.events[connection].append(event)
        if self.reads:
            while data := connection.receive(1 << 20):
                self.received[connection] += data
        self._feed(connection)

    def next_time(self) -> int | None:
        times = [t for c in (self.client, self.server) if (t := c.next_timeout()) is not None]
        if self._wire:
            times.append(self._wire[0][0])
        return min(times, default=None)

    def step(self) -> bool:
        """The next thing that happens. False: nothing ever will."""
        time = self.next_time()
        if time is None:
            return False
        self.now = max(self.now, time)
        if self._wire and self._wire[0][0] <= self.now:
            _, _, receiver, segment = heapq.heappop(self._wire)
            if receiver is self.server and receiver.state is State.CLOSED and segment.flags & SYN and not receiver.irs:
                receiver.accept_syn(segment, self.now)
            else:
                receiver.segment_arrives(segment, self.now)
        for connection in (self.client, self.server):
            due = connection.next_timeout()
            if due is not None and due <= self.now:
                connection.handle_timeout(self.now)
        for connection in (self.client, self.server):
            self._serve(connection)
        self.pump()
        return True

    def run(self, until: int | None = None, stop: Callable[[], bool] | None = None, limit: int = 200_000) -> Pair:
        self.pump()
        for _ in range(limit):
            if stop is not None and stop():
                return self
            time = self.next_time()
            if time is None or (until is not None and time > until):
                break
            self.step()
        else:
            raise AssertionError("too many events")
        if until is not None:
            self.now = max(self.now, until)
        return self

    def from_client(self, since: int = 0) -> list[Segment]:
        return [segment for time, segment in self.sent if segment.source == self.client.local and time >= since]

    def from_server(self, since: int = 0) -> list[Segment]:
        return [segment for time, segment in self.sent if segment.source == self.server.local and time >= since]


def random_fate(seed: int, loss: float, reorder: float = 0.0, duplicate: float = 0.0, delay: int = 10 * MS) -> Fate:
    rng = random.Random(seed)

    def fate(segment: Segment, now: int) -> list[int]:
        if rng.random() < loss:
            return []
        delays = [delay + (rng.randrange(30 * MS) if rng.random() < reorder else 0)]
        if rng.random() < duplicate:
            delays.append(delay + rng.randrange(20 * MS))
        return delays

    return fate


class Scripted:
    """One connection under test and a peer that does what the test says, in offsets (SYN 0, first octet 1)."""

    PEER_ISN = 5_000_000

    def __init__(self, parameters: Parameters | None = None, **more: Any) -> None:
        self.now = 0
        self.isn = 1000
        self.tcp = make(CLIENT, SERVER, parameters, isn=self.isn, **more)
        self.peer_timestamp = 100

    def out(self) -> list[Segment]:
        """What leaves now."""
        return self.tcp.segments_to_send(self.now)

    def peer(
        self,
        flags: int = ACK,
        seq: int = 1,
        ack: int | None = None,
        payload: bytes = b"",
        window: int = 65535,
        options: tuple[Option, ...] = (),
        urgent: int = 0,
        ecn: int = 0,
        timestamps: bool | None = None,
    ) -> bool:
        """A segment of the peer arrives; ``ack`` None: all that was sent."""
        if (self.tcp.timestamps_on if timestamps is None else timestamps) and not flags & RST:
            echo = self.tcp.timestamp_val
            options = (*options, NOP, NOP, Timestamps(self.peer_timestamp, echo))
        acked = self.tcp.snd_nxt if ack is None else ack
        segment = Segment(
            SERVER,
            CLIENT,
            (self.PEER_ISN + seq) & 0xFFFFFFFF,
            (self.isn + acked) & 0xFFFFFFFF if flags & ACK else 0,
            flags,
            window,
            options,
            payload,
            urgent,
            ecn,
        )
        return self.tcp.segment_arrives(segment, self.now)

    def establish(
        self,
        *,
        mss: int = 1460,
        shift: int | None = 0,
        sack: bool = True,
        timestamps: bool = False,
        window: int = 65535,
    ) -> Scripted:
        """Three-way handshake, the connection under test being active; time passes by 10 ms."""
        self.tcp.open(self.now)
        self.out()
        self.now += 10 * MS
        options: list[Option] = [MaximumSegmentSize(mss)]
        if shift is not None:
            options.append(WindowScale(shift))
        if sack:
            options.append(SackPermitted())
        self.peer(SYN | ACK, 0, 1, window=window, options=tuple(options), timestamps=timestamps)
        self.out()
        assert self.tcp.state is State.ESTABLISHED
        return self

    def wait(self, ns: int) -> list[Segment]:
        """Time passes, timers fire; returns what left."""
        left: list[Segment] = []
        end = self.now + ns
        for _ in range(10_000):
            due = self.tcp.next_timeout()
            if due is None or due > end:
                self.now = end
                return left
            self.now = max(self.now, due)
            self.tcp.handle_timeout(self.now)
            left += self.out()
        raise AssertionError("timers without end")

    def events(self) -> list[Event]:
        told: list[Event] = []
        while (event := self.tcp.next_event()) is not None:
            told.append(event)
        return told

    def seq_of(self, segment: Segment) -> int:
        return (segment.seq - self.isn) & 0xFFFFFFFF

    def ack_of(self, segment: Segment) -> int:
        return (segment.ack - self.PEER_ISN) & 0xFFFFFFFF

    def sacked(self, segment: Segment) -> list[tuple[int, int]]:
        """SACK blocks as offsets."""
        if segment.sack is None:
            return []
        return [
            ((left - self.PEER_ISN) & 0xFFFFFFFF, (right - self.PEER_ISN) & 0xFFFFFFFF)
            for left, right in segment.sack.blocks
        ]
