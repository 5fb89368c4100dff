"""The send buffer and the receive queue against a plain model."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from testbed.tcp.receive_queue import ReceiveQueue
from testbed.tcp.send_buffer import SendBuffer


@given(
    st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=40),
    st.lists(st.tuples(st.integers(0, 300), st.integers(1, 60), st.booleans()), max_size=40),
)
def test_any_slice_of_the_send_buffer_is_that_of_the_stream(
    chunks: list[bytes], reads: list[tuple[int, int, bool]]
) -> None:
    buffer = SendBuffer()
    stream = b"".join(chunks)
    for chunk in chunks:
        buffer.append(chunk)
    una = 1
    for start, length, release in reads:
        first = una + start % (len(stream) + 2 - una)
        last = min(first + length, len(stream) + 1)
        if last > first:
            assert buffer.slice(first, last - first) == stream[first - 1 : last - 1]
        if release:
            una = max(una, min(first, len(stream)))
            buffer.release(una)


def test_a_segment_that_is_a_whole_chunk_is_the_chunk_itself() -> None:
    buffer = SendBuffer()
    chunks = [bytes(1000), bytes(1000), bytes(500)]
    for chunk in chunks:
        buffer.append(chunk)

    assert buffer.slice(1, 1000) is chunks[0]
    assert buffer.slice(1001, 1000) is chunks[1]
    assert buffer.slice(2001, 500) is chunks[2]


def test_what_was_released_takes_no_room() -> None:
    buffer = SendBuffer()
    for _ in range(10_000):
        buffer.append(bytes(10))
        buffer.release(buffer.end)

    assert len(buffer._starts) <= 1100


@given(
    st.lists(st.tuples(st.integers(1, 300), st.integers(1, 60)), max_size=60),
    st.integers(1, 100),
    st.randoms(use_true_random=False),
)
def test_the_receive_queue_delivers_each_octet_once_and_in_order(
    pieces: list[tuple[int, int]], limit: int, rng: object
) -> None:
    stream = bytes(index % 251 for index in range(400))
    queue = ReceiveQueue(4096)
    rcv_nxt = 1
    got = b""
    present: set[int] = set()
    for start, length in pieces:
        rcv_nxt = queue.insert(start, stream[start - 1 : start - 1 + length], rcv_nxt)
        present |= set(range(start, start + length))
        expected = 1
        while expected in present:
            expected += 1
        assert rcv_nxt == expected
        covered = {offset for left, right in queue.blocks for offset in range(left, right)}
        assert covered == {offset for offset in present if offset >= rcv_nxt}
        assert all(a[1] < b[0] for a, b in zip(*_neighbours(queue.blocks), strict=True))
        queue.dsack = None
        got += queue.read(limit)
    got += queue.read(1000)

    assert got == stream[: rcv_nxt - 1]
    assert queue.unread == 0


def _neighbours(blocks: list[tuple[int, int]]) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    ordered = sorted(blocks)
    return ordered[:-1], ordered[1:]


def test_taking_gives_all_with_offsets() -> None:
    queue = ReceiveQueue(10)
    queue.insert(1, b"ab", 1)
    queue.insert(3, b"cd", 3)

    assert queue.take() == [(1, b"ab"), (3, b"cd")]
    assert queue.take() == []
    assert queue.unread == 0


def test_what_fills_the_hole_is_taken_though_the_limit_is_reached_and_it_overlaps() -> None:
    """Else nothing would ever make room: the peer can only send the same again."""
    queue = ReceiveQueue(2)
    stream = bytes(range(100))
    rcv_nxt = queue.insert(20, stream[20:30], 0)
    rcv_nxt = queue.insert(40, stream[40:50], rcv_nxt)
    assert queue.insert(60, stream[60:70], rcv_nxt) == 0  # the limit
    assert queue.insert(0, stream[0:45], rcv_nxt) == 50
    assert queue.read(1000) == stream[:50]
