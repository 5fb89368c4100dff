"""T16: urgent data, accepted and kept in line (RFC 9293 §3.8.5)."""

from __future__ import annotations

from tcp_pair import Pair, Scripted

from testbed.tcp.parameters import Parameters
from testbed.tcp.state import Event
from testbed.wire.segment import ACK, URG

PLAIN = Parameters(timestamps=False)


def test_t16_the_user_is_told_when_the_pointer_advances_and_how_much_is_left() -> None:
    test = Scripted(PLAIN).establish()
    test.events()
    test.peer(ACK | URG, 1, payload=b"abc", urgent=10)
    assert test.events() == [Event.READABLE, Event.URGENT]
    assert test.tcp.status().urgent == 10
    test.tcp.receive(3)
    assert test.tcp.status().urgent == 7
    test.peer(ACK | URG, 4, payload=b"de", urgent=7)  # the same pointer again
    assert Event.URGENT not in test.events()

    test.peer(ACK | URG, 6, payload=b"f", urgent=100)
    assert Event.URGENT in test.events()


def test_t16_a_pointer_ahead_of_the_data_and_any_length_of_it() -> None:
    test = Scripted(PLAIN).establish()
    test.events()
    test.peer(ACK | URG, 1, urgent=50_000)

    assert test.events() == [Event.URGENT]
    assert test.tcp.status().urgent == 50_000


def test_t16_urgent_data_stays_in_line() -> None:
    test = Scripted(PLAIN).establish()
    test.peer(ACK | URG, 1, payload=b"abc", urgent=2)

    assert test.tcp.receive(10) == b"abc"


def test_t16_the_pointer_sent_names_the_octet_after_the_urgent_data() -> None:
    test = Scripted(PLAIN).establish(mss=1000)
    test.tcp.send(bytes(1500), test.now, urgent=True)
    test.tcp.send(bytes(1000), test.now)
    segments = test.out()

    assert [(bool(s.flags & URG), s.urgent) for s in segments] == [(True, 1500), (True, 500), (False, 0)]


def test_t16_both_ends_agree() -> None:
    pair = Pair().connect()
    pair.client.send(b"attention", pair.now, urgent=True)
    pair.run(until=pair.now + 10**9)

    assert Event.URGENT in pair.events[pair.server]
    assert bytes(pair.received[pair.server]) == b"attention"
