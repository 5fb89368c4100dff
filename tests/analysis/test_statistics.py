"""Intervals: against scipy, against published values, and honest about few values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.statistics import (
    LEVEL,
    bootstrap_interval,
    median_interval,
    quantiles,
    ratio_interval,
    statistic_interval,
)

scipy_stats = pytest.importorskip("scipy.stats")

SPATIAL = [48, 36, 20, 29, 42, 42, 20, 42, 22, 41, 45, 14, 6, 0, 33, 28, 34, 4, 32, 24, 47, 41, 24, 26, 30, 41]
"""Spatial test data, Efron and Tibshirani 1993, table 14.1."""

values = st.lists(st.floats(-1e9, 1e9, allow_subnormal=False), min_size=1, max_size=30)


@given(values)
def test_an_interval_holds_its_estimate_and_repeats(data: list[float]) -> None:
    found = median_interval(data, seed=3)
    assert found == median_interval(data, seed=3)
    assert found.n == len(data)
    if found.low is not None and found.high is not None:
        assert min(data) <= found.low <= found.estimate <= found.high <= max(data)


@pytest.mark.parametrize(("n", "coverage"), [(2, 0.5), (3, 0.75), (4, 0.875), (5, 0.9375)])
def test_few_values_give_their_range_with_its_exact_coverage(n: int, coverage: float) -> None:
    found = median_interval(list(range(n)))
    assert (found.method, found.low, found.high, found.level) == ("range", 0, n - 1, coverage)
    assert f"{100 * coverage:g} %" in found.in_words()


def test_that_coverage_is_what_a_simulation_finds() -> None:
    draws = np.random.default_rng(5).normal(size=(20_000, 3))
    covered = float(((draws.min(axis=1) < 0) & (draws.max(axis=1) > 0)).mean())
    assert covered == pytest.approx(median_interval([1.0, 2.0, 3.0]).level, abs=0.02)


def test_one_value_has_no_interval() -> None:
    found = median_interval([7.0])
    assert (found.estimate, found.low, found.high, found.level) == (7.0, None, None, None)
    assert found.in_words() == "one value, no interval"


def test_six_values_are_enough_for_a_bootstrap() -> None:
    assert median_interval([1.0, 2, 3, 4, 5, 6]).method == "percentile bootstrap"


def test_bca_agrees_with_the_published_interval_of_a_variance() -> None:
    found = bootstrap_interval(SPATIAL, np.var, level=0.90, resamples=20_000)
    assert found.estimate == pytest.approx(171.5, abs=0.1)
    assert found.low == pytest.approx(115.8, rel=0.02)  # Efron and Tibshirani 1993, table 14.2
    assert found.high == pytest.approx(259.6, rel=0.02)
    plain = bootstrap_interval(SPATIAL, np.var, level=0.90, resamples=20_000, method="percentile bootstrap")
    assert plain.low == pytest.approx(100.8, rel=0.02)
    assert plain.high == pytest.approx(233.9, rel=0.02)


@pytest.mark.parametrize("method", ["percentile bootstrap", "BCa bootstrap"])
def test_it_agrees_with_scipy(method: str) -> None:
    data = np.random.default_rng(1).lognormal(size=40)
    ours = bootstrap_interval(data.tolist(), np.mean, method=method, resamples=20_000)  # type: ignore[arg-type]
    theirs = scipy_stats.bootstrap(
        (data,), np.mean, n_resamples=20_000, method=method.split()[0], rng=np.random.default_rng(2)
    ).confidence_interval
    assert ours.low == pytest.approx(theirs.low, rel=0.02)
    assert ours.high == pytest.approx(theirs.high, rel=0.02)


def test_equal_values_have_an_interval_without_width() -> None:
    found = bootstrap_interval([4.0] * 8)
    assert (found.low, found.estimate, found.high) == (4.0, 4.0, 4.0)


@pytest.mark.parametrize("data", [[], [1.0, float("nan")], [float("inf")]])
def test_what_is_no_measurement_is_refused(data: list[float]) -> None:
    with pytest.raises(ValueError, match="a statistic needs"):
        median_interval(data)


def test_quantiles_are_type_7() -> None:
    assert quantiles([1, 2, 3, 4], [0, 0.5, 1]) == [1.0, 2.5, 4.0]


POSITIVE = st.floats(0.1, 1e9)


@given(st.lists(POSITIVE, min_size=1, max_size=5), st.lists(POSITIVE, min_size=1, max_size=5))
def test_the_range_of_a_ratio_holds_the_ratio_and_that_of_every_pair(above: list[float], below: list[float]) -> None:
    found = ratio_interval(above, below, "median")
    if found.low is None or found.high is None:
        assert len(above) == len(below) == 1
        return
    pairs = [one / other for one in above for other in below]
    assert found.low == min(pairs) and found.high == max(pairs)
    assert found.low <= found.estimate * (1 + 1e-12) and found.estimate <= found.high * (1 + 1e-12)


def test_a_ratio_of_many_values_is_resampled_on_both_sides() -> None:
    generator = np.random.default_rng(5)
    above, below = (generator.normal(mean, 1, 40).tolist() for mean in (30, 20))
    found = ratio_interval(above, below, "mean")
    assert (found.method, found.level, found.n) == ("percentile bootstrap", LEVEL, 40)
    assert found.low is not None and found.high is not None and found.low < 1.5 < found.high
    assert found.high - found.low < 0.1
    assert ratio_interval(above, below, "mean") == found, "the same seed gives the same interval"


def test_pairs_that_share_their_noise_have_a_narrower_interval_of_the_same_ratio() -> None:
    generator = np.random.default_rng(6)
    noise = generator.normal(10, 3, 30)
    above, below = (0.9 * noise + generator.normal(0, 0.1, 30)).tolist(), noise.tolist()
    apart, together = ratio_interval(above, below, "median"), ratio_interval(above, below, "median", paired=True)
    assert together.estimate == apart.estimate
    assert together.low is not None and together.high is not None and apart.low is not None and apart.high is not None
    assert together.low < 0.9 < together.high < 1 < apart.high
    assert together.high - together.low < (apart.high - apart.low) / 3


@given(st.lists(st.tuples(POSITIVE, POSITIVE), min_size=2, max_size=5), st.sampled_from(["median", "mean", "max"]))
def test_the_range_of_few_pairs_holds_the_ratio(pairs: list[tuple[float, float]], statistic: str) -> None:
    found = ratio_interval([one for one, _ in pairs], [other for _, other in pairs], statistic, paired=True)
    assert found.low is not None and found.high is not None
    assert found.low == min(one / other for one, other in pairs)
    assert found.low <= found.estimate * (1 + 1e-9) and found.estimate <= found.high * (1 + 1e-9)


def test_pairs_of_different_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="pairs need as many values as others"):
        ratio_interval([1.0], [1.0, 2.0], "median", paired=True)


def test_a_ratio_to_values_of_which_one_is_0_has_no_interval() -> None:
    found = ratio_interval([1.0, 2.0, 3.0], [0.0, 2.0, 2.0], "median")
    assert (found.estimate, found.low, found.in_words()) == (1.0, None, "3 values, no interval")


@pytest.mark.parametrize(("statistic", "estimate"), [("mean", 5.0), ("min", 1.0), ("max", 9.0)])
def test_few_values_and_extremes_have_their_range_without_a_level(statistic: str, estimate: float) -> None:
    found = statistic_interval([1.0, 5.0, 9.0], statistic)
    assert (found.estimate, found.low, found.high, found.level) == (estimate, 1.0, 9.0, None)
    assert found.in_words() == "range of 3 values"


def test_the_median_keeps_its_interval_and_the_mean_of_many_has_a_bootstrap() -> None:
    values = [1.0, 2.0, 3.0, 4.0, 5.0, 9.0]
    assert statistic_interval(values, "median") == median_interval(values)
    assert statistic_interval(values, "mean").method == "BCa bootstrap"
    assert statistic_interval([3.0], "max").method == "none"
