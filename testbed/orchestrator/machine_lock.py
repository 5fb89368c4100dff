"""One emulated trial at a time on a machine: two side by side would share its processors, and measure one another.

Two files in a directory of root's. ``machine`` is locked by the trial that runs and says whose it is; ``queue`` by the
one that waits for it, so that two runs take turns: without it, the run that has just let go would have the machine
again before anybody else wakes. The kernel lets go of both with the process, however that ends (flock(2)).

Trials in virtual time need no lock.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from testbed.orchestrator.errors import Unsupported

VARIABLE = "TESTBED_LOCK_DIRECTORY"
"""Of the environment: another directory, for those who know that their runs do not meet (our own tests)."""
DIRECTORY = Path("/run/mptcp-testbed")
POLL_S = 0.1


class Machine:
    """The machine as one run sees it."""

    def __init__(self, pid: int, what: str, directory: Path | None = None) -> None:
        self._directory = directory or Path(os.environ.get(VARIABLE) or DIRECTORY)
        self._holder = {"pid": pid, "what": what}
        self._told: set[str] = set()

    @contextmanager
    def to_itself(self, say: Callable[[str], None], tick: Callable[[], None]) -> Iterator[None]:
        """The block has the machine to itself.

        ``say`` is called once for each run that has to be waited for, ``tick`` while waiting. Raises Unsupported when
        the lock files cannot be made.
        """
        with ExitStack() as stack:
            with ExitStack() as queue:
                self._lock(queue, "queue", say, tick)
                machine = self._lock(stack, "machine", say, tick)
                os.ftruncate(machine, 0)  # of one that was killed
                os.pwrite(machine, json.dumps(self._holder).encode(), 0)
            stack.callback(os.ftruncate, machine, 0)  # before it is let go
            yield

    def _lock(self, stack: ExitStack, name: str, say: Callable[[str], None], tick: Callable[[], None]) -> int:
        """Wait for the lock of that name, which is held until ``stack`` ends."""
        path = self._directory / name
        try:
            self._directory.mkdir(mode=0o755, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise Unsupported(
                f"{path}: {error.strerror}; emulated trials take turns by it ({VARIABLE} names another directory)"
            ) from None
        stack.callback(os.close, descriptor)
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._tell(say)
                tick()
                time.sleep(POLL_S)
            else:
                return descriptor

    def _tell(self, say: Callable[[str], None]) -> None:
        who = self._who()
        if who is not None and who not in self._told:
            self._told.add(who)
            say(f"waiting for {who}: emulated trials have the machine to themselves, one at a time")

    def _who(self) -> str | None:
        """None: nobody has written yet; at the next look somebody has, or the machine is free."""
        try:
            holder = json.loads((self._directory / "machine").read_bytes())
            return f"process {int(holder['pid'])} ({holder['what']})"
        except (OSError, ValueError, KeyError, TypeError):
            return None
