"""Checksums and serial numbers against their definitions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from testbed.wire import checksum, serial

u16 = st.integers(0, 0xFFFF)
u32 = st.integers(0, 0xFFFFFFFF)


def defined(data: bytes) -> int:
    """RFC 1071 §1, word by word with end-around carry."""
    total = 0
    for at in range(0, len(data), 2):
        total += int.from_bytes(data[at : at + 2].ljust(2, b"\0"), "big")
        total = (total & 0xFFFF) + (total >> 16)
    return total


@given(st.one_of(st.binary(max_size=200), st.integers(0, 50).map(bytes), st.integers(0, 50).map(lambda n: b"\xff" * n)))
def test_sum_is_the_sum_word_by_word(data: bytes) -> None:
    assert checksum.ones_complement_sum(data) == defined(data)
    assert checksum.internet_checksum(data) == 0xFFFF - defined(data)


@given(st.lists(st.binary(max_size=9), max_size=6))
def test_sum_of_chunks_is_that_of_the_whole(chunks: list[bytes]) -> None:
    assert checksum.sum_of_chunks(chunks) == defined(b"".join(chunks))


@given(st.binary(min_size=4, max_size=60).map(lambda data: data[: len(data) & ~1]), u16, st.data())
def test_updated_is_the_checksum_of_the_changed_data(data: bytes, new: int, draw: st.DataObject) -> None:
    place = 2 * draw.draw(st.integers(0, len(data) // 2 - 1))
    old = int.from_bytes(data[place : place + 2], "big")
    changed = data[:place] + new.to_bytes(2, "big") + data[place + 2 :]
    result = checksum.updated(checksum.internet_checksum(data), old, new)

    assert (result - checksum.internet_checksum(changed)) % 0xFFFF == 0


@given(st.integers(0, 2**70), st.integers(0, 2**33), u16, st.binary(max_size=50))
def test_dss_checksum_is_over_pseudo_header_and_data(dsn: int, ssn: int, length: int, data: bytes) -> None:
    """RFC 8684 figure 10: 8 octets of DSN, 4 of SSN, 2 of length, 2 of zero."""
    header = (dsn % 2**64).to_bytes(8, "big") + (ssn % 2**32).to_bytes(4, "big") + length.to_bytes(2, "big") + bytes(2)
    result = checksum.dss_checksum(dsn, ssn, length, checksum.ones_complement_sum(data))

    assert result == 0xFFFF - defined(header + data)
    assert checksum.is_dss_checksum_right(result, dsn, ssn, length, checksum.ones_complement_sum(data))
    assert not checksum.is_dss_checksum_right(result ^ 1, dsn, ssn, length, checksum.ones_complement_sum(data))


def test_both_zeros_are_a_right_dss_checksum() -> None:
    assert checksum.dss_checksum(0, 0, 0, 0) == 0xFFFF
    assert checksum.is_dss_checksum_right(0, 0, 0, 0, 0)


@given(st.integers(-(2**40), 2**70), st.integers(-(2**31), 2**31 - 1))
def test_widened_is_the_number_that_was_cut(reference: int, offset: int) -> None:
    number = reference + offset

    assert serial.widen(number & 0xFFFFFFFF, reference) == number
    assert serial.widen_64(number & 0xFFFFFFFFFFFFFFFF, reference) == number


@given(u32, st.integers(1, 2**31 - 1))
def test_before_and_distance_wrap(first: int, ahead: int) -> None:
    second = (first + ahead) & 0xFFFFFFFF

    assert serial.is_before(first, second)
    assert not serial.is_before(second, first)
    assert not serial.is_before(first, first)
    assert serial.distance(first, second) == ahead
    assert serial.distance(second, first) == -ahead
