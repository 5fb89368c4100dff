"""Several things made at once, each in a thread that waits for programs; Ctrl-C ends the programs, and so the threads.

What they say is told in the calling thread, which alone is interrupted (signal(3) in Python) and may be by what it
tells to.
"""

from __future__ import annotations

import contextvars
import queue
import shutil
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from testbed.orchestrator import process
from testbed.orchestrator.errors import Interrupted

Say = Callable[[str], None]
Task = Callable[[Say], Any]

GRACE_S = 30.0
"""mmdebstrap takes down what it was doing; a thread that waits for another user of the cache is left."""


class _Group:
    """The programs of all threads of one call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._programs: list[process.Process] = []
        self._stopped = False

    def start(self, words: Sequence[str | Path], **options: Any) -> process.Process:
        # the thread that starts it waits for its end, so the signal at the thread's death is our own death
        lethal = ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
        with self._lock:
            if self._stopped:
                raise Interrupted("stopped by the user")
            program = process.start([*lethal, *words], **options)
            self._programs.append(program)
            return program

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            for program in self._programs:
                with suppress(OSError):  # it ended meanwhile, and its thread has put it away
                    program.send_signal(signal.SIGINT)


_group: contextvars.ContextVar[_Group | None] = contextvars.ContextVar("programs of this task", default=None)


def start(words: Sequence[str | Path], **options: Any) -> process.Process:
    """``process.start`` for what may run in a task: there, an interrupted caller ends it."""
    group = _group.get()
    return process.start(words, **options) if group is None else group.start(words, **options)


def carry_out(tasks: Mapping[str, Task], say: Say) -> dict[str, Any]:
    """Run each task with a ``say`` of its own; what it returned, or the exception that it raised, by its name.

    Whatever interrupts the caller ends all tasks first.
    """
    group = _Group()
    told: queue.SimpleQueue[str | tuple[str, Any]] = queue.SimpleQueue()

    def work(name: str, task: Task) -> None:
        _group.set(group)
        try:
            told.put((name, task(told.put)))
        except BaseException as error:
            told.put((name, error))

    threads = [threading.Thread(target=work, args=each, name=f"makes {each[0]}", daemon=True) for each in tasks.items()]
    results: dict[str, Any] = {}
    try:
        for thread in threads:
            thread.start()
        while len(results) < len(tasks):
            word = told.get()
            if isinstance(word, str):
                say(word)
            else:
                results[word[0]] = word[1]
    except BaseException:
        group.stop()
        for thread in threads:
            if thread.ident is not None:
                thread.join(GRACE_S)
        raise
    return results
