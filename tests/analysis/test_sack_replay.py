"""What an endpoint holds, told from the packets at its interface."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from analysis.contention.replay import LINUX, SIMULATED, USERSPACE, Range, Receiver, Replay
from testbed.tcp.receive_queue import ReceiveQueue


def replay(receiver: Receiver = LINUX) -> Replay:
    """Everything up to 100 has come and was acknowledged."""
    return Replay(100, 100, receiver)


def test_a_range_behind_a_hole_is_wanted_until_it_is_acknowledged() -> None:
    it = replay()
    it.arrives(200, 300)
    assert it.leaves(100) == ((200, 300),)
    assert it.leaves(100) == ((200, 300),)
    it.arrives(100, 200)
    assert it.leaves(300) == ()
    assert it.is_quiet and it.edge == 300


def test_the_range_that_changed_last_comes_first_and_ranges_merge_where_they_touch() -> None:
    it = replay()
    for start in (200, 400, 600, 300):
        it.arrives(start, start + 100)
    assert it.leaves(100) == ((200, 500), (600, 700))


def test_what_is_not_acknowledged_yet_has_not_been_handled_nor_what_came_behind_it() -> None:
    it = replay()
    it.arrives(100, 200)
    it.arrives(300, 400)
    assert it.leaves(100) == (), "built before the two were handled"
    assert it.leaves(200) == ((300, 400),)


def test_an_acknowledgment_that_no_arrival_explains_is_believed() -> None:
    it = replay()
    it.arrives(200, 300)
    assert it.leaves(100) == ((200, 300),)
    assert it.leaves(300) == (), "the capture has missed the packet that filled the hole"
    assert it.rcv_nxt == 300


def test_a_part_of_what_waits_may_have_been_handled() -> None:
    it = Replay(100, 400)
    assert it.leaves(250) == ()
    it.arrives(500, 600)
    assert it.leaves(250) == ()
    assert it.leaves(400) == ((500, 600),)


def test_a_report_shows_that_the_endpoint_has_thrown_an_arrival_away() -> None:
    it = replay()
    it.arrives(100, 200)  # damaged
    it.arrives(200, 300)
    assert it.leaves(100, ((200, 300),)) == ((200, 300),)
    it.arrives(300, 400)
    assert it.leaves(100) == ((200, 400),)


def test_a_report_shows_how_many_arrivals_have_been_handled() -> None:
    it = replay()
    it.arrives(200, 300)
    it.arrives(400, 500)
    assert it.leaves(100, ((200, 300),)) == ((200, 300),), "the second was still under way"
    assert it.leaves(100) == ((400, 500), (200, 300))


def test_room_that_is_left_shows_that_nothing_more_was_held() -> None:
    it = replay()
    it.arrives(200, 300)
    assert it.leaves(100, (), is_all=True) == ()
    assert it.leaves(100) == ((200, 300),)


def test_what_came_after_a_segment_was_built_is_not_known_to_it() -> None:
    it = replay(USERSPACE)
    it.arrives(200, 300, time=10)
    it.arrives(400, 500, time=30)
    assert it.leaves(100, built=20) == ((200, 300),)
    it.arrives(100, 200, time=40)
    assert it.leaves(300, built=20) == ((400, 500),), "the acknowledgment is believed more than the time"


def test_a_duplicate_is_wanted_until_one_segment_has_reported_it() -> None:
    it = replay()
    it.arrives(0, 100)
    assert it.leaves(100) == ((0, 100),)
    assert it.leaves(100) == ((0, 100),), "there was no room for it"
    assert it.leaves(100, ((0, 100),)) == ((0, 100),)
    assert it.leaves(100) == ()


def test_linux_remembers_four_ranges_and_our_stack_all() -> None:
    for receiver, left in ((LINUX, 3), (SIMULATED, 4)):
        it = replay(receiver)
        for start in (200, 400, 600, 800, 1000):
            it.arrives(start, start + 100)
        assert len(it.leaves(100)) == 4
        it.arrives(100, 200)
        ack = 300
        if receiver is SIMULATED:
            assert len(it.leaves(ack)) == left
        else:
            assert len(it.leaves(ack)) == 4, "the oldest had been forgotten and was the one that was joined"
            it.arrives(300, 400)
            assert len(it.leaves(500)) == left


def test_an_older_timestamp_than_the_one_echoed_is_refused() -> None:
    for receiver, wanted in ((LINUX, ((50, 100),)), (SIMULATED, ())):
        it = replay(receiver)
        assert it.leaves(100, echo=1000) == ()
        it.arrives(200, 300, stamp=999)
        it.arrives(50, 100, stamp=999)
        assert it.leaves(100, echo=1000) == wanted
        it.arrives(200, 300, stamp=1000)
        assert (200, 300) in it.leaves(100, echo=1000)


def test_timestamps_wrap() -> None:
    it = replay()
    it.leaves(100, echo=0xFFFF_FFFF)
    it.arrives(200, 300, stamp=1)
    assert it.leaves(100) == ((200, 300),)


segments = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 8)), min_size=1, max_size=40)


@given(segments)
def test_it_holds_what_the_receive_queue_of_our_stack_holds(arrivals: list[tuple[int, int]]) -> None:
    queue = ReceiveQueue(1000)
    it = Replay(5, 5, SIMULATED)
    rcv_nxt = 5
    for start, length in arrivals:
        rcv_nxt = queue.insert(start, bytes(length), rcv_nxt)
        it.arrives(start, start + length)
        wanted: tuple[Range, ...] = it.leaves(rcv_nxt)
        assert it.rcv_nxt == rcv_nxt
        assert len(wanted) == len(queue.sack_blocks())
        assert set(it.blocks) == set(queue.blocks)
        assert (it.dsack is None) == (queue.dsack is None)
        if len(arrivals) % 2:  # and sometimes all is reported
            reported = tuple(queue.sack_blocks())
            queue.dsack = None
            assert it.leaves(rcv_nxt, reported) == reported
