"""Starting and ending processes: the only module of the orchestrator that does.

A command is a list of words, never a shell string. A child is started inside a namespace by switching the calling
thread around the fork, has its own session (Ctrl-C reaches the orchestrator alone), is watched through a pidfd, and
writes to files or to anonymous memory, so that a killed run leaves no file. Everything started is noted in a
:class:`CommandLog`.

Outside of an isolated worker (``isolation.py``) a child also gets PR_SET_PDEATHSIG, when it is started from the main
thread: the signal is tied to the *thread* that forked, and a worker thread may end long before its children should
(prctl(2)).
"""

from __future__ import annotations

import ctypes
import os
import select
import shlex
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

from testbed.orchestrator import namespaces
from testbed.orchestrator.errors import CommandFailed, NotReady, Unsupported

PR_SET_PDEATHSIG = 1
ISOLATED_VARIABLE = "TESTBED_ISOLATED"
PIPE = subprocess.PIPE
"""For :func:`popen_inside`."""

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class LoggedCommand:
    """One command as it was carried out, or as its netlink equivalent would be typed."""

    monotonic_ns: int
    node: str | None
    argv: tuple[str, ...]
    by: str
    """``process`` for a started program, otherwise what did the work of this command (``netlink``, ``proc``,
    ``ioctl``)."""

    def __str__(self) -> str:
        return f"{self.node or '-'}: {shlex.join(self.argv)}"


@dataclass(slots=True)
class CommandLog:
    """Every command of a run in order; a run directory keeps it."""

    entries: list[LoggedCommand] = field(default_factory=list)

    def add(self, argv: Sequence[str], node: str | None = None, by: str = "process") -> None:
        """Note one command."""
        self.entries.append(LoggedCommand(time.monotonic_ns(), node, tuple(argv), by))

    def __iter__(self) -> Iterator[LoggedCommand]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


class Input(Protocol):
    """Where a program is told something."""

    def write(self, data: bytes, /) -> object:
        """All of it. Raises BrokenPipeError when nobody listens."""

    def close(self) -> None:
        """There is no more."""


class Output(Protocol):
    """Where a program says something."""

    def fileno(self) -> int:
        """For poll(2)."""

    def read(self, size: int, /) -> bytes | None:
        """What is there, at most so much; empty at the end."""


class Partner(Protocol):
    """A program that one converses with, a child of ours or one on another machine."""

    @property
    def stdin(self) -> Input:
        """Its standard input."""

    @property
    def stdout_pipe(self) -> Output:
        """Its standard output."""

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative: the number of the signal that ended it."""

    @property
    def stderr(self) -> str:
        """What it has written to standard error so far."""

    def wait(self, deadline_s: float) -> int:
        """Its exit code, once it ended. Raises NotReady after ``deadline_s`` seconds."""


class Process:
    """A child that runs. Make one with :func:`start`; end it with :meth:`stop`, or use it as a context manager.

    It is reaped only when it is stopped, so its number stays its own until then; stopping it also kills what it left in
    its process group.
    """

    def __init__(
        self, popen: subprocess.Popen[bytes], argv: Sequence[str], node: str | None, stdout: _Output, stderr: _Output
    ) -> None:
        self.argv = tuple(argv)
        self.node = node
        self.pid = popen.pid
        self._popen = popen
        self._pidfd = os.pidfd_open(popen.pid)
        self._stdout, self._stderr = stdout, stderr
        self._exit_code: int | None = None

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<Process {self.pid} {shlex.join(self.argv)}{f' in {self.node}' if self.node else ''}>"

    @property
    def stdin(self) -> IO[bytes]:
        """The pipe to its standard input; only with ``interactive``."""
        return _pipe(self._popen.stdin, "stdin")

    @property
    def stdout_pipe(self) -> IO[bytes]:
        """The pipe from its standard output; only with ``interactive``."""
        return _pipe(self._popen.stdout, "stdout")

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative: the number of the signal that ended it."""
        if self._exit_code is None and self._pidfd >= 0:
            result = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if result is not None:
                exited = result.si_code == os.CLD_EXITED
                self._exit_code = result.si_status if exited else -result.si_status
        return self._exit_code

    @property
    def stdout(self) -> str:
        """What it has written to standard output so far (empty with ``interactive``)."""
        return self._stdout.text()

    @property
    def stderr(self) -> str:
        """What it has written to standard error so far."""
        return self._stderr.text()

    def wait(self, deadline_s: float) -> int:
        """Its exit code, once it ended. Raises NotReady (it keeps running) after ``deadline_s`` seconds."""
        code = self._ended_within(deadline_s)
        if code is None:
            where = f" in {self.node}" if self.node else ""
            raise NotReady(f"{shlex.join(self.argv)!r}{where} (pid {self.pid}) still runs after {deadline_s:g} s")
        return code

    def succeed(self, deadline_s: float) -> str:
        """Wait and return its standard output. Raises CommandFailed for another exit code than 0."""
        if code := self.wait(deadline_s):
            raise CommandFailed(self.argv, code, self.stderr, self.node)
        return self.stdout

    def send_signal(self, number: int) -> None:
        """Send a signal to this very process; nothing happens when it has ended."""
        if self.exit_code is None:
            signal.pidfd_send_signal(self._pidfd, number)

    def stop(self, grace_s: float = 1.0) -> int:
        """End it: SIGINT, SIGTERM, SIGKILL, each with ``grace_s`` seconds to take effect. Returns the exit code."""
        for number in (signal.SIGINT, signal.SIGTERM):
            if self.exit_code is not None:
                break
            self.send_signal(number)
            self._ended_within(grace_s)
        return self.kill()

    def kill(self) -> int:
        """End it, and what is left of its process group, at once with SIGKILL. Returns the exit code."""
        if self._pidfd < 0:
            assert self._exit_code is not None
            return self._exit_code
        self.send_signal(signal.SIGKILL)
        while self._ended_within(60.0) is None:  # only a process stuck in the kernel gets here
            pass
        code = self.exit_code
        assert code is not None
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)  # not reaped yet: the number is still ours
        self._popen.wait()
        os.close(self._pidfd)
        self._pidfd = -1
        for stream in (self._popen.stdin, self._popen.stdout):
            if stream is not None:
                with suppress(BrokenPipeError):  # what was not written has no reader any more
                    stream.close()
        self._stdout.close()
        self._stderr.close()
        return code

    def _ended_within(self, deadline_s: float) -> int | None:
        if self.exit_code is None:
            poller = select.poll()
            poller.register(self._pidfd, select.POLLIN)
            poller.poll(deadline_s * 1000)
        return self.exit_code


class _Output:
    """Where a child's output goes: a file of the run directory, or memory that nobody has to remove."""

    def __init__(self, path: Path | None, name: str) -> None:
        self._path = path
        self._kept: str | None = None
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        self.fd = os.memfd_create(f"testbed-{name}", os.MFD_CLOEXEC) if path is None else os.open(path, flags, 0o644)

    def text(self) -> str:
        if self._kept is not None:
            return self._kept
        if self._path is not None:
            return self._path.read_text(errors="replace")
        return os.pread(self.fd, os.fstat(self.fd).st_size, 0).decode(errors="replace")

    def close(self) -> None:
        if self.fd >= 0:
            if self._path is None:
                self._kept = self.text()
            os.close(self.fd)
            self.fd = -1


def start(
    argv: Sequence[str | Path],
    *,
    node: str | None = None,
    namespace_fd: int | None = None,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdout: Path | None = None,
    stderr: Path | None = None,
    interactive: bool = False,
    line: socket.socket | None = None,
    pass_fds: Sequence[int] = (),
    log: CommandLog | None = None,
) -> Process:
    """Start a program.

    ``environment`` is added to ours; ``cwd`` None: it stays where we are. Output goes to the given files or is kept in
    anonymous memory; with ``interactive`` standard input and output are unbuffered pipes, with ``line`` both are this
    connection. Raises Unsupported when the program is not installed.
    """
    words = [str(word) for word in argv]
    if log is not None:
        log.add(words, node)
    out, err = _Output(stdout, "stdout"), _Output(stderr, "stderr")
    parent = os.getpid()
    lethal = threading.current_thread() is threading.main_thread() and ISOLATED_VARIABLE not in os.environ

    def die_with_parent() -> None:  # between fork and exec
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)

    options: dict[str, Any] = {"preexec_fn": die_with_parent} if lethal else {}
    try:
        with namespaces.inside(namespace_fd) if namespace_fd is not None else nullcontext():
            popen = subprocess.Popen(
                words,
                stdin=line.fileno() if line is not None else subprocess.PIPE if interactive else subprocess.DEVNULL,
                stdout=line.fileno() if line is not None else subprocess.PIPE if interactive else out.fd,
                stderr=err.fd,
                bufsize=0,
                env={**os.environ, **(environment or {})},
                cwd=cwd,
                start_new_session=True,
                pass_fds=pass_fds,
                **options,
            )
    except FileNotFoundError:
        out.close()
        err.close()
        raise Unsupported(f"{words[0]} is not installed (needed for {shlex.join(words)!r})") from None
    except BaseException:
        out.close()
        err.close()
        raise
    return Process(popen, words, node, out, err)


def run(
    argv: Sequence[str | Path],
    *,
    node: str | None = None,
    namespace_fd: int | None = None,
    deadline_s: float = 10.0,
    log: CommandLog | None = None,
) -> str:
    """Run a program to its end and return its standard output.

    Raises CommandFailed for another exit code than 0, NotReady (and kills it) after ``deadline_s`` seconds.
    """
    with start(argv, node=node, namespace_fd=namespace_fd, log=log) as process:
        try:
            return process.succeed(deadline_s)
        except NotReady:
            process.kill()
            raise


def popen_inside(argv: Sequence[str], namespace_fd: int, **options: Any) -> subprocess.Popen[bytes]:
    """A plain Popen in a namespace, in a session of its own, for callers that need the standard object (Mininet's)."""
    with namespaces.inside(namespace_fd):
        return subprocess.Popen(list(argv), start_new_session=True, **options)


def _pipe(stream: IO[bytes] | None, name: str) -> IO[bytes]:
    if stream is None:
        raise ValueError(f"{name} is a pipe only when the process was started with interactive=True")
    return stream
