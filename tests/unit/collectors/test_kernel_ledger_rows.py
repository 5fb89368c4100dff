"""Segments as the kernel built them -> rows of the table ``segments``: whose they are, and what they wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from testbed.orchestrator.bpf.segment_program import PACKET, REQUEST, SOCKET, SUBFLOW, Seen
from testbed.orchestrator.collectors.kernel_ledger_rows import FlowEnd, KernelRows
from testbed.record import schema
from testbed.record.rows import columns_of
from testbed.wire.option_codec import encode_options
from testbed.wire.options import (
    NOP,
    AddAddr,
    Dss,
    MpCapable,
    MpJoin,
    Option,
    Sack,
    Timestamps,
)
from testbed.wire.segment import ACK, FIN, RST, SYN

CLIENT, SERVER, OTHER = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]), bytes([10, 0, 1, 1])
PORT, CLIENT_PORT = 5001, 40000
ENDS = [FlowEnd("main", "client", 0, PORT), FlowEnd("main", "server", 1, PORT)]
STAMPS: tuple[Option, ...] = (NOP, NOP, Timestamps(1, 2))
FULL = Dss(data_ack=5, ack_octets=8, dsn=9, dsn_octets=8, ssn=1, length=100)
ACK_8 = Dss(data_ack=5, ack_octets=8)


def seen(options: Sequence[Option] = STAMPS, *, from_server: bool = False, **values: Any) -> Seen:
    """A segment of the client (or server), its options padded by who calls."""
    ends = (SERVER, PORT, CLIENT, CLIENT_PORT) if from_server else (CLIENT, CLIENT_PORT, SERVER, PORT)
    given = {
        "time_ns": 100,
        "tag": int(from_server),
        "interface": 3,
        "family": 4,
        "sequence": 1001,
        "flags": ACK,
        "payload": 0,
        "gso_segments": 1,
        "level": SOCKET,
        "rcv_nxt": 7001,
        "snd_nxt": 1001,
        "mss": 1460,
        **dict(zip(("source", "source_port", "destination", "destination_port"), ends, strict=True)),
        **values,
    }
    return Seen(options=encode_options(tuple(options)), **given)


SYN_SENT = seen(level=SOCKET, flags=SYN, sequence=1000, snd_nxt=1000, rcv_nxt=0)


def rows(*segments: Seen, opened: bool = True) -> list[dict[str, Any]]:
    """Of the segments, after a SYN of the client that is left out."""
    made = list(KernelRows(ENDS, 40).rows([SYN_SENT, *segments] if opened else segments))
    columns_of(schema.SEGMENTS, [{"trial": 0, **row} for row in made])  # every row is as the schema wants it
    return made[1:] if opened else made


def row(*segments: Seen, opened: bool = True) -> dict[str, Any]:
    return rows(*segments, opened=opened)[-1]


def test_a_segment_is_numbered_from_its_syn_and_timed_from_the_start_of_the_traffic() -> None:
    found = row(seen(), seen(sequence=2449, payload=1448, snd_nxt=2449, time_ns=70))
    assert (found["source"], found["flow"], found["side"]) == ("kernel", "main", "client")
    assert (found["segment"], found["ssn"], found["payload"], found["time_ns"]) == ("data", 1449, 1448, 30)
    assert (found["ack"], found["mss"]) == (1, 1460)


def test_without_its_syn_a_segment_has_no_number() -> None:
    found = row(seen(), opened=False)
    assert found["ssn"] is None and found["ack"] is None


def test_numbers_grow_on_beyond_2_to_the_32() -> None:
    step = 1 << 30
    segments = [seen(sequence=(1001 + step * n) % (1 << 32), rcv_nxt=(7001 + step * n) % (1 << 32)) for n in range(9)]
    assert [(found["ssn"], found["ack"]) for found in rows(*segments)] == [(1 + step * n,) * 2 for n in range(9)]


@pytest.mark.parametrize(
    ("flags", "payload", "sequence", "again", "kind"),
    [
        (ACK, 10, 1001, False, "data"),
        (ACK, 10, 1000, True, "data"),
        (ACK, 0, 1000, False, "ack"),  # a keep-alive is no data
        (ACK | FIN, 0, 1001, False, "fin"),
        (ACK | FIN, 0, 1000, True, "fin"),
        (ACK | FIN, 10, 1000, True, "data"),
        (ACK | RST, 0, 900, False, "rst"),
        (SYN, 0, 1000, True, "syn"),
    ],
)
def test_what_lies_below_the_next_to_be_sent_leaves_again(
    flags: int, payload: int, sequence: int, again: bool, kind: str
) -> None:
    found = row(seen(flags=flags, payload=payload, sequence=sequence))
    assert (found["segment"], found["retransmission"]) == (kind, again)


def test_a_syn_ack_that_leaves_twice_is_one_connection() -> None:
    answer = seen(level=REQUEST, flags=SYN | ACK, sequence=7000, rcv_nxt=1000, from_server=True)
    data = seen(sequence=7001, snd_nxt=7001, rcv_nxt=1101, payload=5, from_server=True)
    found = rows(answer, answer, data, opened=False)
    assert [each["retransmission"] for each in found] == [False, True, False]
    assert [each["ssn"] for each in found] == [0, 0, 1]
    assert [each["ack"] for each in found] == [1, 1, 101]
    assert {each["connection"] for each in found} == {0}


def test_subflows_are_joined_by_the_token_of_their_connection_whatever_their_port() -> None:
    capable = seen((MpCapable(),), level=SUBFLOW, token=77, flags=SYN, sequence=1000)
    join = seen((), level=SUBFLOW, token=77, flags=SYN, sequence=4000, source=OTHER, destination_port=6000)
    other = seen((), level=SOCKET, flags=SYN, sequence=4000, source_port=40001)
    found = rows(capable, join, other, opened=False)
    assert [(each["connection"], each["subflow"]) for each in found] == [(0, 0), (0, 1), (1, 0)]


def test_a_request_is_of_a_connection_only_when_its_answer_says_mptcp() -> None:
    """The request's memory may hold the token of another after a fallback."""
    first = seen((MpCapable(sender_key=1),), level=REQUEST, token=77, flags=SYN | ACK, from_server=True)
    join = seen(
        (MpJoin(nonce=1, hmac=bytes(8)),),
        level=REQUEST,
        token=77,
        flags=SYN | ACK,
        from_server=True,
        destination=OTHER,
        source_port=6000,
    )
    plain = seen((), level=REQUEST, token=77, flags=SYN | ACK, from_server=True, destination_port=40001)
    found = rows(first, join, plain, opened=False)
    assert [(each["connection"], each["subflow"]) for each in found] == [(0, 0), (0, 1), (1, 0)]


def test_ports_that_are_used_again_are_another_connection() -> None:
    found = rows(seen(), seen(flags=SYN, sequence=9000, snd_nxt=9000), seen(sequence=9001, snd_nxt=9001))
    assert [(each["connection"], each["ssn"]) for each in found] == [(0, 1), (1, 0), (1, 1)]


def test_segments_of_no_flow_are_counted_and_left_out() -> None:
    made = KernelRows(ENDS, 0)
    assert list(made.rows([seen(destination_port=22), seen(tag=5), seen(level=PACKET, flags=RST)])) == []
    assert made.unassigned == 3


def held(count: int, *, dsack: bool = False) -> dict[str, Any]:
    """The socket holds that many ranges."""
    blocks = tuple((7101 + 200 * index, 7201 + 200 * index) for index in range(4))
    return {"num_sacks": count, "selective_acks": blocks, "has_dsack": dsack, "duplicate_sack": (6901, 7001)}


def blocks(count: int) -> Sack:
    return Sack(tuple((7101 + 200 * index, 7201 + 200 * index) for index in range(count)))


def test_what_was_held_and_left_is_not_displaced() -> None:
    found = row(seen(), seen((*STAMPS, NOP, NOP, blocks(3)), **held(3)))
    assert (found["sack_wanted"], found["sack_sent"], found["sack_blame"]) == (3, 3, "")
    assert found["sack_ranges"] == "101-201 301-401 501-601"
    assert found["wanted"] == found["sent"] == "timestamps:10 sack:26"
    assert (found["wanted_octets"], found["option_octets"], found["padding_octets"], found["free_octets"]) == (
        *(36, 40),
        *(4, 0),
    )


def test_a_fourth_block_beside_timestamps_is_displaced_for_good() -> None:
    found = row(seen(), seen((*STAMPS, NOP, NOP, blocks(3)), **held(4)))
    assert (found["sack_wanted"], found["sack_sent"], found["sack_hard"]) == (4, 3, 1)
    assert found["sack_blame"] == "timestamps"


@pytest.mark.parametrize(
    ("dss", "count", "classes", "blame"),
    [
        # 10 + 26 + 10 = 46; with 32-bit numbers 10 + 18 + 10 = 38; a second block makes 46
        (FULL, 2, {"width": 1, "hard": 1}, "timestamps dss"),
        # no room for two beside 10 + 12 padded, 10 + 12 + 18 = 40 as it is
        (ACK_8, 2, {"padding": 1}, "timestamps dss"),
    ],
)
def test_blocks_displaced_by_a_dss_have_the_class_of_what_would_make_room(
    dss: Dss, count: int, classes: dict[str, int], blame: str
) -> None:
    pads = (NOP,) * (-dss.size % 4)
    sent: tuple[Option, ...] = (*STAMPS, dss, *pads)
    if dss is ACK_8:
        sent = (*STAMPS, NOP, NOP, blocks(1), dss)
    found = row(seen(), seen(sent, level=SUBFLOW, payload=100 if dss is FULL else 0, **held(count)))
    assert {name: found[f"sack_{name}"] for name in ("padding", "width", "policy", "hard")} == {
        **dict.fromkeys(("padding", "width", "policy", "hard"), 0),
        **classes,
    }
    assert found["sack_wanted"] - found["sack_sent"] == sum(classes.values())
    assert found["sack_blame"] == blame


def test_a_mapping_sent_before_makes_its_displacement_the_writers_choice() -> None:
    first = seen((*STAMPS, FULL, NOP, NOP), level=SUBFLOW, payload=100)
    again = seen((*STAMPS, FULL, NOP, NOP), level=SUBFLOW, payload=100, snd_nxt=1101, **held(2))
    found = row(seen(), first, again)
    assert (found["mapping"], found["sack_width"], found["sack_policy"]) == ("repeated", 1, 1)


def test_a_dsack_that_waits_comes_first_of_what_is_wanted() -> None:
    found = row(seen(), seen((*STAMPS, FULL, NOP, NOP), level=SUBFLOW, **held(1, dsack=True)))
    assert found["sack_ranges"] == "-99-1 101-201"


@pytest.mark.parametrize(
    ("options", "payload", "state", "start", "octets"),
    [
        ((FULL,), 100, "own", 1, 100),
        ((Dss(data_ack=5, dsn=9, ssn=1, length=101, data_fin=True),), 100, "own", 1, 100),
        ((Dss(data_ack=5, dsn=9, ssn=0, length=1, data_fin=True),), 0, "none", None, None),
        ((MpCapable(sender_key=1, receiver_key=2, data_length=100),), 100, "own", 1, 100),
        ((), 100, "none", None, None),
    ],
)
def test_the_mapping_is_the_one_on_the_segment(
    options: tuple[Option, ...], payload: int, state: str, start: int | None, octets: int | None
) -> None:
    found = row(seen(), seen(options, level=SUBFLOW, payload=payload))
    assert (found["mapping"], found["mapping_ssn"], found["mapping_octets"]) == (state, start, octets)


def test_data_of_a_mapping_that_went_ahead_are_declared_and_other_data_wait_for_theirs() -> None:
    first = seen((FULL,), level=SUBFLOW, payload=50)
    second, third = (seen((), level=SUBFLOW, payload=50, sequence=n, snd_nxt=n) for n in (1051, 1101))
    assert [each["mapping"] for each in rows(seen(), first, second, third)[1:]] == ["own", "declared", "deferred"]


@pytest.mark.parametrize(
    ("waiting", "omitted"),
    [
        ((("remove_addr", 4),), "remove_addr:padding"),  # 10 + 26 + 4 = 40
        ((("add_addr", 16),), "add_addr:hard"),  # 10 + 18 + 16 = 44, and the mapping is new
        ((("add_addr", 16), ("remove_addr", 4)), "add_addr:hard remove_addr:policy"),  # 32 if the other waited on
    ],
)
def test_an_address_that_waits_is_wanted_and_omitted(waiting: tuple[tuple[str, int], ...], omitted: str) -> None:
    found = row(seen(), seen((*STAMPS, FULL, NOP, NOP), level=SUBFLOW, payload=100, postponed=waiting))
    assert found["wanted"] == " ".join(["timestamps:10 dss:26", *(f"{name}:{size}" for name, size in waiting)])
    assert found["wanted_octets"] == 36 + sum(size for _, size in waiting)
    assert found["omitted"] == omitted


@pytest.mark.parametrize(("before", "size"), [(ACK_8, 12), (Dss(data_ack=5, ack_octets=4), 8), (None, 8)])
def test_a_data_ack_whose_place_an_address_took_was_wanted(before: Dss | None, size: int) -> None:
    address = AddAddr(address_id=1, address=SERVER, hmac=bytes(8))
    acknowledged = seen((*STAMPS, before) if before is not None else STAMPS, level=SUBFLOW)
    found = row(seen(), acknowledged, seen((*STAMPS, address), level=SUBFLOW))
    assert found["wanted"] == f"timestamps:10 dss:{size} add_addr:16"
    assert found["sent"] == "timestamps:10 add_addr:16"
    assert found["omitted"] == "dss:policy"


def test_every_row_accounts_for_all_that_was_displaced() -> None:
    found = row(seen(), seen((*STAMPS, FULL, NOP, NOP), level=SUBFLOW, **held(4, dsack=True)))
    displaced = found["sack_wanted"] - found["sack_sent"]
    assert displaced == 4 == sum(found[f"sack_{name}"] for name in ("padding", "width", "policy", "hard"))
