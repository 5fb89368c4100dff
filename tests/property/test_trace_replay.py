"""Replayed traces, held against plain programs that do the same the long way round."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.net.chance import stream
from testbed.net.link import Drop, LinkDirection, Outcome
from topologies.link_profile import LinkProfile, QueueLimit
from topologies.traces import Trace, from_bytes

MS = 10**6
examples = settings(deadline=None, max_examples=60)

deliveries = st.lists(st.integers(0, 12), min_size=1, max_size=20).map(sorted).filter(lambda times: times[-1] > 0)
sizes = st.one_of(st.integers(60, 1514), st.sampled_from([66, 60, 1514, 1514]))
gaps = st.one_of(st.integers(0, 3 * MS), st.sampled_from([0, 0, MS, 2 * MS, 5 * MS, 40 * MS, 1000 * MS]))
arrivals = st.lists(st.tuples(sizes, gaps), min_size=1, max_size=60).map(
    lambda items: [(size, sum(gap for _, gap in items[: i + 1])) for i, (size, _) in enumerate(items)]
)
limits = st.one_of(
    st.builds(QueueLimit, packets=st.integers(1, 12)), st.builds(QueueLimit, size_bytes=st.integers(1514, 12_000))
)


def feed(profile: LinkProfile, packets: Sequence[tuple[int, int]], seed: int = 0) -> list[Outcome]:
    direction = LinkDirection(profile, (), seed)
    return [direction.arrives(size, now) for size, now in packets]


class LinkQueue:
    """What mahimahi's LinkQueue with a drop-tail queue does, one opportunity after the other (link_queue.cc)."""

    def __init__(self, schedule_ms: Sequence[int], limit: QueueLimit) -> None:
        self.schedule_ms, self.limit = schedule_ms, limit
        self.base_ms = self.next = self.left = 0
        self.queue: deque[tuple[int, int]] = deque()  # number, size
        self.in_transit = -1
        self.delivered: dict[int, int] = {}

    def rationalize(self, now_ns: int) -> None:
        while (at_ns := (self.base_ms + self.schedule_ms[self.next]) * MS) <= now_ns:
            self.next += 1
            if self.next == len(self.schedule_ms):
                self.next, self.base_ms = 0, self.base_ms + self.schedule_ms[-1]
            room = 1504
            while room > 0:
                if self.left == 0:
                    if not self.queue:
                        break
                    self.in_transit, size = self.queue.popleft()
                    self.left = size - 14 + 4  # the tun device's packet: IP behind four bytes
                sent = min(room, self.left)
                self.left -= sent
                room -= sent
                if self.left == 0:
                    self.delivered[self.in_transit] = at_ns

    def enqueue(self, number: int, size: int) -> None:
        waiting_bytes = sum(each for _, each in self.queue)  # ours counts frames in bytes
        if self.limit.packets is not None and len(self.queue) + 1 > self.limit.packets:
            return
        if self.limit.size_bytes is not None and waiting_bytes + size > self.limit.size_bytes:
            return
        self.queue.append((number, size))


@examples
@given(deliveries, limits, arrivals)
def test_deliveries_are_those_of_mahimahi(
    times_ms: list[int], limit: QueueLimit, packets: list[tuple[int, int]]
) -> None:
    trace = from_bytes("t", "".join(f"{time}\n" for time in times_ms).encode())
    outcomes = feed(LinkProfile(trace=trace, queue=limit), packets)
    link = LinkQueue(times_ms, limit)
    for number, (size, now_ns) in enumerate(packets):
        link.rationalize(now_ns)
        link.enqueue(number, size)
    link.rationalize(packets[-1][1] + (len(packets) + 1) * (times_ms[-1] + 1) * MS)
    assert [link.delivered.get(number, Drop.OVERFLOW) for number in range(len(packets))] == outcomes


rate_steps = st.lists(
    st.tuples(st.integers(MS // 4, 8 * MS), st.one_of(st.just(0), st.integers(200_000, 10**9))), min_size=1, max_size=8
).filter(lambda steps: any(rate for _, rate in steps))


def rate_trace(steps: Sequence[tuple[int, int]], at_end: str) -> Trace:
    """``steps``: (how long, rate)."""
    rows, at_ns = [], 0
    for length_ns, rate in steps:
        rows.append(f"{at_ns},{rate}")
        at_ns += length_ns
    text = "\n".join(["time_ns,rate_bit", *rows, f"{at_ns},", ""])
    return from_bytes("t", text.encode(), at_end)  # type: ignore[arg-type]


class Fluid:
    """Bits that flow at the rate of the moment, in exact fractions; a frame is out when its last bit is."""

    def __init__(self, steps: Sequence[tuple[int, int]], loops: bool) -> None:
        self.steps, self.loops = steps, loops
        self.free = Fraction(0)

    def rate_and_end(self, at: Fraction) -> tuple[int, Fraction | None]:
        period = sum(length for length, _ in self.steps)
        if at >= period and not self.loops:
            return self.steps[-1][1], None
        begin = at // period * period
        for length, rate in self.steps:
            begin += length
            if at < begin:
                return rate, Fraction(begin)
        raise AssertionError

    def send(self, size: int, now_ns: int) -> Fraction:
        at, bits = max(self.free, Fraction(now_ns)), Fraction(8 * size)
        while True:
            rate, end = self.rate_and_end(at)
            room = None if end is None else (end - at) * rate / 10**9
            if rate and (room is None or bits < room):
                at += bits * 10**9 / rate
                break
            assert end is not None and room is not None
            at, bits = end, bits - room
            if bits == 0:
                break
        self.free = at
        return at


@examples
@given(rate_steps, st.booleans(), arrivals)
def test_a_varying_rate_sends_every_bit_when_it_is_due(
    steps: list[tuple[int, int]], loops: bool, packets: list[tuple[int, int]]
) -> None:
    if not loops and steps[-1][1] == 0:
        steps = [*steps, (MS, 10**6)]
    trace = rate_trace(steps, "loop" if loops else "hold")
    if sum(rate * length for length, rate in steps) // sum(length for length, _ in steps) < 1000:
        return  # no link has so little on average
    outcomes = feed(LinkProfile(trace=trace, queue=QueueLimit(packets=1000)), packets)
    fluid = Fluid(steps, loops)
    free_ns = 0
    for (size, now_ns), outcome in zip(packets, outcomes, strict=True):
        assert isinstance(outcome, int)
        if free_ns < now_ns:  # an idle line begins anew, in whole nanoseconds
            fluid.free = Fraction(now_ns)
        exact = fluid.send(size, now_ns)
        assert 0 <= exact - outcome < 1 + Fraction(1, 1000)  # what a division leaves over is carried on, never lost
        free_ns = outcome


value_steps = st.lists(
    st.tuples(st.integers(MS // 1000, 8 * MS), st.integers(0, 50 * MS), st.integers(0, 100)), min_size=1, max_size=8
)


@examples
@given(value_steps, st.booleans(), arrivals, st.integers(0, 2**32))
def test_delay_and_loss_are_those_of_the_moment(
    steps: list[tuple[int, int, int]], loops: bool, packets: list[tuple[int, int]], seed: int
) -> None:
    rows, at_ns = ["time_ns,delay_ns,loss_percent"], 0
    for length_ns, delay_ns, loss in steps:
        rows.append(f"{at_ns},{delay_ns},{loss}")
        at_ns += length_ns
    period_ns = at_ns
    text = "\n".join([*rows, f"{at_ns},,", ""])
    trace = from_bytes("t", text.encode(), "loop" if loops else "hold")

    def now(at_ns: int) -> tuple[int, int]:
        if at_ns >= period_ns and not loops:
            return steps[-1][1], steps[-1][2]
        rest_ns = at_ns % period_ns
        for length_ns, delay_ns, loss in steps:
            if rest_ns < length_ns:
                return delay_ns, loss
            rest_ns -= length_ns
        raise AssertionError

    draws: random.Random = stream(seed, "loss")
    latest_ns = 0
    expected: list[Outcome] = []
    for _, now_ns in packets:
        delay_ns, loss = now(now_ns)
        if draws.random() < float(Fraction(loss, 100)):
            expected.append(Drop.LOSS)
        else:
            latest_ns = max(latest_ns, now_ns + delay_ns)  # a shorter delay does not overtake
            expected.append(latest_ns)
    assert feed(LinkProfile(trace=trace), packets, seed) == expected
