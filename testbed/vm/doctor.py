"""What this machine needs to boot kernels, what is missing, and the packages that it is in (Debian and Ubuntu)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from testbed.orchestrator import process
from testbed.orchestrator.errors import TestbedError, Unsupported
from testbed.vm import accel, slowed, tools
from testbed.vm.cache import KERNELS, Cache
from testbed.vm.qemu import PROGRAM

RUNNING: Mapping[str, tuple[str, str]] = {
    PROGRAM: ("qemu-system-x86", "every virtual machine"),
    "busybox": ("busybox-static", "the first file system of the guest"),
    "setpriv": ("util-linux", "machines that end with their owner"),
}
"""Program -> its package, and what needs it: to boot what is in the cache. tools.PACKAGES: to make that."""
NEEDED_MIB = 1024
"""A guest of 1.5 GiB takes 0.4 to 0.5 GiB of this machine, its writes included."""
INSTALL_S = 900.0
GRACE_S = 120.0
"""Interrupted, apt lets dpkg finish the package that it is at; killed, it leaves that one half-configured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One answer."""

    name: str
    there: bool
    seen: str
    remedy: str = ""
    """How to get it."""
    vital: bool = False
    """Nothing boots without it."""

    def document(self) -> Mapping[str, object]:
        """For JSON."""
        return asdict(self)


def examine(cache: Cache | None = None) -> tuple[Check, ...]:
    """Everything; the accelerations are tried when there is a kernel in the cache to try them with."""
    programs = [_program(name, *RUNNING[name], vital=True) for name in RUNNING]
    programs += [_program(name, *tools.PACKAGES[name], vital=False) for name in tools.PACKAGES]
    return (*programs, slowed_time(), memory(), *_accelerations(cache or Cache(), programs))


def boots(checks: Iterable[Check]) -> bool:
    """Whether nothing vital is missing."""
    return all(check.there for check in checks if check.vital)


def memory() -> Check:
    """What the kernel says could be used without swapping."""
    available_mib = tools.available_mib()
    remedy = f"a machine takes up to {NEEDED_MIB} MiB: end something, or boot with less --memory"
    enough = available_mib >= NEEDED_MIB
    return Check(name="memory", there=enough, seen=f"{available_mib} MiB free", remedy="" if enough else remedy)


def slowed_time() -> Check:
    """What divides the clocks of a pair of machines; no program, but a library that QEMU is given."""
    try:
        found = str(slowed.find_library())
    except Unsupported:
        return Check(
            name=slowed.LIBRARY,
            there=False,
            seen="needed for two kernels against each other",
            remedy=f"apt install {slowed.PACKAGE} (testbed vm doctor --install)",
        )
    return Check(name=slowed.LIBRARY, there=True, seen=found)


def missing_packages() -> list[str]:
    """Packages of what is not installed, each once."""
    wanted = {**RUNNING, **tools.PACKAGES}
    missing = [package for name, (package, _why) in wanted.items() if tools.find(name) is None]
    missing += [] if slowed_time().there else [slowed.PACKAGE]
    return list(dict.fromkeys(missing))


def install(say: Callable[[str], None]) -> None:
    """Install what is missing. Raises Unsupported without root or apt-get, and with apt's own words when it fails."""
    packages = missing_packages()
    if not packages:
        say("no package is missing")
        return
    command: Sequence[str] = ("apt-get", "install", "-y", "--no-install-recommends", *packages)
    if os.geteuid() != 0:
        raise Unsupported(f"--install needs root: sudo {' '.join(command)}")
    say(" ".join(command))
    try:
        apt = process.start(command, environment={"DEBIAN_FRONTEND": "noninteractive"})
        try:
            apt.succeed(INSTALL_S)
        finally:
            apt.stop(GRACE_S)
    except TestbedError as error:
        raise Unsupported(f"{error}; 'apt-get update' may help") from None


def _program(name: str, package: str, needed_by: str, *, vital: bool) -> Check:
    found = tools.find(name)
    remedy = "" if found else f"apt install {package} (testbed vm doctor --install)"
    return Check(
        name=name, there=found is not None, seen=found or f"needed for {needed_by}", remedy=remedy, vital=vital
    )


def _accelerations(cache: Cache, programs: Sequence[Check]) -> list[Check]:
    kernel = next((path for entry in cache.entries(KERNELS) if (path := _image(entry.path)) is not None), None)
    if kernel is None or not boots(programs):
        seen = "not tried: there is no kernel yet" if kernel is None else "not tried: a program is missing"
        remedy = "testbed vm fetch-kernel debian:6.12" if kernel is None else "see above"
        return [Check(name=f"acceleration {name}", there=False, seen=seen, remedy=remedy) for name in ("kvm", "tcg")]
    busybox = tools.find("busybox")
    assert busybox is not None
    probes = accel.probed(cache.root, kernel, Path(busybox))
    return [
        Check(
            name=f"acceleration {each.acceleration}",
            there=each.works,
            seen=f"{each.detail} ({each.seconds:.1f} s)",
            remedy="" if each.works or each.acceleration == "kvm" else "look at the words of QEMU",
            vital=each.acceleration == "tcg",
        )
        for each in probes
    ]


def _image(directory: Path) -> Path | None:
    """The kernel of an entry, uncompressed if it is there that way."""
    return next((path for name in ("vmlinux", "bzImage") if (path := directory / name).is_file()), None)
