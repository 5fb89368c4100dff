"""Sums by key and distributions, against dictionaries and sorted lists."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.capture import sums
from analysis.capture.sums import Distributions, KeyedSums

TIMES = st.one_of(st.integers(0, 2000), st.integers(0, 2**62))


@given(st.lists(st.dictionaries(st.integers(0, 30), st.integers(-9, 2**40)), max_size=6))
def test_sums_by_key_are_those_of_a_counter(batches) -> None:
    found, expected = KeyedSums(("octets", "never")), Counter()
    for batch in batches:
        keys = np.array(sorted(batch), np.int64)
        found.take(keys, {"octets": np.array([batch[key] for key in keys.tolist()], np.int64)})
        for key, value in batch.items():
            expected[key] += value
    assert found.keys.tolist() == sorted(expected)
    assert found.sums["octets"].tolist() == [expected[key] for key in sorted(expected)]
    assert not found.sums["never"].any()


@pytest.mark.parametrize("dense", [32, 0])
@given(st.lists(st.lists(st.tuples(st.integers(0, 2), TIMES, st.integers(1, 5000)), max_size=30), max_size=4))
def test_quantiles_are_exact_to_two_per_mille_and_the_rest_is_exact(dense, batches) -> None:
    found = Distributions(3)
    before, sums._DENSE = sums._DENSE, dense
    try:
        for batch in batches:
            stream, value, weight = (np.array([item[index] for item in batch], np.int64) for index in range(3))
            found.take(stream, value, weight)
    finally:
        sums._DENSE = before
    for stream in range(3):
        values = sorted((value, weight) for batch in batches for name, value, weight in batch if name == stream)
        count = sum(weight for _, weight in values)
        assert found.count[stream] == count
        if not values:
            assert found.mean(stream) is found.least(stream) is found.quantile(stream, 0.5) is None
            continue
        assert (found.least(stream), found.greatest(stream)) == (values[0][0], values[-1][0])
        assert found.mean(stream) == sum(value * weight for value, weight in values) // count
        for share in (0.01, 0.5, 0.95, 1.0):
            needed = max(1, math.ceil(share * count))
            reached = np.cumsum([weight for _, weight in values])
            exact = values[int(np.searchsorted(reached, needed))][0]
            quantile = found.quantile(stream, share)
            assert quantile is not None
            assert abs(quantile - exact) <= exact * 0.002
