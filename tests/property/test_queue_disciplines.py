"""Each queue discipline against a plain transcription of its paper or RFC, for any arrivals and departures; and the
seam that carries them, against the model that decides at the arrival."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from test_link_model_properties import arrivals, changes, profiles, seeds

from testbed.net.link import Delivery, Drop, LinkDirection
from testbed.net.managed_direction import ManagedDirection
from testbed.net.queues import Queue, Waiting
from testbed.net.queues.codel import CoDelQueue
from testbed.net.queues.fq_codel import FqCoDelQueue
from testbed.net.queues.pie import PieQueue
from testbed.net.queues.red import RedQueue
from testbed.net.schedule import NEVER_NS
from topologies.link_profile import Change, LinkProfile, QueueLimit
from topologies.queue_discipline import CoDel, FqCoDel, Pie, Red

MS = 10**6
MTU = 1514
examples = settings(deadline=None, max_examples=80)


@dataclass
class Packet:
    """What an oracle knows of a packet."""

    number: int
    size: int
    stamp: int
    capable: bool
    flow: bytes
    marked: bool = False


@dataclass
class Fifo:
    """An oracle's queue."""

    packets: list[Packet] = field(default_factory=list)

    def size(self) -> int:
        return sum(packet.size for packet in self.packets)


Move = tuple[bool, int, int, bool, bytes]
"""(is an arrival, ns since the last move, size, ECN-capable, flow)."""


def phases(seed: int, loads: Sequence[tuple[int, int, int]]) -> list[Move]:
    """Arrivals and departures in phases of (mean ns between arrivals, and between departures, number of both)."""
    chance = random.Random(seed)
    moves: list[Move] = []
    now = last = 0
    for arrival_ns, departure_ns, count in loads:
        arrives = departs = now
        for _ in range(count):
            arrives += (arrives <= now) * round(chance.expovariate(1 / arrival_ns))
            departs += (departs <= now) * round(chance.expovariate(1 / departure_ns))
            now = max(now, min(arrives, departs))
            size = chance.choice((64, 1514, 1514, 1514))
            flow = chance.choice((b"a", b"a", b"a", b"b", b"c", b"d"))
            moves.append((arrives <= departs, now - last, size, chance.random() < 0.5, flow))
            last = now
    return moves


steps = st.one_of(
    st.lists(
        st.tuples(
            st.sampled_from([True, True, True, False]),
            st.one_of(st.integers(0, 300_000), st.integers(0, 30 * MS)),
            st.sampled_from([64, 600, 1514]),
            st.booleans(),
            st.sampled_from([b"a", b"b", b"c", b"d"]),
        ),
        min_size=1,
        max_size=50,
    ),
    st.builds(
        phases,
        st.integers(0, 2**32),
        st.lists(
            st.tuples(st.integers(50_000, 2 * MS), st.integers(50_000, 2 * MS), st.integers(50, 600)),
            min_size=1,
            max_size=5,
        ),
    ),
)
queue_limits = st.one_of(
    st.builds(QueueLimit, packets=st.integers(1, 400)), st.builds(QueueLimit, size_bytes=st.integers(1514, 400_000))
)
Result = list[tuple[int, bool] | None]


def fits(limit: QueueLimit, packets: int, octets: int) -> bool:
    return packets <= (limit.packets or math.inf) and octets <= (limit.size_bytes or math.inf)


def walk(queue: Queue, moves: Sequence[Move]) -> Result:
    """What leaves ``queue`` at each departure: (number of the packet, marked)."""
    left: Result = []
    now = came = 0
    for is_arrival, gap, size, capable, flow in moves:
        now += gap
        if is_arrival:
            queue.enqueue(Waiting(came, size, now, capable, flow), now)
            came += 1
        else:
            item = queue.dequeue(now)
            left.append(None if item is None else (item.packet, item.is_marked))
    waiting = came - queue.dropped - sum(item is not None for item in left)
    assert waiting == queue.waiting_packets
    while (item := queue.dequeue(now)) is not None:
        left.append((item.packet, item.is_marked))
    assert (queue.waiting_packets, queue.waiting_bytes) == (0, 0)
    assert queue.marked == sum(item is not None and item[1] for item in left)
    return left


class CodelOracle:
    """RFC 8289 section 5, word for word, over a list; ECN as section 4 of the Linux implementation it names."""

    def __init__(self, queue: Fifo, target: int, interval: int, ecn: bool) -> None:
        self.queue, self.target, self.interval, self.ecn = queue, target, interval, ecn
        self.first_above_time = self.drop_next = self.count = self.lastcount = 0
        self.dropping = False

    def control_law(self, t: int, count: int) -> int:
        return t + math.isqrt(self.interval**2 // count)

    def dodequeue(self, now: int) -> tuple[Packet | None, bool]:
        if not self.queue.packets:
            self.first_above_time = 0
            return None, False
        packet = self.queue.packets.pop(0)
        ok_to_drop = False
        if now - packet.stamp < self.target or self.queue.size() <= MTU:
            self.first_above_time = 0
        elif self.first_above_time == 0:
            self.first_above_time = now + self.interval
        elif now >= self.first_above_time:
            ok_to_drop = True
        return packet, ok_to_drop

    def mark(self, packet: Packet) -> bool:
        packet.marked = packet.marked or (self.ecn and packet.capable)
        return self.ecn and packet.capable

    def dequeue(self, now: int) -> Packet | None:
        packet, ok_to_drop = self.dodequeue(now)
        if packet is None:
            self.dropping = False
            return None
        if self.dropping:
            if not ok_to_drop:
                self.dropping = False
            while packet is not None and self.dropping and now >= self.drop_next:
                self.count += 1
                if self.mark(packet):
                    self.drop_next = self.control_law(self.drop_next, self.count)
                    return packet
                packet, ok_to_drop = self.dodequeue(now)
                if not ok_to_drop:
                    self.dropping = False
                else:
                    self.drop_next = self.control_law(self.drop_next, self.count)
        elif ok_to_drop:
            if not self.mark(packet):
                packet, ok_to_drop = self.dodequeue(now)
            self.dropping = True
            delta = self.count - self.lastcount
            self.count = 1
            if delta > 1 and now - self.drop_next < 16 * self.interval:
                self.count = delta
            self.drop_next = self.control_law(now, self.count)
            self.lastcount = self.count
        return packet


codels = st.builds(CoDel, st.integers(1, 5 * MS), st.integers(1, 20 * MS), st.booleans())


@examples
@given(codels, queue_limits, steps)
def test_codel_drops_and_marks_what_the_rfcs_pseudocode_does(
    discipline: CoDel, limit: QueueLimit, moves: list[Move]
) -> None:
    fifo = Fifo()
    oracle = CodelOracle(fifo, discipline.target_ns, discipline.interval_ns, discipline.ecn)
    expected: Result = []
    now = came = 0
    for is_arrival, gap, size, capable, flow in moves:
        now += gap
        if is_arrival:
            if fits(limit, len(fifo.packets) + 1, fifo.size() + size):
                fifo.packets.append(Packet(came, size, now, capable, flow))
            came += 1
        else:
            packet = oracle.dequeue(now)
            expected.append(None if packet is None else (packet.number, packet.marked))
    while (packet := oracle.dequeue(now)) is not None:
        expected.append((packet.number, packet.marked))
    assert walk(CoDelQueue(limit, discipline), moves) == expected


class FqOracle:
    """RFC 8290 section 4, over lists."""

    def __init__(self, limit: QueueLimit, discipline: FqCoDel, bucket: dict[bytes, int]) -> None:
        self.limit, self.quantum, self.bucket = limit, discipline.quantum_bytes, bucket
        self.queues = {
            number: CodelOracle(Fifo(), discipline.target_ns, discipline.interval_ns, discipline.ecn)
            for number in dict.fromkeys(bucket.values())
        }
        self.credits = dict.fromkeys(self.queues, 0)
        self.new: list[int] = []
        self.old: list[int] = []
        self.seen: list[int] = []

    def enqueue(self, packet: Packet) -> None:
        number = self.bucket[packet.flow]
        if number not in self.seen:
            self.seen.append(number)
        self.queues[number].queue.packets.append(packet)
        if number not in self.new + self.old:
            self.new.append(number)
            self.credits[number] = self.quantum
        fifos = {each: self.queues[each].queue for each in self.seen}
        while not fits(
            self.limit, sum(len(each.packets) for each in fifos.values()), sum(map(Fifo.size, fifos.values()))
        ):
            longest = max(self.seen, key=lambda each: fifos[each].size())
            del fifos[longest].packets[: max(1, min(64, len(fifos[longest].packets) // 2))]

    def dequeue(self, now: int) -> Packet | None:
        while self.new or self.old:
            from_new = bool(self.new)
            number = (self.new or self.old).pop(0)
            if self.credits[number] <= 0:
                self.credits[number] += self.quantum
                self.old.append(number)
                continue
            packet = self.queues[number].dequeue(now)
            if packet is None:
                if from_new:
                    self.old.append(number)
                continue
            self.credits[number] -= packet.size
            (self.new if from_new else self.old).insert(0, number)
            return packet
        return None


fq_codels = st.builds(
    FqCoDel,
    st.integers(1, 5 * MS),
    st.integers(1, 20 * MS),
    st.sampled_from([1, 2, 1024]),
    st.sampled_from([300, 1514, 6000]),
    st.booleans(),
)


@examples
@given(fq_codels, queue_limits, steps, seeds)
def test_fq_codel_serves_drops_and_marks_what_the_rfc_describes(
    discipline: FqCoDel, limit: QueueLimit, moves: list[Move], seed: int
) -> None:
    queue = FqCoDelQueue(limit, discipline, seed)
    oracle = FqOracle(limit, discipline, {flow: queue.bucket(flow) for flow in (b"a", b"b", b"c", b"d")})
    expected: Result = []
    now = came = 0
    for is_arrival, gap, size, capable, flow in moves:
        now += gap
        if is_arrival:
            oracle.enqueue(Packet(came, size, now, capable, flow))
            came += 1
        else:
            packet = oracle.dequeue(now)
            expected.append(None if packet is None else (packet.number, packet.marked))
    while (packet := oracle.dequeue(now)) is not None:
        expected.append((packet.number, packet.marked))
    assert walk(queue, moves) == expected


class PieOracle:
    """RFC 8033 appendix A with its timer, and section 5.1 for ECN; ``draws`` are its calls of random(), one for each
    arrival."""

    def __init__(self, rules: Pie, draws: Iterator[float]) -> None:
        self.rules, self.draws, self.queue = rules, draws, Fifo()
        self.drop_prob, self.burst_allowance = 0.0, rules.burst_ns
        self.current_qdelay = self.qdelay_old = 0
        self.timer = rules.update_ns

    def run_timer(self, now: int) -> None:
        while self.timer <= now:
            self.timer += self.rules.update_ns
            self.calculate_drop_prob()

    def calculate_drop_prob(self) -> None:
        current, old = self.current_qdelay, self.qdelay_old
        p = (0.125 * (current - self.rules.target_ns) + 1.25 * (current - old)) / 1e9
        if self.drop_prob < 0.000001:
            p /= 2048
        elif self.drop_prob < 0.00001:
            p /= 512
        elif self.drop_prob < 0.0001:
            p /= 128
        elif self.drop_prob < 0.001:
            p /= 32
        elif self.drop_prob < 0.01:
            p /= 8
        elif self.drop_prob < 0.1:
            p /= 2
        if self.drop_prob >= 0.1 and p > 0.02:
            p = 0.02
        self.drop_prob += p
        if current == 0 and old == 0:
            self.drop_prob *= 0.98
        self.drop_prob = min(max(self.drop_prob, 0.0), 1.0)
        self.qdelay_old = current
        self.burst_allowance = max(0, self.burst_allowance - self.rules.update_ns)

    def drop_early(self, draw: float) -> bool:
        if self.qdelay_old < self.rules.target_ns // 2 and self.drop_prob < 0.2:
            return False
        if self.queue.size() <= 2 * MTU:
            return False
        return draw < self.drop_prob

    def enqueue(self, packet: Packet, limit: QueueLimit) -> None:
        draw = next(self.draws)
        if not fits(limit, len(self.queue.packets) + 1, self.queue.size() + packet.size):
            return
        half = self.rules.target_ns // 2
        if self.drop_prob == 0 and self.current_qdelay < half and self.qdelay_old < half:
            self.burst_allowance = self.rules.burst_ns
        if self.burst_allowance == 0 and self.drop_early(draw):
            if not (self.rules.ecn and packet.capable) or self.drop_prob > 0.1:
                return
            packet.marked = True
        self.queue.packets.append(packet)

    def dequeue(self, now: int) -> Packet | None:
        if not self.queue.packets:
            return None
        packet = self.queue.packets.pop(0)
        self.current_qdelay = now - packet.stamp if self.queue.packets else 0
        return packet


pies = st.builds(
    Pie, st.integers(1, 10 * MS), st.integers(MS, 10 * MS), st.sampled_from([0, 10 * MS, 100 * MS]), st.booleans()
)


@examples
@given(pies, queue_limits, steps, seeds)
def test_pie_drops_and_marks_what_the_rfcs_pseudocode_does(
    discipline: Pie, limit: QueueLimit, moves: list[Move], seed: int
) -> None:
    oracle = PieOracle(discipline, draws_of(seed))
    expected: Result = []
    now = came = 0
    for is_arrival, gap, size, capable, flow in moves:
        now += gap
        oracle.run_timer(now)
        if is_arrival:
            oracle.enqueue(Packet(came, size, now, capable, flow), limit)
            came += 1
        else:
            packet = oracle.dequeue(now)
            expected.append(None if packet is None else (packet.number, packet.marked))
    while (packet := oracle.dequeue(now)) is not None:
        expected.append((packet.number, packet.marked))
    assert walk(PieQueue(limit, discipline, random.Random(seed)), moves) == expected


def test_pie_forgets_over_a_long_silence_as_if_it_had_been_updated_all_the_time() -> None:
    discipline, limit = Pie(target_ns=MS, burst_ns=0), QueueLimit(packets=10_000)
    queue, oracle = PieQueue(limit, discipline, random.Random(1)), PieOracle(discipline, draws_of(1))
    now = 0
    for silence_ns in (0, 3 * MS, 200 * MS, 2_000 * MS, 10**12):
        now += silence_ns
        for number in range(200):
            now += MS
            oracle.run_timer(now)
            oracle.enqueue(Packet(number, 1514, now, False, b""), limit)
            queue.enqueue(Waiting(number, 1514, now, False, b""), now)
            assert queue.probability == oracle.drop_prob
            if number % 2:
                oracle.dequeue(now)
                queue.dequeue(now)
        assert queue.waiting_packets == len(oracle.queue.packets) > 0
        assert queue.probability > 0
        while queue.waiting_packets:
            now += 100_000
            oracle.run_timer(now)
            queue.dequeue(now)
            oracle.dequeue(now)


def test_pie_raises_a_high_probability_by_two_percent_at_most() -> None:
    discipline, limit = Pie(target_ns=MS, update_ns=10 * MS, burst_ns=0), QueueLimit(packets=10_000)
    queue, oracle = PieQueue(limit, discipline, random.Random(1)), PieOracle(discipline, draws_of(1))
    for number in range(300):
        oracle.enqueue(Packet(number, 1514, 0, False, b""), limit)
        queue.enqueue(Waiting(number, 1514, 0, False, b""), 0)
    steps = []
    for number in range(1, 250):
        before = queue.probability
        oracle.run_timer(number * 10 * MS)
        assert queue.dequeue(number * 10 * MS) is not None
        oracle.dequeue(number * 10 * MS)
        assert queue.probability == oracle.drop_prob
        steps += [queue.probability - before] if 0.1 <= before < 0.9 else []
    assert len(steps) > 30
    assert max(steps) < 0.0201


def draws_of(seed: int) -> Iterator[float]:
    return iter(random.Random(seed).random, None)  # type: ignore[arg-type]


class RedOracle:
    """Figure 2 of the paper, "gentle", and ECN between the thresholds."""

    def __init__(self, rules: Red, draws: Iterator[float]) -> None:
        self.rules, self.draws, self.queue = rules, draws, Fifo()
        self.avg, self.count = 0.0, -1

    def enqueue(self, packet: Packet, limit: QueueLimit) -> None:
        rules, draw = self.rules, next(self.draws)
        q = len(self.queue.packets) if rules.unit == "packets" else self.queue.size()
        self.avg = (1 - rules.weight) * self.avg + rules.weight * q
        chosen = False
        if self.avg < rules.minimum:
            self.count = -1
        else:
            self.count += 1
            if self.avg < rules.maximum:
                p_b = rules.probability * (self.avg - rules.minimum) / (rules.maximum - rules.minimum)
            else:
                p_b = rules.probability + (1 - rules.probability) * (self.avg - rules.maximum) / rules.maximum
            p_a = p_b / (1 - self.count * p_b) if self.count * p_b < 1 else 1.0
            chosen = draw < p_a or self.avg >= 2 * rules.maximum
            if chosen:
                self.count = 0
        may_mark = rules.ecn and packet.capable and self.avg < rules.maximum
        if not fits(limit, len(self.queue.packets) + 1, self.queue.size() + packet.size) or (chosen and not may_mark):
            return
        packet.marked = chosen
        self.queue.packets.append(packet)

    def idle(self, frames: float) -> None:
        self.avg *= (1 - self.rules.weight) ** frames


reds = st.one_of(
    st.builds(
        Red,
        st.integers(1, 10),
        st.integers(11, 25),
        st.sampled_from([0.02, 0.5, 1.0]),
        st.sampled_from([0.05, 0.5, 1.0]),
        ecn=st.booleans(),
    ),
    st.builds(
        Red,
        st.integers(1, 9000),
        st.integers(9001, 30_000),
        st.just(0.3),
        st.just(0.3),
        st.just("bytes"),
        st.booleans(),
    ),
)


@examples
@given(reds, queue_limits, steps, seeds)
def test_red_drops_and_marks_what_the_papers_algorithm_does(
    discipline: Red, limit: QueueLimit, moves: list[Move], seed: int
) -> None:
    queue, oracle = RedQueue(limit, discipline, random.Random(seed)), RedOracle(discipline, draws_of(seed))
    now = came = 0
    for is_arrival, gap, size, capable, flow in moves:
        now += gap
        if is_arrival:
            if not oracle.queue.packets and gap > MS:
                queue.was_idle(gap, MS)
                oracle.idle(gap / MS)
            oracle.enqueue(Packet(came, size, now, capable, flow), limit)
            queue.enqueue(Waiting(came, size, now, capable, flow), now)
            assert math.isclose(queue.average, oracle.avg, rel_tol=1e-9, abs_tol=1e-9)
            came += 1
        else:
            item = queue.dequeue(now)
            packet = oracle.queue.packets.pop(0) if oracle.queue.packets else None
            assert (item and (item.packet, item.is_marked)) == (packet and (packet.number, packet.marked))
    assert queue.waiting_packets == len(oracle.queue.packets)


# --- the seam ---


def tail_drop(profile: LinkProfile, steps: Sequence[Change], seed: int) -> ManagedDirection:
    """A managed direction whose queue drops from the tail, as the plain model's does."""
    direction = ManagedDirection(profile, steps, seed)
    assert type(direction.queue) is Queue
    return direction


def deliver(direction: ManagedDirection, packets: Sequence[tuple[int, int]], prompt: bool) -> dict[int, list[Delivery]]:
    """Number of the packet -> what came out of it; ``prompt``: served at each due time, else at arrivals only."""
    came: list[Waiting] = []
    for number, (size, now) in enumerate(packets):
        while prompt and (due := direction.next_timeout()) <= now:
            came += direction.handle_timeout(due)
        came += direction.arrives_managed(number, size, False, b"", now)
    while (due := direction.next_timeout()) != NEVER_NS:
        came += direction.handle_timeout(due)
    found: dict[int, list[Delivery]] = {}
    for item in came:
        found.setdefault(item.packet, []).append(
            Delivery(item.release_ns, item.corrupt_at, item.reordered, item.is_copy)
        )
    return found


@examples
@given(profiles, changes, seeds, arrivals, st.booleans())
def test_a_managed_queue_that_drops_from_the_tail_does_what_the_plain_model_does(
    profile: LinkProfile, steps: list[Change], seed: int, packets: list[tuple[int, int]], prompt: bool
) -> None:
    plain, managed = LinkDirection(profile, steps, seed), tail_drop(profile, steps, seed)
    expected: dict[int, list[Delivery]] = {}
    for number, (size, now) in enumerate(packets):
        outcome = plain.arrives(size, now)
        if isinstance(outcome, int):
            expected[number] = [Delivery(outcome)]
        elif not isinstance(outcome, Drop):
            expected[number] = list(outcome)
    assert deliver(managed, packets, prompt) == expected
    assert managed.counters == plain.counters
    assert managed.line.free_ns == plain.line.free_ns
    assert managed.line.busy_since_ns == plain.line.busy_since_ns
