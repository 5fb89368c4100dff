"""The configuration of a kernel, and whether it has what a machine of ours and its experiments need.

Source: scripts/extract-ikconfig (CONFIG_IKCONFIG: a gzip stream between IKCFG_ST and IKCFG_ED in the image),
Documentation/kbuild/kconfig-language.rst (values).
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from testbed.orchestrator.spec import SpecificationError

Config = Mapping[str, str]
"""Option without its CONFIG_ -> y, m, n, a number or a text."""

_LINE = re.compile(r'CONFIG_(\w+)=(?:(y|m|n)|"((?:[^"\\]|\\.)*)"|(-?\d+|0x[0-9a-fA-F]+))$')
_UNSET = re.compile(r"# CONFIG_(\w+) is not set$")
_START, _END = b"IKCFG_ST", b"IKCFG_ED"
LARGEST_BYTES = 4 << 20
"""No configuration is longer; a distribution's has 250 kB."""


@dataclass(frozen=True, slots=True)
class Need:
    """One option that something needs."""

    option: str
    needed_by: str
    must_be_built_in: bool = False
    """As a module it would come too late: nothing is there yet to load it from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A need that is not met."""

    option: str
    value: str
    """n; m where it must be built in, or where there are no modules."""
    needed_by: str
    fatal: bool
    """Without it the machine does not come up, or no experiment can run."""

    def __str__(self) -> str:
        return f"CONFIG_{self.option}={self.value}: {self.needed_by}"


BOOT: tuple[Need, ...] = (
    Need("64BIT", "the programs of the root file system", True),
    Need("BLK_DEV_INITRD", "the first files of the machine", True),
    Need("DEVTMPFS", "the device files", True),
    Need("PROC_FS", "everything", True),
    Need("SYSFS", "everything", True),
    Need("TMPFS", "/run and /tmp", True),
    Need("BINFMT_ELF", "programs", True),
    Need("BINFMT_SCRIPT", "scripts", True),
    Need("UNIX", "programs that talk to one another"),
    Need("TTY", "the console", True),
    Need("SERIAL_8250_CONSOLE", "the console", True),
    Need("VIRTIO_PCI", "the disks and the network card of the machine"),
    Need("VIRTIO_BLK", "the disks of the machine"),
    Need("VIRTIO_NET", "the way into the machine"),
    Need("EXT4_FS", "the root file system"),
    Need("SQUASHFS", "modules, the Python packages and the checkout of the machine"),
    Need("INET", "the way into the machine", True),
    Need("NET_NS", "the hosts of an experiment", True),
    Need("VETH", "the links of an experiment"),
    Need("PACKET", "probes and captures"),
    Need("MPTCP", "Multipath TCP", True),
)
"""Without one of these, nothing runs."""

WISHED: tuple[Need, ...] = (
    Need("MODULES", "modules", True),
    Need("IPV6", "IPv6 paths"),
    Need("MPTCP_IPV6", "Multipath TCP over IPv6"),
    Need("NET_SCH_NETEM", "links realised by the kernel"),
    Need("NET_SCH_TBF", "rate-only links"),
    Need("NET_SCH_HTB", "Mininet's TCLink"),
    Need("BRIDGE", "switches"),
    Need("OPENVSWITCH", "Mininet's switches"),
    Need("INET_MPTCP_DIAG", "ss -M"),
    Need("INET_DIAG", "ss"),
    Need("TCP_CONG_BBR", "BBR"),
    Need("NF_TABLES", "our own stack as an end on real interfaces"),
    Need("NF_TABLES_INET", "our own stack as an end on real interfaces"),
    Need("BPF_SYSCALL", "the ledger of kernel endpoints"),
    Need("DEBUG_INFO_BTF", "the ledger of kernel endpoints"),
    Need("VIRTIO_PMEM", "disks that nobody waits for (with others, virtual time leaps when something is first read)"),
    Need("BLK_DEV_PMEM", "disks that nobody waits for (with others, virtual time leaps when something is first read)"),
    Need("HW_RANDOM_VIRTIO", "random numbers at the first moment"),
    Need("PVH", "a quick start (without it the machine uncompresses its kernel itself)", True),
)
"""Without one of these, something cannot be used; who needs it says UNSUPPORTED."""


def parse(text: str) -> Config:
    """Read a .config. Raises SpecificationError with the line that is none."""
    config: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        line = line.rstrip("\r")
        if match := _LINE.match(line):
            option, tristate, quoted, numeric = match.groups()
            config[option] = tristate or numeric or re.sub(r"\\(.)", r"\1", quoted or "")
        elif match := _UNSET.match(line):
            config[match[1]] = "n"
        elif line.strip() and not line.startswith("#"):
            raise SpecificationError(f"line {number} is no line of a kernel configuration: {line[:60]!r}")
    if not config:
        raise SpecificationError("it holds no option: it is no kernel configuration")
    return config


def in_image(image: bytes) -> str | None:
    """The configuration that was built into an uncompressed kernel (CONFIG_IKCONFIG=y); None: none was."""
    at = -1
    while (at := image.find(_START, at + 1)) >= 0:
        end = image.find(_END, at)
        if end < 0:
            return None
        try:
            unpacker = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
            return unpacker.decompress(image[at + len(_START) : end], LARGEST_BYTES).decode()
        except (zlib.error, UnicodeDecodeError):
            continue  # the words stand in the code that looks for them, too
    return None


def preflight(config: Config, *, modules: bool) -> list[Finding]:
    """What is missing, the fatal first. ``modules``: whether the machine will have the kernel's modules."""
    found = []
    for needs, fatal in ((BOOT, True), (WISHED, False)):
        for need in needs:
            value = config.get(need.option, "n")
            enough: tuple[str, ...] = ("y",) if need.must_be_built_in or not modules else ("y", "m")
            if value not in enough:
                found.append(
                    Finding(option=need.option, value=value, needed_by=_why(need, value), fatal=fatal),
                )
    return found


def squashfs_compressor(config: Config | None) -> Literal["zstd", "xz", "gzip"]:
    """The quickest to read of those that this kernel can read; gzip, the oldest, when nothing is known."""
    if config is not None:
        if config.get("SQUASHFS_ZSTD") == "y":
            return "zstd"
        if config.get("SQUASHFS_ZLIB", "n") != "y" and config.get("SQUASHFS_XZ") == "y":
            return "xz"
    return "gzip"


def _why(need: Need, value: str) -> str:
    if value != "m":
        return need.needed_by
    return f"{need.needed_by}; it must be built in" + ("" if need.must_be_built_in else ", for there are no modules")
