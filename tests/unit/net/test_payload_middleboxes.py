"""Middleboxes that look into payloads: rewriting with all numbers translated, and normalisation."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.net.middlebox import BACKWARD, FORWARD, Chain, changed
from testbed.net.middlebox import edits as edits_module
from testbed.net.middlebox.edits import Edits
from testbed.wire.codec import decode, encode
from testbed.wire.options import NOP, Dss, Option, Sack, Timestamps
from testbed.wire.segment import ACK, FIN, PSH, RST, SYN, Segment, SocketAddress
from testbed.wire.serial import distance
from topologies.middlebox import MiddleboxError, RewritePayload, parse

M32 = 0xFFFFFFFF
CLIENT, SERVER = SocketAddress(bytes([10, 0, 1, 1]), 4000), SocketAddress(bytes([10, 0, 2, 2]), 5001)
WORDS = st.text("ab", max_size=4)
STREAMS = st.text("ab", min_size=1, max_size=60)


def data(seq: int, payload: bytes = b"", flags: int = ACK, options: tuple[Option, ...] = ()) -> Segment:
    return Segment(CLIENT, SERVER, seq & M32, 9, flags, 100, options, payload)


def answer(ack: int, *blocks: tuple[int, int]) -> Segment:
    options: tuple[Option, ...] = (NOP, NOP, Sack(blocks)) if blocks else ()
    return Segment(SERVER, CLIENT, 9, ack & M32, ACK, 100, options)


def through(chain: Chain, packet: Segment) -> Segment:
    """What leaves, whole on the wire."""
    way = FORWARD if packet.source == CLIENT else BACKWARD
    ((out_way, out),) = chain.arrives(packet, way, 0)
    assert out_way == way
    assert decode(encode(out)) == out
    return out


def counts(chain: Chain, way: int = FORWARD) -> dict[str, int]:
    return {name: count for name, count in chain.boxes[0].counters(way).as_dict().items() if count}


# --- edits: numbers before and after ---


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 4), st.binary(max_size=6), st.lists(st.integers(0, 12), max_size=6))
def test_numbers_before_and_after_edits_fit_together(before: int, new: bytes, gaps: list[int]) -> None:
    edits, place = Edits(before, new, 0), 0
    for gap in gaps:
        place += gap
        edits.add(place)
        place += before
    end = place + 5
    after = [edits.after(number) for number in range(end + 1)]
    assert after == sorted(after)
    assert after[end] == end + len(gaps) * (len(new) - before)
    for number in range(after[end] + 1):
        down, up = edits.before_down(number), edits.before_up(number)
        assert down == max((old for old in range(end + 1) if after[old] <= number), default=0)
        assert edits.after(up) >= number, "a SACK block does not begin too early"
        assert up <= down + before
    for first in range(end + 1):
        for stop in range(first, end + 1):
            octets = edits.rewritten(bytes(stop - first), first)
            assert len(octets) == after[stop] - after[first], "any segments join without gap or overlap"


# --- rewrite-payload ---


def test_l3_a_text_of_the_same_length_takes_the_place_and_no_number_changes() -> None:
    chain = Chain(parse('rewrite-payload "PORT" "port"'))
    mapping = Dss(data_ack=1, dsn=2, ssn=1, length=10, checksum=77)
    out = through(chain, data(100, b"a PORT and PORT", ACK | PSH, (mapping,)))
    assert out == data(100, b"a port and port", ACK | PSH, (mapping,)), "options say what they said"
    later = data(115, b"nothing")
    assert through(chain, later) is later
    assert counts(chain) == {"seen": 2, "matched": 1, "changed": 1}


def test_l3_with_another_length_all_later_numbers_are_translated_and_back() -> None:
    chain = Chain(parse('rewrite-payload "PORT" "EPRT 1"'))
    through(chain, data(M32 - 5, flags=SYN))
    assert through(chain, data(M32 - 4, b"a PORT!")) == data(M32 - 4, b"a EPRT 1!")
    assert through(chain, data(2, b"later", ACK | FIN)) == data(4, b"later", ACK | FIN)
    assert through(chain, data(8)) == data(10)
    acks = {M32 - 4: M32 - 4, M32 - 2: M32 - 2, 3: 1, 4: 2, 9: 7, 10: 8}
    for said, heard in acks.items():
        assert through(chain, answer(said)) == answer(heard), "within the text: up to what is surely there"
    assert through(chain, answer(M32 - 4, (4, 9))) == answer(M32 - 4, (2, 7))
    out = through(chain, answer(M32 - 4, (1, 2), (4, 6)))
    assert out.sack == Sack(((2, 4),)), "a block within the text says nothing"


def test_l3_what_is_sent_again_gets_the_same_bytes_and_numbers_wherever_it_is_cut() -> None:
    chain = Chain(parse('rewrite-payload "abc" "12345"'))
    assert through(chain, data(10, b"xabcy")).payload == b"x12345y"
    assert through(chain, data(10, b"xab")) == data(10, b"x12")
    assert through(chain, data(13, b"cy")) == data(13, b"345y")
    assert through(chain, data(12, b"b")) == data(12, b"2")
    assert through(chain, data(10, b"xa")) == data(10, b"x1")
    assert through(chain, data(14, b"yabc")) == data(16, b"y12345"), "the rest is new"
    assert counts(chain)["matched"] == 2


def test_l3_a_text_across_two_segments_and_what_comes_late_stay() -> None:
    chain = Chain(parse('rewrite-payload "abc" "12345"'))
    assert through(chain, data(10, b"xab")).payload == b"xab"
    assert through(chain, data(13, b"cabc")).payload == b"c12345"
    late = data(5, b"zzabc")
    assert through(chain, late) is late
    assert through(chain, data(17, b"abc", SYN)).payload == b"abc"


def test_l3_a_segment_of_which_nothing_is_left_asks_the_receiver_for_its_acknowledgement() -> None:
    chain = Chain(parse('rewrite-payload "gone" ""'))
    through(chain, data(9, flags=SYN))
    assert through(chain, data(10, b"gone")) == data(9)
    assert through(chain, answer(10)) == answer(14)
    assert through(chain, data(14, b"gone", ACK | FIN)) == data(10, b"", ACK | FIN)
    assert through(chain, data(18)) == data(10)


def test_what_no_longer_fits_into_the_mtu_leaves_in_pieces() -> None:
    chain = Chain(parse('rewrite-payload "a" "bcdefghijk"'))
    options: tuple[Option, ...] = (NOP, NOP, Timestamps(1, 2))
    left = chain.arrives(data(0, b"x" * 1440 + b"a" * 8, ACK | PSH, options), FORWARD, 0)
    assert [(out.seq, len(out.payload), out.flags) for _, out in left] == [(0, 1448, ACK), (1448, 72, ACK | PSH)]
    assert {out.options for _, out in left} == {options}
    assert counts(chain) == {"seen": 1, "matched": 1, "changed": 1, "made": 1}


def test_only_what_matches_is_searched_and_each_direction_has_its_own_numbers() -> None:
    chain = Chain(parse('rewrite-payload "a" "xyz" on backward'))
    assert through(chain, data(10, b"aa")) == data(10, b"aa")
    back = changed(answer(12), seq=50, payload=b"aa")
    assert through(chain, back) == changed(back, payload=b"xyzxyz")
    assert through(chain, changed(data(12), ack=56)) == changed(data(12), ack=52)
    assert counts(chain, FORWARD)["seen"] == 2
    assert counts(chain, BACKWARD) == {"seen": 1, "matched": 1, "changed": 1}


def test_a_new_connection_of_the_same_ports_begins_anew() -> None:
    chain = Chain(parse('rewrite-payload "a" "xyz"'))
    through(chain, data(9, flags=SYN))
    through(chain, data(10, b"a"))
    assert through(chain, data(9, flags=SYN)).seq == 9
    assert through(chain, data(11, b"b")).seq == 13, "the same SYN once more is the same connection"
    through(chain, data(70, flags=SYN))
    assert through(chain, data(71, b"b")).seq == 71


def test_a_stream_with_too_many_places_is_left_alone_from_there_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edits_module, "EDITS_LIMIT", 3)
    chain = Chain(parse('rewrite-payload "a" "bc"'))
    assert through(chain, data(0, b"aaaaa")).payload == b"bcbcbcaa"
    assert through(chain, data(5, b"a")) == data(8, b"a")


@settings(max_examples=150, deadline=None)
@given(WORDS.filter(bool), st.text("abc", max_size=6), STREAMS, st.data(), st.integers(0, M32))
def test_the_receiver_gets_one_stream_whatever_is_sent_again_and_the_sender_its_acknowledgements(
    old: str, new: str, stream: str, draw: st.DataObject, isn: int
) -> None:
    chain = Chain([RewritePayload(old, new)])
    octets = stream.encode()
    through(chain, data(isn, flags=SYN))
    received: dict[int, int] = {}
    expected, done = b"", 0
    while done < len(octets):
        first = draw.draw(st.integers(0, done)) if draw.draw(st.booleans()) else done
        end = draw.draw(st.integers(first + 1, len(octets)))
        if end > done:
            fresh = octets[done:end]
            expected += fresh.replace(old.encode(), new.encode())
        out = through(chain, data(isn + 1 + first, octets[first:end]))
        for number, octet in enumerate(out.payload, distance(isn + 1 & M32, out.seq)):
            assert received.setdefault(number, octet) == octet
        done = max(done, end)
        assert sorted(received) == list(range(len(expected)))
        acknowledged = through(chain, answer(isn + 1 + len(expected))).ack
        assert distance(isn + 1 & M32, acknowledged) == done
    assert bytes(received[number] for number in range(len(expected))) == expected
    assert through(chain, data(isn + 1 + done, flags=ACK | FIN)).seq == (isn + 1 + len(expected)) & M32


# --- normalise ---


def arrivals(chain: Chain, *packets: Segment) -> list[Segment]:
    left = [out for packet in packets for out in chain.arrives(packet, FORWARD, 0)]
    assert all(decode(encode(segment)) == segment for _, segment in left)
    return [segment for _, segment in left]


def test_l2_what_is_behind_a_hole_waits_until_it_is_closed() -> None:
    chain = Chain(parse("normalise"))
    first, second, third, fin = data(M32, b"ab"), data(1, b"cd"), data(3, b"ef"), data(5, b"", ACK | FIN)
    assert arrivals(chain, first, fin, third) == [first]
    left = arrivals(chain, second)
    assert left == [second, third, fin]
    assert all(out is packet for out, packet in zip(left, (second, third, fin), strict=True))
    assert counts(chain) == {"seen": 4, "matched": 2, "delayed": 2}


def test_what_waited_is_not_older_by_its_timestamp_than_what_closed_the_hole() -> None:
    def stamped(seq: int, payload: bytes, val: int) -> Segment:
        return data(seq, payload, options=(NOP, NOP, Timestamps(val, 7)))

    chain = Chain(parse("normalise"))
    arrivals(chain, stamped(10, b"a", M32), stamped(12, b"c", 1), stamped(13, b"d", 9), stamped(14, b"e", 2))
    left = arrivals(chain, stamped(11, b"b", 5))
    assert [out.timestamps for out in left] == [Timestamps(val, 7) for val in (5, 5, 9, 9)]


def test_l2_a_repeat_carries_the_bytes_that_passed_first() -> None:
    chain = Chain(parse("normalise"))
    arrivals(chain, data(9, flags=SYN), data(10, b"abc"), data(13, b"def", ACK | FIN))
    same = data(11, b"bcd")
    assert through(chain, same) is same
    assert through(chain, data(11, b"XXX")) == data(11, b"bcd")
    assert through(chain, data(9, b"?XXX")) == data(9, b"?abc"), "what is before all bytes it does not know"
    assert counts(chain) == {"seen": 6, "matched": 2, "changed": 2}


def test_l2_a_repeat_with_more_behind_it_has_the_first_bytes_and_the_new_ones() -> None:
    chain = Chain(parse("normalise"))
    arrivals(chain, data(10, b"abc"))
    assert through(chain, data(11, b"XYZ")) == data(11, b"bcZ")
    assert through(chain, data(11, b"1234")) == data(11, b"bcZ4")


def test_acks_and_resets_do_not_wait() -> None:
    chain = Chain(parse("normalise"))
    arrivals(chain, data(10, b"a"))
    for packet in (data(50), data(50, flags=RST), data(9)):
        assert through(chain, packet) is packet
    assert counts(chain) == {"seen": 4}


def test_what_does_not_fit_behind_a_hole_is_dropped_and_old_bytes_are_forgotten() -> None:
    chain = Chain(parse("normalise keep 4"))
    assert arrivals(chain, data(10, b"ab"), data(13, b"xxx"), data(16, b"yy")) == [data(10, b"ab")]
    assert counts(chain) == {"seen": 3, "matched": 2, "delayed": 1, "dropped": 1}
    assert arrivals(chain, data(12, b"c"), data(16, b"y")) == [data(12, b"c"), data(13, b"xxx"), data(16, b"y")]
    assert through(chain, data(10, b"??????")) == data(10, b"???xxx"), "the last segments of 4 octets"


def test_of_two_behind_a_hole_the_longer_one_is_kept() -> None:
    chain = Chain(parse("normalise"))
    arrivals(chain, data(10, b"a"), data(12, b"c"), data(12, b"cd"), data(12, b"X"))
    assert b"".join(out.payload for out in arrivals(chain, data(11, b"b"))) == b"bcd"
    assert counts(chain)["dropped"] == 1


@settings(max_examples=100, deadline=None)
@given(st.binary(min_size=1, max_size=40), st.data(), st.integers(0, M32))
def test_the_receiver_never_sees_a_hole_nor_other_bytes(octets: bytes, draw: st.DataObject, isn: int) -> None:
    chain = Chain(parse("normalise"))
    arrivals(chain, data(isn - 1, flags=SYN))
    received = b""
    for _ in range(12):
        first = draw.draw(st.integers(0, len(octets) - 1))
        end = draw.draw(st.integers(first + 1, len(octets)))
        seen_first = draw.draw(st.booleans())
        payload = octets[first:end] if seen_first else bytes(end - first)
        for out in arrivals(chain, data(isn + first, payload)):
            begin = distance(isn, out.seq)
            assert begin <= len(received)
            known = received[begin : begin + len(out.payload)]
            assert out.payload[: len(known)] == known
            received += out.payload[len(known) :]


# --- values ---


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('rewrite-payload "" "a"', "is not empty"),
        ('rewrite-payload "a', "the quotation has no end"),
        ("rewrite-payload a b", "a text in quotes"),
        ('rewrite-payload "a"', "a text in quotes"),
        (f'rewrite-payload "a" "{"b" * 1001}"', "at most 1000 octets"),
        ("normalise keep 0", "0 is out of range"),
    ],
)
def test_a_wrong_word_is_named(text: str, said: str) -> None:
    with pytest.raises(MiddleboxError, match=said):
        parse(text)


@settings(max_examples=50)
@given(st.text(min_size=1, max_size=10), st.text(max_size=10))
def test_any_text_can_be_rewritten_and_is_read_back(old: str, new: str) -> None:
    value = RewritePayload(old, new, "data nth 3")
    assert parse(value.text()) == (value,)
