"""Interval arithmetic against sets of octets."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.capture import intervals
from analysis.capture.intervals import History, Line

SEGMENTS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(-30, 90), st.integers(1, 40), st.integers(0, 3)), max_size=40
)


def int64s(values) -> np.ndarray:
    return np.array(list(values), np.int64)


class SlowHistory:
    """Octet by octet."""

    def __init__(self) -> None:
        self.senders: dict[tuple[int, int], set[int]] = {}

    def take(self, stream: int, start: int, length: int, slot: int) -> tuple[int, int, int, set[int]]:
        octets = [(stream, number) for number in range(start, start + length)]
        before = [self.senders.get(octet, set()) for octet in octets]
        fresh = {number for (_, number), slots in zip(octets, before, strict=True) if not slots}
        result = (
            sum(bool(slots) for slots in before),
            sum(slot in slots for slots in before),
            sum(bool(slots - {slot}) for slots in before),
            fresh,
        )
        for octet in octets:
            self.senders.setdefault(octet, set()).add(slot)
        return result


@settings(max_examples=400, deadline=None)
@given(st.lists(SEGMENTS, max_size=4), st.booleans())
def test_history_tells_what_was_sent_before_and_by_whom_as_a_set_of_octets_does(batches, halve) -> None:
    line = Line(3)
    history, slow = History(line), SlowHistory()
    limit = intervals._MAX_PAIRS
    if halve:
        intervals._MAX_PAIRS = 20
    try:
        for batch in batches:
            stream = int64s(segment[0] for segment in batch)
            start = line.place(stream, int64s(segment[1] for segment in batch))
            length = int64s(segment[2] for segment in batch)
            earlier = history.take(start, start + length, int64s(segment[3] for segment in batch))
            for row, segment in enumerate(batch):
                anybody, own, others, fresh = slow.take(*segment)
                assert (earlier.any[row], earlier.own[row], earlier.others[row]) == (anybody, own, others)
                mine = earlier.fresh_row == row
                pieces = zip(line.offset(earlier.fresh_start[mine]), line.offset(earlier.fresh_end[mine]), strict=True)
                found = [number for low, high in pieces for number in range(low, high)]
                assert len(found) == len(set(found))
                assert set(found) == fresh
    finally:
        intervals._MAX_PAIRS = limit
    expected = np.zeros(3, np.int64)
    for stream, _ in slow.senders:
        expected[stream] += 1
    assert history.sums(3).tolist() == expected.tolist()
    assert (history.start[1:] >= history.end[:-1]).all()


def test_history_that_forgets_senders_still_counts_every_octet_once(monkeypatch) -> None:
    monkeypatch.setattr(intervals, "_KEEP", 100)
    history = History(Line(2))
    base = history._line.place(int64s([1]), int64s([0]))[0]
    for number in range(300):
        start = int64s([base + 10 * number])
        assert history.take(start, start + 10, int64s([number % 2])).any.tolist() == [0]
        assert len(history.start) <= 101
    assert history.sums(2).tolist() == [0, 3000]
    again = history.take(int64s([base, base + 2990]), int64s([base + 3000, base + 3000]), int64s([0, 0]))
    assert again.any.tolist() == [3000, 10]
    assert again.others[1] == 10


@given(st.lists(st.tuples(st.integers(-50, 50), st.integers(0, 30)), max_size=20), st.integers(-60, 60))
def test_union_and_cover_are_those_of_sets(spans, point) -> None:
    start = int64s(low for low, _ in spans)
    end = start + int64s(length for _, length in spans)
    low, high = intervals.union(start[end > start], end[end > start])
    octets = {number for a, b in spans for number in range(a, a + b)}
    assert {number for a, b in zip(low, high, strict=True) for number in range(a, b)} == octets
    assert intervals.total(low, high) == len(octets)
    assert (low[1:] > high[:-1]).all()
    inside = intervals.covered(low, high, int64s([point]), int64s([point + 25]))
    assert inside[0] == len(octets & set(range(point, point + 25)))


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(1, 20), st.integers(0, 99)), max_size=15),
    st.lists(st.integers(0, 60), max_size=10),
)
def test_first_covering_is_the_least_rank_of_the_intervals_that_hold_a_point(spans, points) -> None:
    points.sort()
    start = int64s(a for a, _, _ in spans)
    found = intervals.first_covering(
        start, start + int64s(n for _, n, _ in spans), int64s(rank for _, _, rank in spans), int64s(points), 1000
    )
    expected = [min((rank for a, n, rank in spans if a <= point < a + n), default=1000) for point in points]
    assert found.tolist() == expected


@given(st.integers(1, 1 << 20), st.integers(-(1 << 40), 1 << 40))
def test_a_place_on_the_line_tells_its_stream_and_offset(streams, offset) -> None:
    line = Line(streams)
    place = line.place(int64s([0, streams - 1]), int64s([offset, offset]))
    assert line.stream(place).tolist() == [0, streams - 1]
    if abs(offset) < line.half:
        assert line.offset(place).tolist() == [offset, offset]
