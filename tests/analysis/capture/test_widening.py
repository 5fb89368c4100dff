"""32-bit values become 64-bit ones: whatever the batches, whatever strays."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from analysis.capture.widening import Unwrapper, offsets_of

STEPS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(-(2**31) + 1, 2**31 - 1), st.booleans()), min_size=1, max_size=40
)


@given(STEPS, st.integers(1, 40))
def test_values_that_move_by_less_than_2_31_are_found_again_in_any_batches(steps, size) -> None:
    truth: list[tuple[int, int, bool]] = []
    last = [0, 0, 0]
    for stream, step, exact in steps:
        last[stream] += step
        truth.append((stream, last[stream], exact))
    for mixed in (False, True):
        unwrapper = Unwrapper(3)
        for first in range(0, len(truth), size):
            part = sorted(truth[first : first + size], key=lambda item: item[0])
            stream = np.array([item[0] for item in part])
            wide = np.array([item[1] for item in part], np.int64)
            exact = np.array([item[2] for item in part]) if mixed else None
            narrow = np.where(exact, wide, wide & 0xFFFFFFFF) if exact is not None else wide & 0xFFFFFFFF
            assert unwrapper.take(stream, narrow, exact).tolist() == wide.tolist()


@given(st.integers(2**33, 2**62), st.integers(0, 2**30))
def test_an_exact_value_sets_right_what_comes_behind_it(jump, step) -> None:
    unwrapper = Unwrapper(1)
    stream = np.zeros(3, np.int64)
    given_values = np.array([5, jump, (jump + step) & 0xFFFFFFFF], np.int64)
    exact = np.array([False, True, False])
    assert unwrapper.take(stream, given_values, exact).tolist() == [5, jump, jump + step]
    again = unwrapper.take(stream[:1], np.array([(jump + 7) & 0xFFFFFFFF], np.int64), exact[:1])
    assert again.tolist() == [jump + 7]


@given(st.integers(0, 2**64 - 1), st.integers(-(2**63), 2**63 - 1))
def test_offsets_go_round_2_64(base, offset) -> None:
    value = (base + offset) % 2**64
    assert offsets_of(np.array([value], np.uint64), np.array([base], np.uint64)).tolist() == [offset]


def test_a_stray_value_leaves_no_trace() -> None:
    unwrapper = Unwrapper(1)
    values = np.array([10, 20, 0xB0000000, 30, 40], np.int64)
    assert unwrapper.take(np.zeros(5, np.int64), values).tolist()[-2:] == [30, 40]
