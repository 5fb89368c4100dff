"""The ledger of a trial as sums: the same numbers as its segments give."""

from __future__ import annotations

from typing import Any

import pytest

from testbed.record.ledger_sums import ledger_sums

SEGMENT: dict[str, Any] = {
    "trial": 3,
    "flow": "main",
    "side": "client",
    "source": "ledger",
    "connection": 0,
    "time_ns": 0,
    "subflow": 0,
    "segment": "data",
    "retransmission": False,
    "ssn": 1,
    "payload": 100,
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
    "ack": 1,
    "sack_ranges": None,
    "mapping_ssn": 1,
    "mapping_octets": 100,
    "frame": None,
}


def of(*changes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Kind -> sums of a side that built these segments."""
    rows = ledger_sums([SEGMENT | {"time_ns": 10 * number} | each for number, each in enumerate(changes)])
    assert {row["trial"] for row in rows} == {3}
    return {row["kind"]: row for row in rows}


def test_kinds_are_summed_apart_and_together() -> None:
    found = of({}, {"segment": "ack", "payload": 0, "mapping": "none", "mapping_octets": None}, {"segment": "fin"})
    assert list(found) == ["data", "ack", "rest", "all"]
    assert [row["segments"] for row in found.values()] == [1, 1, 1, 3]
    assert found["all"]["option_octets"] == 120 and found["all"]["option_octets_max"] == 40


def test_a_range_that_no_segment_had_room_for_is_never_reported() -> None:
    wants = {"sack_wanted": 1, "sack_hard": 1, "sack_ranges": "300-400", "wanted_octets": 46}
    found = of(
        wants, {"ack": 500} | wants | {"sack_ranges": "600-700"}, {"ack": 500, "sack_ranges": "600-700", "sack_sent": 1}
    )
    everything = found["all"]
    assert (everything["sack_ranges"], everything["never_reported"]) == (2, 1)
    assert everything["information_delay_p50_ns"] == 10, "from the second segment to the third"
    assert everything["contended"] == 2 and "sack_ranges" not in found["data"]


def test_a_mapping_that_comes_two_segments_late_delays_its_octets() -> None:
    late = {"mapping": "deferred", "mapping_ssn": None, "mapping_octets": None}
    found = of(late, {"ssn": 101} | late, {"ssn": 201, "mapping": "other", "mapping_ssn": 1, "mapping_octets": 200})[
        "all"
    ]
    assert (found["mapped_octets"], found["map_delayed_octets"], found["map_missing_octets"]) == (200, 200, 100)
    assert found["map_delay_p95_ns"] == 20


@pytest.mark.parametrize(("again", "repeated"), [(1, 1), (101, 0)])
def test_a_mapping_counts_as_repeated_when_it_is_the_one_before(again: int, repeated: int) -> None:
    assert of({}, {"mapping_ssn": again})["data"]["mappings_repeated"] == repeated


def test_an_announcement_waits_from_the_first_segment_that_wants_it() -> None:
    wants = {"wanted": "timestamps:10 add_addr:16", "omitted": "add_addr:hard"}
    found = of(wants, wants, {"wanted": "add_addr:16", "sent": "add_addr:16"}, wants)["all"]
    assert (found["add_addr_wait_max_ns"], found["add_addr_never"], found["omitted_add_addr"]) == (20, 1, 3)


def test_of_no_segments_there_are_no_sums() -> None:
    assert ledger_sums([]) == []
