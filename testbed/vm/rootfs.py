"""The root file system of machines: Debian with what experiments need, the same for every kernel.

mmdebstrap makes it, as root or in a user namespace of its own; what depends on a kernel (modules) or a run (keys) comes
from elsewhere, so it is made once and only read: QEMU keeps what a machine writes to itself (snapshot=on).

Source: mmdebstrap(1) (modes, hooks, PACKAGE/SUITE as in apt-get(8)), mke2fs(8) (-d, -O, -E), unshare(1).
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from testbed.orchestrator import process
from testbed.orchestrator.errors import CommandFailed, NotReady, Unsupported
from testbed.vm import site_packages, tools
from testbed.vm.apt import Archive, archive, transport
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
LEFT_OUT = ("/usr/share/man/*", "/usr/share/locale/*", "/usr/share/doc/*", "/usr/share/info/*")
MAKER = "1"
"""Of the way it is made: another one makes it anew."""
SIZE = "2G"
"""Of the disk as the machine sees it; the file has holes where nothing is."""
MMDEBSTRAP_S, MKFS_S = 1800.0, 300.0
_INODES = "131072"
GRACE_S = 30.0
"""mmdebstrap takes down what it was doing when it is interrupted."""
_PACKED = """\
tree=$2
tar -xf "$1" -C "$tree" --numeric-owner --exclude='./dev/*' && shift 2 && "$@"
code=$?
rm -rf "$tree"
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
    def site_directory(self) -> Path:
        """The other entry to hold."""
        return self.site.parent


def build(cache: Cache, say: Say, *, mirror: str | None = None, again: bool = False) -> RootFs:
    """The root file system and the Python packages; at once when they are there, unless they are wanted ``again``.

    Raises Unsupported with the program that is missing, or the words of the one that failed.
    """

    def make(directory: Path) -> None:
        for program in ("mmdebstrap", "mkfs.ext4", *(() if os.geteuid() == 0 else ("unshare", "newuidmap"))):
            tools.require(program)
        say(f"root file system: Debian {SUITE} with {len(PACKAGES)} packages and what they need (half a minute)")
        with tempfile.TemporaryDirectory(dir=directory, prefix=".packed-") as folder:
            tree = Path(folder) / "root.tar"
            _bootstrap(archive(mirror), tree, directory)
            say("root file system: ext4 image")
            _image(tree, Path(folder), directory / "root.ext4")

    path = cache.made(ROOTFS, digest(), make, again=again)
    return RootFs(directory=path, image=path / "root.ext4", site=site_packages.build(cache, say, python=PYTHON))


def digest() -> str:
    """The name of its entry: by what goes in. Newer packages of the same names make no other."""
    return hashlib.sha256("\0".join([MAKER, SIZE, *SUITES, *PACKAGES, *LEFT_OUT]).encode()).hexdigest()[:32]


def versions(status: str) -> str:
    """``NAME VERSION`` of all that is installed, from dpkg's own file: the lock of what was made."""
    found = []
    for stanza in status.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in stanza.splitlines() if ": " in line and line[0] != " ")
        if fields.get("Status", "").endswith(" installed"):
            found.append(f"{fields['Package']} {fields['Version']}\n")
    return "".join(sorted(found))


def command(sources: Path, settings: Path, status: Path) -> list[str]:
    """mmdebstrap's words; its tar comes on standard output.

    What the user's apt needs to reach the archive (proxies, with their passwords) is not left in the image.
    """
    words = ["mmdebstrap", f"--mode={'root' if os.geteuid() == 0 else 'unshare'}", "--variant=minbase", "--format=tar"]
    words += [f"--include={','.join(PACKAGES)}", f"--aptopt={settings}", "--aptopt=Acquire::Languages none"]
    words += [f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT]
    words += [f"--customize-hook=download /var/lib/dpkg/status {status}"]
    words += ['--customize-hook=rm -f "$1"/etc/apt/apt.conf.d/99mmdebstrap "$1"/etc/apt/sources.list.d/*']
    words += ['--customize-hook=rm -f "$1"/etc/ssh/ssh_host_*']  # an image that is kept has no keys
    return [*words, "--quiet", SUITE, "-", str(sources)]


# --- inside ---


def _bootstrap(where: Archive, to: Path, directory: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="testbed-rootfs-") as folder:
        Path(folder).chmod(0o711)  # without root, apt is another user there, who has to find what it is told
        sources, settings, status = (Path(folder) / name for name in ("debian.sources", "apt.conf", "status"))
        sources.write_text(where.sources(SUITES))
        settings.write_text(transport())
        own = {"TMPDIR": folder} if os.geteuid() == 0 else {}
        _succeed(process.start(command(sources, settings, status), stdout=to, environment=own), MMDEBSTRAP_S)
        (directory / "packages.lock").write_text(versions(status.read_text(errors="replace")))


def _image(packed: Path, folder: Path, image: Path) -> None:
    """Unpack and make the file system, as root of a user namespace where we are not root."""
    tree = folder / "tree"
    tree.mkdir()
    words = ["sh", "-c", _PACKED, "sh", str(packed), str(tree)]
    words += [str(tools.find("mkfs.ext4")), "-q", "-F", "-L", "testbed", "-m", "0", "-N", _INODES]
    words += ["-O", "^has_journal", "-E", "lazy_itable_init=1", "-d", str(tree), str(image), SIZE]
    alone = [] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--map-auto", "--mount"]
    _succeed(process.start([*alone, *words]), MKFS_S)


def _succeed(program: process.Process, deadline_s: float) -> None:
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
