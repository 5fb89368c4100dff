"""T32: ECN (RFC 3168) and Fast Open (RFC 7413); PRR and F-RTO are loss recovery's."""

from __future__ import annotations

from tcp_pair import CLIENT, MS, SECOND, SERVER, Fate, Pair, Scripted, make

from testbed.tcp.fast_open import FastOpen
from testbed.tcp.parameters import Parameters
from testbed.tcp.state import State
from testbed.wire.options import FastOpen as FastOpenOption
from testbed.wire.segment import ACK, CWR, ECE, ECN_CE, ECN_ECT0, ECN_NOT_ECT, RST, SYN, Segment

ECN = Parameters(ecn=True, timestamps=False)
TFO = Parameters(fast_open=True)


def test_t32_ecn_is_negotiated_on_the_syns_and_only_data_is_marked() -> None:
    pair = Pair(ECN).connect()
    pair.send_all(pair.client, bytes(20_000))
    pair.run(until=SECOND)

    syn, syn_ack = (s for _, s in pair.sent if s.flags & SYN)
    assert syn.flags == SYN | ECE | CWR
    assert syn_ack.flags == SYN | ACK | ECE
    assert all(s.ecn == (ECN_ECT0 if s.payload else ECN_NOT_ECT) for _, s in pair.sent)


def test_t32_without_an_agreement_nothing_is_marked() -> None:
    for client, server in ((True, False), (False, True)):
        pair = Pair(Parameters(ecn=client), Parameters(ecn=server)).connect()
        pair.send_all(pair.client, bytes(20_000))
        pair.run(until=SECOND)

        assert all(s.ecn == ECN_NOT_ECT for _, s in pair.sent)


def test_t32_congestion_experienced_is_echoed_until_the_peer_has_reduced_its_window() -> None:
    test = Scripted(ECN)
    test.tcp.open(0)
    test.out()
    test.peer(SYN | ACK | ECE, 0, 1)
    test.out()
    test.peer(payload=bytes(1000), ecn=ECN_CE)
    (first,) = test.out()
    test.peer(seq=1001, payload=bytes(2000), ecn=ECN_ECT0)
    (second,) = test.out()
    test.peer(ACK | CWR, 3001, payload=bytes(2000), ecn=ECN_ECT0)
    (third,) = test.out()

    assert [bool(s.flags & ECE) for s in (first, second, third)] == [True, True, False]


def test_t32_an_echo_halves_the_window_once_per_round_trip_and_cwr_says_so() -> None:
    test = Scripted(ECN)
    test.tcp.open(0)
    test.out()
    test.peer(SYN | ACK | ECE, 0, 1)
    test.out()
    test.tcp.send(bytes(60_000), test.now)
    sent = test.out()
    cwnd = test.tcp.cwnd
    end = test.tcp.snd_nxt
    for number in (1, 2, 3):
        test.peer(ACK | ECE, ack=1 + number * len(sent[0].payload))
    reduced = test.tcp.cwnd
    test.peer(ACK | ECE, ack=end)  # CWR rides behind it
    later = test.out()

    assert cwnd // 2 <= reduced < cwnd
    assert test.tcp.cwnd == reduced
    assert later[0].flags & CWR
    assert not any(s.flags & CWR for s in later[1:])


def test_t32_a_lost_ecn_syn_is_retried_without() -> None:
    def fate(segment: Segment, now: int) -> list[int]:
        return [] if segment.flags & SYN and segment.flags & ECE and not segment.flags & ACK else [10 * MS]

    pair = Pair(ECN, fate=fate)
    pair.client.open(0)
    pair.run(until=10 * SECOND)

    assert pair.client.state is State.ESTABLISHED
    assert not pair.client.ecn.on and not pair.server.ecn.on


def _fast_open_pair(client: FastOpen, server: FastOpen, fate: Fate | None = None) -> Pair:
    return Pair(TFO, client_fast_open=client, server_fast_open=server, fate=fate)


def _with_cookie() -> tuple[FastOpen, FastOpen]:
    client, server = FastOpen(b"c" * 32), FastOpen(b"s" * 32)
    pair = _fast_open_pair(client, server)
    pair.client.open(0)
    pair.run(until=SECOND)
    assert client.known(pair.server.local.host) is not None
    return client, server


def test_t32_fast_open_asks_for_a_cookie_first() -> None:
    client, server = FastOpen(b"c" * 32), FastOpen(b"s" * 32)
    pair = _fast_open_pair(client, server)
    pair.client.send(b"early data", 0)
    pair.client.open(0)
    pair.run(until=SECOND)

    syn, syn_ack = (s for _, s in pair.sent if s.flags & SYN)
    assert [o.cookie for o in syn.options if isinstance(o, FastOpenOption)] == [b""]
    assert [o.cookie for o in syn_ack.options if isinstance(o, FastOpenOption)] == [server.cookie_for(CLIENT.host)]
    assert not syn.payload
    assert bytes(pair.received[pair.server]) == b"early data"


def test_t32_with_a_cookie_data_in_the_syn_is_delivered_and_answered_at_once() -> None:
    client, server = _with_cookie()
    pair = _fast_open_pair(client, server)
    pair.client.send(b"question", 0)
    pair.client.open(0)
    pair.run(until=15 * MS)
    assert bytes(pair.received[pair.server]) == b"question"
    assert pair.server.state is State.SYN_RECEIVED
    pair.server.send(b"answer", pair.now)
    pair.run(until=25 * MS)

    assert bytes(pair.received[pair.client]) == b"answer"
    assert pair.client.fast_open.accepted and pair.client.fast_open.syn_data == 8
    assert pair.server.fast_open.syn_data == 8
    pair.run(until=SECOND)
    assert pair.server.state is State.ESTABLISHED and pair.client.snd_una == 9


def test_t32_a_bad_cookie_means_an_ordinary_handshake_and_a_new_cookie() -> None:
    client, _ = _with_cookie()
    server = FastOpen(b"new secret" * 3)
    pair = _fast_open_pair(client, server)
    pair.client.send(b"question", 0)
    pair.client.open(0)
    pair.run(until=SECOND)

    assert bytes(pair.received[pair.server]) == b"question"
    assert pair.client.fast_open.syn_data == 0 and not pair.client.fast_open.accepted
    known = client.known(pair.server.local.host)
    assert known is not None and known[0] == server.cookie_for(CLIENT.host)


def test_t32_a_lost_syn_with_data_is_retried_as_an_ordinary_one() -> None:
    client, server = _with_cookie()

    def fate(segment: Segment, now: int) -> list[int]:
        return [] if segment.flags & SYN and segment.payload else [10 * MS]

    pair = _fast_open_pair(client, server, fate)
    pair.client.send(b"question", 0)
    pair.client.open(0)
    pair.run(until=10 * SECOND)

    assert bytes(pair.received[pair.server]) == b"question"
    again = [s for s in pair.from_client() if s.flags & SYN][1]
    assert not again.payload and not any(isinstance(o, FastOpenOption) for o in again.options)


def test_t32_an_answer_to_the_syn_with_data_is_good_even_after_the_syn_was_retried() -> None:
    client, _ = _with_cookie()
    test = Scripted(TFO, fast_open=client)
    test.tcp.send(b"question", 0)
    test.tcp.open(0)
    (first,) = test.out()
    (again,) = test.wait(1200 * MS)
    assert first.payload == b"question" and not again.payload
    assert test.peer(SYN | ACK, 0, 9, timestamps=True)

    assert test.tcp.state is State.ESTABLISHED
    assert test.tcp.snd_una == 9 and test.tcp.fast_open.accepted


def test_t32_the_number_of_half_open_fast_opens_is_bounded() -> None:
    client, server = _with_cookie()
    server.pending = 256
    pair = _fast_open_pair(client, server)
    pair.client.send(b"question", 0)
    pair.client.open(0)
    pair.run(until=SECOND)

    assert not pair.client.fast_open.accepted
    assert bytes(pair.received[pair.server]) == b"question"
    assert server.pending == 256


def test_t32_a_reset_of_a_half_open_fast_open_makes_room_for_another() -> None:
    server = FastOpen(b"s" * 32)
    tcp = make(SERVER, CLIENT, TFO, fast_open=server)
    cookie = FastOpenOption(server.cookie_for(CLIENT.host))
    tcp.accept_syn(Segment(CLIENT, SERVER, 1000, 0, SYN, 60000, (cookie,), b"data"), 0)
    tcp.segments_to_send(0)
    assert server.pending == 1

    tcp.segment_arrives(Segment(CLIENT, SERVER, 1005, 0, RST, 0), MS)

    assert tcp.state is State.CLOSED
    assert server.pending == 0
