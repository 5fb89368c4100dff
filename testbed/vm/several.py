"""Runs in several machines side by side: one machine for each part, a few parts at a time.

Each machine has a thread; what happens is told in the thread that called, so who listens need not think of threads. A
part that fails (its kernel does not boot, an experiment cannot run there) ends by itself and no other. Ctrl-C and
SIGTERM end all: each run hears of it where it next says something, as if Ctrl-C had reached it, and its machine goes
with it; a second one leaves at once, and the machines die with this process (machine.py).
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from testbed.endpoint import interrupts
from testbed.orchestrator.errors import Interrupted, TestbedError
from testbed.orchestrator.runner import OnMessage, RunRequest
from testbed.orchestrator.spec import SpecificationError
from testbed.record import RecordError
from testbed.record.run_directory import RunDirectory
from testbed.remote.errors import MachineGone
from testbed.vm.machine import BootFailed
from testbed.vm.qemu import Hardware

RunOne = Callable[[RunRequest, OnMessage], RunDirectory]
Opened = Callable[[str, Hardware], AbstractContextManager[RunOne]]
"""From the word of a ``--backend`` to what carries out requests there, as backend.opened."""

_WAKE_S = 0.5
"""Signals are looked after this often, whatever the platform's locks do about them."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one machine carries out, one after the other."""

    name: str
    """What it is called in what is told; each part has its own."""
    place: str
    """As ``--backend`` says it: ``vm:6.12``."""
    requests: Sequence[RunRequest]


@dataclass(frozen=True, slots=True)
class Done:
    """What became of one request."""

    part: Part
    request: RunRequest
    directory: RunDirectory | None
    error: Exception | None = None
    """Why there is none."""


Told = Callable[[Part, Mapping[str, Any]], None]
Ended = Callable[[Done], None]


def jobs_for(parts: int, hardware: Hardware) -> int:
    """How many machines at a time, when nobody said it: on virtual time a processor for each; on real time one alone,
    for what they measure would be each other."""
    return 1 if hardware.clock == "real" else max(1, min(parts, len(os.sched_getaffinity(0))))


def carry_out(
    parts: Sequence[Part],
    hardware: Hardware,
    *,
    jobs: int,
    told: Told,
    ended: Ended = lambda _done: None,
    opened: Opened | None = None,
) -> list[Done]:
    """What became of each request, in the order of the parts.

    ``told`` and ``ended`` are called in the calling thread, with what happens and with each result as it comes. Raises
    Interrupted after Ctrl-C, once all machines are gone.
    """
    board = _Board(parts, hardware, opened or _opened)
    threads: list[threading.Thread] = []
    found: dict[str, list[Done]] = {part.name: [] for part in parts}
    with interrupts.sigterm_like_ctrl_c():
        while True:
            try:
                if len(threads) < jobs and not board.stopping.is_set():
                    threads.append(threading.Thread(target=board.work, name=f"machine {len(threads)}", daemon=True))
                    threads[-1].start()
                    continue
                event = board.next()
                if event is None and not any(thread.is_alive() for thread in threads) and not board.is_anything_left:
                    break
                if isinstance(event, Done):
                    found[event.part.name].append(event)
                    ended(event)
                elif event is not None:
                    told(event.part, event.message)
            except KeyboardInterrupt:
                if board.stopping.is_set():
                    raise Interrupted("left at once; the machines end with this command") from None
                board.stopping.set()
                board.say_to_all("stopping; Ctrl-C again leaves at once")
            except BaseException:
                board.stopping.set()
                raise
    if board.defects:
        raise board.defects[0]
    if board.stopping.is_set():
        raise Interrupted("stopped by the user; all machines have ended")
    return [done for part in parts for done in found[part.name]]


def kernel_words(texts: Sequence[str]) -> list[str]:
    """The kernels of ``--kernels 6.1,6.12,bz:FILE``, each once. Packages that belong together stay together:
    ``deb:A.deb,B.deb``. Raises SpecificationError.
    """
    found: list[str] = []
    for text in texts:
        for word in (each.strip() for each in text.split(",")):
            if not word:
                raise SpecificationError(f"--kernels {text}: a kernel is missing; as in --kernels 6.1,6.12,bz:FILE")
            if word.endswith(".deb") and ":" not in word and found and found[-1].startswith("deb:"):
                found[-1] += f",{word}"
                continue
            found.append(f"bzimage:{word[3:]}" if word.startswith("bz:") else word)
    if twice := sorted({word for word in found if found.count(word) > 1}):
        raise SpecificationError(f"--kernels: {twice[0]} is there twice")
    return found


# --- inside ---


@dataclass(frozen=True, slots=True)
class _Said:
    part: Part
    message: Mapping[str, Any]


class _Board:
    """What the threads share: who waits, what has happened, whether to stop."""

    def __init__(self, parts: Sequence[Part], hardware: Hardware, opened: Opened) -> None:
        self.stopping = threading.Event()
        self._hardware = hardware
        self._opened = opened
        self._waiting: queue.SimpleQueue[Part] = queue.SimpleQueue()
        for part in parts:
            self._waiting.put(part)
        self._happened: queue.SimpleQueue[_Said | Done | None] = queue.SimpleQueue()
        self._running: list[Part] = []
        self.defects: list[BaseException] = []
        """What nobody foresaw."""

    @property
    def is_anything_left(self) -> bool:
        """Whether something happened of which nobody was told."""
        return not self._happened.empty()

    def next(self) -> _Said | Done | None:
        """What happened next; None: nothing yet."""
        try:
            return self._happened.get(timeout=_WAKE_S)
        except queue.Empty:
            return None

    def say_to_all(self, text: str) -> None:
        """A note of each machine that is at work."""
        for part in list(self._running):
            self.say(part, {"kind": "note", "text": text})

    def work(self) -> None:
        """One thread: part after part."""
        try:
            while not self.stopping.is_set():
                try:
                    part = self._waiting.get_nowait()
                except queue.Empty:
                    return
                self._running.append(part)
                try:
                    self._carry_out(part)
                finally:
                    self._running.remove(part)
        except BaseException as error:
            self.defects.append(error)
            self.stopping.set()
        finally:
            self._happened.put(None)

    def _carry_out(self, part: Part) -> None:
        hears = _Hears(self, part)
        lost: Exception | None = None
        with self._opened(part.place, self._hardware) as run_one:
            for request in part.requests:
                if self.stopping.is_set():
                    return
                if lost is not None:
                    self._happened.put(Done(part, request, None, lost))
                    continue
                try:
                    done = Done(part, request, run_one(request, hears))
                except (TestbedError, RecordError, SpecificationError) as error:
                    done = Done(part, request, None, error)
                    if isinstance(error, (BootFailed, Interrupted, MachineGone)):  # nor would the next one
                        lost = error
                self._happened.put(done)

    def say(self, part: Part, message: Mapping[str, Any]) -> None:
        """Pass on what a run says."""
        self._happened.put(_Said(part, message))


class _Hears:
    """What a run tells its messages to; when all is to stop, its Ctrl-C, once."""

    def __init__(self, board: _Board, part: Part) -> None:
        self._board = board
        self._part = part
        self._interrupted = False

    def __call__(self, message: Mapping[str, Any]) -> None:
        if self._board.stopping.is_set() and not self._interrupted:
            self._interrupted = True
            raise KeyboardInterrupt
        self._board.say(self._part, message)


def _opened(place: str, hardware: Hardware) -> AbstractContextManager[RunOne]:
    from testbed.vm import backend

    return backend.opened(place, hardware)
