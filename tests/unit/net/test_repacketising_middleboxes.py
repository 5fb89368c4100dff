"""Middleboxes that cut segments and put them together: bytes, numbers, flags, options, order, counts."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.net.middlebox import BACKWARD, FORWARD, Chain, changed
from testbed.wire.codec import decode, encode
from testbed.wire.options import NOP, Dss, MaximumSegmentSize, Option, Sack, Timestamps
from testbed.wire.segment import ACK, CWR, ECE, ECN_CE, ECN_ECT0, FIN, PSH, RST, SYN, URG, Segment, SocketAddress
from topologies.middlebox import MiddleboxError, parse

M32 = 0xFFFFFFFF
MS = 1_000_000
CLIENT, SERVER = SocketAddress(bytes([10, 0, 1, 1]), 4000), SocketAddress(bytes([10, 0, 2, 2]), 5001)
STAMPS: tuple[Option, ...] = (NOP, NOP, Timestamps(1, 2))


def dss(dsn: int, length: int) -> Dss:
    return Dss(data_ack=7, dsn=dsn, ssn=1, length=length)


def data(
    seq: int, payload: bytes, flags: int = ACK, options: tuple[Option, ...] = STAMPS, ack: int = 9, ecn: int = 0
) -> Segment:
    return Segment(CLIENT, SERVER, seq & M32, ack, flags, 100, options, payload, 0, ecn)


def after(chain: Chain, *packets: Segment, now: int = 0) -> list[Segment]:
    """What leaves for these, each of which is whole on the wire, checksum and all."""
    left = [out for packet in packets for out in chain.arrives(packet, FORWARD, now)]
    for way, segment in left:
        assert way == FORWARD
        assert encode(decode(encode(segment))) == encode(segment)
    return [segment for _, segment in left]


def counts(chain: Chain, way: int = FORWARD) -> dict[str, int]:
    return {name: count for name, count in chain.boxes[0].counters(way).as_dict().items() if count}


# --- split ---


@pytest.mark.parametrize(("where", "mapped"), [("", [0, 1, 2]), (" options first", [0]), (" options last", [2])])
def test_l2_pieces_carry_the_options_where_they_are_told_to_and_timestamps_everywhere(
    where: str, mapped: list[int]
) -> None:
    chain = Chain(parse("split 4" + where))
    options = (*STAMPS, Dss(dsn=50, dsn_octets=4, ssn=1, length=10), NOP, NOP, Sack(((1, 2),)), NOP, NOP)
    out = after(chain, data(M32 - 4, b"0123456789", ACK | PSH | FIN | CWR | ECE, options, ecn=ECN_ECT0))
    assert [(each.seq, each.payload) for each in out] == [(M32 - 4, b"0123"), (M32, b"4567"), (3, b"89")]
    assert [each.flags for each in out] == [ACK | CWR | ECE, ACK | ECE, ACK | ECE | PSH | FIN]
    assert [index for index, each in enumerate(out) if each.options == options] == mapped
    assert {each.options for each in out} <= {options, STAMPS}
    assert {(each.ack, each.window, each.ecn) for each in out} == {(9, 100, ECN_ECT0)}
    assert counts(chain) == {"seen": 1, "matched": 1, "changed": 1, "made": 2}


def test_what_fits_a_syn_and_what_is_not_meant_are_not_cut() -> None:
    chain = Chain(parse("split 4 on tcp.psh"))
    for packet in (
        data(1, b"0123", ACK | PSH),
        data(1, b"01234"),
        data(1, b"01234", SYN | PSH, (MaximumSegmentSize(1460),)),
        data(1, b""),
    ):
        (out,) = after(chain, packet)
        assert out is packet
    assert len(after(chain, data(1, b"01234", ACK | PSH))) == 2
    assert counts(chain) == {"seen": 5, "matched": 1, "changed": 1, "made": 1}


def test_the_urgent_pointer_goes_on_pointing_to_the_same_octet() -> None:
    whole = Segment(CLIENT, SERVER, 1, 1, ACK | URG, 100, (), b"0123456789", 6)
    out = after(Chain(parse("split 4")), whole)
    assert [(each.flags & URG != 0, each.urgent) for each in out] == [(True, 6), (True, 2), (False, 0)]


# --- coalesce ---


def test_l2_following_segments_become_one_with_the_options_of_one() -> None:
    parts = [
        data(M32 - 1, b"ab", ACK | PSH, (*STAMPS, dss(1, 2)), ack=5),
        data(0, b"cd", ACK, (dss(3, 2),), ack=6),
        changed(data(2, b"ef", ACK | PSH | ECE, (*STAMPS, dss(5, 2)), ack=7), window=200),
    ]
    for text, kept in (("coalesce 6", parts[0]), ("coalesce 6 options last", parts[2])):
        chain = Chain(parse(text))
        (out,) = after(chain, *parts)
        assert (out.seq, out.payload, out.flags) == (M32 - 1, b"abcdef", ACK | PSH | ECE)
        assert out.options == kept.options
        assert (out.ack, out.window) == (7, 200)
        assert counts(chain) == {"seen": 3, "matched": 3, "changed": 1, "delayed": 2}
        assert chain.next_timeout() is None


def test_what_waits_leaves_at_the_end_of_its_time_and_alone_as_it_was() -> None:
    chain = Chain(parse("coalesce 100 for 5ms"))
    first, second = data(1, b"a"), data(2, b"b")
    assert after(chain, first, now=10) == []
    assert chain.next_timeout() == 10 + 5 * MS
    assert chain.handle_timeout(10 + 5 * MS) == [(FORWARD, first)]
    assert chain.next_timeout() is None
    after(chain, first, now=20 * MS)
    after(chain, second, now=24 * MS)
    ((_, out),) = chain.handle_timeout(25 * MS)
    assert out.payload == b"ab"
    assert counts(chain) == {"seen": 3, "matched": 2, "delayed": 3}


@pytest.mark.parametrize(
    "other",
    [
        data(4, b"z"),
        data(2, b"z", ecn=ECN_CE),
        data(2, b"z", ACK | CWR),
        data(2, b"", ACK),
        data(2, b"z", ACK | URG),
        data(2, b"", ACK | FIN),
        data(2, b"", RST),
        data(2, b"x" * 6),
    ],
    ids=["hole", "other ECN", "CWR", "pure ACK", "URG", "FIN", "RST", "too long"],
)
def test_what_does_not_fit_lets_those_before_it_go_first(other: Segment) -> None:
    chain = Chain(parse("coalesce 6"))
    first = data(1, b"a")
    left = after(chain, first, other)
    left += [out for _, out in chain.handle_timeout(MS)]
    assert left == [first, other]
    assert left[0] is first


def test_a_fin_ends_what_it_is_put_behind() -> None:
    chain = Chain(parse("coalesce 6"))
    (out,) = after(chain, data(1, b"a"), data(2, b"b", ACK | FIN))
    assert (out.payload, out.flags) == (b"ab", ACK | FIN)


def test_flows_and_directions_do_not_mix_and_leave_in_the_order_in_which_they_began() -> None:
    chain = Chain(parse("coalesce 60"))
    other = changed(data(2, b"z"), source=SocketAddress(CLIENT.host, 4001))
    back = changed(data(2, b"y"), source=SERVER, destination=CLIENT)
    assert after(chain, data(1, b"a"), other, now=1) == []
    assert chain.arrives(back, BACKWARD, 2) == []
    after(chain, data(2, b"b"), now=3)
    assert chain.next_timeout() == 1 + MS
    left = chain.handle_timeout(2 + MS)
    assert [(way, out.payload) for way, out in left] == [(FORWARD, b"ab"), (FORWARD, b"z"), (BACKWARD, b"y")]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.binary(min_size=0, max_size=7), min_size=1, max_size=12),
    st.integers(1, 5),
    st.integers(2, 20),
    st.sampled_from(["", " options last"]),
    st.integers(0, M32),
)
def test_bytes_keep_their_numbers_and_order_however_they_are_cut_and_put_together(
    parts: list[bytes], cut_at: int, most: int, options: str, isn: int
) -> None:
    chain = Chain(parse(f"split {cut_at}, coalesce {most}{options}"))
    packets, seq = [], isn
    for part in parts:
        packets.append(data(seq, part))
        seq += len(part)
    left = after(chain, *packets) + [out for _, out in chain.handle_timeout(MS)]
    due = isn
    for out in left:
        assert out.seq == due & M32
        assert len(out.payload) <= max(most, cut_at)
        due += len(out.payload)
    assert b"".join(out.payload for out in left) == b"".join(parts)


# --- values ---


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("split 0", "0 is out of range"),
        ("split 100 options none", "'none' is not understood"),
        ("split 100 options", "here can stand"),
        ("coalesce 1", "1 is out of range"),
        ("coalesce 100 for 0ms", "for is a time above 0"),
        ("coalesce 100 options copy", "'copy' is not understood"),
        ("coalesce 100 on datta", "did you mean data"),
    ],
)
def test_a_wrong_word_is_named(text: str, said: str) -> None:
    with pytest.raises(MiddleboxError, match=said):
        parse(text)
