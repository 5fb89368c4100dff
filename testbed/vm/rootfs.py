"""The root file system of machines: Debian with what experiments need, the same for every kernel.

mmdebstrap makes it, as root or in a user namespace of its own; what depends on a kernel (modules) or a run (keys) comes
from elsewhere, so it is made once and only read: QEMU keeps what a machine writes to itself (snapshot=on).

There are two: ``minimal`` has what runs need, ``full`` also what people who log in ask for. Beside each image,
``packages.lock`` says what is in it: JSON, a list of package, version, architecture and the SHA-256 of its .deb.

Source: mmdebstrap(1) (modes, hooks, PACKAGE/SUITE as in apt-get(8)), mke2fs(8) (-d, -O, -E), unshare(1), tmpfs(5).
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from testbed.orchestrator.errors import CommandFailed, NotReady, Unsupported
from testbed.orchestrator.process import Process
from testbed.vm import side_by_side, site_packages, tools
from testbed.vm.apt import Archive, archive, packages, transport
from testbed.vm.cache import ROOTFS, Cache
from testbed.vm.kernels import Say

SUITE = "bookworm"
"""Debian 12: the programs by which the machines were measured (iperf3, Open vSwitch 3.1, Mininet's mnexec)."""
SUITES = (SUITE, f"{SUITE}-updates", f"{SUITE}-security", f"{SUITE}-backports")
PYTHON = "3.11"
"""Of that suite; the Python packages are chosen for it."""
PACKAGES = (
    *("python3", "python3-distutils"),  # the testbed; Mininet imports distutils
    *("openssh-server", "kmod", "procps", "busybox-static"),  # the machine itself
    f"iproute2/{SUITE}-backports",  # 6.15: tc with netem's seed, ip mptcp of today's kernels
    *("mininet", "openvswitch-switch", "ethtool", "nftables"),  # links and switches
    *("iperf3", "mptcpize", "iputils-ping", "tcpdump"),  # what is measured with
)
FOR_PEOPLE = (
    *("vim-tiny", "less", "tmux"),  # to read and write by hand, several windows over one login
    *("strace", "lsof", "linux-perf", "bpftool"),  # to look into programs and the kernel
    *("tshark", "socat", "netcat-openbsd", "curl"),  # to look at packets, and make some
    *("iperf", "inetutils-telnet"),  # what Mininet's own test of throughput starts
)
"""What ``full`` has beside PACKAGES."""
Variant = Literal["minimal", "full"]
LEFT_OUT = ("/usr/share/man/*", "/usr/share/locale/*", "/usr/share/doc/*", "/usr/share/info/*")
MAKER = "2"
"""Of the way it is made: another one makes it anew."""
IMAGE, LOCK = "root.ext4", "packages.lock"
SIZE = "2G"
"""Of the disk as the machine sees it; the file has holes where nothing is."""
MMDEBSTRAP_S, MKFS_S = 1800.0, 300.0
_INODES = "131072"
GRACE_S = 30.0
"""mmdebstrap takes down what it was doing when it is interrupted."""
IN_MEMORY_MIB = 2048
"""With so much of it free, what is unpacked on the way (400 MB) lies in memory: a quarter of the time is saved."""
_IN_MEMORY = 'mount -t tmpfs -o mode=711 testbed "$0" && exec "$@"'
"""In a mount namespace of its own: gone with the last process that is in it, however that ends."""
_PACKED = """\
tree=$2
tar -xf "$1" -C "$tree" --numeric-owner --exclude='./dev/*' && shift 2 && "$@"
code=$?
rm -rf "$tree"/*
exit $code"""
"""One shell, for without root the owners are right, and can remove it, only inside of the one user namespace.
Device files cannot be made there, and the machine has its own (devtmpfs)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RootFs:
    """What a machine has on its disks beside its kernel."""

    directory: Path
    """Its entry of the cache: hold it as long as the image is used."""
    image: Path
    """ext4, raw; never written to."""
    site: Path
    """squashfs of the guest's Python packages."""

    @property
    def lock(self) -> Path:
        """JSON: what is in the image."""
        return self.directory / LOCK

    @property
    def site_directory(self) -> Path:
        """The other entry to hold."""
        return self.site.parent


def build(
    cache: Cache, say: Say, *, mirror: str | None = None, again: bool = False, variant: Variant = "minimal"
) -> RootFs:
    """The root file system and the Python packages; at once when they are there, unless they are wanted ``again``.

    Raises Unsupported with the program that is missing, or the words of the one that failed.
    """
    path = build_image(cache, say, mirror=mirror, again=again, variant=variant)
    return RootFs(directory=path, image=path / IMAGE, site=site_packages.build(cache, say, python=PYTHON))


def build_image(
    cache: Cache, say: Say, *, mirror: str | None = None, again: bool = False, variant: Variant = "minimal"
) -> Path:
    """The root file system alone: its entry of the cache."""
    wanted = contents(variant)

    def make(directory: Path) -> None:
        for program in ("mmdebstrap", "mkfs.ext4", "unshare", *(() if os.geteuid() == 0 else ("newuidmap",))):
            tools.require(program)
        say(f"root file system: Debian {SUITE} with {len(wanted)} packages and what they need (half a minute)")
        with tempfile.TemporaryDirectory(dir=directory, prefix=".packed-") as folder:
            tree = Path(folder) / "root.tar"
            _bootstrap(archive(mirror), wanted, tree, directory)
            say("root file system: ext4 image")
            _image(tree, Path(folder), directory / IMAGE)

    return cache.made(ROOTFS, digest(variant), make, again=again)


def contents(variant: Variant) -> tuple[str, ...]:
    """What is asked of apt; what these need comes with them."""
    return PACKAGES if variant == "minimal" else (*PACKAGES, *FOR_PEOPLE)


def digest(variant: Variant = "minimal") -> str:
    """The name of its entry: by what goes in. Newer packages of the same names make no other."""
    words = [MAKER, SIZE, *SUITES, *contents(variant), *LEFT_OUT]
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:32]


def installed(status: str, known: str) -> list[Mapping[str, str | None]]:
    """All that is installed, from dpkg's own file: the lock of what was made, by name.

    ``known`` is what ``apt-cache show`` said of these packages; the digest is null where it does not know that version.
    """
    digests = {(package.name, package.version): package.sha256 for package in packages(known)}
    found: list[Mapping[str, str | None]] = []
    for stanza in status.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in stanza.splitlines() if ": " in line and line[0] != " ")
        if fields.get("Status", "").endswith(" installed"):
            name, version = fields["Package"], fields["Version"]
            found.append(
                {
                    "package": name,
                    "version": version,
                    "architecture": fields.get("Architecture"),
                    "sha256": digests.get((name, version)),
                }
            )
    return sorted(found, key=lambda package: str(package["package"]))


def command(wanted: Sequence[str], sources: Path, settings: Path, status: Path, known: Path) -> list[str]:
    """mmdebstrap's words; its tar comes on standard output.

    What the user's apt needs to reach the archive (proxies, with their passwords) is not left in the image. What is
    left out is told to dpkg by a hook and removed from the first packages afterwards: given as --dpkgopt, mmdebstrap
    runs each of the first packages through a filter, 10 s in all.
    """
    excludes = " ".join(f"'path-exclude={pattern}'" for pattern in LEFT_OUT)
    unwanted = " ".join(f'"$1"{pattern}' for pattern in LEFT_OUT)
    about = "/tmp/testbed-known"
    words = ["mmdebstrap", f"--mode={'root' if os.geteuid() == 0 else 'unshare'}", "--variant=minbase", "--format=tar"]
    words += [f"--include={','.join(wanted)}", f"--aptopt={settings}", "--aptopt=Acquire::Languages none"]
    words += ["--dpkgopt=force-unsafe-io"]  # what is half-made after a crash is removed
    words += [f"--extract-hook=printf '%s\\n' {excludes} >\"$1\"/etc/dpkg/dpkg.cfg.d/99testbed"]
    words += [f"--customize-hook=rm -rf {unwanted}"]
    names = "dpkg-query --admindir=\"$1\"/var/lib/dpkg -W -f '${Package} '"
    show = f'APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-cache show $({names}) >"$1"{about}'
    words += [f"--customize-hook={show}", f"--customize-hook=download {about} {known}"]
    words += [f'--customize-hook=rm "$1"{about}', f"--customize-hook=download /var/lib/dpkg/status {status}"]
    words += ['--customize-hook=rm -f "$1"/etc/apt/apt.conf.d/99mmdebstrap "$1"/etc/apt/sources.list.d/*']
    words += ['--customize-hook=rm -f "$1"/etc/ssh/ssh_host_*']  # an image that is kept has no keys
    return [*words, "--quiet", SUITE, "-", str(sources)]


# --- inside ---


def _bootstrap(where: Archive, wanted: Sequence[str], to: Path, directory: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="testbed-rootfs-") as folder:
        Path(folder).chmod(0o711)  # without root, apt is another user there, who has to find what it is told
        sources, settings, status, known = (
            Path(folder) / name for name in ("debian.sources", "apt.conf", "status", "known")
        )
        sources.write_text(where.sources(SUITES))
        settings.touch(0o600 if os.geteuid() == 0 else 0o644)  # proxies have passwords; else apt is another user
        settings.write_text(transport())
        words, own = command(wanted, sources, settings, status, known), {}
        if os.geteuid() == 0:
            work = Path(folder) / "work"
            work.mkdir()
            words, own = [*_in_memory(["unshare", "--mount"], work), *words], {"TMPDIR": str(work)}
        _succeed(side_by_side.start(words, stdout=to, environment=own), MMDEBSTRAP_S)
        lock = installed(status.read_text(errors="replace"), known.read_text(errors="replace"))
        (directory / LOCK).write_text(json.dumps(lock, indent=1) + "\n")


def _image(packed: Path, folder: Path, image: Path) -> None:
    """Unpack and make the file system, as root of a user namespace where we are not root."""
    tree = folder / "tree"
    tree.mkdir()
    words = ["sh", "-c", _PACKED, "sh", str(packed), str(tree)]
    words += [str(tools.find("mkfs.ext4")), "-q", "-F", "-L", "testbed", "-m", "0", "-N", _INODES]
    words += ["-O", "^has_journal", "-E", "lazy_itable_init=1", "-d", str(tree), str(image), SIZE]
    alone = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--map-auto", "--mount"]
    _succeed(side_by_side.start([*_in_memory(alone, tree), *words]), MKFS_S)


def _in_memory(alone: Sequence[str], directory: Path) -> list[str]:
    """What makes ``alone`` (unshare's words) carry out a command with that directory in memory, where there is room."""
    there = tools.available_mib() >= IN_MEMORY_MIB
    return [*alone, *(("sh", "-c", _IN_MEMORY, str(directory)) if there else ())]


def _succeed(program: Process, deadline_s: float) -> None:
    try:
        program.succeed(deadline_s)
    except CommandFailed as error:
        said = [line for line in error.stderr.splitlines() if line.strip() and not line.startswith("I: ")]
        first = next((line for line in said if line.startswith("E: ")), said[0] if said else str(error))
        raise Unsupported(f"the root file system cannot be made: {first}") from None
    except NotReady as error:
        raise Unsupported(f"the root file system cannot be made: {error}") from None
    finally:
        program.stop(GRACE_S)
