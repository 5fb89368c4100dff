"""Any option and any segment, for hypothesis; and one of each kind, for what cannot be drawn."""

from __future__ import annotations

from hypothesis import strategies as st

from testbed.wire import options as o
from testbed.wire.option_codec import encode_options
from testbed.wire.segment import Segment, SocketAddress

u8 = st.integers(0, 0xFF)
u16 = st.integers(0, 0xFFFF)
u32 = st.integers(0, 0xFFFFFFFF)
u64 = st.integers(0, 0xFFFFFFFFFFFFFFFF)
addresses = st.one_of(st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16))
KNOWN_KINDS = {0, 1, 2, 3, 4, 5, 8, 30, 34}


@st.composite
def dss(draw: st.DrawFn) -> o.Dss:
    """A DSS whose absent members have their default widths, so that it is what its encoding decodes to."""
    has_ack, has_mapping = draw(st.booleans()), draw(st.booleans())
    ack_octets, dsn_octets = draw(st.sampled_from((4, 8))), draw(st.sampled_from((4, 8)))
    return o.Dss(
        data_ack=draw(u64 if ack_octets == 8 else u32) if has_ack else None,
        ack_octets=ack_octets if has_ack else 8,
        dsn=draw(u64 if dsn_octets == 8 else u32) if has_mapping else None,
        dsn_octets=dsn_octets if has_mapping else 8,
        ssn=draw(u32) if has_mapping else 0,
        length=draw(u16) if has_mapping else 0,
        checksum=draw(st.none() | u16) if has_mapping else None,
        data_fin=draw(st.booleans()),
    )


@st.composite
def mp_capable(draw: st.DrawFn) -> o.MpCapable:
    """Of any of the five lengths."""
    present = draw(st.integers(0, 4))
    members = [draw(u64), draw(u64), draw(u16), draw(u16)]
    sender_key, receiver_key, data_length, checksum = (
        value if index < present else None for index, value in enumerate(members)
    )
    return o.MpCapable(draw(u8), sender_key, receiver_key, data_length, checksum, draw(st.integers(0, 15)))


mp_join = st.one_of(
    st.builds(o.MpJoin, u8, st.booleans(), token=u32, nonce=u32),
    st.builds(o.MpJoin, u8, st.booleans(), nonce=u32, hmac=st.binary(min_size=8, max_size=8)),
    st.builds(o.MpJoin, hmac=st.binary(min_size=20, max_size=20)),
)
signals = st.one_of(
    mp_capable(),
    mp_join,
    st.builds(o.AddAddr, u8, addresses, st.none() | u16, st.none() | st.binary(min_size=8, max_size=8)),
    st.builds(o.RemoveAddr, st.lists(u8, min_size=1, max_size=8).map(tuple)),
    st.builds(o.MpPrio, st.booleans()),
    st.builds(o.MpFail, u64),
    st.builds(o.MpFastclose, u64),
    st.builds(o.MpTcprst, u8, st.booleans()),
    st.builds(o.MapEcho, u32),
)
tcp_options = st.one_of(
    st.just(o.NOP),
    st.builds(o.MaximumSegmentSize, u16),
    st.builds(o.WindowScale, u8),
    st.builds(o.SackPermitted),
    st.builds(o.Sack, st.lists(st.tuples(u32, u32), min_size=1, max_size=4).map(tuple)),
    st.builds(o.Timestamps, u32, u32),
    st.sampled_from((0, 4, 8, 16)).flatmap(lambda size: st.builds(o.FastOpen, st.binary(min_size=size, max_size=size))),
    st.builds(o.Unknown, u8.filter(lambda kind: kind not in KNOWN_KINDS), st.binary(max_size=20)),
    st.builds(o.Unknown, st.just(30), u8.filter(lambda b: b >= 0x90).map(lambda b: bytes((b, 1, 2)))),
)
options = st.one_of(dss(), signals, tcp_options)


def padded(chosen: list[o.Option]) -> tuple[o.Option, ...]:
    """As many of them as fit into 40 octets, and EOL up to a multiple of four."""
    area: list[o.Option] = []
    size = 0
    for option in chosen:
        if size + option.size <= 40:
            area.append(option)
            size += option.size
    return (*area, *[o.EOL] * (-size % 4))


usual_areas = st.one_of(
    st.builds(lambda t, d: (o.NOP, o.NOP, t, d, *[o.NOP] * (-d.size % 4)), st.builds(o.Timestamps, u32, u32), dss()),
    st.builds(lambda d, t: (d, *[o.NOP] * (-d.size % 4), t, o.NOP, o.NOP), dss(), st.builds(o.Timestamps, u32, u32)),
    st.builds(
        lambda t, s, a: (o.NOP, o.NOP, t, o.NOP, o.NOP, o.Sack((s,)), o.Dss(a)),
        st.builds(o.Timestamps, u32, u32),
        st.tuples(u32, u32),
        u64,
    ),
)
option_areas = st.one_of(usual_areas, st.lists(options, max_size=10).map(padded))


@st.composite
def segments(draw: st.DrawFn) -> Segment:
    """A segment over either version of IP; the payload is small or as large as a super-segment."""
    host = draw(st.sampled_from((4, 16)))
    hosts = st.binary(min_size=host, max_size=host)
    payload = draw(st.binary(max_size=64)) * draw(st.sampled_from((1, 1, 23, 900)))
    return Segment(
        SocketAddress(draw(hosts), draw(u16)),
        SocketAddress(draw(hosts), draw(u16)),
        draw(u32),
        draw(u32),
        draw(u8),
        draw(u16),
        draw(option_areas),
        payload,
        draw(u16),
        draw(st.integers(0, 3)),
    )


ONE_OF_EACH: tuple[tuple[o.Option, ...], ...] = (
    (o.MaximumSegmentSize(1460), o.SackPermitted(), o.Timestamps(1, 0), o.NOP, o.WindowScale(7), o.MpCapable(0x01)),
    (o.MpCapable(0x81, 1 << 60),),
    (o.MpCapable(0x01, 1, 2),),
    (o.MpCapable(0x01, 1, 2, 100), o.NOP, o.NOP),
    (o.MpCapable(0x81, 1, 2, 100, 0xABCD),),
    (o.MpJoin(3, True, token=0x01020304, nonce=5),),
    (o.MpJoin(4, False, nonce=6, hmac=b"8 octets"),),
    (o.MpJoin(hmac=b"twenty octets of it!"),),
    (o.NOP, o.NOP, o.Timestamps(7, 8), o.Dss(9)),
    (o.Dss(10, 4),),
    (o.NOP, o.NOP, o.Timestamps(7, 8), o.Dss(9, 8, 10, 8, 1, 100), o.NOP, o.NOP),
    (o.NOP, o.NOP, o.Timestamps(7, 8), o.Dss(9, 8, 10, 8, 1, 100, 0x1234)),
    (o.Dss(9, 4, 10, 4, 1, 100), o.NOP, o.NOP, o.Timestamps(7, 8), o.NOP, o.NOP),
    (o.Dss(None, 8, 10, 4, 1, 100), o.NOP, o.NOP),
    (o.Dss(9, 8, 10, 8, 0, 1, None, True), o.NOP, o.NOP),
    (o.Dss(9, 8, 10, 8, 5, 0, 0),),
    (o.NOP, o.NOP, o.Timestamps(7, 8), o.NOP, o.NOP, o.Sack(((200, 300),)), o.Dss(9)),
    (o.NOP, o.NOP, o.Sack(((200, 300), (400, 500), (600, 700))), o.Dss(9)),
    (o.AddAddr(2, bytes((10, 0, 1, 2)), None, b"hmac hma"),),
    (o.AddAddr(2, bytes((10, 0, 1, 2)), 443, b"hmac hma"), o.NOP, o.NOP),
    (o.AddAddr(2, bytes((10, 0, 1, 2))),),
    (o.AddAddr(2, bytes((10, 0, 1, 2)), 443), o.NOP, o.NOP),
    (o.AddAddr(2, bytes(15) + b"\1", None, b"hmac hma"),),
    (o.AddAddr(2, bytes(15) + b"\1", 443, b"hmac hma"), o.NOP, o.NOP),
    (o.AddAddr(2, bytes(15) + b"\1"),),
    (o.AddAddr(2, bytes(15) + b"\1", 443), o.NOP, o.NOP),
    (o.RemoveAddr((1,)), o.RemoveAddr((1, 2, 3, 4, 5))),
    (o.MpPrio(True), o.NOP, o.MpPrio(False), o.NOP),
    (o.MpFail(99),),
    (o.MpFastclose(99),),
    (o.MpTcprst(6), o.MpTcprst(2, True)),
    (o.FastOpen(), o.FastOpen(b"cookiesA"), o.NOP, o.NOP, o.NOP, o.NOP),
)
"""Option areas in which every kind, subtype and length appears at least once."""


@st.composite
def _damaged(draw: st.DrawFn) -> bytes:
    octets = bytearray(encode_options(draw(option_areas)))
    for place in draw(st.lists(st.integers(0, 39), max_size=3)):
        if place < len(octets):
            octets[place] = draw(u8)
    return bytes(octets)


damaged_areas = _damaged()
"""What was an option area before up to three octets of it changed."""
