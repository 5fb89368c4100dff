"""Middleboxes that filter signals, clamp segment sizes, shrink windows, and replay packets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.net.middlebox import BACKWARD, FORWARD, Chain, changed
from testbed.wire.options import (
    NOP,
    AddAddr,
    Dss,
    MaximumSegmentSize,
    MpFail,
    MpPrio,
    MpTcprst,
    Option,
    RemoveAddr,
    SackPermitted,
    Timestamps,
    Unknown,
    WindowScale,
)
from testbed.wire.segment import ACK, FIN, RST, SYN, Segment, SocketAddress
from topologies.middlebox import parse

CLIENT, SERVER = SocketAddress(bytes([10, 0, 1, 1]), 4000), SocketAddress(bytes([10, 0, 2, 2]), 5001)
DSS = Dss(data_ack=7)
STAMPS = (NOP, NOP, Timestamps(1, 2))
INSIDE, OUTSIDE = (AddAddr(2, bytes([net, 0, 3, 1]), hmac=bytes(8)) for net in (10, 192))
INSIDE_6 = AddAddr(2, bytes([0xFD]) + bytes(15), hmac=bytes(8))
ALIKE_6 = AddAddr(2, bytes([10]) + bytes(15), hmac=bytes(8))
"""Begins with the octets of 10.0.0.0."""
ECHO = AddAddr(2, bytes([10, 0, 3, 1]))


def segment(
    flags: int, options: tuple[Option, ...] = (), payload: bytes = b"", window: int = 100, way: int = FORWARD
) -> Segment:
    ends = (CLIENT, SERVER) if way == FORWARD else (SERVER, CLIENT)
    return Segment(*ends, 1, 2, flags, window, options, payload)


def through(chain: Chain, packet: Segment) -> Segment | None:
    """What leaves in the same direction; None: dropped."""
    way = FORWARD if packet.source == CLIENT else BACKWARD
    left = chain.arrives(packet, way, 0)
    assert len(left) <= 1
    assert all(out_way == way for out_way, _ in left)
    return left[0][1] if left else None


def counts(chain: Chain, way: int = FORWARD) -> dict[str, int]:
    return {name: count for name, count in chain.boxes[0].counters(way).as_dict().items() if count}


# --- filter ---


@pytest.mark.parametrize(
    ("text", "filtered"),
    [
        ("filter add_addr", (INSIDE, OUTSIDE, INSIDE_6, ALIKE_6, ECHO)),
        ("filter add_addr of 10.0.0.0/8", (INSIDE, ECHO)),
        ("filter add_addr of fd00::/8", (INSIDE_6,)),
        ("filter add_addr.echo", (ECHO,)),
        ("filter mp_fail+mp_tcprst", (MpFail(1), MpTcprst(1))),
        ("filter mp_prio", (MpPrio(backup=True),)),
        ("filter remove_addr", (RemoveAddr((1, 2)),)),
    ],
)
def test_a_signal_is_taken_out_of_what_carries_more_and_dropped_alone(text: str, filtered: tuple[Option, ...]) -> None:
    signals: tuple[Option, ...] = (
        INSIDE,
        OUTSIDE,
        INSIDE_6,
        ALIKE_6,
        ECHO,
        MpFail(1),
        MpTcprst(1),
        MpPrio(backup=True),
        RemoveAddr((1, 2)),
    )
    for signal in signals:
        chain = Chain(parse(text))
        packets = (
            segment(ACK, (*STAMPS, signal)),
            segment(ACK, (*STAMPS, DSS, signal)),
            segment(ACK, (signal,), b"data"),
            segment(ACK | FIN, (signal,)),
            segment(RST, (signal,)),
        )
        out = [through(chain, packet) for packet in packets]
        if signal not in filtered:
            assert all(one is packet for one, packet in zip(out, packets, strict=True))
            assert counts(chain) == {"seen": 5}
            continue
        nops = (NOP,) * signal.size
        assert out[0] is None
        assert out[1] == changed(packets[1], options=(*STAMPS, DSS, *nops))
        assert out[2:] == [changed(packet, options=nops) for packet in packets[2:]]
        assert counts(chain) == {"seen": 5, "matched": 5, "changed": 4, "dropped": 1}


def test_one_that_cannot_be_read_is_filtered_by_its_subtype_unless_a_prefix_is_asked_for() -> None:
    unreadable = Unknown(30, bytes([0x30, 1, 2]))
    assert through(Chain(parse("filter add_addr")), segment(ACK, (unreadable,))) is None
    packet = segment(ACK, (unreadable,))
    assert through(Chain(parse("filter add_addr of 10.0.0.0/8")), packet) is packet


# --- clamp-mss ---


@given(announced=st.integers(0, 65535), clamp=st.integers(1, 65535), answers=st.booleans())
def test_a_segment_size_is_lowered_and_never_raised_and_nothing_else_changes(
    announced: int, clamp: int, answers: bool
) -> None:
    chain = Chain(parse(f"clamp-mss {clamp}"))
    others = (SackPermitted(), NOP, NOP)
    flags, way = (SYN | ACK, BACKWARD) if answers else (SYN, FORWARD)
    syn = segment(flags, (MaximumSegmentSize(announced), *others), way=way)
    out = through(chain, syn)
    if announced <= clamp:
        assert out is syn
    else:
        assert out == changed(syn, options=(MaximumSegmentSize(clamp), *others))
    assert counts(chain, way) == {"seen": 1, "matched": 1} | ({"changed": 1} if announced > clamp else {})


def test_only_a_syn_has_a_segment_size() -> None:
    chain = Chain(parse("clamp-mss 500"))
    for packet in (segment(ACK, (MaximumSegmentSize(1460),)), segment(SYN, STAMPS)):
        assert through(chain, packet) is packet
    assert counts(chain) == {"seen": 2}


# --- shrink-window ---


def handshake(chain: Chain, client_shift: int | None, server_shift: int | None) -> None:
    for flags, way, shift in ((SYN, FORWARD, client_shift), (SYN | ACK, BACKWARD, server_shift)):
        options = () if shift is None else (NOP, WindowScale(shift))
        out = through(chain, segment(flags, options, window=64000, way=way))
        assert out is not None
        assert out.window == 8000, "never scaled"


@pytest.mark.parametrize(
    ("shifts", "expected"),
    [
        ((7, 3), (8000 >> 7, 8000 >> 3)),
        ((0, 14), (8000, 1)),
        ((7, 15), (8000 >> 7, 1)),
        ((7, None), (8000, 8000)),
        ((None, 7), (8000, 8000)),
    ],
)
def test_l3_a_window_is_lowered_to_octets_by_the_scale_of_its_sender(
    shifts: tuple[int | None, int | None], expected: tuple[int, int]
) -> None:
    chain = Chain(parse("shrink-window 8kB"))
    handshake(chain, *shifts)
    for way in (FORWARD, BACKWARD):
        big = segment(ACK, STAMPS, window=60000, way=way)
        out = through(chain, big)
        assert out is not None
        assert out == changed(big, window=expected[way])
        small = segment(ACK, STAMPS, window=1, way=way)
        assert through(chain, small) is small
        assert counts(chain, way) == {"seen": 3, "matched": 3, "changed": 2}


def test_without_the_handshake_no_window_is_known() -> None:
    chain = Chain(parse("shrink-window 8kB"))
    packet = segment(ACK, window=60000)
    assert through(chain, packet) is packet
    assert through(chain, segment(SYN, window=1)) is not None
    assert through(chain, packet) is packet, "the other end has not told whether it scales"
    assert counts(chain) == {"seen": 3, "matched": 1}


def test_a_scale_of_more_than_14_counts_as_14_and_the_window_of_a_reset_as_nothing() -> None:
    chain = Chain(parse("shrink-window 64KiB"))
    through(chain, segment(SYN, (NOP, WindowScale(15))))
    through(chain, segment(SYN | ACK, (NOP, WindowScale(0)), way=BACKWARD))
    out = through(chain, segment(ACK, window=60000))
    assert out is not None
    assert out.window == 4
    reset = segment(RST, window=60000)
    assert through(chain, reset) is reset


def test_a_syn_that_comes_again_late_changes_nothing() -> None:
    chain = Chain(parse("shrink-window 8kB"))
    handshake(chain, 7, 3)
    through(chain, segment(SYN, (NOP, WindowScale(7))))
    out = through(chain, segment(ACK, window=60000, way=BACKWARD))
    assert out is not None
    assert out.window == 1000


def test_l3_the_right_edge_moves_back_in_the_middle_of_a_connection() -> None:
    chain = Chain(parse("shrink-window 1000B on ack nth 2"))
    for flags, way in ((SYN, FORWARD), (SYN | ACK, BACKWARD), (ACK, FORWARD)):
        through(chain, segment(flags, way=way))
    windows = []
    for _ in range(3):
        out = through(chain, segment(ACK, window=60000))
        assert out is not None
        windows.append(out.window)
    assert windows == [60000, 1000, 60000]
    assert counts(chain)["matched"] == 1


# --- replay ---


def test_l2_what_matches_comes_again_later_and_in_its_order() -> None:
    chain = Chain(parse("replay payload > 0 and chance 50% after 100ns"), seed=1)
    packets = [segment(ACK, payload=b"%d" % number) for number in range(40)]
    again: list[tuple[int, Segment]] = []
    for now, packet in enumerate(packets):
        if chain.next_timeout() == now:
            again += [(now, one) for _, one in chain.handle_timeout(now)]
        assert chain.arrives(packet, FORWARD, now) == [(FORWARD, packet)]
    while (due := chain.next_timeout()) is not None:
        ((way, one),) = chain.handle_timeout(due)
        assert way == FORWARD
        again.append((due, one))
    assert 10 < len(again) < 30
    assert all(one is packets[when - 100] for when, one in again)
    assert counts(chain) == {"seen": 40, "matched": len(again), "made": len(again)}


def test_a_replayed_packet_meets_the_middleboxes_behind_and_not_those_before() -> None:
    chain = Chain(parse("drop data nth 2, replay data after 5ns, strip mptcp on data nth 2"))
    packet = segment(ACK, (DSS,), b"data")
    assert chain.arrives(packet, FORWARD, 0) == [(FORWARD, packet)]
    ((_, again),) = chain.handle_timeout(5)
    assert again.options == (NOP,) * DSS.size
