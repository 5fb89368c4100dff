"""Middleboxes that know the flows: other sequence numbers, translated addresses, refused connections."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.net.middlebox import BACKWARD, FORWARD, Chain, changed
from testbed.wire.options import NOP, Dss, MpJoin, Option, Sack, Timestamps
from testbed.wire.segment import ACK, FIN, PSH, RST, SYN, Segment, SocketAddress
from topologies.middlebox import RewriteIsn, parse

M32 = 0xFFFFFFFF
SECOND = 1_000_000_000
MINUTE = 60 * SECOND
CLIENT, SERVER = SocketAddress(bytes([10, 0, 1, 1]), 4000), SocketAddress(bytes([10, 0, 2, 2]), 5001)
OTHER = SocketAddress(bytes([10, 0, 2, 2]), 5002)
GATEWAY = bytes([10, 0, 2, 1])


def segment(
    flags: int,
    seq: int = 0,
    ack: int = 0,
    payload: bytes = b"",
    options: tuple[Option, ...] = (),
    ends: tuple[SocketAddress, SocketAddress] = (CLIENT, SERVER),
) -> Segment:
    return Segment(*ends, seq & M32, ack & M32, flags, 100, options, payload)


def back(
    flags: int,
    seq: int = 0,
    ack: int = 0,
    payload: bytes = b"",
    options: tuple[Option, ...] = (),
    to: SocketAddress = CLIENT,
) -> Segment:
    return segment(flags, seq, ack, payload, options, (SERVER, to))


def through(chain: Chain, packet: Segment, way: int = FORWARD, now: int = 0) -> Segment | None:
    """What leaves in the same direction; None: dropped."""
    left = chain.arrives(packet, way, now)
    assert len(left) <= 1
    assert all(out_way == way for out_way, _ in left)
    return left[0][1] if left else None


def counts(chain: Chain, way: int = FORWARD) -> dict[str, int]:
    return {name: count for name, count in chain.boxes[0].counters(way).as_dict().items() if count}


# --- rewrite-isn ---


@pytest.mark.parametrize(("text", "moved"), [("", (1, 1)), (" forward", (1, 0)), (" backward", (0, 1))])
def test_l2_both_ends_see_other_numbers_that_fit_together(text: str, moved: tuple[int, int]) -> None:
    chain = Chain(parse("rewrite-isn" + text), seed=3)
    syn = through(chain, segment(SYN, M32))
    assert syn is not None
    there = (syn.seq - M32) & M32
    answer = through(chain, back(SYN | ACK, 7, syn.seq + 1), BACKWARD)
    assert answer is not None
    here = (answer.seq - 7) & M32
    assert (there != 0, here != 0) == moved
    assert answer.ack == 0, "the one after 2^32 - 1"
    blocks = (NOP, NOP, Timestamps(1, 2), NOP, NOP, Sack(((50, 60), (M32, 5))))
    data = through(chain, segment(ACK | PSH, 0, 8 + here, b"x", blocks))
    assert data is not None
    assert (data.seq, data.ack) == (there, 8)
    assert data.sack == Sack((((50 - here) & M32, (60 - here) & M32), ((M32 - here) & M32, (5 - here) & M32)))
    assert data.options[:5] == blocks[:5]
    assert data.payload == b"x"
    assert counts(chain) == {"seen": 2, "matched": 2, "changed": 1 + moved[0]}, "a SYN acknowledges nothing"
    assert counts(chain, BACKWARD) == {"seen": 1, "matched": 1, "changed": 1}


numbers = st.integers(0, M32)
steps = st.tuples(
    st.sampled_from((FORWARD, BACKWARD)),
    st.integers(0, 1 << 20),
    st.integers(0, 1 << 20),
    st.lists(st.integers(0, 1 << 20), max_size=4),
    st.sampled_from((ACK, ACK | PSH, ACK | FIN, RST, RST | ACK)),
)


@given(isns=st.tuples(numbers, numbers), conversation=st.lists(steps, max_size=20), seed=st.integers(0, 99))
def test_l2_counted_from_the_isn_each_saw_nothing_has_changed(
    isns: tuple[int, int], conversation: list[tuple[int, int, int, list[int], int]], seed: int
) -> None:
    """What an end reads of a packet, relative to the SYN that it sent and the one that it got, is what was meant."""
    chain = Chain((RewriteIsn(),), seed=seed)
    syn = through(chain, segment(SYN, isns[0]))
    assert syn is not None
    answer = through(chain, back(SYN | ACK, isns[1], syn.seq + 1), BACKWARD)
    assert answer is not None
    assert answer.ack == (isns[0] + 1) & M32
    own, seen = isns, (syn.seq, answer.seq)
    for way, offset, acked, edges, flags in conversation:
        others = seen[1 - way]
        sack = Sack(tuple((others + edge & M32, others + edge + 1 & M32) for edge in edges))
        acknowledges = others + acked if flags & ACK else 0
        make = segment if way == FORWARD else back
        out = through(chain, make(flags, own[way] + offset, acknowledges, bytes(offset & 7), (sack,)), way)
        assert out is not None
        assert (out.seq - seen[way]) & M32 == offset
        if flags & ACK:
            assert (out.ack - own[1 - way]) & M32 == acked
        else:
            assert out.ack == 0
        assert out.sack is not None
        assert [(left - own[1 - way]) & M32 for left, _ in out.sack.blocks] == edges
        assert [(right - left) & M32 for left, right in out.sack.blocks] == [1] * len(edges)
        assert out.payload == bytes(offset & 7)


@given(isn=numbers, seeds=st.tuples(st.integers(0, 99), st.integers(0, 99)))
def test_two_rewriters_in_a_row_are_as_one(isn: int, seeds: tuple[int, int]) -> None:
    chain = Chain([RewriteIsn(), RewriteIsn()], seed=seeds[0])
    syn = through(chain, segment(SYN, isn))
    assert syn is not None
    answer = through(chain, back(SYN | ACK, 5, syn.seq + 1), BACKWARD)
    assert answer is not None
    assert answer.ack == (isn + 1) & M32


def test_a_syn_that_is_repeated_is_moved_alike_and_a_new_one_otherwise() -> None:
    chain = Chain(parse("rewrite-isn"), seed=3)
    first, again, new = (through(chain, segment(SYN, isn)) for isn in (10, 10, 11))
    assert first == again
    assert first is not None
    assert new is not None
    assert new.seq != first.seq + 1


def test_a_connection_whose_syn_it_has_not_seen_passes_untouched() -> None:
    chain = Chain(parse("rewrite-isn"))
    for packet, way in ((segment(ACK, 5, 6, b"x"), FORWARD), (back(SYN | ACK, 5, 6), BACKWARD)):
        assert through(chain, packet, way) is packet
    assert counts(chain) == {"seen": 1}


def test_boxes_that_forget_sack_blocks_move_all_but_these() -> None:
    chain = Chain(parse("rewrite-isn forward except sack"), seed=3)
    syn = through(chain, segment(SYN, 10))
    assert syn is not None
    sack = Sack(((syn.seq + 5, syn.seq + 6),))
    out = through(chain, back(ACK, 1, syn.seq + 1, options=(sack,)), BACKWARD)
    assert out is not None
    assert out.ack == 11
    assert out.sack == sack


def test_the_oldest_connection_is_forgotten_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    chain = Chain(parse("rewrite-isn"), seed=3)
    rewriter = chain.boxes[0].behaviour
    for port in range(65537):
        through(chain, segment(SYN, 1, ends=(SocketAddress(CLIENT.host, port & 0xFFFF), (SERVER, OTHER)[port >> 16])))
    assert len(rewriter._flows) == 65536  # type: ignore[attr-defined]
    assert through(chain, segment(ACK, 5, ends=(SocketAddress(CLIENT.host, 0), SERVER))) is not None
    assert counts(chain)["matched"] == 65537


# --- nat ---


def mapped(chain: Chain, now: int = 0, flags: int = SYN, inner: SocketAddress = CLIENT) -> SocketAddress:
    """The outer address and port of a packet from inside, which passes and comes back."""
    out = through(chain, segment(flags, ends=(inner, SERVER)), FORWARD, now)
    assert out is not None
    answer = through(chain, back(flags | ACK, to=out.source), BACKWARD, now)
    assert answer is not None
    assert answer.destination == inner
    assert changed(out, source=inner) == segment(flags, ends=(inner, SERVER)), "nothing else has changed"
    return out.source


@pytest.mark.parametrize(("text", "host"), [("nat", CLIENT.host), ("nat as 10.0.2.1", GATEWAY)])
def test_l2_a_nat_gives_one_port_for_each_inner_end_whatever_the_destination(text: str, host: bytes) -> None:
    chain = Chain(parse(text), seed=3)
    outer = mapped(chain)
    assert outer.host == host
    assert outer.port >= 1024
    assert outer != CLIENT
    assert mapped(chain) == outer
    other = through(chain, segment(SYN, ends=(CLIENT, OTHER)))
    assert other is not None
    assert other.source == outer
    assert mapped(chain, inner=SocketAddress(CLIENT.host, 4001)) != outer
    assert counts(chain) == {"seen": 4, "matched": 4, "changed": 4}
    assert counts(chain, BACKWARD) == {"seen": 3, "matched": 3, "changed": 3}


def test_l2_what_nobody_inside_has_spoken_to_stays_outside() -> None:
    chain = Chain(parse("nat"), seed=3)
    outer = mapped(chain)
    assert through(chain, segment(SYN, ends=(OTHER, outer)), BACKWARD) is None, "another port of the same server"
    assert through(chain, back(SYN, to=CLIENT), BACKWARD) is None, "the inner port is none outside"
    assert through(chain, back(SYN, to=SocketAddress(CLIENT.host, 4001)), BACKWARD) is None
    assert counts(chain, BACKWARD)["dropped"] == 3


def test_l2_after_rebinding_what_goes_out_has_another_port_and_the_old_one_leads_nowhere() -> None:
    chain = Chain(parse("nat rebind after 2s+4s"), seed=3)
    first = mapped(chain, SECOND)
    assert mapped(chain, 2 * SECOND - 1, ACK) == first
    assert through(chain, back(ACK, to=first), BACKWARD, 2 * SECOND) is None
    second = mapped(chain, 2 * SECOND, ACK)
    third = mapped(chain, 5 * SECOND, ACK)
    assert len({first, second, third}) == 3
    assert mapped(chain, 6 * SECOND, ACK) == third


def test_a_reset_makes_no_mapping() -> None:
    chain = Chain(parse("nat rebind after 1s"), seed=3)
    mapped(chain)
    assert through(chain, segment(RST), FORWARD, SECOND) is None
    assert mapped(chain, SECOND) != CLIENT


@pytest.mark.parametrize(
    ("flags", "silence", "remembered"),
    [
        (ACK, 120 * MINUTE, True),
        (ACK, 125 * MINUTE, False),
        (ACK | FIN, 4 * MINUTE, True),
        (ACK | FIN, 4 * MINUTE + 1, False),
        (ACK | RST, 4 * MINUTE + 1, False),
    ],
)
def test_a_silent_connection_is_remembered_for_the_time_of_rfc_5382(flags: int, silence: int, remembered: bool) -> None:
    chain = Chain(parse("nat"), seed=3)
    outer = mapped(chain)
    assert mapped(chain, 0, ACK) == outer
    assert mapped(chain, 0, flags) == outer
    assert (mapped(chain, silence, ACK) == outer) is remembered


def test_one_that_never_answered_is_remembered_for_four_minutes() -> None:
    for silence, remembered in ((4 * MINUTE, True), (4 * MINUTE + 1, False)):
        chain = Chain(parse("nat"), seed=3)
        out = through(chain, segment(SYN))
        assert out is not None
        assert (through(chain, back(SYN | ACK, to=out.source), BACKWARD, silence) is not None) is remembered


def test_a_handshake_without_its_third_ack_is_remembered_for_four_minutes() -> None:
    for silence, remembered in ((4 * MINUTE, True), (4 * MINUTE + 1, False)):
        chain = Chain(parse("nat"), seed=3)
        outer = mapped(chain)
        assert (mapped(chain, silence, SYN) == outer) is remembered


def test_a_connection_that_one_side_has_closed_is_not_yet_closing() -> None:
    chain = Chain(parse("nat"), seed=3)
    outer = mapped(chain)
    assert through(chain, segment(ACK | FIN)) is not None
    assert mapped(chain, 120 * MINUTE, ACK) == outer


def test_a_new_connection_of_the_same_ends_is_no_longer_closing() -> None:
    chain = Chain(parse("nat"), seed=3)
    outer = mapped(chain, 0, SYN)
    assert mapped(chain, 0, ACK | FIN) == outer
    assert mapped(chain, 0, SYN) == outer
    assert mapped(chain, 0, ACK) == outer
    assert mapped(chain, 5 * MINUTE, ACK) == outer


def test_ports_come_again_only_after_all_others_and_only_when_free() -> None:
    chain = Chain(parse("nat ports 2000 to 2004 timeout 1s"), seed=3)
    inner = [SocketAddress(CLIENT.host, 4000 + number) for number in range(6)]
    given_ports = [mapped(chain, 0, inner=end).port for end in inner[:5]]
    assert sorted(given_ports) == [2000, 2001, 2002, 2003, 2004]
    assert through(chain, segment(SYN, ends=(inner[5], SERVER))) is None, "none is left"
    assert mapped(chain, 1, inner=inner[0]).port == given_ports[0]
    assert mapped(chain, SECOND + 1, inner=inner[5]).port in given_ports[1:], "the others have been silent"
    assert mapped(chain, SECOND + 1, inner=inner[0]).port == given_ports[0]


def test_a_pool_of_one_port_that_is_its_own_passes_packets_as_they_are() -> None:
    chain = Chain(parse("nat ports 4000 to 4000"))
    packet = segment(SYN)
    assert through(chain, packet) is packet


def test_the_other_family_is_not_translated_when_an_address_is_given() -> None:
    chain = Chain(parse("nat as 10.0.2.1"))
    packet = segment(SYN, ends=(SocketAddress(bytes(16), 1), SocketAddress(bytes(16), 2)))
    assert through(chain, packet) is packet
    assert through(chain, packet, BACKWARD) is packet
    assert through(Chain(parse("nat")), packet) is not packet


@settings(max_examples=50)
@given(seed=st.integers(0, 1000), first=st.integers(1, 50), count=st.integers(1, 40))
def test_every_port_of_a_pool_is_given_whatever_the_seed(seed: int, first: int, count: int) -> None:
    chain = Chain(parse(f"nat ports {first} to {first + count - 1}"), seed=seed)
    ports = {mapped(chain, inner=SocketAddress(CLIENT.host, 5000 + number)).port for number in range(count)}
    assert ports == set(range(first, first + count))


# --- firewall ---


JOIN = MpJoin(token=1, nonce=2)


def test_what_began_before_its_eyes_passes_and_nothing_else() -> None:
    chain = Chain(parse("firewall"))
    opened = (
        (segment(SYN), FORWARD),
        (back(SYN | ACK), BACKWARD),
        (segment(ACK, payload=b"x"), FORWARD),
        (back(RST), BACKWARD),
    )
    for packet, way in opened:
        assert through(chain, packet, way) is packet
    strange = segment(ACK, ends=(CLIENT, OTHER))
    assert through(chain, strange) is None
    assert through(chain, segment(SYN, ends=(OTHER, CLIENT)), BACKWARD) is None, "nobody may come in"
    assert through(chain, segment(SYN | ACK, ends=(OTHER, CLIENT)), BACKWARD) is None
    assert counts(chain) == {"seen": 3, "matched": 1, "dropped": 1}
    assert counts(chain, BACKWARD) == {"seen": 4, "matched": 2, "dropped": 2}


@pytest.mark.parametrize(
    ("text", "passes"),
    [("", (True, False)), (" opens backward", (False, True)), (" opens both", (True, True))],
)
def test_connections_open_in_the_directions_that_are_allowed(text: str, passes: tuple[bool, bool]) -> None:
    for way in (FORWARD, BACKWARD):
        chain = Chain(parse("firewall" + text))
        packet = segment(SYN) if way == FORWARD else back(SYN)
        assert (through(chain, packet, way) is packet) is passes[way]


def test_l1_a_join_is_dropped_in_both_directions_and_with_it_its_subflow() -> None:
    chain = Chain(parse("firewall drop-join opens both"))
    assert through(chain, segment(SYN)) is not None
    joins = segment(SYN, options=(JOIN,), ends=(CLIENT, OTHER))
    assert through(chain, joins) is None
    assert through(chain, back(SYN, options=(JOIN,), to=SocketAddress(CLIENT.host, 9)), BACKWARD) is None
    assert through(chain, segment(ACK, ends=(CLIENT, OTHER))) is None
    assert through(chain, segment(ACK)) is not None
    assert through(Chain(parse("firewall")), joins) is joins


def test_what_is_refused_is_answered_with_the_reset_of_a_closed_port() -> None:
    chain = Chain(parse("firewall drop-join reject"))
    ((way, reset),) = chain.arrives(segment(SYN, 9, options=(JOIN,)), FORWARD, 0)
    assert way == BACKWARD
    assert (reset.source, reset.destination) == (SERVER, CLIENT)
    assert (reset.flags, reset.seq, reset.ack) == (RST | ACK, 0, 10)
    ((_, reset),) = chain.arrives(segment(ACK, 9, 77, b"data"), FORWARD, 0)
    assert (reset.flags, reset.seq, reset.ack) == (RST, 77, 0)
    assert chain.arrives(segment(RST, 9), FORWARD, 0) == []
    assert counts(chain) == {"seen": 3, "matched": 3, "dropped": 3}
    assert counts(chain, BACKWARD) == {"made": 2}


def test_a_firewall_that_restarts_knows_nobody() -> None:
    chain = Chain(parse("firewall forget after 2s"))
    assert through(chain, segment(SYN)) is not None
    assert through(chain, segment(ACK), now=2 * SECOND - 1) is not None
    assert through(chain, segment(ACK), now=2 * SECOND) is None
    assert through(chain, segment(SYN), now=2 * SECOND) is not None
    assert through(chain, segment(ACK), now=3 * SECOND) is not None


def test_a_firewall_remembers_a_new_connection_of_the_same_ends_as_long_as_any() -> None:
    for new, remembered in ((SYN, True), (ACK, False)):
        chain = Chain(parse("firewall"))
        for flags in (SYN, ACK, ACK | FIN, new, ACK):
            assert through(chain, segment(flags)) is not None
            if flags != SYN:
                assert through(chain, back(flags), BACKWARD) is not None
        assert (through(chain, segment(ACK), now=5 * MINUTE) is not None) is remembered


def test_a_firewall_forgets_who_is_silent_and_who_never_answered() -> None:
    chain = Chain(parse("firewall timeout 10min"))
    through(chain, segment(SYN))
    through(chain, back(SYN | ACK), BACKWARD)
    through(chain, segment(ACK))
    assert through(chain, segment(ACK), now=10 * MINUTE) is not None
    assert through(chain, segment(ACK), now=20 * MINUTE + 1) is None
    assert through(chain, segment(SYN), now=30 * MINUTE) is not None
    assert through(chain, back(SYN | ACK), BACKWARD, 34 * MINUTE + 1) is None


@given(seed=st.integers(0, 1 << 30))
@settings(max_examples=50)
def test_a_firewall_never_changes_a_packet_and_lets_a_connection_out_and_back(seed: int) -> None:
    chance = random.Random(seed)
    chain = Chain(parse("firewall"))
    options = (Dss(data_ack=7),)
    opened: set[SocketAddress] = set()
    for _ in range(60):
        inner = SocketAddress(CLIENT.host, chance.randrange(4))
        way, flags = chance.randrange(2), chance.choice((SYN, ACK, SYN | ACK, ACK | FIN))
        packet = segment(flags, ends=(inner, SERVER) if way == FORWARD else (SERVER, inner), options=options)
        if way == FORWARD and flags == SYN:
            opened.add(inner)
        out = through(chain, packet, way)
        assert out is (packet if inner in opened else None)
