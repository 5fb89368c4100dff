"""Aggregation benefit, fairness, response to an outage, rates from counters."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.metrics import (
    aggregation_benefit,
    cumulative,
    fill_rate,
    jain_index,
    outage_response,
    rate_of_counter,
    received_of_rate,
)

SECOND = 1_000_000_000
goodputs = st.lists(st.floats(1.0, 1e11), min_size=2, max_size=6)


@given(goodputs)
def test_the_benefit_is_1_for_the_sum_0_for_the_best_path_and_minus_1_for_nothing(alone: list[float]) -> None:
    assert aggregation_benefit(sum(alone), alone) == pytest.approx(1.0)
    assert aggregation_benefit(max(alone), alone) == 0.0
    assert aggregation_benefit(0.0, alone) == -1.0


@given(goodputs, st.floats(0, 1e12), st.floats(1.0, 1e10))
def test_the_benefit_grows_with_the_goodput(alone: list[float], goodput: float, more: float) -> None:
    assert aggregation_benefit(goodput, alone) <= aggregation_benefit(goodput + more, alone)


def test_the_benefit_by_hand() -> None:
    assert aggregation_benefit(35.0, [18.0, 20.0]) == pytest.approx(15 / 18)
    assert aggregation_benefit(15.0, [18.0, 20.0]) == pytest.approx(-0.25)


@pytest.mark.parametrize("alone", [[20.0], [], [20.0, 0.0]])
def test_the_benefit_needs_two_paths_that_carry_something(alone: list[float]) -> None:
    with pytest.raises(ValueError, match="at least two paths"):
        aggregation_benefit(30.0, alone)


@given(st.lists(st.floats(1e-3, 1e12), min_size=1, max_size=20), st.floats(1e-6, 1e6))
def test_fairness_lies_between_one_nth_and_1_and_has_no_scale(shares: list[float], factor: float) -> None:
    index = jain_index(shares)
    assert 1 / len(shares) - 1e-9 <= index <= 1 + 1e-9
    assert jain_index([share * factor for share in shares]) == pytest.approx(index)


def test_fairness_is_the_share_of_users_that_get_something() -> None:
    assert jain_index([1, 1, 0, 0, 0]) == pytest.approx(0.4)  # Jain, Chiu, Hawe 1984, section 3
    with pytest.raises(ValueError, match="not all 0"):
        jain_index([0, 0])


def test_fill_rate() -> None:
    assert fill_rate(30e6, [20e6, 20e6]) == 0.75


def series(zero_from: float, zero_to: float, after: float = 10e6, length: float = 10.0) -> tuple:  # type: ignore[type-arg]
    times = (np.arange(1, round(length * 10) + 1) * (SECOND // 10)).astype(np.int64)
    starts = times / SECOND - 0.1
    values = np.where(starts < zero_from - 1e-9, 10e6, np.where(starts < zero_to - 1e-9, 0.0, after))
    return times, values


def test_a_stall_inside_an_outage_is_measured_from_its_start() -> None:
    found = outage_response(*series(4.0, 4.6), 4 * SECOND, 8 * SECOND)
    assert found is not None
    assert (found.stall_ns, found.resumed_ns) == (600_000_000, 600_000_000)
    assert found.recovered_ns == 700_000_000
    assert found.target_bit_s == 8e6


def test_a_stall_that_outlives_the_outage_ends_when_delivery_resumes() -> None:
    found = outage_response(*series(4.0, 9.3), 4 * SECOND, 8 * SECOND)
    assert found is not None
    assert (found.resumed_ns, found.recovered_ns) == (5_300_000_000, 5_400_000_000)
    assert found.target_bit_s == 8e6  # of the goodput before


def test_a_flow_that_never_comes_back_has_neither() -> None:
    found = outage_response(*series(4.0, 99.0), 4 * SECOND, 8 * SECOND)
    assert found is not None
    assert (found.stall_ns, found.resumed_ns, found.recovered_ns) == (6_000_000_000, None, None)


def test_a_flow_that_does_not_notice_has_no_stall() -> None:
    found = outage_response(*series(0.0, 0.0), 4 * SECOND, 8 * SECOND)
    assert found is not None
    assert (found.stall_ns, found.resumed_ns, found.recovered_ns) == (0, 0, 100_000_000)


def test_too_few_samples_say_nothing() -> None:
    assert outage_response(*series(4.0, 4.1), 4 * SECOND, 4 * SECOND + 200_000_000) is None


def test_rates_come_from_growth_and_a_counter_that_goes_back_gives_none() -> None:
    times = np.array([0, 1, 2, 3], dtype=np.int64) * SECOND
    found_times, rates = rate_of_counter(times, np.array([0.0, 1000.0, 200.0, 1200.0]))
    assert found_times.tolist() == [SECOND, 3 * SECOND]
    assert rates.tolist() == [8000.0, 8000.0]


def test_a_short_last_sample_weighs_as_much_as_it_lasted() -> None:
    times = np.array([100, 200, 300, 310], dtype=np.int64) * 1_000_000
    start, total = received_of_rate(times, np.array([8e6, 8e6, 8e6, 80e6]))
    assert (start, list(total)) == (0, [100_000, 200_000, 300_000, 400_000])
    late, _ = received_of_rate(times + 10**9, np.ones(4))
    assert late == 10**9


def test_a_counter_that_begins_anew_is_added_to_what_was() -> None:
    assert list(cumulative(np.array([5.0, 9.0, 2.0, 3.0]))) == [5.0, 9.0, 11.0, 12.0]
    assert list(cumulative(np.array([]))) == []
