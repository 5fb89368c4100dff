"""T6, T8, T15: small segments at the sender and small windows at the receiver (RFC 9293 §3.7.4, §3.8.6.2)."""

from __future__ import annotations

from itertools import pairwise

import pytest
from tcp_pair import MS, SECOND, Pair, Scripted

from testbed.tcp.parameters import Parameters
from testbed.wire.segment import FIN, PSH


def _plain(**more: object) -> Parameters:
    return Parameters(timestamps=False, **more)  # type: ignore[arg-type]


def test_t6_nagle_holds_a_small_segment_while_data_is_unacknowledged() -> None:
    test = Scripted(_plain()).establish()
    test.tcp.send(b"a", test.now)
    first = test.out()
    test.tcp.send(b"b", test.now)
    test.tcp.send(b"c", test.now)

    assert [s.payload for s in first] == [b"a"]
    assert test.out() == []
    test.peer(ack=2)
    assert [s.payload for s in test.out()] == [b"bc"]


@pytest.mark.parametrize(("minshall", "sizes"), [(True, [1000, 1000, 300]), (False, [1000, 1000])])
def test_t6_the_tail_of_a_write_waits_for_full_segments_only_in_the_classic_form(
    minshall: bool, sizes: list[int]
) -> None:
    test = Scripted(_plain(minshall=minshall)).establish(mss=1000)
    test.tcp.send(bytes(2300), test.now)
    assert [len(s.payload) for s in test.out()] == sizes
    test.tcp.send(b"x", test.now)

    assert test.out() == []  # a second small one is held by either


def test_t6_without_nagle_each_small_segment_leaves_at_once() -> None:
    test = Scripted(_plain(nagle=False)).establish()
    left = []
    for octet in (b"a", b"b", b"c"):
        test.tcp.send(octet, test.now)
        left += test.out()

    assert [s.payload for s in left] == [b"a", b"b", b"c"]


def test_t6_a_full_segment_and_a_last_one_with_fin_are_never_held() -> None:
    test = Scripted(_plain()).establish(mss=1000)
    test.tcp.send(b"x", test.now)
    test.out()
    test.tcp.send(bytes(1001), test.now)
    assert [len(s.payload) for s in test.out()] == [1000]
    test.tcp.close(test.now)

    (last,) = test.out()

    assert len(last.payload) == 1 and last.flags & FIN


def test_t8_the_sender_waits_for_a_worthwhile_window() -> None:
    test = Scripted(_plain()).establish(mss=1000, window=4000)
    test.tcp.send(bytes(10_000), test.now)
    assert sum(len(s.payload) for s in test.out()) == 4000
    test.peer(ack=4001, window=300)

    assert test.out() == []
    test.peer(ack=4001, window=1000)
    assert [len(s.payload) for s in test.out()] == [1000]


def test_t8_half_of_the_largest_window_is_worthwhile_even_below_a_segment() -> None:
    test = Scripted(_plain()).establish(mss=1000, window=600)
    test.tcp.send(bytes(10_000), test.now)

    assert [len(s.payload) for s in test.out()] == [600]


def test_t8_a_small_window_that_stays_is_used_after_the_override_timeout() -> None:
    test = Scripted(_plain()).establish(mss=1000, window=4000)
    test.tcp.send(bytes(10_000), test.now)
    test.out()
    test.peer(ack=4001, window=300)
    test.out()

    left = test.wait(2 * SECOND)

    assert len(left[0].payload) == 300


def test_t8_the_receiver_opens_its_window_by_steps_worth_a_segment() -> None:
    test = Scripted(_plain(receive_buffer=8000, window_scaling=False)).establish(mss=1000)
    for start in range(1, 8001, 1000):
        test.peer(seq=start, payload=bytes(1000), window=1000)
        test.out()
    assert test.tcp.rcv_adv - test.tcp.rcv_nxt == 0
    edges = set()
    while data := test.tcp.receive(100):
        assert len(data) == 100
        test.tcp.ack_now()
        (ack,) = test.out()
        edges.add(test.ack_of(ack) + ack.window)

    steps = sorted(edges)
    assert all(after - before >= 1000 for before, after in pairwise(steps))
    assert steps[-1] == 8001 + 8000


def test_t8_the_peer_is_told_when_a_closed_window_opens() -> None:
    test = Scripted(_plain(receive_buffer=4000, window_scaling=False)).establish(mss=1000)
    for start in range(1, 4001, 1000):
        test.peer(seq=start, payload=bytes(1000))
        last = test.out()
    assert last[-1].window == 0
    test.tcp.receive(500)
    assert test.out() == []
    test.tcp.receive(600)

    (update,) = test.out()

    assert update.window == 1100 and not update.payload


@pytest.mark.parametrize("octets", [1, 5000])
def test_t15_push_is_set_on_the_last_segment_of_what_is_queued(octets: int) -> None:
    test = Scripted(_plain(nagle=False)).establish(mss=1000)
    test.tcp.send(bytes(octets), test.now)
    flags = [bool(s.flags & PSH) for s in test.out()]

    assert flags == [False] * (len(flags) - 1) + [True]


def test_t15_small_sends_are_gathered_into_full_segments() -> None:
    test = Scripted(_plain()).establish(mss=1000)
    for _ in range(300):
        test.tcp.send(b"0123456789", test.now)

    assert [len(s.payload) for s in test.out()] == [1000, 1000, 1000]


def test_t15_several_segments_that_arrive_together_are_acknowledged_together() -> None:
    test = Scripted(_plain()).establish(mss=1000)
    for start in range(1, 8001, 1000):
        test.peer(seq=start, payload=bytes(1000))

    acks = test.out()

    assert [test.ack_of(s) for s in acks] == [8001]


def test_t15_a_user_that_reads_slowly_and_one_that_writes_much_lose_nothing() -> None:
    pair = Pair(Parameters(receive_buffer=20_000, send_buffer=30_000))
    pair.connect()
    pair.reads = False
    data = bytes(range(251)) * 1000
    pair.send_all(pair.client, data, close=True)
    got = bytearray()
    for _ in range(10_000):
        pair.run(until=pair.now + 20 * MS)
        got += pair.server.receive(3000)
        pair.pump()
        if len(got) == len(data):
            break

    assert bytes(got) == data
