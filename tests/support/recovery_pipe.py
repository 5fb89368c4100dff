"""A sender that is nothing but :class:`LossRecovery`, over a link with rate, delay, queue and loss, to a SACK receiver.

It has no window, no Nagle, no handshake: what it shows is the behaviour of loss recovery and congestion control alone.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from testbed.tcp.counters import Counters
from testbed.tcp.loss_recovery import LossRecovery
from testbed.tcp.parameters import MS, SECOND, Parameters
from testbed.tcp.recovery_states import TimeoutAction
from testbed.tcp.seam import CongestionController

SMSS = 1448
WIRE_OCTETS = SMSS + 66


@dataclass
class Receiver:
    """Cumulative ACK, SACK blocks (newest first) and D-SACK (RFC 2018, RFC 2883)."""

    sack: bool = True
    next: int = 1
    blocks: list[tuple[int, int]] = field(default_factory=list)
    """Received above ``next``; disjoint, newest first."""

    def arrives(self, start: int, end: int) -> tuple[int, tuple[tuple[int, int], ...]]:
        duplicate: tuple[tuple[int, int], ...] = ()
        if end <= self.next or any(left <= start and end <= right for left, right in self.blocks):
            duplicate = ((start, end),)
        else:
            left, right, rest = max(start, self.next), end, []
            for block in self.blocks:
                if block[1] < left or block[0] > right:
                    rest.append(block)
                else:
                    left, right = min(left, block[0]), max(right, block[1])
            self.blocks = [(left, right), *rest]
            if left <= self.next:
                self.next = right
                self.blocks = rest
        if not self.sack:
            return self.next, ()
        return self.next, (*duplicate, *self.blocks)[:4]


class Pipe:
    """One flow; ``run`` lets virtual time pass. ``drop(start, end, nth)`` says whether the nth transmission is lost."""

    def __init__(
        self,
        congestion: CongestionController,
        parameters: Parameters | None = None,
        *,
        sack: bool = True,
        rate_bits: int = 100_000_000,
        delay_ns: int = 10 * MS,
        queue_packets: int = 1 << 30,
        loss: float = 0.0,
        ack_loss: float = 0.0,
        duplicate: float = 0.0,
        jitter_ns: int = 0,
        octets: int | None = None,
        segment: int = SMSS,
        seed: int = 1,
        drop: Callable[[int, int, int], bool] | None = None,
        timestamps: bool = True,
    ) -> None:
        self.congestion = congestion
        self.counters = Counters()
        self.recovery = LossRecovery(parameters or Parameters(), congestion, self.counters)
        self.receiver = Receiver(sack)
        self.rng = random.Random(seed)
        self.transmission_ns = WIRE_OCTETS * 8 * SECOND // rate_bits
        self.delay_ns = delay_ns
        self.queue_packets = queue_packets
        self.loss, self.ack_loss, self.duplicate, self.jitter_ns = loss, ack_loss, duplicate, jitter_ns
        self.drop = drop
        self.segment = segment
        self.timestamps = timestamps
        self.octets = octets
        self.now = 0
        self.link_free_at = 0
        self.sent = 0
        self.sizes: list[tuple[int, int, int, bool]] = []
        """(time, start, end, retransmission) of all that left."""
        self.events: list[tuple[int, int, int, int, int]] = []
        """(time, order, direction, a, b); direction 0: data, 1: ACK."""
        self.blocks: dict[int, tuple[tuple[int, int], ...]] = {}
        self.order = 0
        self.recovery.transmitted(0, 1, 0, False)
        self.recovery.acknowledge(1, (), 2 * delay_ns, None, False, False)
        self.now = 2 * delay_ns
        self.recovery.established_now(self.now, SMSS, sack)
        self.next = 1

    @property
    def delivered(self) -> int:
        return self.receiver.next - 1

    @property
    def done(self) -> bool:
        return self.octets is not None and self.recovery.snd_una == self.octets + 1

    def run(self, until_ns: int) -> None:
        self.transmit()
        while not self.done:
            timeout = self.recovery.next_timeout()
            at = self.events[0][0] if self.events else None
            if timeout is not None and (at is None or timeout < at):
                if timeout > until_ns:
                    break
                self.now = max(self.now, timeout)
                self.recovery.handle_timeout(self.now)
            elif at is not None:
                if at > until_ns:
                    break
                self.now = at
                self.deliver()
            else:
                raise AssertionError(f"nothing will ever happen: {self.recovery.queue.ranges[:5]}")
            self.transmit()
        self.now = max(self.now, until_ns) if not self.done else self.now

    def deliver(self) -> None:
        _, order, direction, a, b = heapq.heappop(self.events)
        if direction == 0:
            ack, blocks = self.receiver.arrives(a, b)
            if self.rng.random() >= self.ack_loss:
                self.order += 1
                self.blocks[self.order] = blocks
                heapq.heappush(self.events, (self.now + self.delay_ns, self.order, 1, ack, 0))
            return
        blocks = self.blocks.pop(order)
        if a < self.recovery.snd_una:
            a, blocks = self.recovery.snd_una, blocks
        self.recovery.acknowledge(a, blocks, self.now, None, False, True)
        self.check()

    def check(self) -> None:
        """The counts agree with the marks, the ranges with the sequence variables."""
        queue, recovery = self.recovery.queue, self.recovery
        at = recovery.snd_una
        sums = [0, 0, 0, 0]
        for sent in queue.ranges:
            assert sent.start == at < sent.end, (at, queue.ranges)
            at = sent.end
            octets = sent.end - sent.start
            sums[0] += octets * (sent.marks & 1)
            sums[1] += octets * (sent.marks >> 1 & 1)
            sums[2] += octets * (sent.marks >> 2 & 1)
            sums[3] += octets * (sent.marks & 7 == 2)
        assert at == recovery.snd_nxt
        assert sums == [queue.sacked, queue.lost, queue.retransmitted, queue.waiting], (sums, queue.ranges)
        assert recovery.congestion.cwnd >= 0

    def transmit(self) -> None:
        recovery = self.recovery
        while (lost := recovery.segment_to_retransmit(self.now, self.segment)) is not None:
            self.leave(lost[0], lost[1], True)
        while True:
            octets = self.segment
            if self.octets is not None:
                octets = min(octets, self.octets + 1 - self.next)
            if octets <= 0:
                break
            allowed = recovery.send_allowance(self.now)
            if self.segment > SMSS:
                octets = min(octets, max(allowed - allowed % SMSS, min(SMSS, octets)))
            if allowed < octets:
                return
            self.leave(self.next, self.next + octets, False)
            self.next += octets
        while (again := recovery.segment_without_new_data(self.now, self.segment)) is not None:
            self.leave(again[0], again[1], True)

    def leave(self, start: int, end: int, again: bool) -> None:
        assert 0 < end - start <= self.segment
        self.sizes.append((self.now, start, end, again))
        self.recovery.transmitted(start, end, self.now, again)
        for piece in range(start, end, SMSS):
            self.piece_leaves(piece, min(piece + SMSS, end))

    def piece_leaves(self, start: int, end: int) -> None:
        self.sent += 1
        if self.drop is not None and self.drop(start, end, sum(1 for s in self.sizes if s[1] <= start < s[2])):
            return
        if self.rng.random() < self.loss:
            return
        self.link_free_at = max(self.link_free_at, self.now)
        if (self.link_free_at - self.now) // self.transmission_ns >= self.queue_packets:
            return
        self.link_free_at += self.transmission_ns
        copies = 2 if self.rng.random() < self.duplicate else 1
        for _ in range(copies):
            self.order += 1
            at = self.link_free_at + self.delay_ns + (self.rng.randrange(self.jitter_ns) if self.jitter_ns else 0)
            heapq.heappush(self.events, (at, self.order, 0, start, end))


def goodput_bits(pipe: Pipe) -> float:
    return pipe.delivered * 8 * SECOND / pipe.now


__all__ = ["SMSS", "Pipe", "Receiver", "TimeoutAction", "goodput_bits"]
