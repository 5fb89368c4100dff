"""At which end a capture stands, and how long announcements wait in a ledger."""

from __future__ import annotations

import dataclasses
from typing import Any

import pyarrow as pa
import pytest
from test_contention import segment

from analysis.capture.resolution import Subflow
from analysis.contention.run_rows import postponements
from analysis.contention.vantage import by_handshake

MS = 1_000_000

SUBFLOW = Subflow(
    number=0,
    connection=0,
    how="initial",
    version=4,
    opener=(bytes(4), 1),
    listener=(bytes(4), 2),
    opened_by="opener",
    flows=(0, 1),
    first_frame=1,
    first_ns=0,
    last_ns=0,
    isn=(0, 0),
    sequence_base=(0, 0),
    handshake_ns=(0, 0, 0),
    syn_rtt_ns=None,
    third_rtt_ns=None,
    mss=(1460, 1460),
    window_shift=(0, 0),
    sack_permitted=(True, True),
    timestamps=True,
    address_ids=(0, 0),
    backup=(None, None),
    packets=(0, 0),
    payload=(0, 0),
    reset=False,
)


@pytest.mark.parametrize(
    ("answer", "third", "opened_by", "side"),
    [
        (20 * MS, 50_000, "opener", 0),
        (50_000, 20 * MS, "opener", 1),
        (20 * MS, 50_000, "listener", 1),
        (20 * MS, 0, "opener", 0),
        (10 * MS, 9 * MS, "opener", -1),
        (100_000, 3_000, "opener", -1),
        (None, 3_000, "opener", -1),
        (20 * MS, 50_000, None, -1),
    ],
)
def test_the_end_that_waits_for_nothing_is_near(answer: Any, third: Any, opened_by: Any, side: int) -> None:
    subflow = dataclasses.replace(SUBFLOW, syn_rtt_ns=answer, third_rtt_ns=third, opened_by=opened_by)
    assert by_handshake(subflow) == side


def rows(*texts: tuple[int, str, str], source: str = "ledger") -> pa.Table:
    made = [segment(0, "ack", time_ns=time, wanted=wanted, sent=sent, source=source) for time, wanted, sent in texts]
    return pa.Table.from_pylist(made)


def test_an_announcement_waits_from_the_first_segment_that_wanted_it_to_the_one_that_carried_it() -> None:
    table = rows(
        (10, "dss:26 add_addr:16", "dss:26"),
        (20, "dss:26 add_addr:16", "dss:26"),
        (35, "dss:12 add_addr:16", "add_addr:16"),
        (50, "add_addr:28", "add_addr:28"),
        (60, "add_addr:8", "add_addr:8"),
    )
    assert postponements(table) == [25, 0], "an echo is no announcement"


def test_an_announcement_that_never_leaves_is_dropped() -> None:
    assert postponements(rows((10, "dss:12 add_addr:30", "dss:12"))) == [None]


def test_a_capture_says_nothing_of_what_waits() -> None:
    assert postponements(rows((10, "add_addr:16", "add_addr:16"), source="capture")) == []
