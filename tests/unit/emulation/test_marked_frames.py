"""Flows and ECN of frames: as virtual time sees them, and marked so that nobody finds a wrong checksum."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.emulation.frames import NETWORK, ecn_of, flow_of, marked_ce, ones_complement_sum
from testbed.emulation.packet_socket import VNET_BYTES
from testbed.net.queue_server import flow_of as flow_of_segment
from testbed.wire.codec import decode, encode
from testbed.wire.segment import ACK, ECN_CE, Segment, SocketAddress

ETHERNET = bytes(VNET_BYTES + 12)


def framed(segment: Segment) -> bytes:
    ethertype = b"\x08\x00" if len(segment.source.host) == 4 else b"\x86\xdd"
    return ETHERNET + ethertype + encode(segment)


@st.composite
def segments(draw: st.DrawFn) -> Segment:
    size = draw(st.sampled_from([4, 16]))
    ends = (SocketAddress(draw(st.binary(min_size=size, max_size=size)), draw(st.integers(0, 65535))) for _ in range(2))
    payload = draw(st.binary(max_size=50))
    return Segment(*ends, draw(st.integers(0, 2**32 - 1)), 1, ACK, 100, (), payload, ecn=draw(st.integers(0, 3)))


@given(segments())
def test_a_marked_frame_differs_in_its_ecn_field_alone_and_its_checksums_are_right(segment: Segment) -> None:
    frame = framed(segment)
    assert ecn_of(frame) == segment.ecn
    marked = marked_ce(frame)
    assert ecn_of(marked) == ECN_CE
    if frame[NETWORK] >> 4 == 4:
        assert ones_complement_sum(marked[NETWORK : NETWORK + 20]) == 0
    found = decode(marked, NETWORK)  # refuses wrong checksums
    expected = decode(frame, NETWORK)
    expected.ecn = ECN_CE
    assert found == expected


@given(segments())
def test_a_flow_is_the_same_in_both_drivers(segment: Segment) -> None:
    assert flow_of(framed(segment)) == flow_of_segment(segment)


@pytest.mark.parametrize(("at", "value"), [(6, 0x20), (7, 1), (9, 1)], ids=["first fragment", "later", "icmp"])
def test_a_fragment_and_what_has_no_ports_belong_to_the_flow_of_their_addresses(at: int, value: int) -> None:
    ends = SocketAddress(bytes([10, 0, 0, 1]), 4000), SocketAddress(bytes([10, 0, 0, 2]), 5001)
    frame = bytearray(framed(Segment(*ends, 1, 1, ACK, 100)))
    whole = flow_of(bytes(frame))
    frame[NETWORK + at] = value
    assert flow_of(bytes(frame)) == ends[0].host + ends[1].host + bytes([frame[NETWORK + 9]]) != whole
