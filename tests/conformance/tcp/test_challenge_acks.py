"""T30: what a blind attacker's segments get (RFC 5961)."""

from __future__ import annotations

import pytest
from tcp_pair import SECOND, Scripted

from testbed.tcp.parameters import Parameters
from testbed.tcp.state import State
from testbed.wire.segment import ACK, RST, SYN

PLAIN = Parameters(timestamps=False)


def test_t30_only_the_exact_number_resets() -> None:
    test = Scripted(PLAIN).establish()
    assert not test.peer(RST, 2)
    assert [s.flags for s in test.out()] == [ACK]
    assert not test.peer(RST, 0)
    assert not test.peer(RST, 10_000_000)
    assert test.out() == []
    assert test.tcp.state is State.ESTABLISHED

    assert test.peer(RST, 1)
    assert test.tcp.state is State.CLOSED


@pytest.mark.parametrize("seq", [0, 1, 500, 20_000_000])
def test_t30_a_syn_is_challenged_wherever_it_lies(seq: int) -> None:
    test = Scripted(PLAIN).establish()
    assert not test.peer(SYN, seq)

    (challenge,) = test.out()

    assert challenge.flags == ACK and test.ack_of(challenge) == 1
    assert test.tcp.state is State.ESTABLISHED


def test_t30_an_ack_outside_the_range_is_challenged_and_its_data_dropped() -> None:
    test = Scripted(PLAIN).establish(window=1000)
    assert not test.peer(ack=2, payload=b"data")
    assert [s.flags for s in test.out()] == [ACK]
    assert not test.peer(ack=1 - 2000, payload=b"data")
    assert test.tcp.receive(10) == b""

    assert test.peer(ack=1 - 500, payload=b"data")  # old, but within the largest window ever offered
    assert test.tcp.receive(10) == b"data"


@pytest.mark.parametrize("seq", [5, 20_000_000])
def test_t30_challenges_are_throttled(seq: int) -> None:
    test = Scripted(PLAIN).establish()
    answers = 0
    for _ in range(1000):
        test.peer(SYN, seq)
        answers += len(test.out())
    assert answers == 10
    test.now += 5 * SECOND
    test.peer(SYN, seq)

    assert len(test.out()) == 1


def test_t30_two_ends_out_of_step_do_not_acknowledge_each_other_for_ever() -> None:
    a, b = Scripted(PLAIN).establish(), Scripted(PLAIN).establish()
    a.peer(seq=500_000)
    exchanged = 0
    for _ in range(200):
        for source, sink in ((a, b), (b, a)):
            for _segment in source.out():
                exchanged += 1
                sink.peer(seq=500_000)

    assert exchanged <= 20
