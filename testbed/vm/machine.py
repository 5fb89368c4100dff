"""Booting a kernel until its SSH server answers, and ending it.

A start that fails (QEMU ends, or nothing answers) is tried once more: one early panic in 43 boots was seen under
emulation. The console's log of both starts is kept. A machine belongs to the process that booted it and ends with it,
however that ends (prctl(2), PR_SET_PDEATHSIG), unless it was booted to stay.

The images are locked for as long as QEMU runs: it inherits the descriptors (flock(2)).
"""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from testbed.orchestrator import process, run_identity
from testbed.orchestrator.errors import CommandFailed, InvalidTrial, NotReady, Unsupported
from testbed.orchestrator.readiness import wait_until
from testbed.orchestrator.run_identity import Orchestrator
from testbed.record import files
from testbed.vm import cache, initramfs, record, slowed
from testbed.vm.images import Images
from testbed.vm.keys import KeyPair
from testbed.vm.qemu import LOOPBACK, Boot, Hardware, PrivateLink
from testbed.vm.record import Record

Say = Callable[[str], None]

BOOT_S = 180.0
"""Four to eight seconds are usual; a machine whose processors are shared by ten takes a minute."""
STARTS = 2
KEPT = 20
"""Directories of machines that have ended, for their console logs."""
MARKER = b" starts sshd"
"""guest/rc says so on the console; a connection before would only be held by QEMU, and cost the guest a process."""
_BANNER = b"SSH-"
"""RFC 4253 section 4.2."""
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 8.0
_START_S = 30.0
_TOLD_LINES = 3


class BootFailed(InvalidTrial):
    """The machine did not come up; the text has the last lines of its console."""


@dataclass(slots=True)
class Machine:
    """A machine that answers; make one with :func:`boot`, end it with :meth:`stop`."""

    record: Record
    directory: Path
    _qemu: process.Process | None = None
    _keeper: _Keeper | None = field(default=None)

    def stop(self) -> None:
        """End it, at once: its disks keep nothing. The console's log stays."""
        if self._qemu is not None:
            self._qemu.stop()
        record.end(self.record, self.directory)
        if self._keeper is not None:
            self._keeper.let_go()

    def console(self) -> str:
        """What the guest has written to it."""
        return console_text(self.directory)


def console_text(directory: Path) -> str:
    """The console of each start, the failed one first."""
    paths = (directory / record.FIRST_CONSOLE, directory / record.CONSOLE)
    return "".join(path.read_text(errors="replace").replace("\r", "") for path in paths if path.is_file())


def boot(
    images: Images,
    hardware: Hardware,
    runs: Path,
    *,
    stays: bool = False,
    link: PrivateLink | None = None,
    say: Say = lambda _text: None,
    deadline_s: float = BOOT_S,
) -> Machine:
    """Boot until the SSH server answers. Raises BootFailed after two starts, Unsupported when a program is missing."""
    _sweep(runs)
    run_id = run_identity.new_run_id()
    directory = runs.resolve() / run_id
    directory.mkdir(mode=0o700)
    with cache.held(directory) as lock:  # nobody takes it for one that was left
        try:
            host_key = _write_secrets(directory, images, run_id)
            for start in range(1, STARTS + 1):
                try:
                    return _start(
                        images, hardware, directory, lock, host_key, stays=stays, link=link, deadline_s=deadline_s
                    )
                except BootFailed as error:
                    if start == STARTS:
                        raise
                    say(f"{images.name}: {error}; once more")
                    (directory / record.CONSOLE).replace(directory / record.FIRST_CONSOLE)
            raise AssertionError("the last start returns or raises")
        except BaseException:
            record.forget_secrets(directory)
            raise


# --- inside ---


def _start(
    images: Images,
    hardware: Hardware,
    directory: Path,
    lock: int,
    host_key: str,
    *,
    stays: bool,
    link: PrivateLink | None,
    deadline_s: float,
) -> Machine:
    began_s, started = time.monotonic(), datetime.now(UTC)
    deadline_s *= hardware.slowed
    console = directory / record.CONSOLE
    console.touch(mode=0o600)
    pid_file = directory / "pid" if stays else None
    port = _free_port()
    _write_ssh_files(directory, port, host_key)
    words = Boot(
        hardware=hardware,
        kernel=images.kernel.resolve(),
        initramfs=directory / record.INITRAMFS,
        console=console,
        disks=images.disks(),
        ssh_port=port,
        link=link,
        pid_file=pid_file,
        name=f"testbed-{directory.name}",
    ).words()
    with ExitStack() as held:
        inherited = [lock, *(held.enter_context(cache.held(path)) for path in images.entries)]
        inherited += [link.descriptor] if link is not None else []
        words = [*slowed.priority(hardware.slowed), *words]
        machine = _Starting.of(words, inherited, directory, pid_file, slowed.environment(hardware.slowed))
    try:
        made = Record(
            id=directory.name,
            kernel=images.name,
            version=images.version,
            process=str(machine.identity),
            stays=stays,
            clock=hardware.clock,
            shift=hardware.shift if hardware.clock == "virtual" else None,
            acceleration=hardware.acceleration,
            cpus=hardware.cpus,
            memory_mib=hardware.memory_mib,
            slowed=hardware.slowed,
            port=port,
            host_key=host_key,
            started_utc=started.strftime("%Y-%m-%dT%H:%M:%SZ"),
            boot_s=None,
        )
        made.write(directory)  # now: should we be killed, 'vm stop' ends one that was to stay
        machine.wait_until_ready(port, deadline_s)
        made = replace(made, boot_s=round(time.monotonic() - began_s, 3))
        made.write(directory)
    except BaseException:
        machine.end()
        raise
    return Machine(made, directory, machine.qemu, machine.keeper)


@dataclass(slots=True)
class _Starting:
    """QEMU, from its start until the guest answers."""

    directory: Path
    identity: Orchestrator
    qemu: process.Process | None
    """None: it went to the background, and is known by its number alone."""
    keeper: _Keeper | None

    @classmethod
    def of(
        cls,
        words: Sequence[str],
        locks: Sequence[int],
        directory: Path,
        pid_file: Path | None,
        environment: Mapping[str, str],
    ) -> _Starting:
        """Start it. Raises BootFailed with QEMU's own words."""
        mark = {**run_identity.environment(directory.name), **environment}
        if pid_file is not None:
            pid_file.unlink(missing_ok=True)
            mark[run_identity.ORCHESTRATOR_VARIABLE] = ""  # nobody's: 'testbed clean' leaves it alone
            with process.start(words, environment=mark, pass_fds=locks) as launcher:
                try:
                    launcher.succeed(_START_S)
                except CommandFailed as error:
                    raise BootFailed(f"QEMU does not start: {error}") from None
            try:
                pid = int(pid_file.read_text())
            except FileNotFoundError:  # QEMU removes it when it ends
                raise BootFailed(f"QEMU ended at once; {last_words(directory)}") from None
            return cls(directory, _identity(pid), None, None)
        if threading.current_thread() is threading.main_thread():
            qemu = process.start(words, environment=mark, pass_fds=locks)
            return cls(directory, _identity(qemu.pid), qemu, None)
        keeper = _Keeper(words, mark, locks)
        return cls(directory, _identity(keeper.qemu.pid), keeper.qemu, keeper)

    def wait_until_ready(self, port: int, deadline_s: float) -> None:
        """Until the guest shows the banner of SSH. Raises BootFailed."""
        ends_s = time.monotonic() + deadline_s
        console = self.directory / record.CONSOLE
        try:
            wait_until(lambda: self._runs() and MARKER in console.read_bytes(), deadline_s, "the guest's first words")
            waits_s = (min(_FIRST_WAIT_S * 2**number, _LONGEST_WAIT_S) for number in itertools.count())
            left_s = max(0.0, ends_s - time.monotonic())
            wait_until(lambda: self._runs() and _shows_banner(port, next(waits_s)), left_s, "the guest's SSH server")
        except NotReady as error:
            raise BootFailed(f"{error}; {last_words(self.directory)}") from None

    def end(self) -> None:
        """Whatever state it is in."""
        if self.qemu is not None:
            self.qemu.stop()
        else:
            record.end_process(self.identity)
        if self.keeper is not None:
            self.keeper.let_go()

    def _runs(self) -> bool:
        """True, or BootFailed."""
        if self.qemu is not None and (code := self.qemu.exit_code) is not None:
            said = self.qemu.stderr.strip().splitlines()
            raise BootFailed(
                f"QEMU ended with {code} before the guest was up{_joined(said)}; {last_words(self.directory)}"
            )
        if self.qemu is None and not self.identity.is_alive():
            raise BootFailed(f"QEMU ended before the guest was up; {last_words(self.directory)}")
        return True


class _Keeper:
    """A thread that lives as long as QEMU: the signal at the owner's death is tied to the thread that forked."""

    def __init__(self, words: Sequence[str], mark: dict[str, str], locks: Sequence[int]) -> None:
        self._done = threading.Event()
        started = threading.Event()
        outcome: list[process.Process | BaseException] = []
        if shutil.which("setpriv") is None:
            raise Unsupported("setpriv is not installed (a machine must not outlive its owner): apt install util-linux")

        def keep() -> None:
            try:
                argv = ["setpriv", "--pdeathsig", "KILL", "--", *words]
                outcome.append(process.start(argv, environment=mark, pass_fds=locks))
            except BaseException as error:
                outcome.append(error)
            started.set()
            self._done.wait()

        threading.Thread(target=keep, name="keeper of a machine", daemon=True).start()
        started.wait()
        if isinstance(outcome[0], BaseException):
            self._done.set()
            raise outcome[0]
        self.qemu = outcome[0]

    def let_go(self) -> None:
        """Once QEMU has ended."""
        self._done.set()


def last_words(directory: Path) -> str:
    """Where the console's log of a machine lies, and how it ends."""
    console = directory / record.CONSOLE
    lines = [line.strip() for line in console.read_text(errors="replace").split("\n") if line.strip()]
    told = " | ".join(lines[-_TOLD_LINES:])
    return f"its console ({console}) ends with: {told}" if told else f"its console ({console}) is empty"


def _identity(pid: int) -> Orchestrator:
    ticks = run_identity.start_ticks(pid)
    if ticks is None:
        raise BootFailed("QEMU ended at once")
    return Orchestrator(pid, ticks, run_identity.pid_namespace())


def _write_secrets(directory: Path, images: Images, run_id: str) -> str:
    """The archive that the guest starts from and our key to it; returns the guest's public host key."""
    host, user = KeyPair.new(), KeyPair.new()
    secret = initramfs.secrets(host.private, user.public, {"NAME": f"testbed-{run_id}"})
    _write_private(directory / record.INITRAMFS, initramfs.base(images.early, find_busybox()) + secret)
    _write_private(directory / record.KEY, user.private.encode())
    return host.public


def _write_ssh_files(directory: Path, port: int, host_key: str) -> None:
    """What OpenSSH's client needs; its own files of the user are not asked."""
    known_hosts = directory / record.KNOWN_HOSTS
    _write_private(known_hosts, f"[{LOOPBACK}]:{port} {host_key}\n".encode())
    lines = (
        f"Host {record.ALIAS}",
        f"HostName {record.HOST}",
        f"Port {port}",
        f"User {record.USER}",
        f'IdentityFile "{directory / record.KEY}"',
        f'UserKnownHostsFile "{known_hosts}"',
        "GlobalKnownHostsFile none",
        "IdentitiesOnly yes",
        "StrictHostKeyChecking yes",
        "UpdateHostKeys no",
    )
    _write_private(directory / record.SSH_CONFIG, "\n".join((*lines, "")).encode())


def _write_private(path: Path, data: bytes) -> None:
    with files.space_needed_for(path.name, path.parent):
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)


def find_busybox() -> Path:
    """The one of this machine. Raises Unsupported with the package."""
    found = shutil.which("busybox", path=f"{os.environ.get('PATH', os.defpath)}:/usr/bin:/bin")
    if found is None:
        raise Unsupported("busybox is not installed (needed for the guest's start): apt install busybox-static")
    return Path(found)


def _free_port() -> int:
    """One that nobody listens on now; should somebody take it before QEMU does, the second start has another."""
    with socket.socket() as chosen:
        chosen.bind((LOOPBACK, 0))
        return int(chosen.getsockname()[1])


def _shows_banner(port: int, wait_s: float) -> bool:
    """QEMU accepts a connection before the guest does: only what the server says counts."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=wait_s) as connection:
            return connection.recv(len(_BANNER)) == _BANNER
    except OSError:
        return False


def _sweep(runs: Path) -> None:
    """What machines whose owner was killed left: their keys at once, their logs when there are many."""
    for entry in cache.Cache(runs.parent).entries(cache.RUNS):
        with cache.unused(entry.path) as is_left:  # asked now: it may be that of a machine that somebody just boots
            if is_left:
                record.forget_secrets(entry.path)
    cache.Cache(runs.parent).prune(cache.RUNS, KEPT)


def _joined(lines: Sequence[str]) -> str:
    return f" ({lines[-1]})" if lines else ""
