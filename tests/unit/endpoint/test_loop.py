from __future__ import annotations

import os
import socket

from hypothesis import given
from hypothesis import strategies as st

from testbed.endpoint.loop import Loop


@given(st.lists(st.integers(0, 1000), max_size=20))
def test_timers_fire_in_order_of_time_and_equal_ones_in_order_of_making(due: list[int]) -> None:
    loop = Loop(lambda: 10**6)
    fired: list[tuple[int, int]] = []
    for number, time_ns in enumerate(due):
        loop.at(time_ns, lambda number=number, time_ns=time_ns: fired.append((time_ns, number)))  # type: ignore[misc]
    loop.at(1000, lambda: fired.append((1001, -1)))
    loop.run(lambda: bool(fired) and fired[-1][1] == -1)
    loop.close()
    assert fired[:-1] == sorted(fired[:-1])
    assert len(fired) == len(due) + 1


def test_a_cancelled_timer_never_fires() -> None:
    loop = Loop()
    fired: list[str] = []
    loop.at(0, lambda: fired.append("cancelled")).cancel()
    loop.at(1, lambda: fired.append("other"))
    loop.run(lambda: bool(fired))
    loop.close()
    assert fired == ["other"]


def test_a_descriptor_that_is_watched_is_served_and_one_that_is_forgotten_is_not() -> None:
    ours, theirs = socket.socketpair()
    loop = Loop()
    got: list[bytes] = []

    def readable() -> None:
        got.append(ours.recv(10))
        loop.watch(ours.fileno())
        theirs.send(b"again")
        loop.at(0, lambda: got.append(b"timer"))

    loop.watch(ours.fileno(), readable)
    theirs.send(b"once")
    loop.run(lambda: got[-1:] == [b"timer"])
    assert got == [b"once", b"timer"]
    loop.close()
    ours.close()
    theirs.close()


def test_a_handler_may_forget_its_descriptor_while_both_directions_are_ready() -> None:
    ours, theirs = socket.socketpair()
    loop = Loop()
    called: list[str] = []

    def readable() -> None:
        called.append("readable")
        loop.watch(ours.fileno())
        ours.close()

    loop.watch(ours.fileno(), readable, lambda: called.append("writable"))
    theirs.send(b"x")
    loop.run(lambda: bool(called))
    assert called == ["readable"]
    loop.close()
    theirs.close()


def test_the_end_of_a_pipe_reaches_whoever_reads_it() -> None:
    reading, writing = os.pipe()
    loop = Loop()
    got: list[bytes] = []
    loop.watch(reading, lambda: got.append(os.read(reading, 10)))
    os.close(writing)
    loop.run(lambda: bool(got))
    assert got == [b""]
    loop.close()
    os.close(reading)
