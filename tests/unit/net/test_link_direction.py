"""Queue, rate, delay, reordering and schedule of one direction, by example."""

from __future__ import annotations

import statistics

import pytest

from testbed.net.delay import QUANTILES, jitter_table
from testbed.net.link import Drop, LinkDirection, duplex
from testbed.net.simulator import Simulator
from topologies.link_profile import (
    Change,
    Jitter,
    LinkProfile,
    ProfileError,
    QueueLimit,
    RandomLoss,
    Reordering,
    outage,
)

MS = 10**6
MBIT = 10**6


def link(**values: object) -> LinkProfile:
    return LinkProfile(**{"queue": QueueLimit(packets=1000), **values})  # type: ignore[arg-type]


def test_a_frame_takes_its_time_on_the_line_and_the_delay() -> None:
    direction = LinkDirection(link(rate_bit_s=12 * MBIT, delay_ns=5 * MS))
    assert direction.arrives(1500, 100) == 100 + 1 * MS + 5 * MS
    assert direction.arrives(1500, 200) == 100 + 2 * MS + 5 * MS


def test_a_third_of_a_nanosecond_is_not_lost() -> None:
    direction = LinkDirection(link(rate_bit_s=3 * 10**9))
    ends = [direction.arrives(1, 0) for _ in range(3)]  # 8/3 ns each
    assert ends == [2, 5, 8]


def test_the_queue_counts_frames_that_wait_and_not_the_one_on_the_line() -> None:
    direction = LinkDirection(link(rate_bit_s=12 * MBIT, queue=QueueLimit(packets=2)))
    outcomes = [direction.arrives(1500, 0) for _ in range(4)]
    assert outcomes[:3] == [1 * MS, 2 * MS, 3 * MS]
    assert outcomes[3] is Drop.OVERFLOW
    assert direction.arrives(1500, 1 * MS) == 4 * MS  # the second is on the line now
    assert direction.line.max_packets == 2


def test_a_queue_in_bytes_takes_what_still_fits() -> None:
    direction = LinkDirection(link(rate_bit_s=8 * MBIT, queue=QueueLimit(size_bytes=2000)))
    assert direction.arrives(1000, 0) == 1 * MS
    assert direction.arrives(1500, 0) == 2_500_000
    assert direction.arrives(600, 0) is Drop.OVERFLOW
    assert direction.arrives(500, 0) == 3 * MS


def test_a_rate_change_holds_for_the_frame_on_the_line_too() -> None:
    direction = LinkDirection(link(rate_bit_s=12 * MBIT), [Change(at_ns=500_000, rate_bit_s=6 * MBIT)])
    assert direction.arrives(1500, 0) == 1_500_000  # half at 12, half at 6 Mbit/s
    assert direction.arrives(1500, 0) == 3_500_000


def test_a_rate_needs_a_queue_limit() -> None:
    with pytest.raises(ProfileError, match="queue"):
        LinkDirection(LinkProfile(rate_bit_s=MBIT))
    with pytest.raises(ProfileError, match="queue"):
        LinkDirection(LinkProfile(), [Change(at_ns=1, rate_bit_s=MBIT)])


def test_a_shorter_delay_does_not_overtake() -> None:
    direction = LinkDirection(link(delay_ns=10 * MS), [Change(at_ns=1 * MS, delay_ns=2 * MS)])
    assert direction.arrives(100, 0) == 10 * MS
    assert direction.arrives(100, 2 * MS) == 10 * MS
    assert direction.arrives(100, 9 * MS) == 11 * MS


def test_an_outage_loses_what_arrives_and_keeps_what_is_under_way() -> None:
    direction = LinkDirection(link(delay_ns=10 * MS), outage(5 * MS, 10 * MS))
    assert direction.arrives(100, 4 * MS) == 14 * MS
    assert direction.arrives(100, 5 * MS) is Drop.OUTAGE
    assert direction.bypasses(6 * MS) is Drop.OUTAGE
    assert direction.arrives(100, 15 * MS) == 25 * MS
    assert direction.bypasses(15 * MS) == 25 * MS


def test_changes_of_one_direction_leave_the_other_alone() -> None:
    forward, backward = duplex(link(), link(), outage(0, 10, "forward"), seed=3)
    assert forward.arrives(100, 5) is Drop.OUTAGE
    assert backward.arrives(100, 5) == 5


def test_directions_of_a_link_have_independent_chance() -> None:
    lossy = link(loss=RandomLoss(0.5))
    lost = [[d.arrives(100, n) is Drop.LOSS for n in range(64)] for d in duplex(lossy, lossy, (), seed=3)]
    assert lost[0] != lost[1]


def test_a_reordered_packet_skips_the_delay_and_the_gap_is_kept() -> None:
    direction = LinkDirection(link(delay_ns=10 * MS, reordering=Reordering(1.0, gap=3)))
    outcomes = [direction.arrives(100, n * MS) for n in range(6)]
    early = [n for n, o in enumerate(outcomes) if isinstance(o, tuple)]
    assert early == [2, 5]
    assert [o[0].release_ns for o in outcomes if isinstance(o, tuple)] == [2 * MS, 5 * MS]
    assert direction.counters.reordered == 2


def test_a_copy_follows_its_packet_through_the_line() -> None:
    direction = LinkDirection(link(rate_bit_s=12 * MBIT, duplication=1.0))
    outcome = direction.arrives(1500, 0)
    assert isinstance(outcome, tuple)
    assert [(d.release_ns, d.is_copy) for d in outcome] == [(1 * MS, False), (2 * MS, True)]


@pytest.mark.parametrize(("distribution", "median", "deviation"), [
    ("uniform", 0.0, 0.577), ("normal", 0.0, 1.0), ("pareto", -0.32, 0.83), ("paretonormal", -0.24, 0.835),
])  # fmt: skip
def test_jitter_distributions(distribution: str, median: float, deviation: float) -> None:
    table = [value / MS for value in jitter_table(distribution, MS)]
    assert statistics.median(table) == pytest.approx(median, abs=0.01)
    assert statistics.pstdev(table) == pytest.approx(deviation, abs=0.02)
    assert list(table) == sorted(table)
    assert max(table) <= 4.0
    assert set(QUANTILES) == {"uniform", "normal", "pareto", "paretonormal"}


@pytest.mark.parametrize("reorders", [False, True])
def test_jitter_overtakes_only_when_told_to(reorders: bool) -> None:
    direction = LinkDirection(link(delay_ns=10 * MS, jitter=Jitter(5 * MS, reorders=reorders)), (), 1)
    releases = [direction.arrives(100, n * MS) for n in range(200)]
    assert (releases == sorted(releases)) != reorders  # type: ignore[type-var]


def test_virtual_time_runs_in_order_of_time_then_sequence() -> None:
    simulator = Simulator()
    seen: list[object] = []
    simulator.call_at(5, seen.append, "b")
    simulator.call_at(3, seen.append, "a")
    simulator.call_at(5, seen.append, "c")
    simulator.call_at(4, seen.append, "never").cancel()
    simulator.call_at(9, seen.append, "later")
    assert simulator.next_event_ns() == 3
    simulator.run(until_ns=6)
    assert seen == ["a", "b", "c"]
    assert simulator.now_ns == 6
    with pytest.raises(ValueError, match="already at 6 ns"):
        simulator.call_at(5, seen.append, "past")
