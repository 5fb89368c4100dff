"""Change points: the reference implementation's answers, and what must hold of any series."""

from __future__ import annotations

import doctest
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from step_series import step_series

from analysis.history import change_points as own
from analysis.history import night_values
from analysis.history.change_points import best_split, change_points, t_test, weak_points

REFERENCE: list[dict[str, Any]] = json.loads((Path(__file__).parent / "reference_change_points.json").read_text())[
    "answers"
]
Answer = tuple[dict[str, Any], own.Array, list[int], list[int]]


@pytest.fixture(scope="module")
def answers() -> list[Answer]:
    """The reference's answer, the series, our weak and our strong change points."""
    found = []
    for row in REFERENCE:
        values = step_series(row["seed"])
        strong = [point.index for point in change_points(values, window=row["window"])]
        found.append((row, np.array(values), weak_points(np.array(values), window=row["window"]), strong))
    return found


def test_weak_change_points_are_those_of_the_reference_implementation(answers: list[Answer]) -> None:
    assert [weak for _, _, weak, _ in answers] == [row["student"]["weak"] for row, _, _, _ in answers]
    assert sum(len(weak) for _, _, weak, _ in answers) > 100


def without_refreshing_the_left(data: own.Array, weak: Sequence[int]) -> list[tuple[int, float]]:
    """The reference's own last step: when it drops a point it tests again the next two, but not the one before.

    The one before keeps a p against a stretch that has grown since. Ours tests all again.
    """
    points = [own._point(data, *ends) for ends in own._between(weak, data.size)]
    while points:
        worst = max(range(len(points)), key=lambda index: points[index].p)
        if points[worst].p < own.MAX_P:
            break
        del points[worst]
        ends = own._between([point.index for point in points], data.size)
        for index in (worst, worst + 1):
            if index < len(points):
                points[index] = own._point(data, *ends[index])
    return [(point.index, point.p) for point in points]


def test_change_points_are_those_of_the_reference_but_for_its_stale_neighbours(answers: list[Answer]) -> None:
    for row, values, weak, _ in answers:
        told = row["student"]["strong"]
        its_way = without_refreshing_the_left(values, weak)
        assert [index for index, _ in its_way] == [index for index, _ in told], row
        assert [p for _, p in its_way] == pytest.approx([p for _, p in told], rel=1e-4, abs=1e-290)


def test_few_series_differ_from_the_reference_for_that_and_from_its_release_as_it_is(answers: list[Answer]) -> None:
    for key, least in (("student", 0.93), ("as_is", 0.9)):
        alike = [strong == [index for index, _ in row[key]["strong"]] for row, _, _, strong in answers]
        assert np.mean(alike) > least


numbers = st.floats(-1e6, 1e6).map(lambda value: round(value, 3))


@settings(max_examples=60)
@given(st.lists(numbers, min_size=1, max_size=20), st.lists(numbers, min_size=1, max_size=20))
def test_the_t_test_is_students(first: list[float], second: list[float]) -> None:
    a, b = np.array(first), np.array(second)
    if a.size + b.size < 3:
        assert t_test(a, b) == 1.0
    elif all(part.size == 1 or np.ptp(part) > 1e-3 * max(1.0, float(np.abs(part).max())) for part in (a, b)):
        assert t_test(a, b) == pytest.approx(float(stats.ttest_ind(a, b).pvalue), rel=1e-6, abs=1e-300)


@settings(max_examples=40)
@given(st.lists(numbers, min_size=2, max_size=12))
def test_the_best_split_is_the_best_of_all_by_the_definition_of_the_energy_distance(values: list[float]) -> None:
    def mean_distance(a: list[float], b: list[float]) -> float:
        pairs = [abs(x - y) for i, x in enumerate(a) for j, y in enumerate(b) if a is not b or i != j]
        return sum(pairs) / len(pairs) if pairs else 0.0

    def distance(split: int, end: int) -> float:
        a, b = values[:split], values[split:end]
        scale = len(a) * len(b) / (len(a) + len(b))
        return scale * (2 * mean_distance(a, b) - mean_distance(a, a) - mean_distance(b, b))

    every = {(s, e): distance(s, e) for s in range(1, len(values)) for e in range(s + 1, len(values) + 1)}
    best, index = best_split(own._distance_sums(np.array(values)), 0, len(values))
    scale = max(1.0, *map(abs, values))
    assert best == pytest.approx(max(every.values()), abs=1e-7 * scale)
    assert max(q for (s, _), q in every.items() if s == index) == pytest.approx(best, abs=1e-7 * scale)


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.floats(0.001, 1000), st.floats(-100, 100))
def test_every_change_point_holds_between_its_neighbours_and_moves_with_the_scale(
    seed: int, scale: float, shift: float
) -> None:
    values = step_series(seed)
    points = change_points(values, smallest=1.0)
    assert [point.index for point in points] == sorted({point.index for point in points})
    for point in points:
        assert point.p <= own.MAX_P
        assert abs(point.after - point.before) >= 1.0
    moved = change_points([value * scale + shift for value in values], smallest=scale)
    assert [point.index for point in moved] == [point.index for point in points]


def test_a_clear_step_is_found_where_it_is_and_a_constant_series_has_none() -> None:
    noise = [0.1 * math.sin(7 * index) for index in range(40)]
    values = [100 + noise[index] - (5 if index >= 23 else 0) for index in range(40)]
    assert [(point.index, round(point.before), round(point.after)) for point in change_points(values)] == [
        (23, 100, 95)
    ]
    assert change_points([5.0] * 40) == ()
    assert [point.index for point in change_points([5.0] * 10 + [4.0] * 2)] == [10]
    assert change_points([]) == change_points([1.0]) == change_points([1.0, 2.0]) == ()
    with pytest.raises(ValueError, match="finite"):
        change_points([1.0, float("nan")])


def test_the_examples_of_the_documentation_hold() -> None:
    for module in (own, night_values):
        assert doctest.testmod(module).failed == 0
