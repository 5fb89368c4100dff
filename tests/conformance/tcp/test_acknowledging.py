"""T7, T17, T21, T22 (receiver), T26 (receiver): what is acknowledged, and when (RFC 9293 §3.8.6.3, RFC 5681 §4.2,
RFC 2018, RFC 2883)."""

from __future__ import annotations

import pytest
from tcp_pair import MS, Scripted

from testbed.tcp.parameters import Parameters
from testbed.wire.segment import ACK


def _established(mss: int = 1000, timestamps: bool = False, **more: object) -> Scripted:
    parameters = Parameters(timestamps=timestamps, **more)  # type: ignore[arg-type]
    return Scripted(parameters).establish(mss=mss, timestamps=timestamps)


def test_t7_a_lone_segment_is_acknowledged_after_less_than_half_a_second() -> None:
    test = _established()
    test.peer(payload=bytes(1000))

    assert test.out() == []
    start = test.now
    assert [test.ack_of(s) for s in test.wait(499 * MS)] == [1001]
    assert start < test.now


def test_t7_every_second_full_segment_is_acknowledged_at_once() -> None:
    test = _established()
    acks = []
    for start in range(1, 10_001, 1000):
        test.peer(seq=start, payload=bytes(1000))
        acks += [test.ack_of(s) for s in test.out()]

    assert acks == [2001, 4001, 6001, 8001, 10_001]


def test_t7_of_two_full_segments_one_may_be_shorter_by_its_options() -> None:
    test = _established()
    acks = []
    for start, octets in ((1, 1000), (1001, 988), (1989, 988), (2977, 988)):
        test.peer(seq=start, payload=bytes(octets))
        acks += [test.ack_of(s) for s in test.out()]

    assert acks == [1989, 3965]


def test_t7_data_that_leaves_carries_the_acknowledgment() -> None:
    test = _established()
    test.peer(payload=bytes(1000))
    test.tcp.send(b"answer", test.now)

    (segment,) = test.out()

    assert segment.payload == b"answer" and test.ack_of(segment) == 1001
    assert test.wait(100 * MS) == []


def test_t7_the_delay_can_be_switched_off() -> None:
    test = _established(delayed_ack_ns=0)
    test.peer(payload=b"x")

    assert [test.ack_of(s) for s in test.out()] == [2]


def test_t7_many_small_segments_are_not_acknowledged_one_by_one() -> None:
    test = _established()
    acks = 0
    for start in range(1, 2001, 10):
        test.peer(seq=start, payload=bytes(10))
        acks += len(test.out())

    assert acks <= 2000 // 536


def test_t17_segments_out_of_order_wait_for_the_hole() -> None:
    test = _established()
    for start in (2001, 1001, 4001, 3001):
        test.peer(seq=start, payload=bytes([start // 1000]) * 1000)
    assert test.tcp.receive(10_000) == b""
    test.peer(seq=1, payload=bytes(1000))

    assert test.tcp.receive(10_000) == b"".join(bytes([n]) * 1000 for n in range(5))


def test_t17_the_number_of_waiting_segments_is_bounded_and_what_is_dropped_is_counted() -> None:
    test = _established(out_of_order_limit=10)
    for start in range(101, 6000, 200):
        test.peer(seq=start, payload=bytes(100))

    assert test.tcp.status().out_of_order == 10
    assert test.tcp.counters["TcpExtTCPOFODrop"] == 20


def test_t17_overlapping_segments_give_each_octet_once_and_the_first_copy_wins() -> None:
    test = _established()
    test.peer(seq=101, payload=b"b" * 100)
    test.peer(seq=51, payload=b"a" * 200)
    test.peer(seq=1, payload=b"0" * 300)

    assert test.tcp.receive(1000) == b"0" * 50 + b"a" * 50 + b"b" * 100 + b"a" * 50 + b"0" * 50


def test_t26_a_gap_and_its_filling_are_acknowledged_at_once() -> None:
    test = _established()
    test.peer(seq=1001, payload=bytes(1000))
    assert [test.ack_of(s) for s in test.out()] == [1]
    test.peer(seq=2001, payload=bytes(1000))
    assert [test.ack_of(s) for s in test.out()] == [1]
    test.peer(seq=1, payload=bytes(1000))
    assert [test.ack_of(s) for s in test.out()] == [3001]


def test_t26_without_sack_each_segment_out_of_order_gets_its_own_ack() -> None:
    test = Scripted(Parameters(timestamps=False)).establish(mss=1000, sack=False)
    for start in (1001, 2001, 3001):
        test.peer(seq=start, payload=bytes(1000))

    acks = test.out()

    assert [test.ack_of(s) for s in acks] == [1, 1, 1]
    assert all(s.sack is None for s in acks)


def test_t21_blocks_are_sent_only_if_permitted_the_newest_first_and_recent_ones_repeated() -> None:
    test = _established()
    for start in (1001, 3001, 5001):
        test.peer(seq=start, payload=bytes(1000))
        (ack,) = test.out()

    assert test.sacked(ack) == [(5001, 6001), (3001, 4001), (1001, 2001)]
    test.peer(seq=2001, payload=bytes(1000))
    assert test.sacked(test.out()[0]) == [(1001, 4001), (5001, 6001)]


@pytest.mark.parametrize(("timestamps", "blocks"), [(True, 3), (False, 4)])
def test_t21_as_many_blocks_as_fit(timestamps: bool, blocks: int) -> None:
    test = _established(timestamps=timestamps)
    for start in range(1001, 12_001, 2000):
        test.peer(seq=start, payload=bytes(1000))
        (ack,) = test.out()

    assert len(test.sacked(ack)) == blocks
    assert sum(option.size for option in ack.options) == 40 - (0 if timestamps else 4)


def test_t21_an_ack_without_a_hole_carries_no_block() -> None:
    test = _established()
    test.peer(seq=1001, payload=bytes(1000))
    test.out()
    test.peer(seq=1, payload=bytes(1000))

    assert test.out()[0].sack is None


def test_t22_a_copy_of_what_was_acknowledged_is_reported_first_and_once() -> None:
    test = _established()
    test.peer(seq=1, payload=bytes(2000))
    test.out()
    test.peer(seq=1, payload=bytes(1000))
    (report,) = test.out()
    test.tcp.ack_now()

    assert test.sacked(report) == [(1, 1001)]
    assert test.out()[0].sack is None


def test_t22_a_copy_of_what_waits_is_reported_before_the_block_that_holds_it() -> None:
    test = _established()
    test.peer(seq=1001, payload=bytes(1000))
    test.peer(seq=2001, payload=bytes(1000))
    test.out()
    test.peer(seq=2001, payload=bytes(1000))

    assert test.sacked(test.out()[0]) == [(2001, 3001), (1001, 3001)]


def test_t22_an_overlap_with_the_left_edge_is_reported() -> None:
    test = _established()
    test.peer(seq=1, payload=bytes(1000))
    test.peer(seq=501, payload=bytes(1000))

    assert test.sacked(test.out()[-1]) == [(501, 1001)]
    assert test.tcp.rcv_nxt == 1501


def test_t22_it_can_be_switched_off() -> None:
    test = _established(dsack=False)
    test.peer(seq=1, payload=bytes(2000))
    test.out()
    test.peer(seq=1, payload=bytes(1000))

    (ack,) = test.out()

    assert ack.flags == ACK and ack.sack is None
