"""T3, T4, T12, T18: opening a connection (RFC 9293 §3.5, RFC 6528, RFC 7323 §2)."""

from __future__ import annotations

import pytest
from tcp_pair import CLIENT, MS, SECOND, SERVER, Pair, Scripted, make

from testbed.tcp.isn import initial_sequence_number
from testbed.tcp.parameters import Parameters
from testbed.tcp.state import Event, Failure, State
from testbed.wire.options import WindowScale
from testbed.wire.segment import ACK, FIN, RST, SYN, Segment, SocketAddress


def _shift(segment: Segment) -> int | None:
    return next((option.shift for option in segment.options if isinstance(option, WindowScale)), None)


def test_t3_the_isn_follows_a_clock_of_four_microseconds_that_only_the_secret_explains() -> None:
    def isn(now: int, port: int = 80, secret: bytes = b"a" * 32) -> int:
        return initial_sequence_number(CLIENT, SocketAddress(SERVER.host, port), secret, now)

    assert (isn(4_000_000) - isn(0)) & 0xFFFFFFFF == 1000
    assert (isn(SECOND) - isn(0)) & 0xFFFFFFFF == 250_000
    others = {isn(0, port) for port in range(1, 200)} | {isn(0, 80, bytes([n]) * 32) for n in range(200)}
    assert len(others) > 390


def test_t4_both_open_at_once() -> None:
    a = make(CLIENT, SERVER, isn=100)
    b = make(SERVER, CLIENT, isn=300)
    a.open(0)
    b.open(0)
    (syn_a,), (syn_b,) = a.segments_to_send(0), b.segments_to_send(0)
    a.segment_arrives(syn_b, MS)
    b.segment_arrives(syn_a, MS)
    assert a.state is State.SYN_RECEIVED and b.state is State.SYN_RECEIVED
    answers_a, answers_b = a.segments_to_send(MS), b.segments_to_send(MS)

    for segment in answers_b:
        a.segment_arrives(segment, 2 * MS)
    for segment in answers_a:
        b.segment_arrives(segment, 2 * MS)

    assert [s.flags & (SYN | ACK) for s in answers_a + answers_b] == [SYN | ACK] * 2
    assert a.state is State.ESTABLISHED and b.state is State.ESTABLISHED
    a.send(b"hello", 3 * MS)
    for segment in a.segments_to_send(3 * MS):
        b.segment_arrives(segment, 4 * MS)
    assert b.receive(10) == b"hello"


def test_t4_syn_received_remembers_whether_it_was_passive() -> None:
    passive = make(SERVER, CLIENT)
    client = make(CLIENT, SERVER)
    client.open(0)
    passive.accept_syn(client.segments_to_send(0)[0], 0)
    passive.segments_to_send(0)
    reset = Segment(CLIENT, SERVER, (client.iss + 1) & 0xFFFFFFFF, 0, RST, 0)
    passive.segment_arrives(reset, 1)

    active = Scripted()
    active.tcp.open(0)
    active.out()
    active.peer(SYN, 0, timestamps=True)
    active.out()
    active.peer(RST, 1)

    assert passive.state is State.CLOSED and passive.error is Failure.RESET and passive.passive
    assert active.tcp.state is State.CLOSED and active.tcp.error is Failure.REFUSED and not active.tcp.passive


def test_t4_a_lost_syn_ack_and_a_lost_third_ack_are_repaired() -> None:
    lost = {"syn-ack": 1, "ack": 1}

    def fate(segment: Segment, now: int) -> list[int]:
        kind = "syn-ack" if segment.flags & SYN and segment.flags & ACK else "ack" if segment.flags == ACK else ""
        if lost.get(kind):
            lost[kind] -= 1
            return []
        return [10 * MS]

    pair = Pair(fate=fate)
    pair.client.open(0)
    pair.run(until=10 * SECOND)

    assert pair.client.state is State.ESTABLISHED and pair.server.state is State.ESTABLISHED


@pytest.mark.parametrize("ack", [0, 2, 1 << 31])
def test_t4_an_ack_of_what_was_never_sent_is_answered_with_a_reset(ack: int) -> None:
    test = Scripted()
    test.tcp.open(0)
    test.out()

    assert not test.peer(SYN | ACK, 0, ack)
    (reset,) = test.out()

    assert reset.flags & RST and test.seq_of(reset) == ack
    assert test.tcp.state is State.SYN_SENT


def test_t4_refused_is_told_and_a_blind_reset_is_ignored() -> None:
    test = Scripted()
    test.tcp.open(0)
    test.out()
    assert not test.peer(RST, 0)
    assert test.tcp.state is State.SYN_SENT

    test.peer(RST | ACK, 0, 1)

    assert test.events() == [Event.RESET, Event.CLOSED]
    assert test.tcp.error is Failure.REFUSED


def test_t12_a_syn_is_retried_with_growing_waits_and_then_given_up() -> None:
    test = Scripted()
    test.tcp.open(0)
    syns = test.out() + test.wait(1000 * SECOND)

    assert test.tcp.state is State.CLOSED and test.tcp.error is Failure.TIMED_OUT
    assert len(syns) == 8 and all(s.flags & SYN for s in syns)


def test_t12_the_time_until_a_syn_is_given_up_is_above_three_minutes() -> None:
    test = Scripted()
    test.tcp.open(0)
    test.out()
    test.wait(180 * SECOND)

    assert test.tcp.state is State.SYN_SENT


def test_t18_the_scale_is_offered_on_syns_alone_and_their_window_is_not_scaled() -> None:
    pair = Pair(Parameters(receive_buffer=4 << 20)).connect()
    pair.send_all(pair.client, bytes(100_000))
    pair.run(until=SECOND)

    syns = [s for _, s in pair.sent if s.flags & SYN]
    assert [_shift(s) for s in syns] == [7, 7]
    assert [s.window for s in syns] == [65535, 65535]
    assert all(_shift(s) is None for _, s in pair.sent if not s.flags & SYN)
    assert pair.client.snd_wnd > 1 << 20  # later windows are shifted


def test_t18_a_shift_above_14_is_taken_as_14() -> None:
    test = Scripted().establish(shift=15)
    test.peer(window=3)

    assert test.tcp.snd_shift == 14
    assert test.tcp.snd_wnd == 3 << 14


def test_t18_without_the_peers_option_neither_side_scales() -> None:
    test = Scripted().establish(shift=None)
    test.peer(window=1000)
    test.tcp.send(b"x", test.now)

    assert test.tcp.snd_wnd == 1000
    assert test.out()[0].window == 65535


def test_t18_a_syn_ack_offers_no_scale_when_the_syn_did_not() -> None:
    server = make(SERVER, CLIENT)
    server.accept_syn(Segment(CLIENT, SERVER, 9, 0, SYN, 1000), 0)

    (answer,) = server.segments_to_send(0)

    assert _shift(answer) is None
    assert answer.timestamps is None


def test_t18_the_largest_offer_is_14() -> None:
    test = Scripted(Parameters(receive_buffer=1 << 40))
    test.tcp.open(0)

    assert _shift(test.out()[0]) == 14


def test_t4_data_and_fin_may_follow_in_the_third_segment() -> None:
    server = make(SERVER, CLIENT, isn=50)
    server.accept_syn(Segment(CLIENT, SERVER, 9, 0, SYN, 1000), 0)
    server.segments_to_send(0)

    server.segment_arrives(Segment(CLIENT, SERVER, 10, 51, ACK | FIN, 1000, (), b"all"), MS)

    assert server.state is State.CLOSE_WAIT
    assert server.receive(10) == b"all"
