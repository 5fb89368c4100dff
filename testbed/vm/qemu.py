"""The command line of QEMU as a value: what a machine consists of, and the words that start it.

A machine has no device but a serial console (a file), disks that keep nothing, a source of randomness
and one network card whose far end is QEMU itself: the guest can reach nothing (restrict=on), and only 127.0.0.1 of
this machine reaches its SSH server. Of two machines that belong together, each has a second card, whose cable leads to
the other one and nowhere else.

Virtual time: QEMU counts instructions, one taking 2**shift ns, and jumps to the next timer when the guest idles
(-icount shift=N,sleep=off; the manual page of QEMU 7.2 has on and off exchanged). It takes one virtual processor and
emulation without a thread of its own for each. What the guest measures then does not depend on how busy this machine
is, and its seconds are not ours.

The machine is a q35: QEMU's microvm has neither HPET nor PM timer, and Linux 7.3 hung on it in 8 of 17 boots.

Sources: qemu-system-x86_64(1): -icount, -accel, -netdev user, -drive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from testbed.orchestrator.spec import SpecificationError
from testbed.vm import slowed

Clock = Literal["real", "virtual"]
Acceleration = Literal["tcg", "kvm"]

PROGRAM = "qemu-system-x86_64"
EMULATED = "max,-erms,-fsrm,level-func7=0"
"""The processor under emulation: all that QEMU can, without what makes copying slow. With ERMS, FSRM or FSRS (in leaf
7.1 of newer QEMU, which is left out whole), glibc and the kernel copy by ``rep movsb``, which QEMU carries out, and
counts, byte by byte: 400 MB took 2.8 s of this machine instead of 0.05, and 0.41 s of virtual time instead of 0.05.
FSRM without ERMS is nothing that exists, and 6.1 stops in it."""
GUEST_ADDRESS = "10.0.2.15"
"""QEMU's user network gives it to the first guest; ours takes it without asking."""
LOOPBACK = "127.0.0.1"
SSH_PORT = 22
PAGE_BYTES = 2 << 20
"""Of a disk that is memory: Linux maps it by such pages (x86, PMD_SIZE), and takes no part of one."""
FIRST_SLOT = 0x10
"""Of disks on the PCI bus; QEMU gives the first ones to what it puts there by itself."""
DEFAULT_CPUS: Mapping[Clock, int] = {"virtual": 1, "real": 2}
DEFAULT_MEMORY_MIB = 1536
DEFAULT_SHIFT = 0
"""10^9 instructions a second: the testbed's own relay and stack need the most of a counted processor; Linux forwards
2 x 200 Mbit/s through netem at line rate with half of it."""
SHIFTS = range(11)
"""QEMU takes 0 to 10."""
SMALLEST_MIB = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """What the machine is made of."""

    clock: Clock = "virtual"
    shift: int = DEFAULT_SHIFT
    """An instruction takes 2**shift ns of virtual time."""
    acceleration: Acceleration = "tcg"
    cpus: int = 1
    memory_mib: int = DEFAULT_MEMORY_MIB
    slowed: int = 1
    """Of real time: so many of our seconds are one of the guest's (slowed.py)."""

    def __post_init__(self) -> None:
        if self.slowed < 1:
            raise SpecificationError(f"a guest's clock is slowed by 1 (not at all) or more, not by {self.slowed}")
        if self.slowed > 1 and (self.clock == "virtual" or self.acceleration != "tcg"):
            raise SpecificationError("only real time under emulation (tcg) can be slowed")
        if self.clock == "virtual" and self.cpus != 1:
            raise SpecificationError(
                f"--cpus {self.cpus}: virtual time has one processor (QEMU counts the instructions of one): "
                "leave --cpus away, or take --time real"
            )
        if self.clock == "virtual" and self.acceleration != "tcg":
            raise SpecificationError("virtual time needs emulation (tcg): KVM counts no instructions")
        if self.shift not in SHIFTS:
            raise SpecificationError(f"--shift {self.shift}: an instruction takes 2**shift ns, with shift 0 to 10")
        if self.cpus < 1:
            raise SpecificationError(f"--cpus {self.cpus}: at least one")
        if self.memory_mib < SMALLEST_MIB:
            raise SpecificationError(f"--memory {self.memory_mib}: a guest takes at least {SMALLEST_MIB} MiB")

    def words(self, beside_bytes: int = 0) -> list[str]:
        """The options for processor, time and memory; ``beside_bytes``: of disks that are memory, too."""
        room = f",maxmem={self.memory_mib + 2 * (beside_bytes >> 20) + 1024}M" if beside_bytes else ""
        words = ["-M", "q35", "-m", f"{self.memory_mib}M{room}", "-smp", str(self.cpus)]
        if self.acceleration == "kvm":
            return [*words, "-accel", "kvm", "-cpu", "host"]
        if self.clock == "virtual":
            icount = f"shift={self.shift},sleep=off"
            return [*words, "-accel", "tcg,thread=single", "-icount", icount, "-rtc", "clock=vm", "-cpu", EMULATED]
        return [*words, "-accel", "tcg,thread=multi", "-cpu", EMULATED]


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """An image that the guest finds by its serial; nothing that the guest writes reaches the file."""

    serial: str
    """The guest's init looks for root, modules, site and checkout."""
    image: Path
    writable: bool = False
    """In memory and a temporary file, for as long as the machine runs."""
    in_memory: bool = False
    """The guest sees the file as memory (virtio-pmem), and reads it without waiting. While a process waits for another
    disk, an idle guest on virtual time leaps from timer to timer: a hundred seconds and more before a first trial."""

    @property
    def size_bytes(self) -> int:
        """Of the image."""
        return self.image.stat().st_size

    def words(self, slot: int) -> list[str]:
        """Its two options; ``slot`` is its place on the PCI bus, by which the guest knows a disk in memory."""
        if self.in_memory:
            backend = f"memory-backend-file,id={self.serial},mem-path={_escaped(self.image)},size={self.size_bytes}"
            # not shared: what the guest writes stays in QEMU's own copy of the page
            return [
                "-object",
                f"{backend},share=off",
                "-device",
                f"virtio-pmem-pci,memdev={self.serial},addr={slot:#x}",
            ]
        kind = "snapshot=on" if self.writable else "readonly=on"
        drive = f"file={_escaped(self.image)},if=none,format=raw,cache=unsafe,id={self.serial},{kind}"
        return ["-drive", drive, "-device", f"virtio-blk-pci,drive={self.serial},serial={self.serial}"]


@dataclass(frozen=True, slots=True)
class PrivateLink:
    """One end of a cable between two machines: a connected socket that QEMU inherits. Nothing listens anywhere.

    Frames are lost nowhere on it: a machine that does not take them lets the other one wait (net/socket.c).
    """

    descriptor: int
    mac: str
    """Of the machine's second card; each end has its own."""

    def words(self) -> list[str]:
        """The options for a second network card."""
        device = f"virtio-net-pci,netdev=n1,mac={self.mac},romfile="
        return ["-netdev", f"socket,id=n1,fd={self.descriptor}", "-device", device]


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """One machine, all that its command line needs."""

    hardware: Hardware
    kernel: Path
    """An ELF vmlinux with a PVH note, or a bzImage."""
    initramfs: Path
    console: Path
    """The guest's serial console is written here."""
    disks: Sequence[Disk] = ()
    ssh_port: int | None = None
    """Port of 127.0.0.1 that leads to the guest's SSH server; None: no network card."""
    link: PrivateLink | None = None
    """To another machine."""
    pid_file: Path | None = None
    """QEMU goes to the background once it is set up, and says here which process that is; None: it stays ours."""
    name: str = "testbed"

    def words(self) -> list[str]:
        """The whole command."""
        words = [PROGRAM, "-name", self.name, "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]
        words += self.hardware.words(sum(disk.size_bytes for disk in self.disks if disk.in_memory))
        words += ["-serial", f"file:{self.console}", "-monitor", "none", "-parallel", "none"]
        words += ["-kernel", str(self.kernel), "-initrd", str(self.initramfs), "-append", self.command_line()]
        words += ["-object", "rng-random,id=rng0,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng0"]
        for slot, disk in enumerate(self.disks, FIRST_SLOT):
            words += disk.words(slot)
        if self.ssh_port is not None:
            forward = f"tcp:{LOOPBACK}:{self.ssh_port}-{GUEST_ADDRESS}:{SSH_PORT}"
            words += ["-netdev", f"user,id=n0,restrict=on,ipv6=off,hostfwd={forward}"]
            words += ["-device", "virtio-net-pci,netdev=n0,romfile="]
        if self.link is not None:
            words += self.link.words()
        if self.pid_file is not None:
            words += ["-daemonize", "-pidfile", str(self.pid_file)]
        return words

    def command_line(self) -> str:
        """The kernel's: a panic ends the machine (with -no-reboot), the network card is called eth0."""
        return " ".join(
            [
                *("console=ttyS0", "panic=-1", "quiet", "net.ifnames=0"),
                *(slowed.KERNEL_WORDS if self.hardware.slowed > 1 else ()),
                *(
                    f"testbed.{disk.serial}={f'{slot:02x}' if disk.in_memory else ''}"
                    for slot, disk in enumerate(self.disks, FIRST_SLOT)
                ),
            ]
        )


def _escaped(path: Path) -> str:
    """A comma in the value of an option is written twice (qemu-system-x86_64(1), -drive)."""
    return str(path).replace(",", ",,")
