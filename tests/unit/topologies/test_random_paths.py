from __future__ import annotations

import random

import pytest

from topologies.link_profile import NoLoss, RandomLoss
from topologies.model import TopologyError
from topologies.random_paths import CLASSES, HIGHEST_LOSS, design, random_paths
from topologies.space_filling import minimum_distance, wsp


def test_the_full_design_has_the_published_number_of_points() -> None:
    assert len(design(classes=("low-bdp-no-loss",))) == 253


@pytest.mark.parametrize(("points", "dimensions"), [(1, 1), (2, 3), (20, 2), (50, 8)])
def test_wsp_gives_exactly_as_many_points_in_the_unit_cube(points: int, dimensions: int) -> None:
    chosen = wsp(points, dimensions, random.Random(1))
    assert len(set(chosen)) == points
    assert all(len(point) == dimensions and all(0 <= x < 1 for x in point) for point in chosen)


def test_wsp_repeats_with_its_seed_and_differs_without() -> None:
    assert wsp(30, 4, random.Random(7)) == wsp(30, 4, random.Random(7))
    assert wsp(30, 4, random.Random(7)) != wsp(30, 4, random.Random(8))


@pytest.mark.parametrize("seed", range(5))
def test_wsp_keeps_points_further_apart_than_chance_does(seed: int) -> None:
    rng = random.Random(seed)
    by_chance = tuple(tuple(rng.random() for _ in range(4)) for _ in range(60))
    assert minimum_distance(wsp(60, 4, random.Random(seed))) > 2 * minimum_distance(by_chance)


def test_every_point_stays_in_the_ranges_of_its_class() -> None:
    for point in design(40):
        bounds = CLASSES[point.class_name]
        for profile in (point.path1, point.path2):
            assert profile.rate_bit_s is not None
            assert 100_000 <= profile.rate_bit_s <= 100_000_000
            assert 2 * profile.delay_ns <= bounds.highest_round_trip_ns + 100_000
            assert profile.queue is not None and profile.queue.size_bytes is not None
            drain_ns = profile.queue.size_bytes * 8 * 10**9 // profile.rate_bit_s
            assert drain_ns <= bounds.highest_queueing_ns or profile.queue.size_bytes == 3028
            if not bounds.losses:
                assert profile.loss == NoLoss()
            elif isinstance(profile.loss, RandomLoss):
                assert profile.loss.probability <= HIGHEST_LOSS


def test_rates_are_spread_over_the_decades() -> None:
    rates = sorted(point.path1.rate_bit_s or 0 for point in design(90, ("low-bdp-no-loss",)))
    per_decade = [sum(10**5 * 10**d <= rate < 10**6 * 10**d for rate in rates) for d in range(3)]
    assert min(per_decade) >= 15


def test_swapped_exchanges_the_paths() -> None:
    plain, swapped = random_paths(3, count=10), random_paths(3, count=10, swapped=True)
    assert plain.link("path1").forward == swapped.link("path2").forward
    assert plain.link("path2").forward == swapped.link("path1").forward


def test_an_index_outside_the_design_is_an_error() -> None:
    with pytest.raises(TopologyError, match="index is between 0 and 9, not 10"):
        random_paths(10, count=10)


def test_an_unknown_class_lists_the_classes() -> None:
    with pytest.raises(TopologyError, match="'lossy' is none of low-bdp-no-loss"):
        random_paths(class_name="lossy")
