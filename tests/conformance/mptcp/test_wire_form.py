"""A5, A6, B3, D1, D5, D6, G12: what RFC 8684 says of the octets alone."""

from __future__ import annotations

import pytest
import wire_values
from hypothesis import given
from hypothesis import strategies as st

from testbed.wire import options as o
from testbed.wire.option_codec import decode_options, encode_option


@given(wire_values.signals)
def test_a5_reserved_bits_are_sent_as_zero(option: o.Option) -> None:
    octets = encode_option(option)

    reserved = {
        o.MpJoin: 0x0E,
        o.AddAddr: 0x0E,
        o.RemoveAddr: 0x0F,
        o.MpPrio: 0x0E,
        o.MpFail: 0x0F,
        o.MpFastclose: 0x0F,
        o.MpTcprst: 0x0E,
    }.get(type(option), 0)
    assert octets[2] & reserved == 0


@given(st.integers(0, 7), wire_values.u8)
def test_a5_spare_flags_of_add_addr_and_tcprst_are_ignored(spare: int, value: int) -> None:
    add_addr = bytes((30, 8, 0x31 | spare << 1, value)) + bytes(4)
    tcprst = bytes((30, 4, 0x81 | spare << 1, value))

    assert decode_options(add_addr) == (o.AddAddr(value, bytes(4)),)
    assert decode_options(tcprst) == (o.MpTcprst(value, True),)


@given(st.integers(9, 15), st.binary(max_size=20))
def test_a6_unknown_subtype_is_passed_over(subtype: int, rest: bytes) -> None:
    body = bytes((subtype << 4,)) + rest

    assert decode_options(bytes((30, 2 + len(body))) + body + b"\x01") == (o.Unknown(30, body), o.NOP)


def test_b3_lengths_of_mp_capable() -> None:
    forms = [
        o.MpCapable(1),
        o.MpCapable(1, 2),
        o.MpCapable(1, 2, 3),
        o.MpCapable(1, 2, 3, 4),
        o.MpCapable(1, 2, 3, 4, 5),
    ]

    assert [len(encode_option(form)) for form in forms] == [4, 12, 20, 22, 24]
    for length in set(range(3, 38)) - {4, 12, 20, 22, 24}:
        (option,) = decode_options(bytes((30, length, 0x01)) + bytes(length - 3))
        assert isinstance(option, o.Unknown)


@given(wire_values.dss(), st.integers(0, 7))
def test_d1_reserved_flags_of_a_dss_are_ignored(option: o.Dss, spare: int) -> None:
    octets = bytearray(encode_option(option))
    octets[3] |= spare << 5

    assert decode_options(bytes(octets)) == (option,)


@pytest.mark.parametrize(("flags", "rest"), [(0x02, 0), (0x08, 0), (0x0A, 0), (0x09, 4), (0x06, 10)])
def test_d1_widths_without_their_members_are_ignored(flags: int, rest: int) -> None:
    """a without A and m without M say nothing."""
    (option,) = decode_options(bytes((30, 4 + rest, 0x20, flags)) + bytes(rest))

    assert isinstance(option, o.Dss)
    assert (option.data_ack is not None) == bool(flags & 1)
    assert (option.dsn is not None) == bool(flags & 4)


@given(wire_values.dss())
def test_d1_dss_has_at_most_twenty_eight_octets(option: o.Dss) -> None:
    assert 4 <= len(encode_option(option)) <= 28


def test_g12_remove_addr_is_a_list() -> None:
    for count in range(1, 9):
        assert len(encode_option(o.RemoveAddr(tuple(range(count))))) == 3 + count
    (option,) = decode_options(bytes.fromhex("1e0340") + b"\x01")[:1]
    assert isinstance(option, o.Unknown)
