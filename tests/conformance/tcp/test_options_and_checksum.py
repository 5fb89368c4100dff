"""T1: the checksum and the options of RFC 9293 (MUST-2, 3, 5, 6, 7, 64, 68, 69), on the codec."""

from __future__ import annotations

import pytest
import wire_values
from hypothesis import given
from hypothesis import strategies as st

from testbed.wire import options as o
from testbed.wire.codec import decode, encode
from testbed.wire.errors import ChecksumError
from testbed.wire.option_codec import decode_options, encode_options
from testbed.wire.segment import Segment


@given(wire_values.segments())
def test_t1_checksum_is_generated_and_checked(segment: Segment) -> None:
    """MUST-2, MUST-3."""
    packet = encode(segment)
    transport = 20 if packet[0] >> 4 == 4 else 40
    damaged = bytearray(packet)
    damaged[transport + 16] ^= 0x40

    assert decode(packet) == segment
    with pytest.raises(ChecksumError):
        decode(bytes(damaged))


@given(wire_values.option_areas.filter(lambda area: sum(option.size for option in area) <= 36), st.integers(0, 3))
def test_t1_options_begin_at_any_octet_and_on_any_segment(area: tuple[o.Option, ...], shift: int) -> None:
    """MUST-5, MUST-64: a receiver is prepared for options that do not begin on a word boundary."""
    octets = b"\x01" * shift + encode_options(area)

    assert decode_options(octets) == (*[o.NOP] * shift, *area)


@given(st.integers(0, 255).filter(lambda kind: kind not in wire_values.KNOWN_KINDS), st.binary(max_size=20))
def test_t1_unknown_option_is_passed_over(kind: int, body: bytes) -> None:
    """MUST-6, MUST-68: kind and length suffice to go on behind it."""
    octets = bytes((kind, 2 + len(body))) + body + b"\x02\x04\x05\xb4"

    assert decode_options(octets) == (o.Unknown(kind, body), o.MaximumSegmentSize(1460))


@pytest.mark.parametrize("bad", [b"\x08\x00", b"\x08\x01", b"\x08\x28", b"\x63\x00", b"\x1e\x01", b"\x05"])
def test_t1_option_of_impossible_length_does_no_harm(bad: bytes) -> None:
    """MUST-7: what came before it stands."""
    assert decode_options(b"\x02\x04\x05\xb4" + bad) == (o.MaximumSegmentSize(1460),)


@pytest.mark.parametrize("octets", ["0203ff", "0302", "080400ff", "0506ffffffff", "0a02", "1e0420ff", "2203ff"])
def test_t1_known_option_of_a_length_it_cannot_have_is_not_understood(octets: str) -> None:
    """MUST-7: ignored, and the next one is found."""
    first, second = decode_options(bytes.fromhex(octets) + b"\x03\x03\x07")

    assert isinstance(first, o.Unknown)
    assert second == o.WindowScale(7)


@given(wire_values.option_areas)
def test_t1_header_is_padded_with_zeros_behind_the_end_of_options(area: tuple[o.Option, ...]) -> None:
    """MUST-69."""
    while area and area[-1] is o.EOL:
        area = area[:-1]
    size = sum(option.size for option in area)
    octets = encode_options(area)

    assert len(octets) % 4 == 0
    assert octets[size:] == bytes(-size % 4)
