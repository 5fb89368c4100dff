"""A kernel of one's choice as a machine that runs are sent to: booted for them, gone with them.

What it can do is asked of the guest itself (guest_capabilities.py), and told in the target.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from testbed.orchestrator.errors import InvalidTrial
from testbed.remote.target import Target
from testbed.vm import accel, machine, record, tools
from testbed.vm.cache import Cache
from testbed.vm.images import Images
from testbed.vm.machine import Machine, Say
from testbed.vm.qemu import PROGRAM, Hardware, PrivateLink

if TYPE_CHECKING:
    from testbed.remote.session import Completed

CONNECT_S = 60.0
"""A guest on virtual time whose host is busy takes seconds for a login."""
ASK_S = 120.0
DIRECTORY = "/tmp/mptcp-testbed"
"""In the guest's memory. While a process waits for a disk, an idle guest on virtual time leaps from timer to timer: a
first import of the testbed's packages from disk took 234 virtual seconds, a second one 1.9."""
SCRIPT = Path(__file__).with_name("guest_capabilities.py")


class Asked(Protocol):
    """What :func:`discover` needs of a session."""

    def execute(self, argv: list[str], *, stdin: bytes, deadline_s: float) -> Completed:
        """Run a command to its end."""


class QemuProvider:
    """One machine with one kernel."""

    ends_with_the_run = True

    def __init__(
        self,
        kernel: str,
        hardware: Hardware,
        images_of: Callable[[Cache, str, Say], Images],
        *,
        cache: Cache | None = None,
        ask: Callable[[Target], Mapping[str, Any]] | None = None,
        link: PrivateLink | None = None,
    ) -> None:
        """``images_of`` gets what is booted (choosing.images_of); ``ask`` finds out what the guest can do; ``link``
        leads to another machine."""
        self._link = link
        self._kernel = kernel
        self._hardware = hardware
        self._images_of = images_of
        self._cache = cache or Cache()
        self._ask = ask or _asked_by_ssh
        self._machine: Machine | None = None
        self._target: Target | None = None

    def up(self, say: Say) -> Target:
        """Boot it; at once when it runs. Raises BootFailed, or Unsupported with what is missing."""
        if self._machine is not None and self._target is not None and self._machine.record.runs:
            return self._target
        self.down()
        tools.require(PROGRAM)  # before minutes are spent on images
        images = self._images_of(self._cache, self._kernel, say)
        hardware = self._hardware
        if hardware.clock == "real" and hardware.slowed == 1:
            hardware = accel.with_best(hardware, self._cache.root, images.kernel, machine.find_busybox())
        slowed = f", {hardware.slowed} times slower than ours" if hardware.slowed > 1 else ""
        say(f"booting {images.version} on {hardware.clock} time{slowed}")
        self._machine = machine.boot(images, hardware, self._cache.runs, link=self._link, say=say)
        try:
            target = target_of(self._machine.record, self._machine.directory)
            self._target = target_of(self._machine.record, self._machine.directory, self._ask(target))
        except BaseException:
            self.down()
            raise
        return self._target

    def down(self) -> None:
        """End it; its console's log stays."""
        if self._machine is not None:
            self._machine.stop()
        self._machine = self._target = None

    def why_gone(self) -> str | None:
        """With the last words of its console: a kernel that panics ends its machine."""
        if self._machine is None or self._machine.record.runs is not False:
            return None
        return f"the machine has ended by itself; {machine.last_words(self._machine.directory)}"

    def logs(self) -> str:
        """The guest's console; empty when none runs (a start that failed says where its log lies)."""
        return self._machine.console() if self._machine is not None else ""


def target_of(made: record.Record, directory: Path, capabilities: Mapping[str, Any] | None = None) -> Target:
    """How a machine is reached. Its host key is pinned: it was made for this machine alone."""
    facts = {
        "kernel": made.kernel,
        "shift": json.dumps(made.shift),
        "acceleration": made.acceleration,
        "cpus": json.dumps(made.cpus),
        "memory_mib": json.dumps(made.memory_mib),
        **({"slowed": json.dumps(made.slowed)} if made.slowed > 1 else {}),
        "boot_s": json.dumps(made.boot_s),
    }
    return Target(
        name=f"vm:{made.kernel}",
        host=record.HOST,
        port=made.port,
        user=record.USER,
        key=directory / record.KEY,
        host_key=made.host_key,
        clock="virtual" if made.clock == "virtual" else "real",
        machine=facts,
        capabilities=capabilities or {},
        directory=DIRECTORY,
    )


def discover(session: Asked, name: str) -> Mapping[str, Any]:
    """Ask the guest's own Python. Raises InvalidTrial when it says nothing of use."""
    done = session.execute(["python3", "-"], stdin=SCRIPT.read_bytes(), deadline_s=ASK_S)
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise InvalidTrial(f"{name}: what it can do is not known: {said[-1] if said else 'no answer'}") from None
    return found


def _asked_by_ssh(target: Target) -> Mapping[str, Any]:
    from testbed.remote.session import Session

    with Session.connect(target, deadline_s=CONNECT_S) as session:
        return discover(session, target.name)
