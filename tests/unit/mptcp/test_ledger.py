"""The ledger: what was wanted, what left, and the class of what did not."""

from __future__ import annotations

from typing import Any

import pytest
from subflow_double import SubflowDouble

from testbed.mptcp.ledger import COLUMNS, Ledger
from testbed.mptcp.option_space import SubflowOptions
from testbed.mptcp.parameters import OptionPolicy
from testbed.mptcp.profiles import PROFILES
from testbed.mptcp.subflow_view import OutgoingMapping
from testbed.tcp.seam import SegmentPlan
from testbed.wire.options import AddAddr, MpCapable, RemoveAddr
from testbed.wire.segment import ACK, SYN

BLOCKS = tuple((n * 10_000, n * 10_000 + 1400) for n in range(5))
HMAC = bytes(8)


def record(
    policy: OptionPolicy,
    *,
    length: int = 0,
    blocks: int = 0,
    timestamps: bool = True,
    irs: int = 0,
    ack: int = 0,
    **view_fields: Any,
) -> dict[str, Any]:
    """The row of one segment: 64-bit DATA_ACK unless told otherwise; data has a mapping of its own."""
    view = SubflowDouble().established()
    view.peer_sends_wide_dsn = True
    view.next_dsn = 5000
    if length:
        view.mappings.append(OutgoingMapping(0, 1, length))
    for name, value in view_fields.items():
        setattr(view, name, value)
    ledger = Ledger()
    options = SubflowOptions(view, policy, ledger, 3)
    plan = SegmentPlan()
    plan.now = 77
    plan.flags = ACK
    plan.ssn = 1
    plan.length = length
    plan.mss = 1460
    plan.timestamps = (1, 2) if timestamps else None
    plan.sack_blocks = BLOCKS[:blocks]
    plan.irs, plan.ack = irs, ack
    options.fill(plan)
    options.has_left(plan)
    (row,) = ledger.take_rows()
    assert ledger.rows == []
    assert len(row) == len(COLUMNS)
    return dict(zip([name for name, _, _ in COLUMNS], row, strict=True))


def displaced(row: dict[str, Any]) -> tuple[int, int, int, int]:
    return row["sack_padding"], row["sack_width"], row["sack_policy"], row["sack_hard"]


def test_a_row_of_an_ordinary_data_segment() -> None:
    row = record(OptionPolicy(), length=1400)

    assert row == {
        "time_ns": 77,
        "subflow": 3,
        "segment": "data",
        "retransmission": False,
        "ssn": 1,
        "payload": 1400,
        "wanted": "timestamps:10 dss:26",
        "wanted_octets": 36,
        "sent": "timestamps:10 dss:26",
        "option_octets": 40,
        "padding_octets": 4,
        "free_octets": 0,
        "sack_wanted": 0,
        "sack_sent": 0,
        "sack_padding": 0,
        "sack_width": 0,
        "sack_policy": 0,
        "sack_hard": 0,
        "sack_blame": "",
        "mapping": "own",
        "omitted": "",
        "mss": 1460,
        "ack": 0,
        "sack_ranges": None,
        "mapping_ssn": 1,
        "mapping_octets": 1400,
    }


def test_ranges_are_relative_to_the_peers_first_number_also_where_that_wraps() -> None:
    row = record(OptionPolicy(), blocks=2, irs=0xFFFF_F000, ack=0x1_0000_0010)

    assert row["sack_ranges"] == f"{0x1_0000_1000}-{0x1_0000_1578} {0x1_0000_1000 + 10_000}-{0x1_0000_1578 + 10_000}"
    assert (row["ack"], row["mapping_ssn"]) == (0x1_0000_0010, None)


def test_wanted_sack_is_at_most_four_blocks() -> None:
    row = record(OptionPolicy(), blocks=5, timestamps=False)

    assert (row["sack_wanted"], row["sack_sent"]) == (4, 3)
    assert row["wanted"] == "dss:12 sack:34"


def test_linux_data_segment_with_a_block_held() -> None:
    """TS 10 + DSS 26 = 36: not even dense does a block fit (10 more); with 32-bit numbers 10 + 18 + 10 = 38 does."""
    row = record(OptionPolicy(), length=1400, blocks=1)

    assert (row["sack_wanted"], row["sack_sent"]) == (1, 0)
    assert displaced(row) == (0, 1, 0, 0)
    assert row["sack_blame"] == "timestamps dss", "taking off either makes 12 octets"
    assert row["wanted_octets"] == 46, "pressure 46 / 40"


def test_each_block_has_its_own_class() -> None:
    """Dense numbers: 10 + 26 + (10, 18, 26, 34); narrow: 10 + 18 + (10 fits, 18 does not); nothing is optional."""
    assert displaced(record(OptionPolicy(), length=1400, blocks=4)) == (0, 1, 0, 3)


def test_padding_is_to_blame_for_the_second_block_of_an_ack() -> None:
    """12 + 12 + (4 + 8): 36 octets, one block; dense 10 + 12 + 18 = 40: two."""
    row = record(OptionPolicy(), blocks=3)

    assert row["sack_sent"] == 1
    assert displaced(row) == (1, 0, 0, 1)
    assert displaced(record(PROFILES["dense"].options, blocks=3)) == (0, 0, 0, 1)


def test_a_mapping_that_is_repeated_is_optional() -> None:
    mapping = OutgoingMapping(0, 1, 1400)
    mapping.carried_at = 1
    row = record(OptionPolicy(), length=1400, blocks=2, mappings=[mapping])

    assert row["mapping"] == "repeated"
    assert displaced(row) == (0, 1, 1, 0), "10 + DATA_ACK alone 8 + 18 fits"


def test_what_a_limit_leaves_out_is_policy() -> None:
    assert displaced(record(OptionPolicy(sack_limit=1), blocks=2, timestamps=False)) == (0, 0, 1, 0)


def test_without_pressure_nothing_is_displaced() -> None:
    row = record(PROFILES["dense-32"].options, length=1400, blocks=1)

    assert row["sack_sent"] == 1 and displaced(row) == (0, 0, 0, 0) and row["sack_blame"] == ""


def test_the_dss_that_an_add_addr_displaces() -> None:
    signal = AddAddr(1, bytes(4), hmac=HMAC)
    row = record(OptionPolicy(), signals=[signal])

    assert row["sent"] == "timestamps:10 add_addr:16"
    assert row["omitted"] == "dss:policy", "12 + 16 + 12 = 40: it would have fitted; Linux sends ADD_ADDR alone"


def test_signals_that_wait_for_a_segment_with_room() -> None:
    row = record(PROFILES["rfc8684"].options, signals=[AddAddr(1, bytes(16), 5001, HMAC)])

    assert row["sent"] == "timestamps:10 dss:12"
    assert row["omitted"] == "add_addr:hard", "30 + 10 + 12"
    row = record(OptionPolicy(), signals=[AddAddr(1, bytes(16), 5001, HMAC), RemoveAddr((1,))])
    assert "add_addr" in row["omitted"]


@pytest.mark.parametrize(
    ("name", "state"), [("linux", "own"), ("late-map", "deferred"), ("thin-maps", "own"), ("rfc2018", "own")]
)
def test_where_the_mapping_stands(name: str, state: str) -> None:
    assert record(PROFILES[name].options, length=1400)["mapping"] == state


def test_a_syn_that_is_too_full() -> None:
    view = SubflowDouble()
    view.handshake = MpCapable(sender_key=1)
    ledger = Ledger()
    plan = SegmentPlan()
    plan.flags = SYN | ACK
    plan.mss_option, plan.window_scale, plan.sack_permitted = 1460, 7, True
    plan.timestamps = (1, 2)
    plan.fast_open_cookie = bytes(8)
    options = SubflowOptions(view, OptionPolicy(), ledger)

    options.fill(plan)
    options.has_left(plan)

    row = dict(zip([name for name, _, _ in COLUMNS], ledger.rows[0], strict=True))
    assert row["segment"] == "syn-ack"
    assert row["wanted_octets"] == 4 + 2 + 10 + 3 + 10 + 12
    assert row["omitted"] == "timestamps:hard", "41 octets"
