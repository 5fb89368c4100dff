"""Options that few packets have, from octets to values: both versions of MPTCP, every length, and what is no option."""

from __future__ import annotations

import numpy as np
import pytest
from capture_reference import Frame, records_of
from hypothesis import given
from hypothesis import strategies as st
from wire_values import options, signals

from analysis.capture.dissection import dissect
from analysis.capture.flows import Flows
from analysis.capture.layouts import Layouts
from analysis.capture.rare_options import decode, decoded
from testbed.wire import options as o
from testbed.wire.codec import encode
from testbed.wire.option_codec import encode_option
from testbed.wire.options_v0 import AddAddrV0, MpPrioV0
from testbed.wire.segment import Segment, SocketAddress

HERE, THERE = SocketAddress(b"\x0a\0\0\1", 1000), SocketAddress(b"\x0a\0\0\2", 2000)
KEY, OTHER = 0x0102030405060708, 0xA1A2A3A4A5A6A7A8
V4, V6 = bytes((192, 0, 2, 1)), bytes(range(16))
HMAC = b"8 octets"


@given(options.filter(lambda option: option.kind not in (o.KIND_NOP, o.KIND_EOL)))
def test_what_the_codec_writes_is_read_as_the_same_value(option: o.Option) -> None:
    assert decode(encode_option(option)) == option


@pytest.mark.parametrize(
    ("octets", "value"),
    [
        # MP_CAPABLE: v1 SYN, SYN/ACK, third ACK, with data, with data and checksum; v0 SYN and SYN/ACK, third ACK
        ("1e 04 01 01", o.MpCapable(1)),
        ("1e 0c 01 01 0102030405060708", o.MpCapable(1, KEY)),
        ("1e 14 01 01 0102030405060708 a1a2a3a4a5a6a7a8", o.MpCapable(1, KEY, OTHER)),
        ("1e 16 01 01 0102030405060708 a1a2a3a4a5a6a7a8 0064", o.MpCapable(1, KEY, OTHER, 100)),
        ("1e 18 01 81 0102030405060708 a1a2a3a4a5a6a7a8 0064 abcd", o.MpCapable(0x81, KEY, OTHER, 100, 0xABCD)),
        ("1e 0c 00 81 0102030405060708", o.MpCapable(0x81, KEY, version=0)),
        ("1e 14 00 01 0102030405060708 a1a2a3a4a5a6a7a8", o.MpCapable(1, KEY, OTHER, version=0)),
        # MP_JOIN
        ("1e 0c 11 03 01020304 00000005", o.MpJoin(3, True, token=0x01020304, nonce=5)),
        ("1e 10 10 04 0102030405060708 00000006", o.MpJoin(4, False, nonce=6, hmac=bytes(range(1, 9)))),
        ("1e 18 10 00" + "07" * 20, o.MpJoin(hmac=b"\7" * 20)),
        # ADD_ADDR v1: with HMAC and as an echo, with and without port, both versions of IP
        ("1e 10 30 02 c0000201" + HMAC.hex(), o.AddAddr(2, V4, None, HMAC)),
        ("1e 12 30 02 c0000201 01bb" + HMAC.hex(), o.AddAddr(2, V4, 443, HMAC)),
        ("1e 08 31 02 c0000201", o.AddAddr(2, V4)),
        ("1e 0a 31 02 c0000201 01bb", o.AddAddr(2, V4, 443)),
        ("1e 1c 30 02" + V6.hex() + HMAC.hex(), o.AddAddr(2, V6, None, HMAC)),
        ("1e 1e 30 02" + V6.hex() + "01bb" + HMAC.hex(), o.AddAddr(2, V6, 443, HMAC)),
        ("1e 14 31 02" + V6.hex(), o.AddAddr(2, V6)),
        ("1e 16 31 02" + V6.hex() + "01bb", o.AddAddr(2, V6, 443)),
        # ADD_ADDR v0
        ("1e 08 34 02 c0000201", AddAddrV0(2, V4)),
        ("1e 0a 34 02 c0000201 01bb", AddAddrV0(2, V4, 443)),
        ("1e 14 36 02" + V6.hex(), AddAddrV0(2, V6)),
        ("1e 16 36 02" + V6.hex() + "01bb", AddAddrV0(2, V6, 443)),
        # the others
        ("1e 06 40 01 02 03", o.RemoveAddr((1, 2, 3))),
        ("1e 03 51", o.MpPrio(True)),
        ("1e 04 51 07", MpPrioV0(True, 7)),
        ("1e 0c 60 00 0102030405060708", o.MpFail(KEY)),
        ("1e 0c 70 00 0102030405060708", o.MpFastclose(KEY)),
        ("1e 04 81 06", o.MpTcprst(6, True)),
        ("02 04 05b4", o.MaximumSegmentSize(1460)),
        ("03 03 07", o.WindowScale(7)),
        ("04 02", o.SackPermitted()),
        ("22 02", o.FastOpen()),
        ("22 0a" + HMAC.hex(), o.FastOpen(HMAC)),
        # lengths that they cannot have
        ("1e 05 01 01 00", o.Unknown(30, b"\x01\x01\x00")),
        ("1e 09 30 02 c0000201 00", o.Unknown(30, bytes.fromhex("3002c000020100"))),
        ("1e 02", o.Unknown(30, b"")),
        ("02 03 05", o.Unknown(2, b"\x05")),
    ],
)
def test_every_form_of_either_version_has_its_value(octets: str, value: o.Option) -> None:
    data = bytes.fromhex(octets)
    assert data[1] == len(data)
    assert decode(data) == value
    assert isinstance(value, o.Unknown) or value.size == len(data)


@given(st.lists(signals, min_size=1, max_size=8))
def test_rows_of_a_batch_are_decoded_in_order(drawn: list[o.Option]) -> None:
    frames = []
    for option in drawn:
        packet = encode(Segment(HERE, THERE, 1, 2, 0x10, 3, (o.NOP, option, *[o.NOP] * (-(option.size + 1) % 4))))
        frames.append(Frame(101, packet, len(packet)))
    rare = dissect(records_of(frames), Flows(), Layouts()).batch.rare
    assert [(found.row, found.option) for found in decoded(rare)] == list(enumerate(drawn))
    wanted = rare.subtype == o.SUBTYPE_MP_JOIN
    assert [found.option for found in decoded(rare, wanted)] == [each for each in drawn if isinstance(each, o.MpJoin)]


@given(st.binary(max_size=38), st.integers(0, 255))
def test_any_option_decodes(body: bytes, kind: int) -> None:
    octets = bytes((kind, len(body) + 2)) + body
    decode(octets)


def test_a_batch_without_rare_options_has_an_empty_table() -> None:
    packet = encode(Segment(HERE, THERE, 1, 2, 0x10, 3))
    rare = dissect(records_of([Frame(101, packet, len(packet))]), Flows(), Layouts()).batch.rare
    assert rare.octets.shape == (0, 40) and rare.octets.dtype == np.uint8
    assert list(decoded(rare)) == []
