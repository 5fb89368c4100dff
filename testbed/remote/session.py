"""One SSH connection to a machine whose host key is known: commands, lines, trees, and work that outlives it.

Commands are lists of words, quoted for the POSIX shell that sshd hands them to; nothing that a user or a file names is
ever read by that shell. Every wait has an end in real time, whatever clock the other side has. The host key is pinned
by the inventory or by the user's known_hosts; none is ever added by itself. Passwords are not used.

Sources: RFC 4252 to 4254; sshd(8) for how a command is run.
"""

from __future__ import annotations

import io
import select
import shlex
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import paramiko

from testbed.orchestrator.errors import CommandFailed, NotReady, Unsupported
from testbed.remote import connecting, detached, trees
from testbed.remote.detached import State
from testbed.remote.errors import ConnectionLost
from testbed.remote.target import Target

COMMAND_S = 30.0
"""For a command that only looks around."""
STALL_S = 60.0
"""A tree that is on its way moves at least once in this time."""
_STATUS_S = 5.0
"""After the end of the output, the exit code follows at once."""
_CHUNK = 1 << 16

Lines = Generator[bytes, None, None]


@dataclass(frozen=True, slots=True)
class Completed:
    """A command that has ended."""

    code: int
    stdout: bytes
    stderr: bytes


class Session:
    """A connection; make one with :meth:`connect` and use it as a context manager."""

    def __init__(self, target: Target, clients: Sequence[paramiko.SSHClient]) -> None:
        self.target = target
        self._clients = clients
        transport = clients[-1].get_transport()
        assert transport is not None
        self._transport = transport
        self._root_prefix: tuple[str, ...] | None = None

    @classmethod
    def connect(cls, target: Target, *, deadline_s: float = connecting.CONNECT_S) -> Self:
        """Raises Unreachable, and of these HostKeyRefused with how to pin the key."""
        return cls(target, connecting.connect(target, deadline_s))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection; what runs detached goes on."""
        for client in reversed(self._clients):
            client.close()

    # --- commands ---

    def execute(
        self, argv: Sequence[str], *, as_root: bool = False, stdin: bytes = b"", deadline_s: float = COMMAND_S
    ) -> Completed:
        """Run a command to its end, whatever its exit code. Raises NotReady after ``deadline_s``, ConnectionLost."""
        ends_s = time.monotonic() + deadline_s
        parts: tuple[list[bytes], list[bytes]] = ([], [])
        with self._command(argv, as_root=as_root) as channel:
            self._send(channel, stdin)
            for number, data in self._received(channel, argv, ends_s, deadline_s):
                parts[number].append(data)
            return Completed(self._code(channel, argv), b"".join(parts[0]), b"".join(parts[1]))

    def run(self, argv: Sequence[str], *, as_root: bool = False, deadline_s: float = COMMAND_S) -> str:
        """The standard output of a command that succeeds. Raises CommandFailed when it does not."""
        done = self.execute(argv, as_root=as_root, deadline_s=deadline_s)
        self._check(argv, done.code, done.stderr)
        return done.stdout.decode(errors="replace")

    def stream(self, argv: Sequence[str], *, as_root: bool = False, deadline_s: float | None = None) -> Lines:
        """Each line of standard output, without its end, as soon as it is whole. Raises CommandFailed at the end."""
        rest = b""
        with closing(self._pieces(argv, as_root=as_root, deadline_s=deadline_s)) as pieces:
            for piece in pieces:
                *lines, rest = (rest + piece).split(b"\n")
                yield from lines
        if rest:
            yield rest

    def sudo_prefix(self) -> tuple[str, ...]:
        """What makes a command root's: nothing for root. Raises Unsupported when sudo would ask for a password."""
        if self._root_prefix is None:
            if self.run(["id", "-u"]).strip() == "0":
                self._root_prefix = ()
            else:
                asked = self.execute(["sudo", "-n", "true"])
                if asked.code != 0:
                    said = _last_line(asked.stderr) or f"sudo ended with exit code {asked.code}"
                    raise Unsupported(
                        f"{self.target.name}: {self.target.user} is not root and 'sudo -n' is refused there ({said}): "
                        "allow it in sudoers without a password, connect as root, or use /sim, which needs none"
                    )
                self._root_prefix = ("sudo", "-n", "--")
        return self._root_prefix

    # --- trees ---

    def push_tree(self, source: Path, destination: str) -> None:
        """Send what is in a directory to one there, which is made. Raises UnsafeTree for a link that leads out."""
        self.push_entries(trees.entries_of(source), destination)

    def push_entries(self, entries: Iterator[trees.Entry], destination: str) -> None:
        """The same, of entries from anywhere."""
        argv = ["sh", "-c", 'umask 077 && mkdir -p -- "$1" && tar -xof - -C "$1"', "sh", destination]
        with self._command(argv) as channel:
            with suppress(ConnectionLost):  # tar there has ended early: it will say why
                writer = io.BufferedWriter(_Sending(self, channel), _CHUNK)
                trees.write_tar(entries, writer)
                writer.flush()
                channel.shutdown_write()
            said = [b"", b""]
            for number, data in self._received(channel, argv, time.monotonic() + STALL_S, STALL_S):
                said[number] += data
            self._check(argv, self._code(channel, argv), said[1])

    def pull_tree(
        self, source: str, destination: Path, *, as_root: bool = False, leave_out: Sequence[str] = ()
    ) -> None:
        """Fetch a directory whole into one that is made here; nothing of it can land elsewhere, half is not kept.

        ``leave_out``: patterns of names that are not fetched, as tar(1) has them.
        """
        argv = ["tar", "-cf", "-", *(f"--exclude={pattern}" for pattern in leave_out), "-C", source, "."]
        with closing(self._pieces(argv, as_root=as_root, stall_s=STALL_S)) as pieces:
            trees.read_tar(io.BufferedReader(_Receiving(pieces), _CHUNK), destination)

    # --- work that outlives the connection ---

    def start_detached(self, argv: Sequence[str], *, job: str, cwd: str, as_root: bool = False) -> None:
        """Start a command in a session of its own. ``job`` is a directory there: pid, stdout, stderr, status."""
        self.run(detached.start_words(argv, job, cwd), as_root=as_root)

    def state(self, job: str, *, as_root: bool = False) -> State:
        """What has become of it."""
        return State.parse(self.run(detached.state_words(job), as_root=as_root))

    def reattach(self, job: str, offset: int = 0, *, as_root: bool = False, deadline_s: float | None = None) -> Lines:
        """Its lines of standard output from a byte offset on, until it ends; each is ``len + 1`` bytes long.

        Raises ConnectionLost in between, and NotReady after ``deadline_s``; the caller counts and comes again.
        """
        ends_s = None if deadline_s is None else time.monotonic() + deadline_s
        while True:
            state = self.state(job, as_root=as_root)
            left_s = None if ends_s is None else max(0.0, ends_s - time.monotonic())
            for line in self.stream(detached.follow_words(job, offset, state.pid), as_root=as_root, deadline_s=left_s):
                offset += len(line) + 1
                yield line
            if state.word != "running":
                return

    def said(self, job: str, *, as_root: bool = False) -> int:
        """How many bytes it has written to standard output so far."""
        done = self.execute(detached.said_words(job), as_root=as_root)
        return int(done.stdout or 0) if done.code == 0 else 0

    def signal(self, job: str, number: int, *, as_root: bool = False) -> None:
        """Send a signal to the command itself; nothing happens when it has ended."""
        self.run(detached.signal_words(job, number), as_root=as_root)

    # --- inside ---

    @contextmanager
    def _command(self, argv: Sequence[str], *, as_root: bool = False) -> Iterator[paramiko.Channel]:
        words = [*(self.sudo_prefix() if as_root else ()), *argv]
        if any("\0" in word for word in words):
            raise ValueError("a word of a command has no NUL")
        try:
            channel = self._transport.open_session(timeout=COMMAND_S)
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise self._lost() from error
        try:
            channel.settimeout(STALL_S)
            channel.exec_command(shlex.join(words).encode("utf-8", "surrogateescape"))
            yield channel
        except (paramiko.SSHException, EOFError, OSError) as error:
            if isinstance(error, paramiko.SSHException | EOFError) or not self._transport.is_active():
                raise self._lost() from error
            raise
        finally:
            channel.close()

    def _send(self, channel: paramiko.Channel, data: bytes) -> None:
        try:
            channel.sendall(data)
            channel.shutdown_write()
        except OSError as error:  # closed on the other side, or nobody reads
            if not self._transport.is_active() or isinstance(error, TimeoutError):
                raise self._lost() from error

    def _pieces(
        self,
        argv: Sequence[str],
        *,
        as_root: bool = False,
        deadline_s: float | None = None,
        stall_s: float | None = None,
    ) -> Lines:
        """Standard output as it comes. ``stall_s`` limits each wait, ``deadline_s`` all of them."""
        stderr = b""
        ends_s = None if deadline_s is None else time.monotonic() + deadline_s
        with self._command(argv, as_root=as_root) as channel:
            for number, data in self._received(channel, argv, ends_s, deadline_s or stall_s or 0.0, stall_s):
                if number == 0:
                    yield data
                else:
                    stderr = (stderr + data)[-_CHUNK:]
            self._check(argv, self._code(channel, argv), stderr)

    def _received(
        self,
        channel: paramiko.Channel,
        argv: Sequence[str],
        ends_s: float | None,
        told_s: float,
        stall_s: float | None = None,
    ) -> Iterator[tuple[int, bytes]]:
        """(0, standard output) and (1, standard error) until both have ended."""
        poller = select.poll()
        poller.register(channel.fileno(), select.POLLIN)
        while True:
            ended = channel.eof_received or channel.closed  # looked at before the buffers, so nothing is missed
            if channel.recv_ready():
                yield 0, channel.recv(_CHUNK)
            elif channel.recv_stderr_ready():
                yield 1, channel.recv_stderr(_CHUNK)
            elif ended:
                return
            else:
                left_s = [] if ends_s is None else [max(0.0, ends_s - time.monotonic())]
                waits = [*left_s, *([] if stall_s is None else [stall_s])]
                if not poller.poll(min(waits) * 1000 if waits else None):
                    raise NotReady(f"{shlex.join(argv)!r} on {self.target.name} says nothing after {told_s:g} s")

    def _code(self, channel: paramiko.Channel, argv: Sequence[str]) -> int:
        if not channel.status_event.wait(_STATUS_S):
            raise NotReady(f"{shlex.join(argv)!r} on {self.target.name} has closed its output and still runs")
        if channel.exit_status < 0:
            # no exit code: either a signal ended it, or the connection went; its thread takes a moment to say so
            self._transport.join(1.0)
            if not self._transport.is_active():
                raise self._lost()
            raise CommandFailed(argv, 255, "it was killed by a signal", self.target.name)
        return int(channel.exit_status)

    def _check(self, argv: Sequence[str], code: int, stderr: bytes) -> None:
        if code != 0:
            raise CommandFailed(argv, code, stderr.decode(errors="replace"), self.target.name)

    def _lost(self) -> ConnectionLost:
        return ConnectionLost(f"the connection to {self.target.name} ({self.target}) was lost")


class _Sending(io.RawIOBase):
    """The standard input of a command, as a file."""

    def __init__(self, session: Session, channel: paramiko.Channel) -> None:
        self._session, self._channel = session, channel

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, data: object) -> int:
        """All of it, or ConnectionLost."""
        block = bytes(data)  # type: ignore[call-overload]
        try:
            self._channel.sendall(block)
        except OSError as error:
            raise self._session._lost() from error
        return len(block)


class _Receiving(io.RawIOBase):
    """The standard output of a command, as a file."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._left = pieces, b""

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: object) -> int:
        """As much as there is, 0 at the end."""
        view = memoryview(buffer)  # type: ignore[arg-type]
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._left = piece
        taken, self._left = self._left[: len(view)], self._left[len(view) :]
        view[: len(taken)] = taken
        return len(taken)


def _last_line(text: bytes) -> str:
    lines = text.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""
