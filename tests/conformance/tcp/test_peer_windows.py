"""T9, T10: a window that shrinks, and one that is closed (RFC 9293 §3.8.6, §3.8.6.1)."""

from __future__ import annotations

from itertools import pairwise

from tcp_pair import MS, SECOND, Pair, Scripted

from testbed.tcp.parameters import Parameters
from testbed.tcp.state import State
from testbed.wire.segment import ACK, RST, URG

PLAIN = Parameters(timestamps=False)


def test_t9_a_shrunken_window_stops_new_data_but_not_retransmission() -> None:
    test = Scripted(PLAIN).establish(mss=1000, window=8000)
    test.tcp.send(bytes(20_000), test.now)
    assert sum(len(s.payload) for s in test.out()) == 8000

    test.now += 10 * MS
    test.peer(ack=1001, window=2000)  # the right edge goes back from 8001 to 3001
    assert test.out() == []
    again = test.wait(SECOND)

    assert again and all(test.seq_of(s) < 8001 for s in again)
    assert test.seq_of(again[0]) in (1001, 7001)
    test.peer(ack=8001, window=8000)
    assert test.seq_of(test.out()[0]) == 8001


def test_t9_data_beyond_a_right_edge_that_moved_back_does_not_time_the_connection_out() -> None:
    test = Scripted(Parameters(timestamps=False, retries=3)).establish(mss=1000, window=8000)
    test.tcp.send(bytes(8000), test.now)
    test.out()
    for _ in range(40):
        test.peer(ack=1, window=0)
        test.wait(20 * SECOND)

    assert test.tcp.state is State.ESTABLISHED


def test_t9_our_own_window_never_shrinks() -> None:
    test = Scripted(Parameters(timestamps=False, receive_buffer=100_000)).establish(mss=1000)
    edge = 0
    start = 1
    for octets in [10, 999, 1000, 3, 500] * 12:
        test.peer(seq=start, payload=bytes(octets))
        start += octets
        test.tcp.ack_now()
        for segment in test.out():
            now = test.ack_of(segment) + (segment.window << test.tcp.rcv_shift)
            assert now >= edge
            edge = now
        if start % 3 == 0:
            test.tcp.receive(700)


def test_t10_a_closed_window_is_probed_with_growing_waits_for_ever() -> None:
    test = Scripted(PLAIN).establish(window=0)
    test.tcp.send(b"data", test.now)
    assert test.out() == []
    times: list[int] = []
    while test.now < 3600 * SECOND:
        due = test.tcp.next_timeout()
        assert due is not None
        for segment in test.wait(due - test.now):
            times.append(test.now)
            assert test.seq_of(segment) == 1 and segment.payload == b"d"
            test.peer(ack=1, window=0)

    waits = [after - before for before, after in pairwise(times)]
    assert waits == sorted(waits)
    assert waits[-1] == 120 * SECOND and waits[1] == 2 * waits[0]
    assert test.tcp.state is State.ESTABLISHED


def test_t10_the_probes_octet_counts_once_the_peer_has_taken_it() -> None:
    test = Scripted(PLAIN).establish(window=0)
    test.tcp.send(b"data", test.now)
    test.out()
    test.wait(5 * SECOND)
    test.peer(ack=2, window=1000)

    assert [(test.seq_of(s), s.payload) for s in test.out()] == [(2, b"ata")]
    assert test.tcp.snd_una == 2


def test_t10_an_opening_window_ends_the_probing() -> None:
    test = Scripted(PLAIN).establish(window=0)
    test.tcp.send(b"data", test.now)
    test.out()
    test.peer(ack=1, window=1000)

    assert [s.payload for s in test.out()] == [b"data"]


def test_t10_reset_ack_and_urgent_are_processed_at_a_zero_window() -> None:
    def closed() -> Scripted:
        test = Scripted(Parameters(timestamps=False, receive_buffer=1000, window_scaling=False)).establish()
        test.tcp.send(b"x", test.now)
        test.out()
        test.peer(seq=1, ack=1, payload=bytes(1000))
        test.out()
        assert test.tcp.rcv_adv == test.tcp.rcv_nxt == 1001
        return test

    acked = closed()
    acked.peer(seq=1001, ack=2, payload=b"more")
    assert acked.tcp.snd_una == 2 and acked.tcp.rcv_nxt == 1001
    assert acked.ack_of(acked.out()[-1]) == 1001
    reset = closed()
    reset.peer(RST, 1001)
    assert reset.tcp.state is State.CLOSED
    urgent = closed()
    urgent.peer(ACK | URG, 1001, urgent=10)
    assert urgent.tcp.rcv_up == 1011


def test_t10_a_receiver_that_sleeps_long_gets_everything_in_the_end() -> None:
    pair = Pair(Parameters(receive_buffer=5000)).connect()
    pair.reads = False
    data = bytes(range(256)) * 100
    pair.send_all(pair.client, data, close=True)
    pair.run(until=600 * SECOND)
    assert pair.server.queue.unread >= 4000
    pair.reads = True
    pair.received[pair.server] += pair.server.receive(1 << 20)
    pair.run(until=1200 * SECOND)

    assert bytes(pair.received[pair.server]) == data
