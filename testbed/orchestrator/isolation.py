"""Running a function in a worker of which nothing can be left over, whatever kills whom and when.

The worker lives in new PID, network, mount, IPC and UTS namespaces. Process 1 of the PID namespace does nothing but
wait for it; when that process goes, the kernel kills everything inside, daemons included, and with the last process
go the network namespaces, interfaces and memory file systems::

    orchestrator ── fork ── guard ── fork ── init (pid 1 inside) ── fork ── worker: function(messages)
                      PR_SET_PDEATHSIG        PR_SET_PDEATHSIG        killed with its namespace

Should the orchestrator be killed with SIGKILL, the guard gets its death signal, then init, then everything. The
signal is set first and the parent looked at second, so dying in between is noticed, too (prctl(2), PR_SET_PDEATHSIG).
It is tied to the *thread* that forked: call :func:`run_isolated` from the main thread. Of other threads nothing
exists in the worker but the locks that they held.

``/proc`` is the worker's own; ``/dev/shm`` is an empty memory file system of its own and the place for temporary files.
All other files are the machine's, so results are written where they should stay.
Sources: pid_namespaces(7), mount_namespaces(7), namespaces(7), prctl(2).
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import select
import signal
import socket
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from testbed.orchestrator import run_identity
from testbed.orchestrator.errors import Interrupted, InvalidTrial, Unsupported
from testbed.orchestrator.namespaces import CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUTS, unshare
from testbed.orchestrator.process import ISOLATED_VARIABLE

SCRATCH = Path("/dev/shm")
"""The worker's own memory file system; TMPDIR points there."""

_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REC, _MS_PRIVATE = 2, 4, 8, 16384, 1 << 18
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

_libc = ctypes.CDLL(None, use_errno=True)

Message = Mapping[str, Any]


class WorkerFailed(InvalidTrial):
    """The function raised, or the worker died; with the worker's traceback where there is one."""

    def __init__(self, text: str, worker_traceback: str = "") -> None:
        self.worker_traceback = worker_traceback
        super().__init__(text)


class StopRequested(KeyboardInterrupt):
    """Raised inside the worker when the user asked to stop: unwind, taking everything down."""


@dataclass(frozen=True, slots=True)
class Messages:
    """The worker's way to speak while it works."""

    fd: int

    def send(self, kind: str, **content: Any) -> None:
        """One message to the orchestrator's ``on_message``; JSON values only."""
        self._write({"kind": kind, **content})

    def _write(self, message: Message) -> None:
        data = (json.dumps(message) + "\n").encode()
        while data:
            data = data[os.write(self.fd, data) :]


def run_isolated(
    function: Callable[[Messages], Any],
    *,
    run_id: str,
    on_message: Callable[[Message], None] | None = None,
) -> Any:
    """Call ``function`` in an isolated worker and return what it returned (JSON values only).

    ``on_message`` gets each message in order. Ctrl-C and SIGTERM become one clean stop request (StopRequested in the
    worker); the second one kills the worker. Raises Interrupted after a stop request, WorkerFailed when the function
    raised or the worker died, Unsupported without the privileges for namespaces.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("run_isolated is called from the main thread: the guard's death signal is tied to it")
    environment = {**run_identity.environment(run_id), ISOLATED_VARIABLE: run_id, "TMPDIR": str(SCRATCH)}
    sys.stdout.flush()
    sys.stderr.flush()
    reader, writer = os.pipe2(os.O_CLOEXEC)
    orchestrator = os.getpid()
    with _held_back():  # a signal between the fork and the handlers waits
        guard = _fork()
        if guard == 0:
            os.close(reader)
            _guard(function, Messages(writer), orchestrator, environment)
        os.close(writer)
        supervisor = _Supervisor(guard)
        supervisor.listen()
    try:
        final = _read(reader, on_message or _ignore)
        status = supervisor.wait()
    except BaseException:
        supervisor.kill()
        supervisor.wait()
        raise
    finally:
        os.close(reader)
        supervisor.restore()
    return _outcome(final, status, supervisor.requests)


def _fork() -> int:
    """Python 3.12 warns when other threads exist: their locks stay as they are in the child. ``_fresh_output`` replaces
    the only ones that the worker would meet."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


class _Supervisor:
    """The orchestrator's side: forwards stop requests and waits for the guard."""

    def __init__(self, guard: int) -> None:
        self.guard = guard
        self.requests = 0
        self._reaped: int | None = None
        self._before: dict[int, Any] = {}

    def listen(self) -> None:
        for number in _STOP_SIGNALS:
            self._before[number] = signal.signal(number, self._forward)

    def restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def kill(self) -> None:
        if self._reaped is None:
            os.kill(self.guard, signal.SIGKILL)

    def wait(self) -> int:
        if self._reaped is None:
            self._reaped = os.waitpid(self.guard, 0)[1]
        return self._reaped

    def _forward(self, number: int, frame: FrameType | None) -> None:
        self.requests += 1
        if self._reaped is None:
            os.kill(self.guard, signal.SIGTERM if self.requests == 1 else signal.SIGKILL)


def _ignore(message: Message) -> None:
    """What is said to nobody."""


def _read(fd: int, on_message: Callable[[Message], None]) -> Message | None:
    """Pass messages on until the last writer is gone; the worker's last word, None when it had none."""
    final: Message | None = None
    buffer = b""
    while data := os.read(fd, 1 << 16):
        *lines, buffer = (buffer + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if message["kind"] in ("result", "exception"):
                final = message
            else:
                on_message(message)
    return final


def _outcome(final: Message | None, status: int, requests: int) -> Any:
    if final is not None and final["kind"] == "result":
        return final["value"]
    if requests:
        raise Interrupted("stopped at the user's request" if requests == 1 else "killed at the user's second request")
    if final is None:
        code = os.waitstatus_to_exitcode(status)
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        raise WorkerFailed(f"the isolated worker ended with {how} and without a word")
    if final["type"] == "Unsupported":
        raise Unsupported(final["text"])
    if final["type"] == "StopRequested":
        raise Interrupted(final["text"] or "the worker was asked to stop")
    raise WorkerFailed(f"{final['type']}: {final['text']}", final["traceback"])


# --- the guard, init and the worker ---------------------------------------------------------------------------------


def _guard(
    function: Callable[[Messages], Any], messages: Messages, orchestrator: int, environment: Mapping[str, str]
) -> NoReturn:
    """Child of the orchestrator: makes the namespaces, since only children enter a new PID namespace."""
    try:
        _die_with(orchestrator)
        os.setsid()  # Ctrl-C of the terminal reaches the orchestrator alone
        _fresh_output()
        unshare(CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS)
        watch, alive = os.pipe2(os.O_CLOEXEC)  # closed by the kernel when the guard dies
        init = os.fork()
        if init == 0:
            os.close(alive)
            _init(function, messages, watch, environment)
        os.close(messages.fd)
        _name("tb-guard")
        _forward_to(init)
        os._exit(_as_exit_code(_wait_for(init)))
    except BaseException as error:
        _report(messages, error)
    os._exit(1)


def _init(
    function: Callable[[Messages], Any], messages: Messages, watch: int, environment: Mapping[str, str]
) -> NoReturn:
    """Process 1 of the new PID namespace: its end is the end of everything inside."""
    try:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if select.select([watch], [], [], 0)[0]:  # the guard died before the line above; getppid() is 0 either way
            os._exit(1)
        _private_file_systems()
        socket.sethostname(f"testbed-{environment[run_identity.RUN_ID_VARIABLE]}")
        worker = os.fork()
        if worker == 0:
            _worker(function, messages, environment)
        os.close(messages.fd)
        _name("tb-init")
        _forward_to(worker)
        os._exit(_as_exit_code(_wait_for(worker)))
    except BaseException as error:
        _report(messages, error)
    os._exit(1)


def _worker(function: Callable[[Messages], Any], messages: Messages, environment: Mapping[str, str]) -> NoReturn:
    try:
        _name("tb-worker")
        os.environ.update(environment)
        signal.signal(signal.SIGINT, _request_stop)
        signal.signal(signal.SIGTERM, _request_stop)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)
        value = function(messages)
        messages.send("result", value=value)
    except BaseException as error:
        _report(messages, error)
        _flush()
        os._exit(1)
    _flush()
    os._exit(0)


def _request_stop(number: int, frame: FrameType | None) -> None:
    """The first request unwinds the worker; while it unwinds, further ones are not heard (the second kills from
    outside)."""
    for each in _STOP_SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise StopRequested(f"{signal.Signals(number).name} arrived")


def _fresh_output() -> None:
    """New stream objects on the same descriptors: a thread that draws progress may hold the old ones' locks for
    ever."""
    sys.stdout = open(1, "w", encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115 - open as long as we are
    sys.stderr = open(2, "w", encoding="utf-8", errors="replace", buffering=1, closefd=False)  # noqa: SIM115


def _die_with(parent: int) -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the line above
        os._exit(1)


def _private_file_systems() -> None:
    _mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE)  # what is mounted from here on stays here
    _mount(b"proc", b"/proc", b"proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    _mount(b"tmpfs", str(SCRATCH).encode(), b"tmpfs", _MS_NOSUID | _MS_NODEV)


def _mount(source: bytes, target: bytes, kind: bytes | None, flags: int) -> None:
    if _libc.mount(source, target, kind, ctypes.c_ulong(flags), None) < 0:
        number = ctypes.get_errno()
        if number == errno.EPERM:
            raise Unsupported("mounting a private /proc is not permitted (it needs root)")
        raise OSError(number, f"mount {target.decode()}: {os.strerror(number)}")


def _forward_to(child: int) -> None:
    def forward(number: int, frame: FrameType | None) -> None:
        os.kill(child, number)

    for number in _STOP_SIGNALS:
        signal.signal(number, forward)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)


def _wait_for(child: int) -> int:
    """Reap until ``child`` ends (process 1 inherits the orphans of its namespace); its status."""
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == child:
            return status


def _as_exit_code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _name(name: str) -> None:
    _libc.prctl(_PR_SET_NAME, name.encode())


def _report(messages: Messages, error: BaseException) -> None:
    text = "".join(traceback.format_exception(error))
    messages.send("exception", type=type(error).__name__, text=str(error), traceback=text)


def _flush() -> None:
    """os._exit() leaves buffers as they are; it is used because the orchestrator's own clean-up is not the worker's."""
    sys.stdout.flush()
    sys.stderr.flush()


@contextmanager
def _held_back() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
