"""Contrasts and their verdicts: what is confirmed, what is not, and what few or odd values may not claim."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.comparison.contrast import Contrast, adjudicate, contrast

NOISE = np.random.default_rng(11).lognormal(0, 0.02, (2, 12))

measured = st.just(0.0) | st.floats(1e-9, 1e12)


def goodput(factor: float, n: int = 12, **more: Any) -> Contrast:
    """A series of goodputs of which the candidate has ``factor`` times the reference's."""
    facts = {"series": "mptcp main goodput_bit_s", "unit": "bit/s", "better": "largest", **more}
    return contrast(reference=(NOISE[0, :n] * 1e7).tolist(), candidate=(NOISE[1, :n] * 1e7 * factor).tolist(), **facts)


def judged(*values: Any, **options: float) -> Contrast:
    return adjudicate(values, **options)[0]


def test_goodput_that_fell_is_slower_and_a_regression() -> None:
    found = judged(goodput(0.9))
    assert (found.verdict, found.is_regression) == ("slower", True)
    assert found.ratio is not None and found.ratio.high is not None
    assert found.ratio.estimate == pytest.approx(0.9, rel=0.03)
    assert found.ratio.high < 1
    assert found.effect == -1.0
    assert found.q is not None and found.q <= 0.05


def test_goodput_that_grew_is_faster_and_a_time_that_grew_is_slower() -> None:
    assert judged(goodput(1.1)).verdict == "faster"
    grown = judged(goodput(1.1, unit="ns", better="smallest"))
    assert (grown.verdict, grown.is_regression) == ("slower", True)
    assert judged(goodput(0.9, unit="ns", better="smallest")).verdict == "faster"


def test_what_is_neither_good_nor_bad_is_more_or_fewer_and_never_a_regression() -> None:
    for factor, word in ((1.2, "more"), (0.8, "fewer")):
        found = judged(goodput(factor, better=None))
        assert (found.verdict, found.is_regression) == (word, False)
    worse = judged(goodput(1.2, better="smallest", unit="bytes"))
    assert (worse.verdict, worse.is_regression) == ("more", True)


def test_no_change_comes_with_the_size_that_would_have_been_found() -> None:
    found = judged(goodput(1.0))
    assert found.verdict == "no change found"
    assert found.detectable is not None
    assert 0.02 <= found.detectable < 0.05
    assert f"{100 * found.detectable:.2g} %" in found.reason


def test_a_change_smaller_than_the_smallest_that_matters_is_none() -> None:
    values = [100.0 + index for index in range(12)]
    tiny = contrast("a", values, [value * 1.01 for value in values])
    assert judged(tiny).verdict == "no change found"
    assert "smaller than the smallest" in judged(tiny).reason
    assert judged(tiny, smallest=0.005).verdict == "more"


def test_equal_values_are_no_change_whatever_their_number() -> None:
    for n in (1, 5, 12):
        found = judged(contrast("a", [3.0] * n, [3.0] * n))
        assert (found.verdict, found.identical) == ("no change found", True)
        assert "same value" in found.reason


def test_five_pairs_are_not_comparable_and_the_reason_says_what_a_test_of_them_can_reach() -> None:
    found = judged(contrast("a", [1.0, 2, 3, 4, 5], [2.0, 4, 6, 8, 10]))
    assert found.verdict == "not comparable"
    assert found.q is None
    assert "5 pairs" in found.reason and "0.0625" in found.reason


def test_a_series_without_values_is_not_comparable_and_takes_no_part() -> None:
    empty = contrast("a", [], [1.0])
    assert empty.reason == "no value in the reference"
    both = adjudicate([empty, goodput(0.9)])
    assert both[0].verdict == "not comparable"
    assert both[1].q == both[1].p  # alone in its family


def test_a_zero_makes_the_contrast_one_of_differences() -> None:
    reference = [0.0, 0, 0, 5e6, 0, 0, 0, 0]
    found = judged(contrast("stall", reference, [value + 3e8 for value in reference], unit="ns", better="smallest"))
    assert (found.kind, found.ratio, found.verdict) == ("difference", None, "slower")
    assert found.difference is not None
    assert found.difference.estimate == pytest.approx(3e8)
    zeros = judged(contrast("stall", [0.0] * 8, [0.0] * 8))
    assert zeros.verdict == "no change found"


def test_counts_are_compared_as_rates_and_widened_when_they_scatter() -> None:
    even = judged(contrast("r", [50.0, 45, 55, 52, 48, 50], [80.0, 78, 85, 82, 79, 81], kind="rate"))
    assert (even.verdict, even.test) == ("more", "Poisson, exact conditional")
    heaps = judged(contrast("r", [0.0, 80, 2, 95, 1, 60], [70.0, 3, 99, 5, 120, 2], kind="rate"))
    assert (heaps.verdict, heaps.test) == ("no change found", "quasi-Poisson")
    assert heaps.dispersion is not None and heaps.dispersion > 10


def test_events_that_the_reference_never_had_are_more() -> None:
    found = judged(contrast("resets", [0.0] * 8, [3.0, 2, 4, 3, 3, 2, 5, 3], kind="rate"))
    assert (found.verdict, found.ratio) == ("more", None)
    assert judged(contrast("resets", [0.0] * 8, [0.0] * 7 + [1.0], kind="rate")).verdict == "no change found"


def test_what_can_shrink_is_no_count_of_events() -> None:
    found = judged(contrast("gauge", [-1.0, 0, 1, -1, 0, 1], [2.0, 3, 4, 2, 3, 4], kind="rate"))
    assert found.kind == "difference"


def test_a_yes_or_no_of_every_trial_can_change() -> None:
    found = judged(contrast("fate", [1.0] * 10, [0.0] * 9 + [1.0], kind="ratio"))
    assert (found.kind, found.verdict) == ("difference", "fewer")
    assert judged(contrast("fate", [1.0] * 10, [0.0] * 2 + [1.0] * 8)).verdict == "no change found"


def test_the_t_test_stands_in_only_where_the_rank_test_of_so_many_series_can_find_nothing() -> None:
    one = judged(goodput(0.9, n=8))
    assert one.test == "signed rank, exact"
    many = adjudicate([goodput(0.9, n=8), *(goodput(1.0, n=8, series=str(index)) for index in range(99))])
    assert {found.test for found in many} == {"t of log ratios"}
    assert many[0].verdict == "slower"
    assert not any(found.is_change for found in many[1:])


def test_groups_without_pairs_are_compared_by_their_ranks() -> None:
    first, second = (NOISE[0] * 100).tolist(), (NOISE[1] * 90).tolist()
    found = judged(contrast("a", first, second[:9], unit="bit/s", better="largest", paired=False))
    assert (found.verdict, found.n, found.test) == ("slower", 9, "rank sum")
    with pytest.raises(ValueError, match="pairs need as many"):
        contrast("a", first, second[:9])


def test_hundreds_of_series_of_equal_trials_raise_no_alarm_and_the_changed_ones_are_found() -> None:
    """analysis.md section 5: 10 pairs, CV 2.5 %, find -5 % with power 0.87; false alarms below 0.1 of 480."""
    draws = np.random.default_rng(3).lognormal(0, 0.025, (240, 2, 10))
    draws[:24, 1] *= 0.95
    found = adjudicate([contrast(str(index), *pair) for index, pair in enumerate(draws.tolist())])
    assert sum(one.is_change for one in found[24:]) <= 2
    assert sum(one.verdict == "fewer" for one in found[:24]) >= 14


@given(
    st.lists(st.tuples(measured, measured), min_size=1, max_size=9),
    st.sampled_from(["ratio", "rate"]),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_whatever_the_values_a_verdict_has_its_reason_and_its_numbers_are_finite(
    pairs: list[tuple[float, float]], kind: Any, paired: bool
) -> None:
    first, second = ([pair[side] for pair in pairs] for side in (0, 1))
    found = judged(contrast("a", first, second, kind=kind, paired=paired))
    assert found.reason
    assert found.p is not None and 0 <= found.p <= 1
    for number in (found.detectable, found.effect, found.q, found.reference.estimate):
        assert number is None or math.isfinite(number)
    if found.is_change and found.ratio and found.ratio.low is not None and found.ratio.high is not None:
        assert not found.ratio.low <= 1 <= found.ratio.high
