"""Match expressions on segments: what holds, what is remembered, and for how long."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.net import connections as room
from testbed.net.match import BACKWARD, FORWARD, Matcher, matcher
from testbed.wire.options import (
    NOP,
    AddAddr,
    Dss,
    FastOpen,
    MaximumSegmentSize,
    MpCapable,
    MpFail,
    MpFastclose,
    MpJoin,
    MpPrio,
    MpTcprst,
    Option,
    RemoveAddr,
    Sack,
    SackPermitted,
    Timestamps,
    Unknown,
    WindowScale,
)
from testbed.wire.segment import ACK, CWR, ECE, FIN, PSH, RST, SYN, URG, Segment, SocketAddress
from topologies.match import CLASSES, WITH_VALUE, WORDS

A, B = SocketAddress(bytes([10, 0, 1, 1]), 4000), SocketAddress(bytes([10, 0, 2, 2]), 5001)
A6, B6 = SocketAddress(bytes([0xFD, *bytes(14), 1]), 4000), SocketAddress(bytes([0xFD, *bytes(14), 2]), 5001)


def packet(
    flags: int = ACK,
    options: tuple[Option, ...] = (),
    payload: bytes = b"",
    *,
    seq: int = 1,
    window: int = 100,
    ends: tuple[SocketAddress, SocketAddress] = (A, B),
    ecn: int = 0,
) -> Segment:
    return Segment(*ends, seq, 1, flags, window, options, payload, ecn=ecn)


def fates(text: str, packets: list[Segment], seed: int = 0, ways: list[int] | None = None) -> list[bool]:
    one = matcher(text, seed)
    return [
        one.matches(each, way, 0)
        for each, way in zip(packets, ways if ways is not None else [FORWARD] * len(packets), strict=True)
    ]


FULL = Dss(data_ack=7, dsn=3, ssn=1, length=5)
"""26 octets: both numbers of 8."""

EXAMPLES: dict[str, tuple[Segment, Segment]] = {
    "any": (packet(), packet(SYN)),
    "retransmission": (packet(payload=b"x"), packet(payload=b"x")),
    "forward": (packet(), packet()),
    "backward": (packet(), packet()),
    "tcp.fin": (packet(ACK | FIN), packet(ACK)),
    "tcp.syn": (packet(SYN | ACK), packet(ACK)),
    "tcp.rst": (packet(RST), packet(ACK)),
    "tcp.psh": (packet(ACK | PSH), packet(ACK)),
    "tcp.ack": (packet(ACK), packet(SYN)),
    "tcp.urg": (packet(URG), packet(ACK)),
    "tcp.ece": (packet(ECE), packet(ACK)),
    "tcp.cwr": (packet(CWR), packet(ACK)),
    "tcp.mss": (packet(SYN, (MaximumSegmentSize(9),)), packet(SYN)),
    "tcp.window_scale": (packet(SYN, (WindowScale(7),)), packet(SYN)),
    "tcp.sack_permitted": (packet(SYN, (SackPermitted(),)), packet(SYN)),
    "tcp.sack": (packet(ACK, (Sack(((1, 2),)),)), packet(SYN, (SackPermitted(),))),
    "tcp.timestamps": (packet(ACK, (NOP, NOP, Timestamps(1, 2))), packet()),
    "tcp.fast_open": (packet(SYN, (FastOpen(),)), packet(SYN)),
    "mptcp": (packet(ACK, (Unknown(30, b"\xf0"),)), packet(ACK, (Unknown(253, b""),))),
    "mptcp.mp_capable": (packet(SYN, (MpCapable(),)), packet(SYN, (MpJoin(token=1, nonce=1),))),
    "mptcp.mp_join": (packet(SYN, (MpJoin(token=1, nonce=1),)), packet(SYN, (MpCapable(),))),
    "mptcp.dss": (packet(ACK, (Dss(data_ack=1),)), packet(ACK, (MpPrio(True),))),
    "mptcp.add_addr": (packet(ACK, (AddAddr(1, bytes(4)),)), packet(ACK, (RemoveAddr((1,)),))),
    "mptcp.remove_addr": (packet(ACK, (RemoveAddr((1,)),)), packet(ACK, (AddAddr(1, bytes(4)),))),
    "mptcp.mp_prio": (packet(ACK, (MpPrio(True),)), packet(ACK, (MpFail(1),))),
    "mptcp.mp_fail": (packet(ACK, (MpFail(1),)), packet(ACK, (MpPrio(True),))),
    "mptcp.mp_fastclose": (packet(ACK, (MpFastclose(1),)), packet(ACK, (MpTcprst(),))),
    "mptcp.mp_tcprst": (packet(RST, (MpTcprst(),)), packet(RST, (MpFastclose(1),))),
    "mptcp.dss.map": (packet(ACK, (Dss(dsn=1, length=1),)), packet(ACK, (Dss(data_ack=1),))),
    "mptcp.dss.ack": (packet(ACK, (Dss(data_ack=1),)), packet(ACK, (Dss(dsn=1, length=1),))),
    "mptcp.dss.fin": (packet(ACK, (Dss(dsn=1, length=1, data_fin=True),)), packet(ACK, (Dss(dsn=1, length=1),))),
    "mptcp.dss.checksum": (packet(ACK, (Dss(dsn=1, length=1, checksum=0),)), packet(ACK, (Dss(dsn=1, length=1),))),
    "mptcp.add_addr.echo": (packet(ACK, (AddAddr(1, bytes(4)),)), packet(ACK, (AddAddr(1, bytes(4), hmac=bytes(8)),))),
    "mptcp.mp_tcprst.transient": (packet(RST, (MpTcprst(5, True),)), packet(RST, (MpTcprst(5),))),
    "ip.not_ect": (packet(ecn=0), packet(ecn=1)),
    "ip.ect1": (packet(ecn=1), packet(ecn=2)),
    "ip.ect0": (packet(ecn=2), packet(ecn=3)),
    "ip.ce": (packet(ecn=3), packet(ecn=0)),
    "payload > 0": (packet(payload=b"x"), packet()),
    "payload >= 2": (packet(payload=b"xx"), packet(payload=b"x")),
    "payload = 2": (packet(payload=b"xx"), packet(payload=b"x")),
    "payload != 2": (packet(payload=b"xxx"), packet(payload=b"xx")),
    "payload <= 2": (packet(payload=b"xx"), packet(payload=b"xxx")),
    "window < 1000": (packet(window=999), packet(window=1000)),
    "option_octets = 40": (packet(ACK, (NOP, NOP, Timestamps(1, 2), FULL, NOP, NOP)), packet(ACK, (FULL,))),
    "mptcp_octets >= 26": (packet(ACK, (NOP, NOP, Timestamps(1, 2), FULL)), packet(ACK, (Dss(data_ack=1), NOP))),
    "sack_blocks >= 2": (packet(ACK, (Sack(((1, 2), (5, 7))),)), packet(ACK, (Sack(((1, 2),)),))),
    "sack_blocks = 0": (packet(), packet(ACK, (Sack(((1, 2),)),))),
    "dss.ack_octets = 8": (packet(ACK, (FULL,)), packet(ACK, (Dss(data_ack=1, ack_octets=4),))),
    "dss.ack_octets < 8": (packet(ACK, (Dss(dsn=1, length=1),)), packet()),
    "dss.dsn_octets = 4": (packet(ACK, (Dss(dsn=1, dsn_octets=4, length=1),)), packet(ACK, (FULL,))),
    "dss.dsn_octets = 0": (packet(ACK, (Dss(data_ack=1),)), packet()),
    "dss.length > 1400": (packet(ACK, (Dss(dsn=1, length=1401),)), packet(ACK, (FULL,))),
    "dss.length = 0": (packet(ACK, (Dss(dsn=1, length=0),)), packet(ACK, (Dss(data_ack=1),))),
    "reset_reason = 6": (packet(RST, (MpTcprst(6),)), packet(RST, (MpTcprst(1),))),
    "reset_reason != 6": (packet(RST, (MpTcprst(1),)), packet(RST)),
    "option 253": (packet(ACK, (Unknown(253, b""),)), packet(ACK, (Unknown(254, b""),))),
    "from 10.0.1.1": (packet(), packet(ends=(B, A))),
    "to 10.0.1.1": (packet(ends=(B, A)), packet()),
    "to fd00::2": (packet(ends=(A6, B6)), packet(ends=(B6, A6))),
    "port 5001": (packet(ends=(B, A)), packet(ends=(A, A))),
    "not tcp.syn": (packet(), packet(SYN)),
    "tcp.syn and tcp.ack": (packet(SYN | ACK), packet(SYN)),
    "tcp.fin or tcp.rst": (packet(RST), packet()),
}


PAST_AND_PLACE = {"any", "retransmission", "forward", "backward"}


@pytest.mark.parametrize("text", [text for text in EXAMPLES if text not in PAST_AND_PLACE])
def test_a_word_holds_for_one_packet_and_not_for_the_other(text: str) -> None:
    yes, no = EXAMPLES[text]
    assert fates(text, [yes, no]) == [True, False]


def test_every_word_is_shown_by_an_example() -> None:
    assert set(WORDS) - set(CLASSES) <= set(EXAMPLES)
    shown = {text.split()[0] for text in EXAMPLES}
    assert set(WITH_VALUE) - {"subflow", "after", "before", "chance"} <= shown


def test_directions_and_times() -> None:
    assert fates("forward", [packet(), packet()], ways=[FORWARD, BACKWARD]) == [True, False]
    assert fates("backward", [packet(), packet()], ways=[FORWARD, BACKWARD]) == [False, True]
    after, before = matcher("after 2us"), matcher("before 2us")
    times = (0, 1999, 2000, 9999)
    assert [after.matches(packet(), FORWARD, now) for now in times] == [False, False, True, True]
    assert [before.matches(packet(), FORWARD, now) for now in times] == [True, True, False, False]


# --- connections ---


def conversation(ends: tuple[SocketAddress, SocketAddress] = (A, B), isn: int = 100) -> list[tuple[str, Segment]]:
    back = ends[::-1]
    return [
        ("syn", packet(SYN, seq=isn, ends=ends)),
        ("syn", packet(SYN, seq=isn, ends=ends)),
        ("syn_ack", packet(SYN | ACK, seq=700, ends=back)),
        ("third_ack", packet(ACK, seq=isn + 1, ends=ends)),
        ("data", packet(ACK, (), b"abc", seq=isn + 1, ends=ends)),
        ("ack", packet(ACK, seq=701, ends=back)),
        ("data", packet(ACK | FIN, (), b"d", seq=isn + 4, ends=ends)),
        ("", packet(ACK | FIN, seq=701, ends=back)),
        ("ack", packet(ACK, seq=isn + 6, ends=ends)),
        ("", packet(RST, seq=isn + 6, ends=ends)),
    ]


@pytest.mark.parametrize("wanted", list(CLASSES))
def test_every_segment_is_of_one_class_at_most(wanted: str) -> None:
    words, packets = zip(*conversation(), strict=True)
    assert fates(wanted, list(packets)) == [word == wanted for word in words]


def test_connections_are_numbered_by_their_first_packet_whoever_sent_it() -> None:
    other = (SocketAddress(A.host, 4001), B)
    late = (B, SocketAddress(A.host, 4002))  # its beginning did not pass here
    again = conversation(isn=5000)
    packets = [*(each for _, each in conversation()), packet(ends=other), packet(ends=other[::-1])]
    packets += [packet(ends=late), *(each for _, each in again)]
    numbers = [1] * 10 + [2, 2, 3] + [4] * 10
    for number in (1, 2, 3, 4):
        assert fates(f"subflow {number}", packets) == [each == number for each in numbers]


def test_what_has_passed_before_is_a_retransmission() -> None:
    packets = [
        packet(SYN, seq=2**32 - 2),
        packet(SYN, seq=2**32 - 2),
        packet(payload=b"ab", seq=2**32 - 1),
        packet(payload=b"cd", seq=1),
        packet(payload=b"gh", seq=5),  # ef overtaken
        packet(seq=1),  # an ACK has no number of its own
        packet(payload=b"ef", seq=3),  # late, not again
        packet(payload=b"cdef", seq=1),
        packet(payload=b"hi", seq=6),  # its first octet is old
        packet(payload=b"k", seq=8),
        packet(payload=b"k", seq=8, ends=(B, A)),
        packet(ACK | FIN, seq=9),
        packet(ACK | FIN, seq=9),
    ]
    assert [index for index, fate in enumerate(fates("retransmission", packets)) if fate] == [1, 7, 8, 12]


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 12)), max_size=60), st.integers(0, 2**32 - 1))
def test_retransmissions_are_those_of_a_set_of_all_numbers(pieces: list[tuple[int, int]], isn: int) -> None:
    passed: set[int] = set()
    one = matcher("retransmission")
    assert not one.matches(packet(SYN, seq=isn), FORWARD, 0)
    for offset, length in pieces:
        segment = packet(payload=bytes(length), seq=(isn + 1 + offset) & 0xFFFFFFFF)
        assert one.matches(segment, FORWARD, 0) == (offset in passed)
        passed.update(range(offset, offset + length))


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    if not room.__file__.endswith(".py"):
        pytest.skip("a compiled constant cannot be changed")
    monkeypatch.setattr(room, "CONNECTIONS_LIMIT", 3)
    monkeypatch.setattr(room, "RANGES_LIMIT", 4)
    connections = room.Connections()
    ends = [(SocketAddress(A.host, port), B) for port in range(5)]
    halves = [connections.half_of(packet(ends=each)) for each in ends]
    assert [half.connection for half in halves] == [1, 2, 3, 4, 5]
    assert connections.half_of(packet(ends=ends[4])) is halves[4]
    assert connections.half_of(packet(ends=ends[2])) is halves[2]
    assert connections.half_of(packet(ends=ends[1])).connection == 6, "the oldest were forgotten"
    half = halves[4]
    for hole in range(10):
        assert not half.repeats(100 * hole, 10)
        assert len(half.ranges) <= 4
    assert not half.repeats(850, 10), "a hole that is remembered"
    assert half.repeats(250, 10), "an old hole counts as passed"


# --- counts, chance, and all that remembers ---


@pytest.mark.parametrize(
    ("count", "numbers"), [("nth 3", [3]), ("nth 7+2", [2, 7]), ("first 3", [1, 2, 3]), ("every 4", [4, 8, 12])]
)
def test_counts_are_of_the_packets_that_match(count: str, numbers: list[int]) -> None:
    packets = [packet(payload=b"x" * (index % 2)) for index in range(24)]
    data = [fate for fate, each in zip(fates(f"data {count}", packets), packets, strict=True) if each.payload]
    assert [index for index, fate in enumerate(data, start=1) if fate] == numbers
    assert sum(fates(f"data {count}", packets)) == len(numbers)


def test_a_count_in_brackets_sees_every_packet_whatever_the_rest_says() -> None:
    other = (A, SocketAddress(B.host, 80))
    packets = [packet(payload=b"x", ends=other if index % 2 else (A, B)) for index in range(8)]
    assert fates("port 80 and (data nth 4)", packets) == [index == 3 for index in range(8)]
    assert fates("port 80 and (data nth 3)", packets) == [False] * 8
    assert fates("(port 80 and data) nth 2", packets) == [index == 3 for index in range(8)]
    assert fates("port 80 or (data nth 3)", packets) == [index % 2 == 1 or index == 2 for index in range(8)]
    assert fates("not (data first 6)", packets) == [index >= 6 for index in range(8)]


def test_chance_is_seeded_and_does_not_depend_on_how_directions_interleave() -> None:
    packets = [packet() for _ in range(400)]
    alternating = [index % 2 for index in range(400)]
    shuffled = alternating.copy()
    random.Random(1).shuffle(shuffled)
    text = "chance 30%"
    first, second = fates(text, packets, 5, alternating), fates(text, packets, 5, shuffled)
    for way in (FORWARD, BACKWARD):
        one = [fate for fate, its in zip(first, alternating, strict=True) if its == way]
        two = [fate for fate, its in zip(second, shuffled, strict=True) if its == way]
        assert one == two
        assert 30 < sum(one) < 90
    assert fates(text, packets, 6, alternating) != first
    assert fates("chance 0%", packets) == [False] * 400
    assert fates("chance 100%", packets) == [True] * 400


def test_two_chances_are_independent_and_the_nth_packet_meets_the_nth_draw() -> None:
    packets = [packet(payload=b"x" * (index % 3 == 0)) for index in range(300)]
    alone = fates("chance 50%", packets, 9)
    with_data = fates("data and chance 50%", packets, 9)
    assert with_data == [fate and bool(each.payload) for fate, each in zip(alone, packets, strict=True)]
    assert 40 < sum(fates("chance 50% and chance 50%", packets, 9)) < 110


def test_the_same_seed_and_packets_give_the_same_answers() -> None:
    text = "(data and chance 20%) or retransmission or (mptcp every 3) and subflow 1"
    packets = [packet(payload=bytes(index % 5), seq=(index * 7) % 50) for index in range(200)]
    assert fates(text, packets, 3) == fates(text, packets, 3)
    assert isinstance(matcher(text), Matcher)
