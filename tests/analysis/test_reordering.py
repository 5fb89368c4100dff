"""The metrics of reordering, on the examples of RFC 4737 section 7 and RFC 5236 sections 3 and 8."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.reordering import (
    Reordered,
    buffer_occupancies,
    buffer_occupancy_density,
    displacements,
    late_times,
    n_reordering_degree,
    reorder_density,
    reordered,
    reordered_ratio,
)

ONE = [1, 2, 3, 5, 6, 7, 8, 4, 9, 10]
TWO = [1, 2, 3, 4, 7, 5, 6, 8, 9, 10]
THREE = [1, 2, 3, 7, 8, 9, 10, 4, 5, 6, 11]
SEVERAL = [1, 2, 3, 6, 7, 4, 5, 8, 9, 10, 12, 13, 11, 14, 15, 16]
arrivals = st.lists(st.integers(1, 60), max_size=80)


@pytest.mark.parametrize(
    ("arrived", "expected"),
    [
        (ONE, [Reordered(4, 8, 4, 4)]),
        (TWO, [Reordered(5, 6, 1, 1), Reordered(6, 7, 2, 0)]),
        (THREE, [Reordered(4, 8, 4, 4), Reordered(5, 9, 5, 0), Reordered(6, 10, 6, 0)]),
        (SEVERAL, [Reordered(4, 6, 2, 2), Reordered(5, 7, 3, 0), Reordered(11, 13, 2, 2)]),
    ],
    ids=["7.1", "7.2", "7.3", "7.4"],
)
def test_the_examples_of_rfc4737_section_7(arrived: list[int], expected: list[Reordered]) -> None:
    assert reordered(arrived) == expected
    assert reordered_ratio(arrived) == len(expected) / len(arrived)


def test_blocks_are_reordered_whole_but_n_reordered_at_their_first_packet() -> None:
    arrived = [1, 2, 3, 7, 8, 9, 4, 5, 6]  # RFC 4737 section 5.3
    assert [packet.sequence for packet in reordered(arrived)] == [4, 5, 6]
    assert [n_reordering_degree(arrived, n) for n in (1, 3, 4)] == [1 / 9, 1 / 9, 0]


def test_the_late_times_of_rfc4737_section_7() -> None:
    at = [68, 88, 108, 148, 168, 188, 208, 210, 228, 248]
    assert late_times(list(zip(ONE, at, strict=True))) == {4: 62}
    at = [68, 88, 108, 128, 188, 189, 190, 208, 228, 248]
    assert late_times(list(zip(TWO, at, strict=True))) == {5: 1, 6: 2}
    at = [68, 88, 108, 188, 208, 228, 248, 250, 252, 256, 268]
    assert late_times(list(zip(THREE, at, strict=True))) == {4: 62, 5: 64, 6: 68}


@pytest.mark.parametrize(
    ("arrived", "expected"),
    [
        ([2, 1, 4, 5, 3], [-1, 1, -1, -1, 2]),
        ([1, 4, 3, 5, 3], [0, -1, 1, 0]),
        ([1, 4, 3, 5, 3, 8, 7, 6], [0, -1, 1, 0, -2, 0, 2]),
        ([1, 2, 3, 5, 4, 6], [0, 0, 0, -1, 1, 0]),
        ([1, 2, 5, 3, 6, 2], [0, 0, -2, 2, 0]),
    ],
    ids=["1", "2", "3", "4", "5"],
)
def test_the_examples_of_rfc5236_sections_3_and_4(arrived: list[int], expected: list[int]) -> None:
    assert list(displacements(arrived, 4).values()) == expected


def test_the_examples_of_rfc5236_section_8() -> None:
    no_loss = [1, 4, 2, 5, 3, 6, 7, 8]
    assert reorder_density(no_loss, 4) == {-2: 0.125, -1: 0.125, 0: 0.5, 1: 0.125, 2: 0.125}
    assert buffer_occupancies(no_loss, 4) == [0, 1, 1, 2, 0, 0, 0, 0]
    assert buffer_occupancy_density(no_loss, 4) == {0: 0.625, 1: 0.25, 2: 0.125}
    with_loss = [1, 2, 4, 5, 6, 7]
    assert reorder_density(with_loss, 3) == {0: 1.0}
    assert buffer_occupancies(with_loss, 3) == [0, 0, 1, 2, 3, 0]
    with_duplicate = [1, 3, 2, 3, 4, 5]
    assert reorder_density(with_duplicate, 2) == {-1: 0.2, 0: 0.6, 1: 0.2}
    assert buffer_occupancies(with_duplicate, 2) == [0, 1, 0, 0, 0]


def test_a_packet_beyond_the_threshold_is_lost_and_its_place_not_taken() -> None:
    rogue = [1, 5430, *range(2, 20)]  # RFC 5236 section 6
    assert set(displacements(rogue, 4).values()) == {0}
    late = [1, *range(3, 20), 2]
    assert displacements(late, 3) == dict.fromkeys([1, *range(3, 20)], 0)
    assert displacements(late, 17)[2] == 17


def test_nothing_arrived_is_not_reordered() -> None:
    assert (reordered([]), reordered_ratio([]), n_reordering_degree([], 1)) == ([], 0.0, 0.0)
    assert (reorder_density([], 3), buffer_occupancy_density([], 3)) == ({}, {})


@given(arrivals)
def test_the_definitions_of_rfc4737_word_for_word(arrived: list[int]) -> None:
    packets = list(dict.fromkeys(arrived))
    found = {packet.sequence: packet for packet in reordered(arrived)}
    next_expected = 0
    for i, sequence in enumerate(packets):
        if sequence >= next_expected:
            next_expected = sequence + 1
            assert sequence not in found
            continue
        packet = found[sequence]
        assert packet.extent == i - min(j for j in range(i) if packets[j] > sequence)
        degrees = [n for n in range(1, i + 1) if all(packets[j] > sequence for j in range(i - n, i))]
        assert packet.n_reordering == max(degrees, default=0)


@given(arrivals, st.integers(1, 6))
def test_densities_are_densities_within_their_thresholds(arrived: list[int], threshold: int) -> None:
    density = reorder_density(arrived, threshold)
    occupancy = buffer_occupancy_density(arrived, threshold)
    assert all(-threshold <= value <= threshold for value in density)
    assert all(0 <= value <= threshold for value in occupancy)
    for shares in (density, occupancy):
        assert sum(shares.values()) == pytest.approx(1.0 if arrived else 0.0)


@given(st.sets(st.integers(1, 29)))
def test_loss_alone_moves_nothing(lost: set[int]) -> None:
    arrived = [number for number in range(1, 30) if number not in lost]
    assert reordered(arrived) == []
    assert set(displacements(arrived, 3).values()) <= {0}


def test_long_sequences_are_no_trouble() -> None:
    chance = random.Random(1)
    arrived = sorted(range(20_000), key=lambda number: number + (8 if chance.random() < 0.1 else 0))
    assert 0.09 < reordered_ratio(arrived) < 0.11
    assert sum(reorder_density(arrived, 16, 0).values()) == pytest.approx(1)
