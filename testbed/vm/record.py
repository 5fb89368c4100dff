"""What is known of a machine that was booted: a file in its directory, which any command can read.

runs/ID/machine.json    this record, written when QEMU has started, and again when the machine is ready
runs/ID/console.log     the guest's console (console.1.log: of the start that failed before)
runs/ID/lock            held by QEMU for as long as it runs
runs/ID/key, known_hosts, ssh_config, run.cpio   removed when it ends
"""

from __future__ import annotations

import json
import os
import select
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from testbed.orchestrator.run_identity import Orchestrator, start_ticks
from testbed.orchestrator.spec import SpecificationError
from testbed.record import files

FILE = "machine.json"
CONSOLE = "console.log"
FIRST_CONSOLE = "console.1.log"
KEY, KNOWN_HOSTS, SSH_CONFIG, INITRAMFS = "key", "known_hosts", "ssh_config", "run.cpio"
SECRETS = (KEY, KNOWN_HOSTS, SSH_CONFIG, INITRAMFS)
USER = "root"
HOST = "127.0.0.1"
ALIAS = "vm"
"""What ssh_config calls the machine."""
_GRACE_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One machine."""

    id: str
    kernel: str
    """As the user called it."""
    version: str
    """As uname -r says it."""
    process: str
    """QEMU's, told apart from every other of that number: run_identity.Orchestrator."""
    stays: bool
    """Whether it outlives who booted it."""
    clock: str
    shift: int | None
    """An instruction takes 2**shift ns; null on real time."""
    acceleration: str
    cpus: int
    memory_mib: int
    port: int
    host_key: str
    started_utc: str
    boot_s: float | None
    """Seconds of this machine until its SSH server answered; null: it did not yet, or never."""
    slowed: int = 1
    """So many of our seconds are one of the guest's, on real time."""

    @property
    def pid(self) -> int:
        """QEMU's."""
        return self.identity.pid

    @property
    def identity(self) -> Orchestrator:
        """Its process. Raises SpecificationError for a record that is not ours."""
        found = Orchestrator.parse(self.process)
        if found is None:
            raise SpecificationError(f"{FILE} of {self.id}: {self.process!r} names no process")
        return found

    @property
    def runs(self) -> bool | None:
        """None: it was started in another PID namespace and cannot be judged from here."""
        return self.identity.is_alive()

    def document(self) -> Mapping[str, object]:
        """For JSON."""
        return {**asdict(self), "pid": self.pid, "runs": self.runs}

    def write(self, directory: Path) -> None:
        """Into the machine's directory."""
        files.write_atomically(directory / FILE, json.dumps(asdict(self), indent=1).encode() + b"\n")


def read(directory: Path) -> Record | None:
    """The machine of that directory; None: it never began, or the file is none of ours."""
    try:
        return Record(**json.loads((directory / FILE).read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def all_in(runs: Path) -> list[Record]:
    """Every machine that began once and has not been forgotten, the newest last."""
    found = [read(path) for path in runs.iterdir() if path.is_dir()] if runs.is_dir() else []
    return sorted((each for each in found if each is not None), key=lambda each: (each.started_utc, each.id))


def find(runs: Path, word: str, *, running: bool = True) -> Record:
    """By the beginning of its id, or by its kernel when one machine alone has it; of those that have ended, too, when
    not only a ``running`` one is meant: then the one that runs, or was started last. Raises SpecificationError.
    """
    known = [each for each in all_in(runs) if each.runs or not running]
    matching = [each for each in known if each.id.startswith(word)]
    if not matching:
        matching = [each for each in known if word == each.kernel]
        if not running:
            matching = [each for each in matching if each.runs] or matching[-1:]
    if len(matching) == 1:
        return matching[0]
    there = ", ".join(f"{each.id} ({each.kernel})" for each in known) or "none"
    which = "several machines are" if matching else "no machine is"
    what = "run now" if running else "are known"
    raise SpecificationError(f"{which} called {word!r}; these {what}: {there}")


def end(record: Record, directory: Path) -> None:
    """End QEMU and remove the secrets; the console's log stays."""
    end_process(record.identity)
    forget_secrets(directory)


def end_process(identity: Orchestrator, grace_s: float = _GRACE_S) -> None:
    """End it by its number, if that is still its own: SIGTERM, then SIGKILL."""
    with suppress(ProcessLookupError):
        pidfd = os.pidfd_open(identity.pid)
        try:
            if start_ticks(identity.pid) == identity.start_ticks:  # looked at after the pidfd: it is of this process
                poller = select.poll()
                poller.register(pidfd, select.POLLIN)
                for number in (signal.SIGTERM, signal.SIGKILL):
                    signal.pidfd_send_signal(pidfd, number)
                    if poller.poll(grace_s * 1000):
                        break
        finally:
            os.close(pidfd)


def forget_secrets(directory: Path) -> None:
    """Remove the keys, and the archive that holds them."""
    for name in SECRETS:
        (directory / name).unlink(missing_ok=True)
