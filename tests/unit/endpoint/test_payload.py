from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from testbed.endpoint.payload import BLOCK_BYTES, pattern

LENGTH = 2 * BLOCK_BYTES + 1000
POSITIONS = st.one_of(st.integers(0, LENGTH - 1), st.sampled_from([0, 7, 8, BLOCK_BYTES - 1, BLOCK_BYTES, LENGTH - 1]))


def stream(seed: int, direction: str = "upload", length: int = LENGTH) -> bytearray:
    source = pattern(seed, direction)
    data = bytearray()
    while len(data) < length:
        part = source.upcoming(length - len(data))
        data += part
        source.advance(len(part))
    return data


def first_mismatch(data: bytes | bytearray, seed: int, cuts: int) -> int | None:
    """What a receiver finds that gets ``data`` in pieces of any size."""
    check, chance = pattern(seed, "upload"), random.Random(cuts)
    offset = 0
    while offset < len(data):
        part = memoryview(data)[offset : offset + chance.randint(1, 300_000)]
        wrong = check.mismatch(part)
        if wrong is not None:
            return offset + wrong
        offset += len(part)
    return None


@given(st.integers(0, 3), st.integers(0, 1000))
def test_the_right_bytes_are_right_however_they_are_cut(seed: int, cuts: int) -> None:
    assert first_mismatch(stream(seed), seed, cuts) is None


@given(POSITIONS, st.integers(1, 255), st.integers(0, 1000))
def test_a_changed_byte_is_found_where_it_is(position: int, flip: int, cuts: int) -> None:
    data = stream(1)
    data[position] ^= flip
    assert first_mismatch(data, 1, cuts) == position


@given(POSITIONS, st.sampled_from([1, 2, 1448, 65536, BLOCK_BYTES]), st.integers(0, 1000))
def test_missing_bytes_are_found_near_where_they_are_missing(position: int, count: int, cuts: int) -> None:
    data = stream(1)
    del data[position : position + count]
    found = first_mismatch(data, 1, cuts)
    # At the end nothing follows that could be wrong; otherwise it takes a few bytes, or, when whole blocks are
    # missing, the next block's number, to tell.
    if position + count < LENGTH - BLOCK_BYTES:
        assert found is not None
        assert found >= position


def test_directions_and_seeds_have_different_bytes() -> None:
    assert stream(1, "upload", 64) != stream(1, "download", 64)
    assert stream(1, "upload", 64) != stream(2, "upload", 64)
