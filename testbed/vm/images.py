"""What a machine is booted from: a kernel and the root file system that all kernels share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from testbed.vm.qemu import Disk


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """What a machine is booted from."""

    name: str
    """The kernel, as the user called it."""
    version: str
    kernel: Path
    root: Path
    early: Path | None = None
    """Modules for the first file system."""
    modules: Path | None = None
    site: Path | None = None
    checkout: Path | None = None
    """What carries out runs; a machine to look around in has none."""
    entries: tuple[Path, ...] = ()
    """Of the cache: locked while the machine runs."""

    def disks(self) -> tuple[Disk, ...]:
        """In the order of the guest's names."""
        found = [Disk(serial="root", image=self.root.resolve(), writable=True)]
        for serial, image in (("modules", self.modules), ("site", self.site), ("checkout", self.checkout)):
            found += [Disk(serial=serial, image=image.resolve())] if image is not None else []
        return tuple(found)
