"""One running adapter: its pipes, its words, its exit code, and its end in every case.

It dies with this process (PR_SET_PDEATHSIG). What it started in turn is ended by :func:`end_stragglers`; and it is in
our process group, which whoever started this process ends when that was killed.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from testbed.endpoint.adapter.contract import CONTROL_FD, STATUS_FD
from testbed.endpoint.child import adopt_orphans, descendants, die_with_parent
from testbed.endpoint.loop import Loop
from testbed.endpoint.sockets import Unsupported

KEPT_BYTES = 1 << 20
"""Of what it writes to standard error; the rest is read, counted and left out."""
TERMINATION_S = 2.0
"""From SIGTERM to SIGKILL."""
_ABOVE = 10
"""Our own ends are moved up here, away from the two numbers that the adapter gets."""


class AdapterProgram:
    """An adapter that was started. What it says and its end are told through the two callbacks, from the loop."""

    def __init__(
        self, loop: Loop, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> None:
        """Start it. Raises Unsupported when there is no such program."""
        self.name = name
        self.exit_code: int | None = None
        """Negative: the number of the signal that ended it; None: it runs."""
        self.words: list[str] = []
        """All that it has said so far."""
        self.on_word: Callable[[str], None] = lambda _: None
        self.on_exit: Callable[[], None] = lambda: None
        self.terminated = False
        """Whether we told it to end."""
        self._closed = False
        self._loop = loop
        self._log = _Log(log)
        self._partial = b""
        adopt_orphans()
        _reserve()
        status, status_child = _pipe()
        control_child, self._control = _pipe()
        try:
            self._child = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env=dict(environment),
                preexec_fn=_set_up(os.getpid(), status_child, control_child),
                pass_fds=(STATUS_FD, CONTROL_FD),
            )
        except OSError as error:
            for descriptor in (status, self._control):
                os.close(descriptor)
            self._log.close()
            raise Unsupported(f"adapter {name}: cannot start {command[0]}: {error.strerror}") from None
        finally:
            os.close(status_child)
            os.close(control_child)
        assert self._child.stdin is not None and self._child.stdout is not None and self._child.stderr is not None
        self.pid = self._child.pid
        self.input, self.output = self._child.stdin.fileno(), self._child.stdout.fileno()
        self._status, self._errors = status, self._child.stderr.fileno()
        self._pidfd = os.pidfd_open(self.pid)
        for descriptor in (self.input, self.output, self._status, self._errors, self._control):
            os.set_blocking(descriptor, False)
        loop.watch(self._pidfd, self._exited)
        loop.watch(self._status, self._said)
        loop.watch(self._errors, self._complained)

    def tell(self, *words: str) -> None:
        """A line on its control descriptor; one that does not read them hears nothing."""
        with suppress(BrokenPipeError, BlockingIOError):
            os.write(self._control, " ".join(words).encode() + b"\n")

    def wait_for(self, done: Callable[[], bool], deadline_s: float, look_s: float | None = None) -> bool:
        """Block until ``done()`` or the exit, at most until the deadline; nothing else of ours goes on meanwhile.

        ``done`` is asked at every word, and every ``look_s`` seconds. Returns whether it came true.
        """
        end_s = time.monotonic() + deadline_s
        while not done():
            left_s = end_s - time.monotonic()
            if left_s <= 0 or self.exit_code is not None:
                return False
            watched = [each for each in (self._status, self._errors, self._pidfd) if each >= 0]
            ready, _, _ = select.select(watched, [], [], left_s if look_s is None else min(left_s, look_s))
            for descriptor, act in (
                (self._status, self._said),
                (self._errors, self._complained),
                (self._pidfd, self._exited),
            ):
                if descriptor in ready:
                    act()
        return True

    def close_input(self) -> None:
        """The end of what it is to send."""
        if self._child.stdin is not None and not self._child.stdin.closed:
            self._loop.watch(self.input)
            self._child.stdin.close()

    def close_output(self) -> None:
        """Nobody reads what it receives any more."""
        if self._child.stdout is not None and not self._child.stdout.closed:
            self._loop.watch(self.output)
            self._child.stdout.close()

    def look(self) -> None:
        """Whether it has ended by now, without waiting for more than the moment between its last byte and its end."""
        self.wait_for(lambda: False, 0.002)

    def end(self, patience_s: float) -> None:
        """Give it ``patience_s`` to exit, then end it, and whatever it left behind."""
        if self._closed:
            return
        self.close_input()
        self.close_output()
        if not self.wait_for(lambda: self.exit_code is not None, patience_s):
            self.terminated = True
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGTERM)
            if not self.wait_for(lambda: self.exit_code is not None, TERMINATION_S):
                self._child.kill()
                self.wait_for(lambda: self.exit_code is not None, 60.0)
        self._complained()
        self._close()

    def last_words(self) -> str:
        """The last line on its standard error, for a message."""
        return self._log.last_line()

    def how_it_ended(self) -> str:
        """For a message: ``adapter nc ended with exit code 3: no route to host``."""
        code = self.exit_code
        if code is None:
            how = "still runs"
        else:
            how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        said = self.last_words()
        return f"adapter {self.name} {how}: {said}" if said else f"adapter {self.name} {how}"

    def _said(self) -> None:
        try:
            data = os.read(self._status, 4096)
        except BlockingIOError:
            return
        if not data:
            self._loop.watch(self._status)
            os.close(self._status)
            self._status = -1
            return
        *lines, self._partial = (self._partial + data).split(b"\n")
        self._partial = self._partial[-4096:]
        for line in lines:
            word = line.decode(errors="replace").strip()
            if len(self.words) < 1000:
                self.words.append(word)
            self.on_word(word)

    def _complained(self) -> None:
        """One read at a time: who floods it keeps nobody else from their turn."""
        if self._errors < 0:
            return
        try:
            data = os.read(self._errors, 65536)
        except BlockingIOError:
            return
        if data:
            self._log.write(data)
        else:
            self._loop.watch(self._errors)
            self._errors = -1

    def _exited(self) -> None:
        if self.exit_code is None:
            self.exit_code = self._child.wait()
            self._loop.watch(self._pidfd)
            for _ in range(16):  # what it said last, as far as a pipe holds it, belongs to the reason
                self._complained()
                if self._status >= 0:
                    self._said()
            self.on_exit()

    def _close(self) -> None:
        self._closed = True
        if self._status >= 0:
            self._loop.watch(self._status)
            os.close(self._status)
            self._status = -1
        if self._errors >= 0:
            self._loop.watch(self._errors)
            self._errors = -1
        if self._child.stderr is not None:
            self._child.stderr.close()
        self._loop.watch(self._pidfd)
        os.close(self._pidfd)
        os.close(self._control)
        self._log.close()


class _Log:
    """A file that does not grow without end, and the last line of what was written to it."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)
        self._left = KEPT_BYTES
        self._left_out = 0
        self._tail = b""

    def write(self, data: bytes) -> None:
        self._tail = (self._tail + data)[-2000:]
        kept = data[: self._left]
        self._left -= len(kept)
        self._left_out += len(data) - len(kept)
        if kept:
            self._file.write(kept)

    def last_line(self) -> str:
        lines = [line for line in self._tail.decode(errors="replace").splitlines() if line.strip()]
        return lines[-1].strip()[:300] if lines else ""

    def close(self) -> None:
        if self._left_out:
            self._file.write(f"\n[{self._left_out} more bytes are left out]\n".encode())
            self._left_out = 0
        self._file.close()


def end_stragglers() -> None:
    """Kill whatever adapters have left behind; none of them runs any more."""
    for pid in descendants(os.getpid()):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _reserve() -> None:
    """See to it that the two numbers are taken here: a pipe of Popen's own must not get one of them."""
    while (descriptor := os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)) <= max(STATUS_FD, CONTROL_FD):
        pass
    os.close(descriptor)


def _pipe() -> tuple[int, int]:
    """Both ends of a pipe, above the numbers that the adapter gets."""
    ends = os.pipe()
    moved = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, _ABOVE) for end in ends]
    for end in ends:
        os.close(end)
    return moved[0], moved[1]


def _set_up(parent: int, status: int, control: int) -> Callable[[], None]:
    """What the child does between fork and exec."""
    mortal = die_with_parent(parent)

    def set_up() -> None:
        mortal()
        os.dup2(status, STATUS_FD)
        os.dup2(control, CONTROL_FD)

    return set_up
