"""Loss recovery under anything: what is counted agrees with what is marked, and everything arrives."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from recovery_pipe import SMSS, Pipe

from testbed.tcp.cubic import Cubic
from testbed.tcp.parameters import MS, SECOND, Parameters
from testbed.tcp.reno import Reno
from testbed.tcp.sent_queue import Delivery, SentQueue, SentRange

ENDLESS = 1_000_000 * SECOND


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 1 << 32),
    method=st.sampled_from(["rack", "rfc6675", "newreno"]),
    loss=st.sampled_from([0.0, 0.01, 0.1, 0.3]),
    ack_loss=st.sampled_from([0.0, 0.2]),
    duplicate=st.sampled_from([0.0, 0.1]),
    jitter_ns=st.sampled_from([0, 1 * MS, 40 * MS]),
    queue_packets=st.sampled_from([8, 1 << 30]),
    segment=st.sampled_from([400, SMSS, 10 * SMSS]),
    switches=st.tuples(*[st.booleans()] * 5),
)
def test_every_octet_is_acknowledged_and_every_count_is_right(
    seed: int,
    method: str,
    loss: float,
    ack_loss: float,
    duplicate: float,
    jitter_ns: int,
    queue_packets: int,
    segment: int,
    switches: tuple[bool, ...],
) -> None:
    prr, limited_transmit, frto, probe, cubic = switches
    parameters = Parameters(
        recovery=method,  # type: ignore[arg-type]
        prr=prr,
        limited_transmit=limited_transmit,
        frto=frto,
        tail_loss_probe=probe,
    )
    pipe = Pipe(
        Cubic() if cubic else Reno(),
        parameters,
        sack=method != "newreno",
        loss=loss,
        ack_loss=ack_loss,
        duplicate=duplicate,
        jitter_ns=jitter_ns,
        queue_packets=queue_packets,
        segment=segment,
        octets=60_000,
        seed=seed,
    )
    pipe.run(ENDLESS)  # Pipe.check compares counts and marks after every ACK
    assert pipe.delivered == 60_000
    assert pipe.recovery.queue.ranges == []
    assert pipe.recovery.pipe == 0


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.sampled_from("sSlrauf"), st.integers(0, 99), st.integers(1, 40)), max_size=40))
def test_ranges_stay_whole_and_counted_under_any_order_of_events(steps: list[tuple[str, int, int]]) -> None:
    queue = SentQueue()
    for start in range(0, 100, 10):
        queue.ranges.append(SentRange(start, start + 10, start))
    una = 0
    delivery = Delivery()
    for now, (what, at, length) in enumerate(steps, start=1000):
        delivery.clear()
        end = min(at + length, 100)
        if what in "sS" and end > una:
            queue.sack(max(at, una), end, delivery)
            assert delivery.delivered == delivery.sacked
        elif what == "l" and queue.index_of(at) < len(queue.ranges):
            sent = queue.ranges[queue.index_of(at)]
            if not sent.marks & 1:
                queue.mark_lost(sent)
        elif what == "r":
            lost = queue.next_lost(length)
            if lost is not None:
                assert 0 < lost[1] - lost[0] <= length
                queue.retransmit(lost[0], lost[1], now)
        elif what == "a" and at > una:
            queue.acknowledge(at, delivery)
            assert delivery.acked == at - una
            assert delivery.delivered <= delivery.acked
            una = at
        elif what == "u":
            queue.unmark_all_lost()
        elif what == "f":
            queue.forget_sacks()
        _check(queue, una)


def _check(queue: SentQueue, una: int) -> None:
    at = una
    sums = [0, 0, 0, 0]
    for sent in queue.ranges:
        assert sent.start == at < sent.end
        at = sent.end
        octets = sent.end - sent.start
        for index, is_marked in enumerate(
            (sent.marks & 1, sent.marks & 2, sent.marks & 4, sent.marks & 7 == 2)  # SACKED, LOST, RETRANSMITTED
        ):
            sums[index] += octets * bool(is_marked)
    assert at == (100 if queue.ranges else una)
    assert sums == [queue.sacked, queue.lost, queue.retransmitted, queue.waiting]


def test_the_same_seed_sends_the_same_segments() -> None:
    def sizes(seed: int) -> list[tuple[int, int, int, bool]]:
        pipe = Pipe(Cubic(), loss=0.05, jitter_ns=5 * MS, octets=100_000, seed=seed)
        pipe.run(ENDLESS)
        return pipe.sizes

    seed = random.Random(5).randrange(1000)
    assert sizes(seed) == sizes(seed)
    assert sizes(seed) != sizes(seed + 1)
