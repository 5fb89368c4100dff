"""What Vagrant's libvirt boots: a kernel, its first files with all modules, and a table that the Vagrantfile reads."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import made_kernel
import pytest

from testbed.orchestrator.errors import InvalidTrial
from testbed.vm import initramfs, kernels, modules, vagrant_kernels
from testbed.vm.cache import Cache
from testbed.vm.kernels import Kernel

FIRST = vagrant_kernels.REACHED_BY


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    """From a bzImage, all built in."""
    image = tmp_path / "bzImage"
    image.write_bytes(made_kernel.bzimage(made_kernel.compressed("gzip", made_kernel.vmlinux())))
    return kernels.from_bzimage(Cache(tmp_path / "cache"), image, "6.12", lambda text: None)


@pytest.fixture
def busybox(tmp_path: Path) -> Path:
    program = tmp_path / "busybox"
    program.write_bytes(b"busybox")
    return program


def _entries(path: Path) -> dict[str, bytes]:
    return {entry.name: entry.data for entry in initramfs.read_archive(path.read_bytes())}


def test_a_kernel_is_copied_and_told_in_the_table_beside_others(kernel: Kernel, busybox: Path, tmp_path: Path) -> None:
    directory = tmp_path / "vagrant"
    assert vagrant_kernels.write(kernel, directory, busybox) == "linux-6.12"
    mine = dataclasses.replace(kernel, name="my kernel/2")
    assert vagrant_kernels.write(mine, directory, busybox) == "linux-my-kernel-2"
    table = json.loads((directory / "kernels.json").read_bytes())
    assert list(table) == ["linux-6.12", "linux-my-kernel-2"]
    for machine in table.values():
        assert set(machine) == {"kernel", "initrd", "cmd_line"}  # what the Vagrantfile knows
        assert Path(machine["kernel"]).read_bytes() == kernel.image.read_bytes()
        assert "root=/dev/vda1" in machine["cmd_line"]
    entries = _entries(directory / "linux-6.12" / "initrd")
    assert entries["init"].startswith(b"#!/bin/busybox sh") and entries["bin/busybox"] == b"busybox"
    assert entries["modules/order"] == b""


@pytest.mark.skipif(
    not all(shutil.which(name) for name in ("mksquashfs", "unsquashfs")), reason="needs squashfs-tools: apt install it"
)
def test_the_box_gets_all_modules_and_the_first_ones_are_loaded_in_order(
    kernel: Kernel, busybox: Path, tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    (tree / "kernel").mkdir(parents=True)
    names = {name: f"kernel/{name}.ko" for name in (*FIRST, "virtio", "sch_netem")}
    for name, path in names.items():
        (tree / path).write_bytes(name.encode())
    lines = [f"{names[name]}: {names['virtio'] if name.startswith('virtio_') else ''}\n" for name in names]
    (tree / "modules.dep").write_text("".join(lines))
    modules.squash(tree, tmp_path / "modules.sqfs", "gzip")
    modular = dataclasses.replace(kernel, modules=tmp_path / "modules.sqfs")
    vagrant_kernels.write(modular, tmp_path / "vagrant", busybox)
    entries = _entries(tmp_path / "vagrant" / "linux-6.12" / "initrd")
    assert entries["tree/kernel/sch_netem.ko"] == b"sch_netem"  # not among the first, but the box may load it
    order = [entries[line.lstrip("/")] for line in entries["modules/order"].decode().split()]
    assert order[0] == b"virtio" and set(order) == {name.encode() for name in (*FIRST, "virtio")}


def test_a_table_that_is_none_is_told(kernel: Kernel, busybox: Path, tmp_path: Path) -> None:
    (tmp_path / "kernels.json").write_text("[]")
    with pytest.raises(InvalidTrial, match=r"kernels\.json is no table of kernels: remove it"):
        vagrant_kernels.write(kernel, tmp_path, busybox)
