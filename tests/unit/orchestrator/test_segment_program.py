"""Records of segments, made by hand with the offsets of a kernel made by hand, and what is read in them."""

from __future__ import annotations

import dataclasses
import struct
from typing import Any

import pytest
from kernel_records import OFFSETS, Held, record, types_of_a_kernel

from testbed.orchestrator.bpf.btf import Btf, BtfError
from testbed.orchestrator.bpf.segment_program import (
    PACKET,
    RECORD_OCTETS,
    REQUEST,
    SOCKET,
    SUBFLOW,
    decode,
    find_offsets,
)

TIMESTAMPS = bytes.fromhex("0101080a0000000100000002")


def test_the_headers_are_those_of_the_packet() -> None:
    seen = decode(record(PACKET, options=TIMESTAMPS, payload=1448, time_ns=5, tag=1), OFFSETS)
    assert (seen.time_ns, seen.tag, seen.family, seen.level) == (5, 1, 4, PACKET)
    assert (seen.source, seen.source_port) == (bytes([10, 0, 0, 1]), 5001)
    assert (seen.destination, seen.destination_port) == (bytes([10, 0, 0, 2]), 40000)
    assert (seen.sequence, seen.flags, seen.options, seen.payload) == (1000, 0x10, TIMESTAMPS, 1448)


@pytest.mark.parametrize("link_layer", [0, 14])
@pytest.mark.parametrize("family", [4, 6])
def test_the_payload_is_counted_with_and_without_a_link_layer(family: int, link_layer: int) -> None:
    seen = decode(record(PACKET, family=family, link_layer=link_layer, options=TIMESTAMPS, payload=77), OFFSETS)
    assert (seen.family, seen.payload) == (family, 77)
    assert len(seen.source) == len(seen.destination) == (4 if family == 4 else 16)


def test_what_was_not_known_of_a_packet_without_a_socket_is_not_taken_from_what_lay_in_the_ring() -> None:
    rubbish = Held(rcv_nxt=9, num_sacks=3, dsack=True, token=99, signal=7)
    seen = decode(record(PACKET, held=rubbish), OFFSETS)
    assert (seen.rcv_nxt, seen.num_sacks, seen.has_dsack, seen.token, seen.postponed) == (0, 0, False, 0, ())
    assert decode(record(REQUEST, held=rubbish), OFFSETS).token == 99
    assert decode(record(SOCKET, held=rubbish), OFFSETS).token == 0


def test_the_socket_is_as_the_option_writer_saw_it() -> None:
    held = Held(rcv_nxt=500, snd_nxt=2000, num_sacks=2, selective=((600, 700), (800, 900), (1, 2), (3, 4)))
    seen = decode(record(SOCKET, held=held), OFFSETS)
    assert (seen.rcv_nxt, seen.snd_nxt) == (500, 2000)
    assert seen.blocks_wanted(()) == ((600, 700), (800, 900))


def test_no_more_than_four_blocks_are_wanted() -> None:
    held = Held(num_sacks=4, dsack=True, duplicate=(1, 2), selective=((5, 6), (7, 8), (9, 10), (11, 12)))
    assert decode(record(SOCKET, held=held), OFFSETS).blocks_wanted(()) == ((1, 2), (5, 6), (7, 8), (9, 10))


ORDINARY = ((600, 700), (800, 900))


@pytest.mark.parametrize(
    ("mark", "num_sacks", "duplicate", "sent", "wanted"),
    [
        (True, 1, (100, 200), (), 2),  # displaced: its mark is still there
        (False, 1, (100, 200), ((100, 200),), 2),  # it left, the ordinary one was displaced
        (False, 1, (100, 200), ((100, 200), (600, 700)), 2),  # both left
        (False, 0, (100, 200), ((100, 200),), 1),  # it left, nothing else was held
        (False, 1, (100, 200), ((600, 700),), 1),  # an old one, sent long ago
        (False, 2, (600, 700), ((600, 700), (800, 900)), 2),  # the old one is like the first ordinary one
        (False, 1, (600, 700), ((600, 700), (600, 700)), 2),  # a new one is like the first ordinary one
        (False, 2, (100, 200), (), 2),  # all displaced, no mark: none of them is a duplicate
    ],
)
def test_a_dsack_is_wanted_when_it_was_to_be_sent_though_its_mark_is_taken_off_with_the_sending(
    mark: bool, num_sacks: int, duplicate: tuple[int, int], sent: tuple[tuple[int, int], ...], wanted: int
) -> None:
    held = Held(num_sacks=num_sacks, dsack=mark, duplicate=duplicate, selective=(*ORDINARY, (0, 0), (0, 0)))
    assert len(decode(record(SOCKET, held=held), OFFSETS).blocks_wanted(sent)) == wanted


@pytest.mark.parametrize(
    ("held", "postponed"),
    [
        (Held(signal=0b000), ()),
        (Held(signal=0b001), (("add_addr", 16),)),
        (Held(signal=0b001, own=(10, 0)), (("add_addr", 28),)),
        (Held(signal=0b001, own=(10, 5001)), (("add_addr", 30),)),
        (Held(signal=0b010), (("add_addr", 8),)),
        (Held(signal=0b010, theirs=(10, 80)), (("add_addr", 22),)),
        (Held(signal=0b100, removals=2), (("remove_addr", 5),)),
        (Held(signal=0b111, removals=1), (("add_addr", 8), ("add_addr", 16), ("remove_addr", 4))),
    ],
)
def test_address_signals_that_are_still_set_have_the_sizes_of_rfc_8684(
    held: Held, postponed: tuple[tuple[str, int], ...]
) -> None:
    assert decode(record(SUBFLOW, held=held), OFFSETS).postponed == postponed


@pytest.mark.parametrize(
    ("family", "path_mtu", "clamp", "mss"), [(4, 1500, 1460, 1460), (6, 1500, 1460, 1440), (4, 9000, 1460, 1460)]
)
def test_the_mss_is_what_path_and_peer_allow(family: int, path_mtu: int, clamp: int, mss: int) -> None:
    assert decode(record(SOCKET, family=family, held=Held(path_mtu=path_mtu, mss_clamp=clamp)), OFFSETS).mss == mss


@pytest.mark.parametrize("octets", [0, RECORD_OCTETS - 1, RECORD_OCTETS + 8])
def test_a_record_of_another_size_is_refused(octets: int) -> None:
    with pytest.raises(ValueError, match=f"{octets} octets"):
        decode(bytes(octets), OFFSETS)


def test_a_packet_without_a_tcp_header_is_refused() -> None:
    with pytest.raises(ValueError, match="TCP header of 0 octets"):
        decode(bytes(RECORD_OCTETS), OFFSETS)


def test_a_kernel_without_mptcp_has_offsets_all_the_same() -> None:
    offsets = find_offsets(Btf(types_of_a_kernel(mptcp=False)))
    assert offsets.mptcp is None
    assert dataclasses.replace(OFFSETS, mptcp=None) == offsets


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rx_opt_octets": 40}, "rx_opt has 40 octets"),
        ({"selective_acks": 5}, "selective_acks has 40 octets, not 32"),
        ({"without": "num_sacks"}, "struct tcp_options_received has no member 'num_sacks'"),
    ],
)
def test_a_kernel_that_is_another_than_the_program_was_written_for_is_refused_by_name(
    change: dict[str, Any], words: str
) -> None:
    with pytest.raises(BtfError, match=words):
        find_offsets(Btf(types_of_a_kernel(**change)))


def test_numbers_in_records_are_those_of_the_machine_and_headers_those_of_the_network() -> None:
    raw = record(SOCKET, held=Held(rcv_nxt=0x01020304))
    assert struct.pack("=I", 0x01020304) in raw
    assert struct.pack("!I", 1000) in raw
