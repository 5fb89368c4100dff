"""Rate ratios and effects: against published examples and scipy, and wide where counts scatter more than Poisson's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.statistics import (
    cliffs_delta,
    detectable_ratio,
    detectable_shift,
    dispersion,
    paired_effect,
    rate_ratio_interval,
    rate_ratio_of_trials,
)

scipy_stats = pytest.importorskip("scipy.stats")

counts = st.lists(st.integers(0, 60), min_size=2, max_size=12)


def test_the_exact_interval_is_that_of_the_published_example() -> None:
    """Lung cancer in Fredericia against three cities: P. Dalgaard, Introductory Statistics with R, 2008, eba1977."""
    found = rate_ratio_interval(6 + 8 + 7, 1083 + 1050 + 878, 11, 800)
    assert found.interval is not None
    assert found.interval.estimate == pytest.approx(1.971488, abs=1e-6)
    assert (found.interval.low, found.interval.high) == pytest.approx((0.8584264, 4.2772659), abs=1e-6)


@pytest.mark.parametrize(
    ("a", "b", "exposures"), [(3, 0, (1, 1)), (20, 37, (10, 10)), (20, 37, (5, 8)), (900, 800, (1, 1))]
)
def test_it_agrees_with_scipys_binomial_test(a: int, b: int, exposures: tuple[int, int]) -> None:
    found = rate_ratio_interval(a, exposures[0], b, exposures[1])
    share = exposures[1] / sum(exposures)
    tails = [scipy_stats.binomtest(b, a + b, share, alternative=side).pvalue for side in ("less", "greater")]
    ends = scipy_stats.binomtest(b, a + b, share).proportion_ci(method="exact")
    assert found.p == pytest.approx(min(1.0, 2 * min(tails)))
    assert found.interval is not None
    expected = [end / (1 - end) * exposures[0] / exposures[1] for end in (ends.low, ends.high)]
    assert (found.interval.low, found.interval.high) == pytest.approx(expected)


def test_no_event_in_the_reference_has_a_p_but_no_ratio() -> None:
    found = rate_ratio_interval(0, 1, 10, 1)
    assert found.interval is None
    assert found.p == pytest.approx(2 * 0.5**10)
    assert rate_ratio_interval(0, 1, 0, 1).p == 1.0
    with pytest.raises(ValueError, match="exposure above 0"):
        rate_ratio_interval(1, 0, 1, 1)


@given(counts)
def test_trials_are_never_surer_than_poisson_counts(data: list[int]) -> None:
    half = len(data) // 2
    first, second = data[:half], data[half : 2 * half]
    for paired in (True, False):
        found = rate_ratio_of_trials(first, second, paired=paired)
        exact = rate_ratio_interval(sum(first), half, sum(second), half)
        assert found.p >= exact.p * (1 - 1e-9)
        if found.interval and exact.interval:
            assert found.interval.low <= exact.interval.low + 1e-12
            assert found.interval.high >= exact.interval.high - 1e-9


def test_counts_that_scatter_more_are_said_to_and_are_given_wider_intervals() -> None:
    first, second = [0, 80, 2, 95, 1, 60], [70, 3, 99, 5, 120, 2]
    found = rate_ratio_of_trials(first, second, paired=True)
    assert found.overdispersed
    assert found.interval is not None
    assert found.interval.method == "quasi-Poisson"
    assert found.interval.low is not None and found.interval.high is not None
    assert found.interval.low < 1 < found.interval.high
    assert rate_ratio_interval(sum(first), 6, sum(second), 6).p < 0.01 < 0.5 < found.p  # what Poisson would say


def test_what_a_seed_does_to_both_trials_of_a_pair_is_no_scatter() -> None:
    first, second = [10, 100, 1000, 10, 100, 1000], [20, 200, 2000, 20, 200, 2000]
    assert dispersion(first, second, paired=True) == pytest.approx(0, abs=1e-9)
    assert dispersion(first, second, paired=False) > 100


def test_the_dispersion_of_poisson_counts_is_one_and_of_others_theirs() -> None:
    generator = np.random.default_rng(3)
    poisson = generator.poisson(40, (2, 4000))
    negative_binomial = generator.negative_binomial(10, 0.2, (2, 4000))  # variance 5 x mean
    for paired in (True, False):
        assert dispersion(*poisson.tolist(), paired=paired) == pytest.approx(1, abs=0.06)
        assert dispersion(*negative_binomial.tolist(), paired=paired) == pytest.approx(5, rel=0.1)


def test_overdispersed_counts_raise_no_more_alarms_than_they_may() -> None:
    generator = np.random.default_rng(6)
    drawn = generator.negative_binomial(10, 0.2, (500, 2, 10))
    alarms = sum(rate_ratio_of_trials(a, b, paired=True).p <= 0.05 for a, b in drawn.tolist())
    assert alarms <= 40  # of 25 expected, with three standard deviations


def test_no_event_on_one_side_counts_for_less_when_the_others_come_in_heaps() -> None:
    even = rate_ratio_of_trials([0] * 6, [5] * 6, paired=True)
    heaped = rate_ratio_of_trials([0] * 6, [30, 0, 0, 0, 0, 0], paired=True)
    assert even.p < 1e-8
    assert heaped.p > 0.05


@given(st.lists(st.tuples(st.floats(0.5, 2), st.floats(0.5, 2)), min_size=1, max_size=20))
def test_effects_are_what_the_statistics_of_scipys_tests_say(pairs: list[tuple[float, float]]) -> None:
    first, second = ([pair[side] for pair in pairs] for side in (0, 1))
    u = scipy_stats.mannwhitneyu(second, first).statistic
    assert cliffs_delta(first, second) == pytest.approx(2 * u / len(pairs) ** 2 - 1)
    effect = paired_effect(first, second)
    assert -1 <= effect <= 1
    assert paired_effect(second, first) == pytest.approx(-effect)


def test_the_paired_effect_is_the_difference_of_the_rank_sums() -> None:
    first, second = np.random.default_rng(9).lognormal(0, 1, (2, 12))
    positive = scipy_stats.wilcoxon(np.log(second / first), alternative="greater").statistic
    assert paired_effect(first.tolist(), second.tolist()) == pytest.approx((2 * positive - 78) / 78)
    assert paired_effect([1, 2, 3], [2, 4, 6]) == 1
    assert paired_effect([1, 2, 3], [1, 2, 3]) == 0


@pytest.mark.parametrize(("effect", "n"), [(0.2, 393), (0.5, 64), (0.8, 26), (1.0, 17), (1.2, 12)])
def test_detectable_sizes_are_those_of_cohens_table(effect: float, n: int) -> None:
    """J. Cohen, Statistical Power Analysis, 1988, table 2.4.1: two groups, alpha 0.05 two-sided, power 0.80."""
    assert detectable_shift(1.0, n, others=n) == pytest.approx(effect, rel=0.02)


def test_a_change_of_the_detectable_size_is_found_four_times_in_five() -> None:
    spread, pairs, alpha = 0.03, 10, 0.001
    shift = math.log(detectable_ratio(spread, pairs, alpha=alpha))
    ratios = np.random.default_rng(5).normal(shift, spread, (4000, pairs))
    found = scipy_stats.ttest_1samp(ratios, 0, axis=1).pvalue <= alpha
    assert found.mean() == pytest.approx(0.8, abs=0.025)


def test_without_spread_any_change_is_found_and_of_one_pair_nothing_is_known() -> None:
    assert detectable_ratio(0.0, 5) == 1.0
    assert detectable_ratio(1e6, 6) == math.inf
    with pytest.raises(ValueError, match="at least two pairs"):
        detectable_ratio(0.1, 1)
