"""The option area: exact both ways, and any octets at all."""

from __future__ import annotations

import pytest
import wire_values
from hypothesis import given
from hypothesis import strategies as st

from testbed.wire import options as o
from testbed.wire.option_codec import decode_options, encode_option, encode_options


@given(wire_values.option_areas)
def test_an_area_decodes_to_what_was_encoded(area: tuple[o.Option, ...]) -> None:
    assert decode_options(encode_options(area)) == area


@given(st.binary(max_size=40))
def test_any_octets_decode_and_what_they_decode_to_survives(area: bytes) -> None:
    options = decode_options(area)

    again = decode_options(encode_options(options))

    assert again[: len(options)] == options
    assert all(option is o.EOL for option in again[len(options) :])


@given(wire_values.options)
def test_size_is_what_is_encoded(option: o.Option) -> None:
    assert len(encode_option(option)) == option.size


@given(wire_values.option_areas, st.data())
def test_damage_at_one_place_leaves_what_came_before(area: tuple[o.Option, ...], data: st.DataObject) -> None:
    octets = bytearray(encode_options(area))
    if not octets:
        return
    place = data.draw(st.integers(0, len(octets) - 1))
    octets[place] ^= data.draw(st.integers(1, 255))
    whole, size = [], 0
    for option in area:
        size += option.size
        if size > place:
            break
        whole.append(option)

    assert decode_options(bytes(octets))[: len(whole)] == tuple(whole)


def test_one_of_each_survives() -> None:
    for area in wire_values.ONE_OF_EACH:
        assert decode_options(encode_options(area)) == area


def test_an_area_of_more_than_forty_octets_is_refused() -> None:
    area = (o.Sack(((1, 2), (3, 4), (5, 6), (7, 8))), o.Timestamps(1, 2))

    try:
        encode_options(area)
    except ValueError as error:
        assert "40" in str(error)
    else:
        raise AssertionError("44 octets were encoded")


def test_the_octets_of_a_dss_are_those_of_the_figure() -> None:
    """RFC 8684 figure 9: flags F m M a A in the low five bits of the fourth octet."""
    option = o.Dss(0x0102030405060708, 8, 0x1112131415161718, 8, 0x21222324, 0x3132, 0x4142, True)

    assert encode_option(option) == bytes.fromhex("1e1c201f 0102030405060708 1112131415161718 21222324 3132 4142")


def test_the_octets_of_signals_are_those_of_the_figures() -> None:
    assert encode_option(o.MpCapable(0x81, 0x0102030405060708)) == bytes.fromhex("1e0c0181 0102030405060708")
    assert encode_option(o.MpJoin(5, True, token=1, nonce=2)) == bytes.fromhex("1e0c1105 00000001 00000002")
    assert encode_option(o.MpJoin(hmac=b"\xaa" * 20)) == bytes.fromhex("1e181000") + b"\xaa" * 20
    assert encode_option(o.AddAddr(7, b"\x0a\0\0\1", 80)) == bytes.fromhex("1e0a3107 0a000001 0050")
    assert encode_option(o.RemoveAddr((1, 2))) == bytes.fromhex("1e054001 02")
    assert encode_option(o.MpPrio(True)) == bytes.fromhex("1e0351")
    assert encode_option(o.MpFail(3)) == bytes.fromhex("1e0c6000 0000000000000003")
    assert encode_option(o.MpFastclose(4)) == bytes.fromhex("1e0c7000 0000000000000004")
    assert encode_option(o.MpTcprst(6, True)) == bytes.fromhex("1e048106")


def test_every_attribute_of_an_option_is_part_of_its_value() -> None:
    for area in wire_values.ONE_OF_EACH:
        for option in area:
            assert option.fields == getattr(option, "__slots__", option.fields)
            assert all(f"{name}={getattr(option, name)!r}" in repr(option) for name in option.fields)


def test_options_differ_when_an_attribute_does() -> None:
    assert o.Dss(1) != o.Dss(2)
    assert o.Dss(1) != o.Dss(1, data_fin=True)
    assert o.MpPrio(True) != o.MpPrio(False)
    assert o.NOP != o.EOL
    assert len({o.Dss(1), o.Dss(1), o.Dss(2), o.MpFail(1), o.MpFastclose(1)}) == 4


@given(wire_values.option_areas)
def test_both_codecs_write_the_same_octets(area: tuple[o.Option, ...]) -> None:
    librt_codec = pytest.importorskip("testbed.wire.librt_codec", exc_type=ImportError)

    assert librt_codec.encode_options(area) == encode_options(area)


@given(st.one_of(st.binary(max_size=40), wire_values.damaged_areas))
def test_both_codecs_read_the_same_options(area: bytes) -> None:
    librt_codec = pytest.importorskip("testbed.wire.librt_codec", exc_type=ImportError)

    assert librt_codec.decode_options(area) == decode_options(area)
