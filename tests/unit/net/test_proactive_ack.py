"""The proxy that acknowledges early: what it says in the receiver's name, what it keeps, when it repeats."""

from __future__ import annotations

import dataclasses

import pytest

from testbed.net.middlebox import BACKWARD, FORWARD, Chain, changed
from testbed.wire.codec import decode, encode
from testbed.wire.options import NOP, Dss, MpCapable, Option, Sack, Timestamps, WindowScale
from testbed.wire.segment import ACK, ECE, FIN, PSH, RST, SYN, Segment, SocketAddress
from topologies.middlebox import MiddleboxError, parse

M32 = 0xFFFFFFFF
MS = 1_000_000
CLIENT, SERVER = SocketAddress(bytes([10, 0, 1, 1]), 4000), SocketAddress(bytes([10, 0, 2, 2]), 5001)
ISN, PEER_ISN = M32 - 2, 500
FIRST, PEER_FIRST = ISN + 1, PEER_ISN + 1
"""Of the data of client and server."""
SCALE = 2


def stamps(val: int, ecr: int) -> tuple[Option, ...]:
    return (NOP, NOP, Timestamps(val, ecr))


@dataclasses.dataclass
class Conversation:
    """A client that sends through the proxy to a server."""

    chain: Chain
    now: int = 0

    def client(
        self, at: int, payload: bytes = b"", flags: int = ACK, options: tuple[Option, ...] = ()
    ) -> list[tuple[int, Segment]]:
        return self.comes(Segment(CLIENT, SERVER, (FIRST + at) & M32, PEER_FIRST, flags, 99, options, payload))

    def server(
        self, acked: int, window: int = 1000, options: tuple[Option, ...] = (), payload: bytes = b"", flags: int = ACK
    ) -> list[tuple[int, Segment]]:
        return self.comes(Segment(SERVER, CLIENT, PEER_FIRST, (FIRST + acked) & M32, flags, window, options, payload))

    def comes(self, segment: Segment) -> list[tuple[int, Segment]]:
        left = self.chain.arrives(segment, FORWARD if segment.source == CLIENT else BACKWARD, self.now)
        for _, out in left:
            assert encode(decode(encode(out))) == encode(out)
        return left

    def counts(self, way: int = FORWARD) -> dict[str, int]:
        return {name: count for name, count in self.chain.boxes[0].counters(way).as_dict().items() if count}


def opened(text: str = "proactive-ack", *, mptcp: bool = False, stamped: bool = False) -> Conversation:
    """After the handshake; windows are scaled by ``SCALE``."""
    said = Conversation(Chain(parse(text)))
    more: tuple[Option, ...] = (MpCapable(),) if mptcp else ()
    syn = (*(stamps(10, 0) if stamped else ()), WindowScale(SCALE), NOP, *more)
    said.comes(Segment(CLIENT, SERVER, ISN & M32, 0, SYN, 5000, syn))
    answer = (*(stamps(70, 10) if stamped else ()), WindowScale(SCALE), NOP, *more)
    said.comes(Segment(SERVER, CLIENT, PEER_ISN, FIRST & M32, SYN | ACK, 5000, answer))
    said.client(0, options=stamps(11, 70) if stamped else ())
    return said


def acks(left: list[tuple[int, Segment]]) -> list[tuple[int, int]]:
    """(octets acknowledged, window field) of pure ACKs to the client."""
    return [((out.ack - FIRST) & M32, out.window) for way, out in left if way == BACKWARD and out.flags & ~PSH == ACK]


def repeated(left: list[tuple[int, Segment]]) -> list[bytes]:
    return [out.payload for way, out in left if way == FORWARD]


def test_l2_data_in_order_are_acknowledged_at_once_in_the_receivers_name() -> None:
    said = opened(stamped=True)
    options = (*stamps(12, 70), Dss(dsn=1, ssn=1, length=4))
    ((way, passed), (back, early)) = said.client(0, b"abcd", ACK | PSH, options)
    assert (way, passed.payload, passed.options) == (FORWARD, b"abcd", options)
    assert back == BACKWARD
    assert early == Segment(SERVER, CLIENT, PEER_FIRST, (FIRST + 4) & M32, ACK, 1249, stamps(70, 12))
    assert (5000 - 4) >> SCALE == 1249, "the edge is that of the receiver's SYN-ACK"
    assert said.counts() == {"seen": 3, "matched": 1}
    assert said.counts(BACKWARD) == {"seen": 1, "made": 1}


def test_the_receivers_own_acknowledgement_passes_where_nothing_else_is_outstanding() -> None:
    said = opened()
    said.client(0, b"abcd")
    ack = Segment(SERVER, CLIENT, PEER_FIRST, (FIRST + 4) & M32, ACK, 1000)
    ((_, out),) = said.comes(ack)
    assert out is ack
    assert said.chain.next_timeout() is None


def test_an_older_acknowledgement_of_the_receiver_is_raised_or_dropped() -> None:
    said = opened()
    for at in (0, 4, 8):
        said.client(at, b"abcd")
    assert acks(said.server(4, 2000)) == [(12, 1250 + 748)], "new: the edge has moved"
    assert acks(said.server(8, 1999)) == []
    assert said.counts(BACKWARD)["dropped"] == 1
    out = said.server(8, 1999, payload=b"answer", flags=ACK | PSH)
    assert [(each.payload, (each.ack - FIRST) & M32) for way, each in out if way == BACKWARD] == [(b"answer", 12)]
    assert acks(said.server(8, 1999, (Dss(data_ack=3),))) == [(12, 1998)], "what it cannot read may be needed"
    assert said.server(8, 1999, flags=ACK | ECE)[0][1].flags == ACK | ECE


def test_what_is_acknowledged_early_is_sent_again_after_three_duplicates_and_then_hole_for_hole() -> None:
    said = opened(stamped=True)
    for index in range(4):
        said.client(4 * index, b"%04d" % index, options=stamps(12 + index, 70))
    holes = (*stamps(71, 12), NOP, NOP, Sack((((FIRST + 4) & M32, (FIRST + 8) & M32),)))
    assert [repeated(said.server(0, options=holes)) for _ in range(4)] == [[], [], [b"0000"], []]
    left = said.server(8)
    assert repeated(left) == [b"0002"], "a partial acknowledgement"
    (again,) = [out for way, out in left if way == FORWARD]
    assert again.options == stamps(15, 70), "not older than what the receiver has seen"
    assert repeated(said.server(16)) == []
    assert said.counts(FORWARD)["made"] == 2


def test_what_is_acknowledged_early_is_sent_again_when_the_time_is_over_ever_later() -> None:
    said = opened()
    said.client(0, b"abcd")
    times = []
    while (due_ns := said.chain.next_timeout()) is not None:
        left = said.chain.handle_timeout(due_ns)
        times.append(due_ns // MS)
        assert repeated(left) == ([b"abcd"] if len(times) <= 15 else [])
    assert times[:4] == [1000, 3000, 7000, 15000]
    assert times[-1] - times[-2] == 60_000
    assert len(times) == 16, "then the receiver is not there any more"


def test_the_timer_follows_the_round_trip_and_begins_anew_with_what_is_acknowledged() -> None:
    said = opened()
    for index in range(3):
        said.now = 100 * MS * index
        said.client(4 * index, b"abcd")
        said.now += 80 * MS
        said.server(4 * index + 4)
    said.client(12, b"abcd")
    due_ns = said.chain.next_timeout()
    assert due_ns is not None
    assert 200 * MS <= due_ns - said.now <= 240 * MS


def test_a_loss_halves_what_it_lets_be_under_way_and_nothing_more_is_offered_until_less_is() -> None:
    said = opened("proactive-ack buffer 100000")
    for index in range(8):
        said.client(1000 * index, bytes(1000))
    edge = 1000 + 14600 + 1000
    assert acks(said.server(1000, 60000)) == [(8000, (edge - 8000) >> SCALE)], "RFC 6928, and slow start"
    assert [repeated(said.server(1000, 60000)) for _ in range(3)] == [[], [], [bytes(1000)]]
    said.server(8000, 60000)
    assert acks(said.client(8000, bytes(6000))) == [(14000, (edge - 14000) >> SCALE)]
    assert acks(said.server(10000, 60000)) == [], "3500 and a bit beyond it are less than what was offered"
    ((acked, field),) = acks(said.server(14000, 60000))
    assert acked == 14000
    assert edge < 14000 + (field << SCALE) < 14000 + 7000, "RFC 5681: it grows by a segment a round trip"


def test_no_more_is_offered_than_the_buffer_takes_and_what_does_not_fit_is_not_acknowledged() -> None:
    said = opened("proactive-ack buffer 10")
    assert acks(said.client(0, b"0123")) == [(4, 6 >> SCALE)]
    assert acks(said.client(4, b"4567")) == [(8, 0)]
    assert said.client(8, b"89ab")[0][1].payload == b"89ab"
    assert said.counts(BACKWARD)["made"] == 2
    assert said.counts()["matched"] == 2


def test_what_comes_behind_a_hole_passes_and_is_not_acknowledged_nor_is_fin() -> None:
    said = opened()
    ((way, _),) = said.client(4, b"efgh")
    assert way == FORWARD
    assert acks(said.client(0, b"abcd")) == [(4, 1249)]
    assert acks(said.server(8)) == [(8, 1000)], "the receiver has it"
    assert acks(said.client(8, b"ij", ACK | FIN))[0][0] == 10
    ((_, fin_ack),) = said.server(11)
    assert fin_ack.ack == (FIRST + 11) & M32


def test_what_its_sender_repeats_is_acknowledged_again() -> None:
    said = opened()
    said.client(0, b"abcd")
    left = said.client(0, b"abcd")
    assert repeated(left) == [b"abcd"]
    assert acks(left) == [(4, 1249)]
    said.server(4)
    assert len(said.client(0, b"abcd")) == 1, "the receiver will say so"


def test_only_what_matches_is_acknowledged_with_all_before_it() -> None:
    said = opened("proactive-ack on data every 2")
    assert len(said.client(0, b"abcd")) == 1
    assert acks(said.client(4, b"efgh"))[0][0] == 8
    assert said.counts()["matched"] == 1


def test_with_data_ack_it_waits_for_one_and_then_repeats_the_last() -> None:
    said = opened("proactive-ack with data_ack", mptcp=True)
    assert len(said.client(0, b"abcd")) == 1
    said.server(0, options=(Dss(data_ack=55, dsn=9, ssn=1, length=5),))
    (_, (_, early)) = said.client(4, b"efgh")
    assert early.options == (Dss(data_ack=55),)
    assert (early.ack - FIRST) & M32 == 8
    plain = opened("proactive-ack with data_ack")
    assert len(plain.client(0, b"abcd")) == 2, "no MPTCP: nothing to wait for"


def test_sack_blocks_of_what_was_said_are_left_out() -> None:
    said = opened()
    said.client(0, b"abcdefgh")
    numbers = [(FIRST + at) & M32 for at in range(20)]
    blocks = Sack(((numbers[2], numbers[4]), (numbers[6], numbers[12])))
    ((_, out),) = said.server(0, options=(NOP, NOP, blocks))
    assert out.sack == Sack(((numbers[8], numbers[12]),))


def test_a_reset_ends_it_and_one_with_a_wrong_number_does_not() -> None:
    said = opened()
    said.client(0, b"abcd")
    said.client(99, flags=RST)
    assert said.chain.next_timeout() is not None
    said.client(4, flags=RST)
    assert said.chain.next_timeout() is None
    assert len(said.client(4, b"abcd")) == 1


def test_a_connection_whose_syn_it_has_not_seen_passes_and_a_new_one_begins_anew() -> None:
    said = Conversation(Chain(parse("proactive-ack")))
    assert len(said.client(0, b"abcd")) == 1
    again = opened()
    again.client(0, b"abcd")
    syn = Segment(CLIENT, SERVER, 7777, 0, SYN, 5000, (WindowScale(SCALE), NOP))
    again.comes(syn)
    assert again.chain.next_timeout() is None
    again.comes(Segment(SERVER, CLIENT, 8888, 7778, SYN | ACK, 5000))
    (_, (_, early)) = again.comes(Segment(CLIENT, SERVER, 7778, 8889, ACK, 9, (), b"xy"))
    assert (early.seq, early.ack, early.window) == (8889, 7780, 4998), "not scaled: only one of them wants it"


@pytest.mark.parametrize("way", [FORWARD, BACKWARD])
def test_both_directions_are_alike(way: int) -> None:
    said = opened()
    left = said.client(0, b"abcd") if way == FORWARD else said.server(0, payload=b"abcd")
    assert [out_way for out_way, _ in left] == [way, 1 - way]
    assert changed(left[1][1], window=0).payload == b""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("proactive-ack with dack", "did you mean data_ack"),
        ("proactive-ack buffer 0", "0 is out of range"),
        ("proactive-ack after 2s", "here can stand"),
    ],
)
def test_a_wrong_word_is_named(text: str, said: str) -> None:
    with pytest.raises(MiddleboxError, match=said):
        parse(text)
