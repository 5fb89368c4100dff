from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from testbed.endpoint.distribution import Recorder, quantile
from testbed.endpoint.meter import Received, Sent
from testbed.endpoint.payload import pattern


@given(st.lists(st.integers(0, 10**9), min_size=1), st.integers(0, 10**9))
def test_the_longest_stall_is_the_longest_gap_the_open_one_included(gaps: list[int], last_gap: int) -> None:
    received = Received()
    times = [0]
    for gap in gaps:
        times.append(times[-1] + gap)
    for time_ns in times:
        received.add(memoryview(b"x"), time_ns)
    received.end(times[-1] + last_gap)
    all_gaps = [*gaps, last_gap]
    assert received.longest_stall_ns == max(all_gaps)
    if max(all_gaps):
        assert received.longest_stall_start_ns == times[all_gaps.index(max(all_gaps))]
    assert (received.first_ns, received.last_ns, received.count) == (0, times[-1], len(times))


def test_silence_before_the_first_byte_is_no_stall() -> None:
    received = Received()
    received.opened(5)
    received.add(memoryview(b"x"), 7)
    assert received.longest_stall_ns == 0


def test_a_connection_that_never_brought_a_byte_was_one_stall_from_its_beginning() -> None:
    received = Received()
    received.opened(5)
    received.end(105)
    assert (received.longest_stall_ns, received.longest_stall_start_ns) == (100, 5)


def test_without_a_connection_there_is_no_stall() -> None:
    received = Received()
    received.end(105)
    assert (received.longest_stall_ns, received.longest_stall_start_ns) == (0, None)


@given(st.lists(st.binary(max_size=50)))
def test_both_ends_have_the_same_hash_of_the_same_bytes(parts: list[bytes]) -> None:
    sent, received = Sent(known=False), Received()
    for part in parts:
        sent.add(memoryview(part))
    received.add(memoryview(b"".join(parts)), 0)
    assert sent.sha256() == received.sha256() == hashlib.sha256(b"".join(parts)).hexdigest()
    assert sent.count == received.count


def test_what_the_peer_knows_beforehand_is_compared_and_not_hashed() -> None:
    stream = bytes(pattern(1, "upload").upcoming(100))
    sent, received = Sent(known=True), Received(pattern(1, "upload"))
    sent.add(memoryview(stream))
    received.add(memoryview(stream), 0)
    assert (sent.count, received.count, received.first_mismatch) == (100, 100, None)
    assert (sent.sha256(), received.sha256(), received.compared) == (None, None, True)


def test_only_the_first_wrong_byte_is_reported() -> None:
    expected = bytes(pattern(1, "upload").upcoming(100))
    received = Received(pattern(1, "upload"))
    received.add(memoryview(expected[:50]), 0)
    received.add(memoryview(bytes([expected[50] ^ 1]) + expected[51:99] + bytes([expected[99] ^ 1])), 1)
    received.add(memoryview(bytes(10)), 2)
    assert received.first_mismatch == 50


@given(st.lists(st.integers(0, 10**12), min_size=1), st.integers(1, 100))
def test_a_quantile_is_the_smallest_value_that_so_many_do_not_exceed(values: list[int], percent: int) -> None:
    found = quantile(sorted(values), percent)
    assert found in values
    reached = [value for value in values if sum(other <= value for other in values) * 100 >= percent * len(values)]
    assert found == min(reached)


def test_a_distribution_without_values_has_no_quantiles() -> None:
    empty = Recorder("latency").distribution()
    assert (empty.value_ns, empty.p50_ns, empty.max_ns) == ((), None, None)


def test_what_was_under_way_at_the_end_is_in_the_distribution_with_the_time_until_then() -> None:
    recorder = Recorder("latency")
    recorder.add(10, 3)
    found = recorder.distribution(end_ns=100, under_way_ns=[40])
    assert (found.time_ns, found.value_ns, found.p50_ns, found.max_ns) == ((10, 100), (3, 60), 3, 60)
