"""A peer made of single segments, to say to a stack exactly what a test wants it to hear. No time passes by itself."""

from __future__ import annotations

import random
from collections.abc import Sequence

from testbed.mptcp.connection import Connection
from testbed.mptcp.keys import idsn_of, join_hmac, token_of
from testbed.mptcp.parameters import Parameters
from testbed.mptcp.stack import Stack
from testbed.wire.options import Dss, MpCapable, MpJoin, Option
from testbed.wire.segment import ACK, SYN, Segment, SocketAddress

SECOND = 1_000_000_000
PORT = 80
HOST = bytes((10, 9, 0, 2))
"""The stack's address."""
PEER = bytes((10, 9, 0, 1))
KEY = 0x1122334455667788


class RawFlow:
    """One 4-tuple as the peer sees it."""

    def __init__(self, bench: RawBench, own: SocketAddress, other: SocketAddress, isn: int = 1000) -> None:
        self.bench = bench
        self.own = own
        self.other = other
        self.seq = isn
        self.ack = 0

    def say(
        self,
        flags: int,
        *options: Option,
        payload: bytes = b"",
        seq: int | None = None,
        ack: int | None = None,
        advance: bool = True,
    ) -> list[Segment]:
        """Send one segment; what the stack answers on this 4-tuple. Keeps both sequence numbers."""
        number = self.seq if seq is None else seq
        acked = (self.ack if ack is None else ack) if flags & ACK else 0
        segment = Segment(self.own, self.other, number, acked, flags, 65535, options, payload)
        if advance and seq is None:
            self.seq = (self.seq + segment.seq_length) & 0xFFFFFFFF
        return self.hear(self.bench.deliver(segment))

    def hear(self, segments: Sequence[Segment]) -> list[Segment]:
        mine = [segment for segment in segments if segment.destination == self.own and segment.source == self.other]
        for segment in mine:
            if segment.seq_length:
                self.ack = (segment.seq + segment.seq_length) & 0xFFFFFFFF
        return mine


class RawBench:
    """A stack, the clock, and everything that it ever sent."""

    def __init__(
        self, parameters: Parameters | None = None, addresses: Sequence[bytes] = (HOST,), seed: int = 5
    ) -> None:
        self.now = SECOND
        self.stack = Stack(addresses, parameters or Parameters(), random.Random(seed))
        self.listener = self.stack.listen(PORT)
        self.sent: list[Segment] = []

    def deliver(self, segment: Segment) -> list[Segment]:
        self.stack.segment_arrives(segment, self.now)
        return self.flush()

    def flush(self) -> list[Segment]:
        out = self.stack.segments_to_send(self.now)
        self.sent += out
        return out

    def wait(self, duration_ns: int) -> list[Segment]:
        """Let timers expire; what left."""
        end = self.now + duration_ns
        out = self.flush()
        while (due := self.stack.next_timeout()) is not None and due <= end:
            self.now = max(self.now, due)
            self.stack.handle_timeout(self.now)
            out += self.flush()
        self.now = end
        return out

    def flow(self, port: int = 5555, address: bytes = PEER, host: bytes = HOST, host_port: int = PORT) -> RawFlow:
        return RawFlow(self, SocketAddress(address, port), SocketAddress(host, host_port))

    # --- the stack is the server ---

    def client_up_to_syn_ack(self, flow: RawFlow, option: MpCapable | None = None) -> MpCapable | None:
        answer = flow.say(SYN, option or MpCapable())[0]
        return next((found for found in answer.options if isinstance(found, MpCapable)), None)

    def connected_client(self, flow: RawFlow | None = None) -> tuple[RawFlow, Connection, int]:
        """A complete MP_CAPABLE handshake with the stack as server: flow, its connection, its key."""
        flow = flow or self.flow()
        answer = self.client_up_to_syn_ack(flow)
        assert answer is not None and answer.sender_key is not None
        flow.say(ACK, MpCapable(sender_key=KEY, receiver_key=answer.sender_key))
        connection = self.listener.accept()
        assert connection is not None
        return flow, connection, answer.sender_key

    def say_dss(self, flow: RawFlow, host_key: int, *more: Option) -> list[Segment]:
        """A pure ACK with a DATA_ACK: the peer has shown that it speaks MPTCP."""
        return flow.say(ACK, Dss(data_ack=(idsn_of(host_key) + 1) & (2**64 - 1)), *more)

    # --- joins towards the stack ---

    def join(self, flow: RawFlow, host_key: int, address_id: int = 3, backup: bool = False, nonce: int = 77) -> RawJoin:
        join = RawJoin(flow, host_key, nonce)
        answer = flow.say(SYN, MpJoin(address_id, backup, token=token_of(host_key), nonce=nonce))
        join.take(answer)
        return join


class RawJoin:
    def __init__(self, flow: RawFlow, host_key: int, nonce: int) -> None:
        self.flow = flow
        self.host_key = host_key
        self.nonce = nonce
        self.answer: MpJoin | None = None
        self.segments: list[Segment] = []

    def take(self, segments: list[Segment]) -> None:
        self.segments = segments
        for segment in segments:
            for option in segment.options:
                if isinstance(option, MpJoin):
                    self.answer = option

    def expected_proof(self) -> bytes:
        assert self.answer is not None and self.answer.nonce is not None
        return join_hmac(self.host_key, KEY, self.answer.nonce, self.nonce)[:8]

    def own_proof(self) -> bytes:
        assert self.answer is not None and self.answer.nonce is not None
        return join_hmac(KEY, self.host_key, self.nonce, self.answer.nonce)[:20]

    def confirm(self) -> list[Segment]:
        return self.flow.say(ACK, MpJoin(hmac=self.own_proof()))
