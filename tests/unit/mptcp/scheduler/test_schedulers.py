"""Schedulers on hand-computed cases. Segments of 1400 octets, RTTs in ms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from subflow_double import SubflowDouble

from testbed.mptcp.scheduler.blest import Blest, expected_on_fast
from testbed.mptcp.scheduler.catalog import SCHEDULERS, make
from testbed.mptcp.scheduler.ecf import EarliestCompletionFirst
from testbed.mptcp.scheduler.lowest_rtt import LowestRtt
from testbed.mptcp.scheduler.redundant import Redundant
from testbed.mptcp.scheduler.round_robin import RoundRobin

MS = 1_000_000
MSS = 1400
PLENTY = 1 << 20


def path(rtt_ms: int, **kwargs: int | bool) -> SubflowDouble:
    return SubflowDouble(rtt=rtt_ms * MS, **kwargs)  # type: ignore[arg-type]


def full(rtt_ms: int, cwnd: int = 10 * MSS) -> SubflowDouble:
    return path(rtt_ms, cwnd=cwnd, outstanding=cwnd)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_scheduler_has_its_name_and_waits_when_nothing_can_go(name: str) -> None:
    scheduler = make(name)

    assert scheduler.name == name
    assert scheduler.pick([], 0, PLENTY, PLENTY) is None
    assert scheduler.pick([full(10), full(20)], 0, PLENTY, PLENTY) is None
    assert scheduler.pick([path(10, usable=False)], 0, PLENTY, PLENTY) is None
    assert scheduler.pick([path(10)], 0, 0, PLENTY) is None


def test_an_unknown_scheduler_is_named_in_the_error() -> None:
    with pytest.raises(ValueError, match=r"'fastest'.*lowest-rtt"):
        make("fastest")


@pytest.mark.parametrize("name", [name for name in SCHEDULERS if name != "redundant"])
def test_a_backup_carries_data_only_when_no_other_is_usable(name: str) -> None:
    backup = path(1, backup=True)
    busy = full(50)

    assert make(name).pick([backup, busy], 0, PLENTY, PLENTY) is None, "a full regular subflow is still usable"
    busy.is_usable = False
    assert make(name).pick([backup, busy], 0, PLENTY, PLENTY) is backup


@given(
    st.sampled_from(sorted(SCHEDULERS)),
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 20), st.booleans(), st.booleans()), max_size=5),
    st.integers(0, 50 * MSS),
    st.integers(0, 50 * MSS),
)
def test_what_is_picked_is_usable_and_has_room(
    name: str, paths: list[tuple[int, int, bool, bool]], unsent: int, window: int
) -> None:
    subflows = [
        path(rtt, outstanding=min(queued, 10) * MSS, backup=backup, usable=usable, uncarried=unsent)
        for rtt, queued, backup, usable in paths
    ]

    picked = make(name).pick(subflows, 0, unsent, window)

    if picked is not None:
        assert picked.usable() and picked.send_room(0) > 0
        assert not picked.backup or all(each.backup for each in subflows if each.usable())


class TestLowestRtt:
    def test_takes_the_lowest_rtt_with_room(self) -> None:
        near, far = path(10), path(80)

        assert LowestRtt().pick([far, near], 0, PLENTY, PLENTY) is near
        near.queued = near.cwnd
        assert LowestRtt().pick([far, near], 0, PLENTY, PLENTY) is far

    def test_one_without_a_sample_comes_last(self) -> None:
        fresh, far = path(0), path(80)

        assert LowestRtt().pick([fresh, far], 0, PLENTY, PLENTY) is far

    def test_sends_nothing_beyond_the_window(self) -> None:
        assert LowestRtt().pick([path(10)], 0, PLENTY, 0) is None


class TestRoundRobin:
    def test_takes_turns_and_passes_over_a_full_one(self) -> None:
        first, second, third = path(10), full(20), path(30)
        scheduler = RoundRobin()

        order = [scheduler.pick([first, second, third], 0, PLENTY, PLENTY) for _ in range(4)]

        assert order == [first, third, first, third]

    def test_goes_on_after_a_subflow_that_is_gone(self) -> None:
        first, second = path(10), path(20)
        scheduler = RoundRobin()
        scheduler.pick([first, second], 0, PLENTY, PLENTY)

        assert scheduler.pick([second], 0, PLENTY, PLENTY) is second


class TestRedundant:
    def test_each_subflow_gets_what_it_has_not_carried(self) -> None:
        near, far = path(10, uncarried=0), path(80, uncarried=MSS)

        assert Redundant().pick([near, far], 0, 0, PLENTY) is far

    def test_new_data_needs_window_copies_do_not(self) -> None:
        only_new = path(10, uncarried=5 * MSS)
        with_copies = path(80, uncarried=7 * MSS)

        assert Redundant().pick([only_new, with_copies], 0, 5 * MSS, 0) is with_copies


class TestBlest:
    """Equation 1: MSS_F (CWND_F + (rtts - 1)/2) rtts."""

    def test_the_estimate_is_that_of_the_paper(self) -> None:
        # rtts = 100/20 = 5; 1400 * (10 + 2) * 5 = 84,000
        assert expected_on_fast(path(20, cwnd=10 * MSS), path(100)) == pytest.approx(84_000)

    def test_waits_for_the_fast_one_when_the_slow_one_would_block_the_window(self) -> None:
        fast, slow = full(20), path(100)
        # |M| = 14,000 in flight + window; S may be used while 84,000 <= |M| - 1400, so from window 71,400 on.

        assert Blest().pick([fast, slow], 0, PLENTY, 71_399) is None
        assert Blest().pick([fast, slow], 0, PLENTY, 71_400) is slow

    def test_uses_the_fast_one_whenever_it_has_room(self) -> None:
        fast, slow = path(20), path(100)

        assert Blest().pick([fast, slow], 0, PLENTY, MSS) is fast

    def test_lambda_grows_while_the_window_blocks_and_falls_again(self) -> None:
        fast, slow = full(20), path(100)
        scheduler = Blest()
        scheduler.pick([fast, slow], 100 * MS, PLENTY, 0)

        scheduler.pick([fast, slow], 200 * MS, PLENTY, 80_000)
        assert scheduler.scale == pytest.approx(1.01)
        scheduler.pick([fast, slow], 250 * MS, PLENTY, 80_000)
        assert scheduler.scale == pytest.approx(1.01), "once per RTT of the slow subflow"
        scheduler.pick([fast, slow], 300 * MS, PLENTY, 80_000)
        assert scheduler.scale == pytest.approx(1.0)


class TestEcf:
    def test_waits_when_the_fast_one_is_done_sooner(self) -> None:
        fast, slow = full(10), path(100)
        # k = 10 segments: n = 1 + 10/10 = 2, 2 * 10 ms < 100 ms; and 10/10 * 100 ms >= 20 ms: wait
        scheduler = EarliestCompletionFirst()

        assert scheduler.pick([fast, slow], 0, 10 * MSS, PLENTY) is None
        assert scheduler.is_waiting

    def test_uses_the_slow_one_when_much_is_left(self) -> None:
        fast, slow = full(10), path(100)
        # k = 90 segments: n = 10, 100 ms < 100 ms is false
        assert EarliestCompletionFirst().pick([fast, slow], 0, 90 * MSS, PLENTY) is slow

    def test_once_waiting_it_waits_longer_by_beta(self) -> None:
        fast, slow = full(10), path(100)
        scheduler = EarliestCompletionFirst()
        scheduler.pick([fast, slow], 0, 10 * MSS, PLENTY)

        assert scheduler.pick([fast, slow], 0, 110 * MSS, PLENTY) is None, "120 ms < 1.25 * 100 ms"
        assert scheduler.pick([fast, slow], 0, 115 * MSS, PLENTY) is slow, "125 ms is not"
        assert not scheduler.is_waiting
        assert scheduler.pick([fast, slow], 0, 110 * MSS, PLENTY) is slow

    def test_little_left_goes_over_the_slow_one_at_once(self) -> None:
        fast, slow = full(60), path(100)
        # k = 1: n = 1.1, 66 < 100; but 0.1 * 100 ms = 10 ms < 120 ms: the slow one is through first
        assert EarliestCompletionFirst().pick([fast, slow], 0, MSS, PLENTY) is slow

    def test_the_deviation_widens_the_margin(self) -> None:
        fast, slow = full(10), path(100, rttvar=20 * MS)
        # k = 100: n = 11, 110 ms < 100 + 20 ms; and 10 * 100 ms >= 20 + 20 ms
        assert EarliestCompletionFirst().pick([fast, slow], 0, 100 * MSS, PLENTY) is None
