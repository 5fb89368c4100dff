"""What each queue discipline is known for, with TCP flows through it in virtual time."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from statistics import mean

import pytest
from greedy_tcp import MS, SECOND, Bottleneck
from test_sim_trials import PATH, carried_out, experiment, flow_of, own

from topologies.link_profile import LinkProfile
from topologies.link_text import parse_queue
from topologies.model import Topology
from topologies.two_path import two_path

RATE = 20_000_000
FULL_LINE = RATE // 8
"""Octets per second."""


def measured(queue: str, seconds: int = 8, **flows: int | bool) -> Bottleneck:
    made = Bottleneck(LinkProfile(rate_bit_s=RATE, delay_ns=20 * MS, queue=parse_queue(queue)), **flows)  # type: ignore[arg-type]
    made.run(seconds * SECOND)
    return made


def tail_drop_waits() -> list[int]:
    """The same flow through a queue that no discipline keeps short: CoDel with a target that is never reached."""
    return measured("codel 10s 10s limit 200packets").waits_of(0)


def test_codel_keeps_the_wait_of_a_greedy_flow_near_its_target_and_the_line_busy() -> None:
    made = measured("codel")
    waits = made.waits_of(0)
    assert mean(waits) < 5 * MS < waits[-1], "bursts above the target are let through"
    assert waits[int(len(waits) * 0.99)] < 15 * MS
    assert made.receiver.received[0] > 0.85 * 8 * FULL_LINE
    assert made.direction.counters.dropped_overflow > 0
    assert mean(tail_drop_waits()) > 40 * MS


def test_codel_follows_its_target() -> None:
    waits = measured("codel 20ms 100ms", greedy=2).waits_of(0)
    assert 8 * MS < mean(waits) < 25 * MS


@pytest.mark.parametrize("queue", ["codel", "fq_codel", "pie", "red 10packets 60packets 5% weight 1%"])
def test_a_flow_with_ecn_is_slowed_by_marks_where_another_one_loses_packets(queue: str) -> None:
    marked = measured(f"{queue} ecn", ecn=True).direction.counters
    dropped = measured(f"{queue} ecn", ecn=False).direction.counters
    assert marked.marked_ce > 0
    assert dropped.marked_ce == 0
    assert dropped.dropped_overflow > 0
    assert marked.dropped_overflow < dropped.dropped_overflow


def test_codel_with_ecn_drops_nothing_of_a_capable_flow_but_its_first_packets() -> None:
    made = measured("codel ecn", ecn=True)
    assert made.direction.counters.dropped_overflow == 0
    assert made.direction.counters.marked_ce > 3
    assert mean(made.waits_of(0)) < 5 * MS
    assert made.receiver.received[0] > 0.85 * 8 * FULL_LINE


def test_fq_codel_lets_a_sparse_flow_pass_the_greedy_ones_and_shares_the_line_among_these() -> None:
    made = measured("fq_codel", greedy=2, sparse=1)
    sparse = made.waits_of(2)
    frame_ns = 1514 * 8 * SECOND // RATE
    assert sparse[-1] < 3 * frame_ns, "at most the frame on the line, and another's that was new as well"
    first, second = made.receiver.received[:2]
    assert 0.9 < first / second < 1.1
    together = measured("codel", greedy=2, sparse=1).waits_of(2)
    assert mean(together) > 5 * mean(sparse)


def test_pie_keeps_the_wait_near_its_target() -> None:
    made = measured("pie 15ms", greedy=4, seconds=12)
    waits = made.waits_of(0)
    assert 8 * MS < mean(waits) < 20 * MS
    assert sum(made.receiver.received) > 0.9 * 12 * FULL_LINE * 1448 / 1514


def test_red_marks_between_its_thresholds_and_keeps_the_queue_there() -> None:
    made = measured("red 20packets 80packets 10% weight 0.5% ecn", seconds=2, greedy=4, ecn=True)
    begun = dataclasses.replace(made.direction.counters)
    assert begun.dropped_overflow > 0, "four slow starts come past the thresholds"
    made.run(8 * SECOND)
    frame_ns = 1514 * 8 * SECOND // RATE
    assert 10 * frame_ns < mean(made.waits_of(0)) < 80 * frame_ns
    assert made.direction.counters.marked_ce > begun.marked_ce
    assert made.direction.counters.dropped_overflow == begun.dropped_overflow


def test_the_same_seed_gives_the_same_run_and_another_one_does_not_for_a_discipline_with_chance() -> None:
    first, second = (measured("red 10packets 30packets 10% weight 1%", seconds=4) for _ in range(2))
    assert first.direction.counters == second.direction.counters
    assert first.sojourns == second.sojourns


def managed(queue: str) -> Topology:
    return two_path(path1=dataclasses.replace(PATH, queue=parse_queue(queue)), path2=PATH)


@pytest.mark.parametrize("queue", ["codel", "fq_codel ecn", "pie", "red 10packets 30packets 10%"])
def test_a_trial_of_mptcp_over_a_managed_queue_keeps_its_bytes_and_its_counts(queue: str, tmp_path: Path) -> None:
    outcome = carried_out(experiment(own(managed(queue))), tmp_path)
    assert outcome.verdict == "VALID", outcome.reason
    flow = flow_of(outcome)
    assert flow["integrity"] == "ok"
    assert flow["complete"]
    rows = {(row["link"], row["direction"]): row for row in outcome.record.tables["links"]}
    row = rows["path1", "forward"]
    assert queue.split()[0] in row["profile"]
    assert row["queue_max_packets"] > 0
    assert row["marked_ce"] == 0
    assert row["packets_arrived"] == row["packets_delivered"] + row["dropped_queue"]
