"""T12, T13, T14: R1 and R2, keepalive, ICMP errors (RFC 9293 §3.8.3, §3.8.4, §3.9.2.2)."""

from __future__ import annotations

import pytest
from tcp_pair import MS, SECOND, Pair, Scripted

from testbed.tcp.icmp import Icmp, IcmpKind
from testbed.tcp.parameters import Parameters
from testbed.tcp.state import Event, Failure, State

HOUR = 3600 * SECOND


def test_t12_r1_tells_the_user_and_r2_gives_up() -> None:
    test = Scripted(Parameters(retries=6)).establish(timestamps=True)
    test.events()
    test.tcp.send(b"data", test.now)
    first = test.out()
    test.wait(3 * SECOND)
    assert test.events() == [Event.DATA_TROUBLE]
    more = test.wait(HOUR)

    assert test.events() == [Event.TIMED_OUT, Event.CLOSED]
    assert test.tcp.error is Failure.TIMED_OUT
    assert len([s for s in first + more if s.payload]) <= 1 + 1 + 6  # a tail loss probe, then the retries


def test_t12_r2_is_100_seconds_at_least_by_default() -> None:
    test = Scripted().establish(timestamps=True)
    test.tcp.send(b"data", test.now)
    test.out()
    test.wait(100 * SECOND)

    assert test.tcp.state is State.ESTABLISHED


def test_t12_progress_starts_the_count_anew() -> None:
    test = Scripted(Parameters(retries=4, nagle=False, timestamps=False)).establish()
    for sent in range(1, 30):
        test.tcp.send(b"x", test.now)
        test.out()
        test.wait(2 * SECOND)
        test.peer(ack=sent + 1)

    assert test.tcp.state is State.ESTABLISHED


@pytest.mark.parametrize("window", [0, 65535])
def test_t12_the_user_timeout_aborts_data_that_waits_too_long(window: int) -> None:
    test = Scripted(Parameters(user_timeout_ns=5 * SECOND)).establish(timestamps=True, window=window)
    start = test.now
    test.tcp.send(b"data", test.now)
    test.out()
    test.wait(4 * SECOND)
    assert test.tcp.state is State.ESTABLISHED
    test.wait(2 * SECOND)

    assert test.tcp.state is State.CLOSED and test.tcp.error is Failure.TIMED_OUT
    assert test.now - start == 6 * SECOND


def test_t12_an_idle_connection_has_no_user_timeout() -> None:
    test = Scripted(Parameters(user_timeout_ns=5 * SECOND, timestamps=False)).establish()
    test.tcp.send(b"data", test.now)
    test.out()
    test.peer(ack=5)
    test.wait(HOUR)

    assert test.tcp.state is State.ESTABLISHED


def test_t13_keepalive_is_off_unless_asked_for() -> None:
    pair = Pair().connect()
    before = len(pair.sent)
    pair.run(until=100 * HOUR)

    assert len(pair.sent) == before
    assert Parameters().keepalive_ns is None


def test_t13_an_idle_peer_that_answers_is_kept() -> None:
    pair = Pair(Parameters(keepalive_ns=2 * HOUR)).connect()
    start = len(pair.sent)
    pair.run(until=11 * HOUR)

    assert len(pair.sent) - start >= 10
    assert all(not s.payload for _, s in pair.sent[start:])
    assert pair.client.state is State.ESTABLISHED and pair.server.state is State.ESTABLISHED


def test_t13_a_peer_that_is_gone_is_found_but_one_lost_answer_does_not_kill() -> None:
    test = Scripted(Parameters(keepalive_ns=2 * HOUR, timestamps=False)).establish()
    probes = test.wait(2 * HOUR + 150 * SECOND)
    assert len(probes) >= 2 and {test.seq_of(s) for s in probes} == {0}
    test.peer()
    test.wait(2 * HOUR)
    assert test.tcp.state is State.ESTABLISHED

    test.wait(2 * HOUR + 10 * 75 * SECOND)
    assert test.tcp.state is State.CLOSED and test.tcp.error is Failure.TIMED_OUT


def test_t13_no_keepalive_while_data_is_outstanding() -> None:
    test = Scripted(Parameters(keepalive_ns=SECOND, timestamps=False)).establish()
    test.tcp.send(b"data", test.now)
    test.out()
    left = test.wait(20 * SECOND)

    assert left and all(s.payload for s in left)


@pytest.mark.parametrize("phase", ["syn-sent", "established"])
def test_t14_a_soft_error_is_told_and_aborts_nothing(phase: str) -> None:
    test = Scripted()
    if phase == "established":
        test.establish(timestamps=True)
        test.tcp.send(b"data", test.now)
        (segment,) = test.out()
    else:
        test.tcp.open(0)
        (segment,) = test.out()
    state = test.tcp.state
    test.events()

    test.tcp.icmp_arrives(Icmp(IcmpKind.SOFT, segment.seq), test.now)

    assert test.tcp.state is state
    assert test.events() == [Event.SOFT_ERROR]


def test_t14_a_soft_error_is_the_reason_given_when_the_connection_times_out() -> None:
    test = Scripted()
    test.tcp.open(0)
    (syn,) = test.out()
    test.tcp.icmp_arrives(Icmp(IcmpKind.SOFT, syn.seq), test.now)
    test.wait(HOUR)

    assert test.tcp.state is State.CLOSED and test.tcp.error is Failure.UNREACHABLE


def test_t14_a_hard_error_aborts_the_opening_and_is_soft_afterwards() -> None:
    opening = Scripted()
    opening.tcp.open(0)
    (syn,) = opening.out()
    opening.tcp.icmp_arrives(Icmp(IcmpKind.HARD, syn.seq), 0)
    assert opening.tcp.state is State.CLOSED and opening.tcp.error is Failure.PROTOCOL_UNREACHABLE

    running = Scripted().establish(timestamps=True)
    running.tcp.send(b"x", running.now)
    (segment,) = running.out()
    running.tcp.icmp_arrives(Icmp(IcmpKind.HARD, segment.seq), running.now)
    assert running.tcp.state is State.ESTABLISHED


def test_t14_source_quench_changes_nothing() -> None:
    test = Scripted().establish(timestamps=True)
    test.events()
    test.tcp.send(bytes(3000), test.now)
    segment = test.out()[0]
    cwnd = test.tcp.cwnd
    test.tcp.icmp_arrives(Icmp(IcmpKind.SOURCE_QUENCH, segment.seq), test.now)

    assert test.events() == [] and test.tcp.cwnd == cwnd


def test_t14_an_error_about_nothing_in_flight_is_ignored() -> None:
    test = Scripted()
    test.tcp.open(0)
    test.out()
    test.tcp.icmp_arrives(Icmp(IcmpKind.HARD, (test.isn + 77) & 0xFFFFFFFF), 5 * MS)

    assert test.tcp.state is State.SYN_SENT


def test_t14_a_soft_error_that_has_passed_is_no_reason_any_more() -> None:
    test = Scripted(Parameters(timestamps=False, retries=3)).establish()
    test.tcp.send(b"data", test.now)
    (segment,) = test.out()
    test.tcp.icmp_arrives(Icmp(IcmpKind.SOFT, segment.seq), test.now)
    test.peer(ack=5)
    test.tcp.send(b"more", test.now)
    test.out()
    test.wait(HOUR)

    assert test.tcp.state is State.CLOSED and test.tcp.error is Failure.TIMED_OUT
