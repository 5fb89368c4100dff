"""What a machine is booted from: a kernel and the root file system that all kernels share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from testbed.vm.qemu import PAGE_BYTES, Disk


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
    in_memory: bool = False
    """The kernel can take disks that are memory of the machine; it gets them so when all are whole pages."""
    entries: tuple[Path, ...] = ()
    """Of the cache: locked while the machine runs."""

    def disks(self) -> tuple[Disk, ...]:
        """In the order of the guest's names."""
        images = (("root", self.root), ("modules", self.modules), ("site", self.site), ("checkout", self.checkout))
        there = [(serial, image.resolve()) for serial, image in images if image is not None]
        in_memory = self.in_memory and all(image.stat().st_size % PAGE_BYTES == 0 for _, image in there)
        return tuple(
            Disk(serial=serial, image=image, writable=serial == "root", in_memory=in_memory) for serial, image in there
        )
