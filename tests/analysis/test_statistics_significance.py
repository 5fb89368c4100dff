"""Tests of a difference: against published tables, against scipy, and plain about what few trials cannot show."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.statistics import (
    benjamini_hochberg,
    paired_floor,
    paired_t_test,
    paired_test,
    signed_rank,
    smallest_pairs,
    unpaired_floor,
    unpaired_t_test,
    unpaired_test,
)

scipy_stats = pytest.importorskip("scipy.stats")

SIGNED_RANK_CRITICAL = {
    6: 0, 7: 2, 8: 3, 9: 5, 10: 8, 11: 10, 12: 13, 13: 17, 14: 21, 15: 25, 16: 29, 18: 40, 20: 52, 25: 89, 30: 137,
}  # fmt: skip
"""Pairs -> largest sum of the rarer ranks with two-sided p <= 0.05: F. Wilcoxon, R. Wilcox, Some Rapid Approximate
Statistical Procedures, 1964; S. Siegel, Nonparametric Statistics, 1956, table G (as corrected)."""
RANK_SUM_CRITICAL = {(4, 4): 0, (5, 5): 2, (6, 6): 5, (7, 9): 12, (8, 8): 13, (10, 10): 23, (10, 15): 39, (20, 20): 127}
"""Sizes -> largest U with two-sided p <= 0.05: D. Auble, Bulletin of the Institute of Educational Research 1(2), 1953,
as in Siegel 1956, table K."""
BENJAMINI_HOCHBERG = (
    0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0,
)  # fmt: skip
"""Benjamini and Hochberg 1995, section 4.1: thrombolytic therapy, of which four are rejected."""

few = st.lists(st.integers(-6, 6), min_size=1, max_size=9)
probabilities = st.lists(st.floats(0, 1), min_size=1, max_size=40)


def with_rank_sum(n: int, rarer: int) -> list[float]:
    """Differences 1..n whose positive ranks add up to ``rarer``."""
    signs, left = [], rarer
    for rank in range(n, 0, -1):
        signs.append(rank if rank <= left else -rank)
        left -= rank if rank <= left else 0
    assert left == 0
    return [float(sign) for sign in signs]


def with_u(n: int, others: int, u: int) -> tuple[list[float], list[float]]:
    """Two groups without ties of which the first has the Mann-Whitney statistic ``u``."""
    above = [min(others, max(0, u - others * index)) for index in range(n)]  # values of the other group below each
    first = [below + 0.5 + index * 1e-3 for index, below in enumerate(above)]
    return first, [float(value) for value in range(1, others + 1)]


@pytest.mark.parametrize(("n", "critical"), SIGNED_RANK_CRITICAL.items())
def test_the_signed_rank_distribution_is_that_of_the_published_table(n: int, critical: int) -> None:
    assert signed_rank(with_rank_sum(n, critical)) <= 0.05 < signed_rank(with_rank_sum(n, critical + 1))


def test_five_pairs_cannot_reach_five_percent_and_six_can() -> None:
    assert paired_test([1, 2, 3, 4, 5], [2, 4, 6, 8, 99]) == paired_floor(5) == 0.0625
    assert paired_test([1, 2, 3, 4, 5, 6], [2, 4, 6, 8, 10, 99]) == paired_floor(6) == 0.03125
    assert smallest_pairs(0.05) == 6
    assert smallest_pairs(0.05 / 480) == 15
    assert unpaired_floor(5, 5) == pytest.approx(0.0079, abs=5e-5)  # analysis.md section 5: p >= 0.008


@given(few)
@settings(max_examples=60)
def test_the_signed_rank_test_with_ties_is_the_permutation_test_over_all_signs(data: list[int]) -> None:
    rest = [value for value in data if value]
    if not rest:
        assert signed_rank(data) == 1.0
        return
    ranks = scipy_stats.rankdata(np.abs(rest))
    signs = 1 - 2 * ((np.arange(2 ** len(rest))[:, None] >> np.arange(len(rest))) & 1)
    sums, seen = (ranks * (signs > 0)).sum(axis=1), ranks[np.array(rest) > 0].sum()
    assert signed_rank(data) == pytest.approx(min(1.0, 2 * min((sums <= seen).mean(), (sums >= seen).mean())))


@pytest.mark.parametrize("n", [8, 30, 100, 150])
def test_the_signed_rank_test_agrees_with_scipy(n: int) -> None:
    data = np.random.default_rng(n).normal(0.2, 1, n)
    method = "exact" if n <= 100 else "asymptotic"
    theirs = scipy_stats.wilcoxon(data, method=method, correction=True).pvalue
    assert signed_rank(data.tolist()) == pytest.approx(theirs, rel=1e-9)


def test_differences_of_yes_and_no_are_mcnemars_exact_test() -> None:
    differences = [1.0] * 9 + [-1.0] * 2 + [0.0] * 20
    assert signed_rank(differences) == pytest.approx(scipy_stats.binomtest(2, 11).pvalue)


def test_pairs_are_compared_by_ratio_and_by_difference_where_there_is_none() -> None:
    reference, candidate = [1.0, 1000.0, 5.0, 7.0, 9.0, 4.0], [2.0, 900.0, 10.0, 14.0, 18.0, 8.0]
    ratios = [math.log(b / a) for a, b in zip(reference, candidate, strict=True)]
    assert paired_test(reference, candidate) == pytest.approx(scipy_stats.wilcoxon(ratios).pvalue, rel=0.2)
    assert paired_test(reference, candidate) < paired_test([0.0, *reference[1:]], candidate)


@pytest.mark.parametrize(("sizes", "critical"), RANK_SUM_CRITICAL.items())
def test_the_rank_sum_distribution_is_that_of_the_published_table(sizes: tuple[int, int], critical: int) -> None:
    assert unpaired_test(*with_u(*sizes, critical)) <= 0.05 < unpaired_test(*with_u(*sizes, critical + 1))


@pytest.mark.parametrize(("n", "others"), [(1, 7), (6, 9), (25, 30)])
def test_the_rank_sum_test_agrees_with_scipy(n: int, others: int) -> None:
    generator = np.random.default_rng(n)
    first, second = generator.normal(0, 1, n), generator.normal(0.4, 1, others)
    theirs = scipy_stats.mannwhitneyu(first, second, method="exact").pvalue
    assert unpaired_test(first.tolist(), second.tolist()) == pytest.approx(theirs, rel=1e-9)
    assert unpaired_test(first.tolist(), second.tolist()) >= unpaired_floor(n, others)


def test_the_rank_sum_test_of_many_values_is_the_corrected_normal_approximation() -> None:
    generator = np.random.default_rng(4)
    first, second = generator.integers(0, 12, 70), generator.integers(1, 13, 50)
    theirs = scipy_stats.mannwhitneyu(first, second, method="asymptotic").pvalue
    assert unpaired_test(first.tolist(), second.tolist()) == pytest.approx(theirs, rel=1e-9)


@given(few, few)
@settings(max_examples=30)
def test_the_rank_sum_test_with_ties_is_the_permutation_test(first: list[int], second: list[int]) -> None:
    first, second = first[:4], second[:5]
    ranks = scipy_stats.rankdata([*first, *second])
    from itertools import combinations

    sums = np.array([ranks[list(chosen)].sum() for chosen in combinations(range(ranks.size), len(first))])
    seen = ranks[: len(first)].sum()
    expected = min(1.0, 2 * min((sums <= seen).mean(), (sums >= seen).mean()))
    assert unpaired_test(first, second) == pytest.approx(expected)


def test_the_t_tests_agree_with_scipy() -> None:
    generator = np.random.default_rng(2)
    first, second = generator.lognormal(0, 0.1, 9), generator.lognormal(0.05, 0.3, 9)
    paired = scipy_stats.ttest_rel(np.log(second), np.log(first)).pvalue
    welch = scipy_stats.ttest_ind(np.log(second[:6]), np.log(first), equal_var=False).pvalue
    assert paired_t_test(first.tolist(), second.tolist()) == pytest.approx(paired, rel=1e-9)
    assert unpaired_t_test(first.tolist(), second[:6].tolist()) == pytest.approx(welch, rel=1e-9)


def test_a_t_test_of_equal_ratios_knows_no_more_than_its_least_p() -> None:
    assert paired_t_test([1.0, 2.0, 4.0], [1.0, 2.0, 4.0]) == 1.0
    assert paired_t_test([1.0, 2.0, 4.0], [0.95, 1.9, 3.8]) == 1e-12
    with pytest.raises(ValueError, match="above 0"):
        paired_t_test([0.0, 1.0], [1.0, 1.0])


def test_the_t_test_of_log_ratios_holds_its_level_with_heavy_tails() -> None:
    generator = np.random.default_rng(8)
    ratios = generator.standard_t(2, (4000, 10))
    alarms = scipy_stats.ttest_1samp(ratios, 0, axis=1).pvalue <= 0.01
    assert alarms.mean() <= 0.01  # what significance.py says of symmetric heavy tails


@given(probabilities)
def test_q_values_agree_with_scipy(p: list[float]) -> None:
    assert benjamini_hochberg(p) == pytest.approx(scipy_stats.false_discovery_control(p), abs=1e-12)


def test_q_values_reject_what_benjamini_and_hochberg_rejected() -> None:
    assert [q <= 0.05 for q in benjamini_hochberg(BENJAMINI_HOCHBERG)] == [True] * 4 + [False] * 11
    assert benjamini_hochberg([]) == []
    with pytest.raises(ValueError, match="between 0 and 1"):
        benjamini_hochberg([1.2])
