"""Two stacks in one process, joined by a wire of fixed delay in virtual time: nothing is lost, late or out of order.

What ``benchmarks/stack_inmemory.py`` runs. It is here so that it is compiled with the stacks: an interpreted loop
around compiled ones would take as long as they do.
"""

from __future__ import annotations

from collections import deque

from testbed.mptcp.connection import Connection
from testbed.mptcp.listener import Listener
from testbed.mptcp.stack import Stack
from testbed.wire.codec import decode, encode
from testbed.wire.segment import Segment


class NothingHappens(Exception):
    """No segment is on its way and no timer runs, but the transfer is not complete."""


class Wire:
    """One direction: segments, or the packets that they become, until they are due."""

    __slots__ = ("as_packets", "data_segments", "delay_ns", "other_segments", "packets", "segments", "times")

    def __init__(self, delay_ns: int, as_packets: bool) -> None:
        self.delay_ns = delay_ns
        self.as_packets = as_packets
        """Encode what is sent and decode what arrives, checksums included."""
        self.times: deque[int] = deque()
        self.segments: deque[Segment] = deque()
        self.packets: deque[bytes] = deque()
        self.data_segments = 0
        self.other_segments = 0

    def send(self, leaving: list[Segment], now: int) -> None:
        """Segments leave."""
        for segment in leaving:
            self.times.append(now + self.delay_ns)
            if self.as_packets:
                self.packets.append(encode(segment))
            else:
                self.segments.append(segment)

    def next(self) -> Segment:
        """The first arrives."""
        self.times.popleft()
        segment = decode(self.packets.popleft()) if self.as_packets else self.segments.popleft()
        if segment.payload:
            self.data_segments += 1
        else:
            self.other_segments += 1
        return segment


class BackToBack:
    """A client that sends, a server that reads. Each stack is told of every segment by itself and asked for its answer,
    as a driver does that reads one packet at a time."""

    __slots__ = ("backward", "client", "forward", "listener", "now", "receiver", "server")

    def __init__(self, client: Stack, server: Stack, listener: Listener, delay_ns: int, as_packets: bool) -> None:
        self.client = client
        self.server = server
        self.listener = listener
        self.forward = Wire(delay_ns, as_packets)
        self.backward = Wire(delay_ns, as_packets)
        self.now = 1_000_000_000
        self.receiver: Connection | None = None

    def transfer(self, sender: Connection, chunk: bytes, octets: int) -> int:
        """Send ``chunk`` over and over until at least ``octets`` have been received; returns how many were.

        Raises NothingHappens, and ValueError when what is received is not what was sent.
        """
        sent = 0
        received = 0
        expected = chunk + chunk
        period = len(chunk)
        client = self.client
        server = self.server
        forward = self.forward
        backward = self.backward
        forward.send(client.segments_to_send(self.now), self.now)
        while received < octets:
            now = self._advance()
            while forward.times and forward.times[0] <= now:
                server.segment_arrives(forward.next(), now)
                receiver = self.receiver
                if receiver is not None:
                    data = receiver.receive(period)
                    if not expected.startswith(data, received % period):
                        raise ValueError(f"received something else in octets {received} to {received + len(data)}")
                    received += len(data)
                else:
                    self.receiver = self.listener.accept()
                backward.send(server.segments_to_send(now), now)
            while backward.times and backward.times[0] <= now:
                client.segment_arrives(backward.next(), now)
                while sent < octets and sender.send_buffer_room >= period:
                    sent += sender.send(chunk, now)
                forward.send(client.segments_to_send(now), now)
            self._timeouts(now)
        return received

    def _advance(self) -> int:
        """To the next arrival or timer."""
        first: int | None = None
        if self.forward.times:
            first = self.forward.times[0]
        if self.backward.times and (first is None or self.backward.times[0] < first):
            first = self.backward.times[0]
        for stack in (self.client, self.server):
            due = stack.next_timeout()
            if due is not None and (first is None or due < first):
                first = due
        if first is None:
            raise NothingHappens
        if first > self.now:
            self.now = first
        return self.now

    def _timeouts(self, now: int) -> None:
        for stack, wire in ((self.client, self.forward), (self.server, self.backward)):
            due = stack.next_timeout()
            if due is not None and due <= now:
                stack.handle_timeout(now)
            wire.send(stack.segments_to_send(now), now)
