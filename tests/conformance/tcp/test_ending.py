"""T5: ending a connection (RFC 9293 §3.6, §3.10.4, §3.10.5)."""

from __future__ import annotations

import pytest
from tcp_pair import CLIENT, MS, SECOND, SERVER, Pair, Scripted

from testbed.tcp.connection import NotOpen
from testbed.tcp.parameters import Parameters
from testbed.tcp.state import Event, Failure, State
from testbed.wire.options import NOP, Timestamps
from testbed.wire.segment import ACK, FIN, RST, SYN, Segment


def test_t5_an_abort_resets_the_peer_which_is_told() -> None:
    pair = Pair().connect()
    pair.client.abort(pair.now)
    pair.run(until=SECOND)

    assert pair.sent[-1][1].flags & RST
    assert pair.server.state is State.CLOSED and pair.server.error is Failure.RESET
    assert Event.RESET in pair.events[pair.server]
    assert Event.CLOSED in pair.events[pair.client]


def test_t5_the_active_closer_waits_two_msl_and_answers_a_repeated_fin() -> None:
    test = Scripted(Parameters(msl_ns=30 * SECOND)).establish()
    test.tcp.close(test.now)
    test.out()
    test.peer(ack=2)
    assert test.tcp.state is State.FIN_WAIT_2
    test.peer(FIN | ACK, 1, 2)
    assert test.tcp.state is State.TIME_WAIT
    test.out()
    test.wait(50 * SECOND)
    test.peer(FIN | ACK, 1, 2)
    (again,) = test.out()
    assert again.flags == ACK and test.ack_of(again) == 2

    test.wait(59 * SECOND)
    assert test.tcp.state is State.TIME_WAIT
    test.wait(SECOND)
    assert test.tcp.state is State.CLOSED
    assert test.events()[-1] is Event.CLOSED


def test_t5_closing_with_unread_data_resets() -> None:
    test = Scripted().establish()
    test.peer(payload=b"unread")
    test.tcp.close(test.now, reading=False)

    assert [s.flags & RST for s in test.out()] == [RST]
    assert test.tcp.state is State.CLOSED


def test_t5_data_after_a_full_close_resets() -> None:
    test = Scripted().establish()
    test.tcp.close(test.now, reading=False)
    test.out()
    test.peer(payload=b"late", ack=2)

    assert [s.flags & RST for s in test.out()] == [RST]


def test_t5_after_a_half_close_the_peers_data_still_arrives() -> None:
    pair = Pair().connect()
    pair.send_all(pair.client, b"question", close=True)
    pair.run(until=SECOND)
    assert pair.server.state is State.CLOSE_WAIT and pair.client.state is State.FIN_WAIT_2
    answer = bytes(range(250)) * 1000
    pair.send_all(pair.server, answer, close=True)
    pair.run()

    assert bytes(pair.received[pair.client]) == answer
    assert pair.client.state is State.CLOSED and pair.server.state is State.CLOSED
    assert pair.client.error is Failure.NONE and pair.server.error is Failure.NONE


def test_t5_both_close_at_once() -> None:
    pair = Pair().connect()
    pair.client.close(pair.now)
    pair.server.close(pair.now)
    pair.run(until=pair.now + SECOND)

    assert pair.client.state is State.TIME_WAIT and pair.server.state is State.TIME_WAIT


def test_t5_a_fin_ahead_of_a_hole_waits_for_the_data() -> None:
    test = Scripted().establish()
    test.peer(FIN | ACK, 101, payload=b"")
    assert test.tcp.state is State.ESTABLISHED
    test.peer(ACK, 1, payload=bytes(100))

    assert test.tcp.state is State.CLOSE_WAIT
    assert test.ack_of(test.out()[-1]) == 102


def test_t5_a_fin_below_what_has_come_ends_nothing() -> None:
    test = Scripted().establish()
    test.peer(ACK, 1, payload=bytes(100))  # its ACK is delayed
    test.peer(FIN | ACK, 1, payload=bytes(40))
    test.peer(ACK, 101, payload=bytes(100))

    assert test.tcp.state is State.ESTABLISHED
    assert test.tcp.rcv_nxt == 201


def test_t5_what_comes_behind_a_fin_is_not_data() -> None:
    test = Scripted().establish()
    test.peer(FIN | ACK, 101)
    test.peer(ACK, 1, payload=b"d" * 150)

    assert test.tcp.receive(1000) == b"d" * 100
    assert test.tcp.state is State.CLOSE_WAIT


def test_t5_a_user_call_that_comes_too_late_says_so() -> None:
    test = Scripted().establish()
    test.tcp.close(test.now)
    with pytest.raises(NotOpen):
        test.tcp.send(b"x", test.now)
    test.tcp.abort(test.now)
    with pytest.raises(NotOpen):
        test.tcp.send(b"x", test.now)


def test_t5_the_fin_is_sent_again_until_acknowledged() -> None:
    test = Scripted().establish()
    test.tcp.close(test.now)
    fins = test.out() + test.wait(5 * SECOND)

    assert len(fins) >= 3
    assert all(s.flags & FIN and test.seq_of(s) == 1 for s in fins)


def test_t5_a_new_syn_may_take_over_time_wait_only_when_it_is_later() -> None:
    test = Scripted().establish(timestamps=True)
    test.tcp.close(test.now)
    test.out()
    test.peer(FIN | ACK, 1, 2)
    assert test.tcp.state is State.TIME_WAIT

    def syn(seq: int, stamp: int | None) -> Segment:
        options = () if stamp is None else (NOP, NOP, Timestamps(stamp, 0))
        return Segment(SERVER, CLIENT, test.PEER_ISN + seq, 0, SYN, 1000, options)

    assert test.tcp.may_be_reused_by(syn(-5000, test.peer_timestamp + 1), test.now)
    assert not test.tcp.may_be_reused_by(syn(-5000, test.peer_timestamp), test.now)
    assert not test.tcp.may_be_reused_by(syn(9000, test.peer_timestamp - 1), test.now)
    assert test.tcp.may_be_reused_by(syn(9000, None), test.now)
    assert not test.tcp.may_be_reused_by(syn(-9000, None), test.now)


def test_t5_closing_before_the_handshake_ends_sends_what_was_queued() -> None:
    pair = Pair()
    pair.client.open(0)
    pair.client.send(b"early", 0)
    pair.client.close(0)
    pair.run(until=500 * MS)

    assert bytes(pair.received[pair.server]) == b"early"
    assert pair.server.state is State.CLOSE_WAIT


def test_t5_nobody_waits_for_ever_for_a_fin_that_nobody_wants() -> None:
    test = Scripted(Parameters(msl_ns=30 * SECOND, timestamps=False)).establish()
    test.tcp.close(test.now, reading=False)
    test.out()
    test.peer(ack=2)
    assert test.tcp.state is State.FIN_WAIT_2
    test.wait(61 * SECOND)

    assert test.tcp.state is State.CLOSED
