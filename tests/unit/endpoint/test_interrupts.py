"""Signals in a process that runs compiled stacks: noted when they come, raised where it does no harm."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from testbed.endpoint import interrupts
from testbed.endpoint.loop import Loop

BOTH = pytest.mark.parametrize("number", interrupts.SIGNALS)


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


@BOTH
def test_a_signal_is_raised_where_it_is_asked_for(number: signal.Signals) -> None:
    passed = False
    with pytest.raises(KeyboardInterrupt), interrupts.noted() as stop_if_asked:
        stop_if_asked()
        os.kill(os.getpid(), number)
        passed = True
        stop_if_asked()
    assert passed


@BOTH
def test_a_signal_that_nobody_asked_for_is_raised_at_the_end(number: signal.Signals) -> None:
    passed = False
    with pytest.raises(KeyboardInterrupt), interrupts.noted():
        os.kill(os.getpid(), number)
        passed = True
    assert passed


@BOTH
def test_the_second_signal_is_raised_at_once(number: signal.Signals) -> None:
    passed = False
    with pytest.raises(KeyboardInterrupt), interrupts.noted():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), number)
        passed = True
    assert not passed


def test_an_error_is_not_hidden_by_a_signal() -> None:
    with pytest.raises(OSError, match="of the run"), interrupts.noted():
        os.kill(os.getpid(), signal.SIGINT)
        raise OSError("of the run")


def test_what_was_ignored_stays_ignored_and_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    interactive = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts.noted() as stop_if_asked:
            os.kill(os.getpid(), signal.SIGINT)
            stop_if_asked()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) is before
    finally:
        signal.signal(signal.SIGINT, interactive)


def test_another_thread_is_left_alone() -> None:
    handlers = []

    def work() -> None:
        with interrupts.noted() as stop_if_asked:
            stop_if_asked()
            handlers.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGTERM)]


@BOTH
def test_a_loop_that_waits_for_ever_is_woken(loop: Loop, number: signal.Signals) -> None:
    late = threading.Timer(0.1, os.kill, (os.getpid(), number))
    with pytest.raises(KeyboardInterrupt), interrupts.between_calls(loop):
        late.start()
        loop.run(lambda: False)
    late.join()


def test_a_call_of_the_loop_is_not_cut_short_and_none_follows(loop: Loop) -> None:
    said = []

    def first() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        said.append("first")

    def run() -> None:
        loop.at(0, first)
        loop.at(loop.now_ns() + 50_000_000, lambda: said.append("much later"))
        loop.run(lambda: False)

    with pytest.raises(KeyboardInterrupt), interrupts.between_calls(loop):
        run()
    assert said == ["first"]


def test_after_the_first_signal_the_loop_can_run_to_say_farewell(loop: Loop) -> None:
    told = []
    with pytest.raises(KeyboardInterrupt), interrupts.between_calls(loop):
        os.kill(os.getpid(), signal.SIGINT)
        try:
            loop.run(lambda: False)
        except KeyboardInterrupt:
            loop.at(loop.now_ns() + 1_000_000, lambda: told.append("farewell"))
            loop.run(lambda: bool(told))
            raise
    assert told == ["farewell"]


def test_afterwards_the_loop_watches_nothing_of_it(loop: Loop) -> None:
    with interrupts.between_calls(loop):
        pass
    over = []
    loop.at(0, lambda: over.append(True))
    loop.run(lambda: bool(over))
    assert signal.set_wakeup_fd(-1) == -1
