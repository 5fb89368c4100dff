"""Kernels of the cache for the machines of the Vagrantfile: what libvirt boots directly, and a table of all.

    DIRECTORY/kernels.json      name -> kernel, initrd, cmd_line, as TESTBED_KERNELS takes it
    DIRECTORY/NAME/{kernel,initrd}

They are copies: libvirt gives the files of a machine to the user that QEMU runs as. The first file system has all
modules of the kernel, so any box will do whose root is an ext4 partition of a virtio disk, as Debian's is.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from importlib import resources
from pathlib import Path

from testbed.orchestrator.errors import InvalidTrial
from testbed.record import files
from testbed.vm import initramfs, tools
from testbed.vm.kernels import Kernel

TABLE = "kernels.json"
COMMAND_LINE = "root=/dev/vda1 rw console=ttyS0 net.ifnames=0"
"""Debian's boxes have one partition; their network is configured for eth0."""
REACHED_BY = ("virtio_pci", "virtio_blk", "ext4")
"""What the first file system loads; all else is the box's to load."""
CHECKSUM = ("crc32c_generic",)
"""ext4 asks the crypto API for it; a module in some kernels, a part of all of 7.x."""
UNPACK_S = 120.0


def write(kernel: Kernel, directory: Path, busybox: Path) -> str:
    """Put it there, and into the table beside those that are there; returns the machine's name in the Vagrantfile."""
    name = f"linux-{re.sub(r'[^0-9A-Za-z._-]', '-', kernel.name)}"
    folder = directory / name
    with files.space_needed_for(name, directory.parent):
        folder.mkdir(parents=True, exist_ok=True)
        for path in (folder / "kernel", folder / "initrd"):
            path.unlink(missing_ok=True)  # it may be another user's by now
        shutil.copyfile(kernel.image, folder / "kernel")
        (folder / "initrd").write_bytes(first_files(kernel, busybox))
    table = _read(directory / TABLE)
    table[name] = {
        "kernel": str((folder / "kernel").resolve()),
        "initrd": str((folder / "initrd").resolve()),
        "cmd_line": COMMAND_LINE,
    }
    files.write_atomically(directory / TABLE, json.dumps(table, indent=1, sort_keys=True).encode() + b"\n")
    return name


def first_files(kernel: Kernel, busybox: Path) -> bytes:
    """The first file system: finds the box's root, and gives it the modules."""
    script = (resources.files(__package__) / "guest" / "vagrant").read_bytes()
    entries = [
        initramfs.character_device("dev/console", 5, 1),
        *(initramfs.directory(name) for name in ("proc", "sys", "sysroot", "modules")),
        initramfs.regular(initramfs.BUSYBOX, busybox.read_bytes(), 0o755),
        initramfs.regular("init", script, 0o755),
    ]
    names: list[str] = []
    if kernel.modules is not None:
        with tempfile.TemporaryDirectory() as folder:
            tree = Path(folder) / "tree"
            tools.run("unsquashfs", "-no-progress", "-d", tree, kernel.modules, deadline_s=UNPACK_S)
            for number, path in enumerate(initramfs.load_order(tree, REACHED_BY, CHECKSUM)):
                names.append(f"modules/{number:02d}.ko")
                entries.append(initramfs.regular(names[-1], initramfs.module_content(path)))
            found = (path for path in sorted(tree.rglob("*")) if path.is_file())
            entries += [initramfs.regular(f"tree/{path.relative_to(tree)}", path.read_bytes()) for path in found]
    entries.append(initramfs.regular("modules/order", "".join(f"/{name}\n" for name in names).encode()))
    return initramfs.archive(entries)


def _read(path: Path) -> dict[str, dict[str, str]]:
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise InvalidTrial(f"{path} is no JSON ({error}): remove it") from None
    if not isinstance(found, dict):
        raise InvalidTrial(f"{path} is no table of kernels: remove it")
    return found
