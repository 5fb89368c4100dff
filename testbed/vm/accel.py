"""Which acceleration runs a kernel here: found out by booting one, and kept until the machine or QEMU changes.

That /dev/kvm exists proves nothing: in nested clouds it may be a hypervisor of another kind, on which QEMU aborts or
the guest stands still. What counts is that a kernel reached its first program within a time that is enough for
emulation.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from testbed.orchestrator import process
from testbed.orchestrator.errors import NotReady, Unsupported
from testbed.record import files
from testbed.vm import initramfs
from testbed.vm.qemu import PROGRAM, Acceleration, Boot, Hardware

KVM = Path("/dev/kvm")
PROBE_S = 60.0
"""Emulation takes two to six seconds."""
REACHED = "testbed: reached init"
FILE = "accelerations.json"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What came of booting with one acceleration."""

    acceleration: Acceleration
    works: bool
    seconds: float
    detail: str
    """What was seen."""


def probe(acceleration: Acceleration, kernel: Path, busybox: Path, deadline_s: float = PROBE_S) -> Probe:
    """Boot the kernel to its first program. Raises Unsupported when QEMU or busybox is not installed."""
    if acceleration == "kvm" and not os.access(KVM, os.R_OK | os.W_OK):
        seen = f"{KVM} cannot be opened by this user" if KVM.exists() else f"there is no {KVM}"
        return Probe(acceleration=acceleration, works=False, seconds=0.0, detail=seen)
    with tempfile.TemporaryDirectory() as folder:
        console, first = Path(folder) / "console", Path(folder) / "initramfs"
        console.touch()
        first.write_bytes(initramfs.probe(busybox))
        hardware = Hardware(clock="real", acceleration=acceleration, memory_mib=256)
        words = Boot(hardware=hardware, kernel=kernel.resolve(), initramfs=first, console=console).words()
        began_s = time.monotonic()
        with process.start(words) as qemu:
            try:
                code = qemu.wait(deadline_s)
                ended = f"QEMU ended with {code}" if code else "the kernel ended before its first program"
            except NotReady:
                ended = f"its first program was not reached within {deadline_s:g} s"
            said = qemu.stderr.strip().splitlines()
        works = REACHED in console.read_text(errors="replace")
    detail = "a kernel reached its first program" if works else f"{ended}{f': {said[-1]}' if said else ''}"
    return Probe(acceleration=acceleration, works=works, seconds=round(time.monotonic() - began_s, 3), detail=detail)


def probed(root: Path, kernel: Path, busybox: Path) -> tuple[Probe, ...]:
    """KVM and emulation; what was found out since this machine started, with this QEMU and kernel, is not asked again.

    Raises Unsupported when a program is missing.
    """
    basis = _basis(kernel)
    stored = root / FILE
    try:
        document = json.loads(stored.read_bytes())
        if document["basis"] == basis:
            return tuple(Probe(**each) for each in document["probes"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        pass
    found = tuple(probe(acceleration, kernel, busybox) for acceleration in ("kvm", "tcg"))
    root.mkdir(parents=True, exist_ok=True)
    document = {"basis": basis, "probes": [asdict(each) for each in found]}
    files.write_atomically(stored, json.dumps(document, indent=1).encode() + b"\n")
    return found


def best(probes: tuple[Probe, ...]) -> Acceleration:
    """The first that works. Raises Unsupported with what each of them did."""
    for each in probes:
        if each.works:
            return each.acceleration
    told = "; ".join(f"{each.acceleration}: {each.detail}" for each in probes)
    raise Unsupported(f"no kernel boots under QEMU here: {told}")


def with_best(hardware: Hardware, root: Path, kernel: Path, busybox: Path) -> Hardware:
    """The same machine with the acceleration that works here; ``root`` keeps the answer. Raises Unsupported."""
    return replace(hardware, acceleration=best(probed(root, kernel, busybox)))


def _basis(kernel: Path) -> Mapping[str, str]:
    """What the answer depends on."""
    version = process.run([PROGRAM, "--version"]).splitlines()[0]
    facts = kernel.stat()
    may_open = str(os.access(KVM, os.R_OK | os.W_OK))
    image = f"{kernel.resolve()} {facts.st_size} {facts.st_mtime_ns}"
    return {"qemu": version, "boot_id": _BOOT_ID.read_text().strip(), "kernel": image, "kvm_opens": may_open}
