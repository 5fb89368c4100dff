"""T19, T20: timestamps and PAWS (RFC 7323 §3 to §5)."""

from __future__ import annotations

import pytest
from tcp_pair import CLIENT, MS, SECOND, SERVER, Pair, Scripted

from testbed.tcp.isn import timestamp_offset
from testbed.tcp.parameters import Parameters
from testbed.tcp.state import State
from testbed.wire.segment import RST, SYN, SocketAddress

DAY = 86_400 * SECOND


def test_t19_every_segment_carries_the_option_once_negotiated() -> None:
    pair = Pair().connect()
    pair.send_all(pair.client, bytes(50_000), close=True)
    pair.send_all(pair.server, bytes(5_000), close=True)
    pair.run()

    assert len(pair.sent) > 50
    assert all(s.timestamps is not None for _, s in pair.sent)


def test_t19_no_option_unless_both_syns_have_it() -> None:
    for client, server in ((True, False), (False, True)):
        pair = Pair(Parameters(timestamps=client), Parameters(timestamps=server)).connect()
        pair.send_all(pair.client, bytes(5000))
        pair.run(until=SECOND)

        assert [s.timestamps is not None for _, s in pair.sent if not s.flags & SYN].count(True) == 0


def test_t19_a_segment_without_the_option_is_dropped_and_does_not_abort() -> None:
    test = Scripted().establish(timestamps=True)
    accepted = test.peer(payload=b"bare", timestamps=False)

    assert not accepted
    assert test.tcp.receive(10) == b""
    assert test.tcp.state is State.ESTABLISHED
    assert test.peer(payload=b"good") and test.tcp.receive(10) == b"good"


def test_t19_linux_takes_such_a_segment() -> None:
    test = Scripted(Parameters(require_timestamps=False)).establish(timestamps=True)

    assert test.peer(payload=b"bare", timestamps=False)
    assert test.tcp.receive(10) == b"bare"


def test_t19_a_receiver_told_to_be_lenient_takes_it_as_linux_does() -> None:
    test = Scripted(Parameters(require_timestamps=False)).establish(timestamps=True)
    recent = test.tcp.ts_recent

    assert test.peer(payload=b"bare", timestamps=False)
    assert test.tcp.receive(10) == b"bare" and test.tcp.ts_recent == recent


def test_t19_a_reset_without_the_option_is_accepted() -> None:
    test = Scripted().establish(timestamps=True)
    test.peer(RST, 1, timestamps=False)

    assert test.tcp.state is State.CLOSED


def test_t20_the_echo_is_that_of_the_segment_that_advanced_the_window() -> None:
    test = Scripted().establish(timestamps=True)
    test.peer_timestamp = 200
    test.peer(payload=bytes(1000))
    test.peer_timestamp = 201
    test.peer(seq=1001, payload=bytes(1000))
    (ack,) = test.out()
    assert ack.timestamps is not None and ack.timestamps.ecr == 200  # delayed ACK: the earliest unacknowledged

    test.peer_timestamp = 300
    test.peer(seq=3001, payload=bytes(1000))
    (ack,) = test.out()
    assert ack.timestamps is not None and ack.timestamps.ecr == 200  # a segment behind a hole is not echoed
    test.peer_timestamp = 400
    test.peer(seq=2001, payload=bytes(1000))
    (ack,) = test.out()
    assert ack.timestamps is not None and ack.timestamps.ecr == 400  # what fills the hole is


def test_t20_data_that_is_sent_again_after_a_lost_ack_is_echoed_with_its_new_timestamp() -> None:
    test = Scripted().establish(timestamps=True)
    test.peer_timestamp = 200
    test.peer(payload=bytes(2000))
    test.out()  # lost, let us say
    test.peer_timestamp = 12_000
    test.peer(seq=1, payload=bytes(2000))

    (ack,) = test.out()
    assert ack.timestamps is not None and ack.timestamps.ecr == 12_000  # RFC 7323 appendix G (b) 1


@pytest.mark.parametrize(("seq", "ack"), [(1 - (1 << 30), 1), (1, 1 << 30)])
def test_t20_numbers_that_no_retransmission_has_do_not_move_the_echo(seq: int, ack: int) -> None:
    test = Scripted().establish(timestamps=True)
    test.peer_timestamp = 200
    test.peer(payload=bytes(2000))
    test.out()
    test.peer_timestamp = 12_000
    test.peer(seq=seq, ack=ack, payload=bytes(100))
    test.out()
    test.peer_timestamp = 201
    test.peer(seq=2001, payload=bytes(2000))

    (answer,) = test.out()
    assert answer.timestamps is not None and answer.timestamps.ecr == 201
    assert test.tcp.counters["TcpExtPAWSEstab"] == 0


def test_t20_an_old_timestamp_is_dropped_and_acknowledged_before_anything_else_is_looked_at() -> None:
    test = Scripted().establish(timestamps=True)
    test.peer_timestamp = 500
    test.peer(payload=bytes(2000))
    test.out()
    test.peer_timestamp = 499
    assert not test.peer(seq=2001, payload=b"old")
    (ack,) = test.out()

    assert test.ack_of(ack) == 2001
    assert test.tcp.counters["TcpExtPAWSEstab"] == 1


def test_t20_a_reset_is_exempt() -> None:
    test = Scripted().establish(timestamps=True)
    test.peer_timestamp = 500
    test.peer(payload=bytes(2000))
    test.peer_timestamp = 1
    test.peer(RST, 2001, timestamps=True)

    assert test.tcp.state is State.CLOSED


def test_t20_after_24_days_the_old_value_is_not_trusted() -> None:
    test = Scripted().establish(timestamps=True)
    test.peer_timestamp = 500
    test.peer(payload=bytes(2000))
    test.out()
    test.now += 25 * DAY
    test.peer_timestamp = 10

    assert test.peer(seq=2001, payload=b"new")


def test_t20_the_rtt_of_a_retransmission_is_measured_by_its_echo() -> None:
    test = Scripted().establish(timestamps=True)
    test.tcp.send(b"data", test.now)
    test.out()
    due = test.tcp.next_timeout()
    assert due is not None
    (again,) = test.wait(due - test.now)
    assert again.payload == b"data"
    test.now += 50 * MS
    assert test.tcp.srtt == 10 * MS
    test.peer()

    assert test.tcp.srtt == 10 * MS * 7 // 8 + 50 * MS // 8


def test_t20_timestamps_wrap() -> None:
    test = Scripted(Parameters(delayed_ack_ns=0)).establish(timestamps=True)
    test.peer_timestamp = 0x7FFF_0000
    test.peer(payload=b"a")
    test.out()
    test.peer_timestamp = 0xFFFF_FFF0 - 0x1000_0000
    test.peer(seq=2, payload=b"b")
    test.out()
    test.peer_timestamp = 5
    assert test.peer(seq=3, payload=b"c")

    assert test.tcp.receive(10) == b"abc"


def test_t20_all_connections_of_two_hosts_share_a_clock_that_others_cannot_guess() -> None:
    def offset(local: SocketAddress, remote: SocketAddress, secret: bytes = b"a" * 32) -> int:
        return timestamp_offset(local, remote, secret)

    elsewhere = SocketAddress(bytes([10, 0, 0, 3]), SERVER.port)
    assert offset(CLIENT, SERVER) == offset(SocketAddress(CLIENT.host, 1), SERVER)
    assert len({offset(CLIENT, SERVER), offset(CLIENT, elsewhere), offset(CLIENT, SERVER, b"b" * 32)}) == 3
