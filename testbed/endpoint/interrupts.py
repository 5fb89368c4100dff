"""Ctrl-C and SIGTERM: both end what is under way in order, and where in it they become KeyboardInterrupt.

In a process that runs compiled stacks not wherever they arrive: Python looks for signals in products of large integers,
too, and mypyc takes a product that failed for want of memory and aborts (CPyError_OutOfMemory, lib-rt/int_ops.c).
"""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from testbed.endpoint.loop import Loop

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def sigterm_like_ctrl_c() -> Iterator[None]:
    """SIGTERM becomes KeyboardInterrupt, too, wherever it arrives; in the main thread alone, as only there it comes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def noted() -> Iterator[Callable[[], None]]:
    """Both are noted, and become KeyboardInterrupt where what this gives is called, and at the end; twice: at once.

    One that is ignored stays so. In any thread but the main one nothing happens: Python handles no signals there.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    asked = False

    def note(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    def stop_if_asked() -> None:
        if asked:
            raise KeyboardInterrupt

    before = {number: handler for number in SIGNALS if (handler := signal.getsignal(number)) is not signal.SIG_IGN}
    try:
        for number in before:
            signal.signal(number, note)
        yield stop_if_asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    stop_if_asked()


@contextmanager
def between_calls(loop: Loop) -> Iterator[None]:
    """Both end what ``loop`` runs, between two of its calls, with KeyboardInterrupt; in the main thread alone.

    A loop that waits is woken by a descriptor (signal.set_wakeup_fd): a wait whose handler raised nothing goes on.
    """
    awakened, waker = socket.socketpair()
    with awakened, waker, noted() as stop_if_asked:

        def look() -> None:
            with suppress(BlockingIOError):
                awakened.recv(64)
            stop_if_asked()

        awakened.setblocking(False)
        waker.setblocking(False)
        before = signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        loop.watch(awakened.fileno(), readable=look)
        try:
            yield
        finally:
            loop.watch(awakened.fileno())
            signal.set_wakeup_fd(before)
