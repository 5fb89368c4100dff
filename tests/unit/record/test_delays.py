"""How long displaced ranges and deferred mappings have waited."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from testbed.record.delays import Distribution, InformationDelay, MapDelay, merged, without

A, B, C = (200, 300), (400, 500), (600, 700)


def test_a_range_that_leaves_at_once_has_no_delay() -> None:
    it = InformationDelay()
    it.take(10, 100, [A], 1)
    assert (it.ranges, it.never, it.delays.quantile(0.5)) == (1, 0, 0)


def test_a_range_waits_from_the_first_segment_that_wanted_it_to_the_first_that_reports_it() -> None:
    it = InformationDelay()
    it.take(10, 100, [A], 0)
    it.take(15, 100, [B, A], 1)
    it.take(30, 100, [A, B], 2)
    assert it.ranges == 2 and it.never == 0
    assert (it.delays.quantile(0.5), it.delays.quantile(1.0)) == (0, 20)


def test_a_range_that_is_acknowledged_first_is_never_reported() -> None:
    it = InformationDelay()
    it.take(10, 100, [A], 0)
    it.take(20, 350, [B], 0)
    it.finish()
    assert (it.ranges, it.never) == (2, 2)


def test_what_a_range_has_grown_by_is_a_range_of_its_own() -> None:
    it = InformationDelay()
    it.take(10, 100, [(200, 300)], 1)
    it.take(20, 100, [(200, 400)], 0)
    it.take(50, 100, [(200, 400)], 1)
    assert it.ranges == 2
    assert it.delays.quantile(1.0) == 30


def test_ranges_that_merge_are_no_news() -> None:
    it = InformationDelay()
    it.take(10, 100, [B, A], 2)
    it.take(20, 100, [(200, 500)], 0)
    it.take(30, 100, [(200, 500)], 1)
    assert it.ranges == 3
    assert it.delays.quantile(1.0) == 10, "the octets in between"


def test_a_duplicate_is_no_range_that_waits() -> None:
    it = InformationDelay()
    it.take(10, 100, [(50, 100), A], 2)
    it.take(20, 100, [(220, 240), A], 1)
    assert it.ranges == 1


def test_a_mapping_on_the_segment_means_no_wait() -> None:
    it = MapDelay()
    it.take(10, (1, 101), False, (1, 101))
    it.take(20, (101, 201), True, None)
    assert (it.immediate, it.never, it.quantiles(0.95)) == (200, 0, (0, 0))


def test_octets_wait_for_the_first_mapping_that_covers_them() -> None:
    it = MapDelay()
    it.take(10, (1, 101), False, None)
    it.take(20, (101, 201), False, (101, 201))
    it.take(40, (201, 301), False, (1, 101))
    it.take(60, None, False, (201, 251))
    assert it.immediate == 100
    assert it.delays_ns.total == 150
    assert it.never == 50
    assert it.quantiles(0.4) == (0, 0)
    assert it.quantiles(1.0) == (30, 2)


def test_without_payload_there_is_no_delay() -> None:
    assert MapDelay().quantiles(0.5) == (None, None)


@given(st.lists(st.integers(0, 10**15), min_size=1))
def test_quantiles_are_exact_to_four_digits(values: list[int]) -> None:
    it = Distribution()
    for value in values:
        it.add(value)
    median = sorted(values)[(len(values) + 1) // 2 - 1]
    found = it.quantile(0.5)
    assert found is not None and found <= median <= found * 1.001 + 1
    assert Distribution().quantile(0.5) is None


ranges = st.lists(st.tuples(st.integers(0, 50), st.integers(1, 10)).map(lambda pair: (pair[0], pair[0] + pair[1])))


@given(st.tuples(st.integers(0, 50), st.integers(1, 20)).map(lambda pair: (pair[0], pair[0] + pair[1])), ranges)
def test_interval_arithmetic_is_that_of_sets(whole: tuple[int, int], taken: list[tuple[int, int]]) -> None:
    def octets(them: list[tuple[int, int]]) -> set[int]:
        return {octet for start, end in them for octet in range(start, end)}

    assert octets(without(whole, taken)) == octets([whole]) - octets(taken)
    assert octets(merged(taken)) == octets(taken)
    assert all(one[1] < two[0] for one, two in zip(merged(taken), merged(taken)[1:], strict=False))
