"""T2, T31: how large a segment may be (RFC 9293 §3.7.1, RFC 6691, RFC 1191, RFC 8201, RFC 4821)."""

from __future__ import annotations

import pytest
from tcp_pair import MS, SECOND, SERVER, SERVER_V6, Pair, Scripted

from testbed.tcp.icmp import Icmp, IcmpKind
from testbed.tcp.parameters import Parameters
from testbed.tcp.seam import OptionPolicy, SegmentPlan
from testbed.tcp.tcp_options import TcpOptions
from testbed.wire.options import KIND_MSS, NOP, MaximumSegmentSize, Sack
from testbed.wire.segment import ACK, SYN, Segment


def _offered(segment: Segment) -> int:
    return next(option.mss for option in segment.options if isinstance(option, MaximumSegmentSize))


@pytest.mark.parametrize(("v6", "offer"), [(False, 1460), (True, 1440)])
def test_t2_the_syn_offers_the_interfaces_mtu_less_the_headers(v6: bool, offer: int) -> None:
    pair = Pair(v6=v6).connect()

    assert [_offered(segment) for _, segment in pair.sent if segment.flags & SYN] == [offer, offer]
    assert all(o.kind != KIND_MSS for _, segment in pair.sent if not segment.flags & SYN for o in segment.options)


@pytest.mark.parametrize(("v6", "default"), [(False, 536), (True, 1220)])
def test_t2_without_the_option_the_peer_takes_the_default(v6: bool, default: int) -> None:
    pair = Pair(Parameters(timestamps=False), v6=v6)
    pair.client.open(0)
    pair.client.segments_to_send(0)
    peer = SERVER_V6 if v6 else SERVER
    pair.client.segment_arrives(
        Segment(peer, pair.client.local, 7, (pair.client.iss + 1) & 0xFFFFFFFF, SYN | ACK, 65535), 1
    )
    pair.client.send(bytes(5000), 1)

    assert len(pair.client.segments_to_send(1)[-1].payload) <= default
    assert pair.client.mss == default


def test_t2_options_are_deducted_from_what_a_packet_carries() -> None:
    plain = Scripted(Parameters(timestamps=False)).establish(mss=1460)
    plain.tcp.send(bytes(4000), plain.now)
    stamped = Scripted().establish(mss=1460, timestamps=True)
    stamped.tcp.send(bytes(4000), stamped.now)

    assert [len(s.payload) for s in plain.out()][:2] == [1460, 1460]
    assert [len(s.payload) for s in stamped.out()][:2] == [1448, 1448]


def test_t2_a_segment_with_sack_blocks_carries_less_data() -> None:
    test = Scripted(Parameters(timestamps=False)).establish()
    test.peer(seq=101, payload=bytes(100))
    test.tcp.send(bytes(4000), test.now)

    first = test.out()[0]

    assert first.sack is not None
    assert len(first.payload) == 1460 - 12


def test_t2_an_offer_smaller_than_ours_is_obeyed_and_an_absurd_one_leaves_room_for_data() -> None:
    small = Scripted(Parameters(timestamps=False)).establish(mss=600)
    small.tcp.send(bytes(1200), small.now)
    absurd = Scripted(Parameters(timestamps=False)).establish(mss=0)
    absurd.tcp.send(bytes(1200), absurd.now)

    assert [len(s.payload) for s in small.out()] == [600, 600]
    assert all(40 < len(s.payload) <= 88 for s in absurd.out())


def test_t31_packet_too_big_makes_smaller_segments_at_once_and_sends_again_what_was_too_large() -> None:
    test = Scripted(Parameters(timestamps=False)).establish(mss=1460)
    test.tcp.send(bytes(2920), test.now)
    large = test.out()
    cwnd = test.tcp.cwnd

    test.tcp.icmp_arrives(Icmp(IcmpKind.TOO_BIG, large[0].seq, 1280), test.now)
    again = test.out()

    assert test.tcp.mss == 1240
    assert sum(len(s.payload) for s in again) == 2920
    assert max(len(s.payload) for s in again) == 1240
    assert test.seq_of(again[0]) == 1
    assert test.tcp.cwnd >= cwnd * 1240 // 1460  # RFC 1191 §6.5: no congestion control


def test_t31_a_report_about_what_is_not_in_flight_is_a_forgery() -> None:
    test = Scripted().establish()

    test.tcp.icmp_arrives(Icmp(IcmpKind.TOO_BIG, (test.isn + 5000) & 0xFFFFFFFF, 600), test.now)

    assert test.tcp.mss == 1460


@pytest.mark.parametrize(("reported", "mtu"), [(20, 68), (0, 1300), (9000, 1500)])
def test_t31_a_report_neither_raises_the_size_nor_lowers_it_beyond_the_minimum(reported: int, mtu: int) -> None:
    test = Scripted().establish()
    test.tcp.send(bytes(3000), test.now)
    segment = test.out()[0]

    test.tcp.icmp_arrives(Icmp(IcmpKind.TOO_BIG, segment.seq, reported), test.now)

    assert test.tcp.path_mtu.mtu == mtu


@pytest.mark.parametrize("reported", [20, 68, 76, 100])
def test_t31_data_is_delivered_after_a_report_that_leaves_options_no_room(reported: int) -> None:
    pair = Pair().connect()
    pair.client.send(bytes(3000), pair.now)
    pair.client.icmp_arrives(Icmp(IcmpKind.TOO_BIG, (pair.client.iss + 1) & 0xFFFFFFFF, reported), pair.now)
    sent = pair.client.segments_to_send(pair.now)  # in flight from here on: what the report quotes
    pair.client.icmp_arrives(Icmp(IcmpKind.TOO_BIG, sent[0].seq, reported), pair.now)
    pair.run(until=pair.now + 60 * SECOND)

    assert pair.client.mss == 88
    assert bytes(pair.received[pair.server]) == bytes(3000)


def test_t31_packet_too_big_leaves_alone_what_the_peer_has_sacked() -> None:
    test = Scripted(Parameters(timestamps=False)).establish(mss=1460)
    test.tcp.send(bytes(4 * 1460), test.now)
    sent = test.out()
    start = (test.isn + 1461) & 0xFFFFFFFF
    test.peer(ack=1, options=(NOP, NOP, Sack(((start, (start + 2 * 1460) & 0xFFFFFFFF),))))
    test.out()

    test.tcp.icmp_arrives(Icmp(IcmpKind.TOO_BIG, sent[0].seq, 1280), test.now)
    assert test.tcp.recovery.queue.sacked == 2 * 1460
    assert test.tcp.recovery.queue.lost == 2 * 1460
    again = test.out()
    test.peer(ack=1461 + 2 * 1460)
    again += test.out()

    ranges = [(test.seq_of(s), test.seq_of(s) + len(s.payload)) for s in again]
    assert min(ranges)[0] == 1
    assert all(end <= 1461 or first >= 1461 + 2 * 1460 for first, end in ranges)


def test_t31_a_black_hole_is_found_without_icmp_and_the_size_is_tried_again_after_ten_minutes() -> None:
    def fate(segment: Segment, now: int) -> list[int]:
        return [10 * MS] if len(segment.payload) <= 1024 or now > 300 * SECOND else []

    pair = Pair(Parameters(black_hole_detection=True), fate=fate).connect()
    data = bytes(range(256)) * 100
    pair.send_all(pair.client, data)
    pair.run(until=60 * SECOND)

    assert bytes(pair.received[pair.server]) == data
    assert pair.client.path_mtu.mtu == 1064
    pair.run(until=800 * SECOND)
    assert pair.client.mss == 1460


class _Chunks(TcpOptions):
    """A policy with boundaries at every 2000 octets, as a declared mapping would have."""

    def fill(self, plan: SegmentPlan) -> None:
        super().fill(plan)
        if plan.length:
            plan.length = min(plan.length, 2000 - (plan.ssn - 1) % 2000)


def test_t31_data_is_split_anew_but_not_across_the_boundaries_of_the_policy() -> None:
    policy: OptionPolicy = _Chunks()
    test = Scripted(Parameters(timestamps=False, minshall=False), options=policy).establish(mss=1460)
    test.tcp.send(bytes(4000), test.now)
    before = [(test.seq_of(s), len(s.payload)) for s in test.out()]

    test.tcp.icmp_arrives(Icmp(IcmpKind.TOO_BIG, (test.isn + 1) & 0xFFFFFFFF, 840), test.now)
    after: list[tuple[int, int]] = []
    for _ in range(20):
        after += [(test.seq_of(s), len(s.payload)) for s in test.out()]
        test.now += 10 * MS
        test.peer(ack=max(seq + length for seq, length in after))
        if test.tcp.snd_una == 4001:
            break

    assert test.tcp.snd_una == 4001
    assert all(length <= 800 for _, length in after)
    assert all((seq - 1) // 2000 == (seq + length - 2) // 2000 for seq, length in after)
    assert before == [(1, 1460), (1461, 540), (2001, 1460)]  # the last 540 wait for an ACK (Nagle)
