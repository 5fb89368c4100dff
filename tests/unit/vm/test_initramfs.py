"""The first file system: any files come back; modules load after what they need; secrets stay apart."""

from __future__ import annotations

import gzip
import lzma
import shutil
import stat
import struct
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from testbed.orchestrator import process
from testbed.orchestrator.errors import Unsupported
from testbed.vm import initramfs
from testbed.vm.initramfs import Entry

_word = st.text(
    st.characters(codec="utf-8", exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=9
)
_names = st.lists(_word.filter(lambda word: word not in (".", "..")), min_size=1, max_size=3).map("/".join)
_files = st.dictionaries(_names, st.binary(max_size=70), max_size=6)


def _entries(files: dict[str, bytes]) -> list[Entry]:
    directories = {
        name for path in files for name in ("/".join(path.split("/")[:n]) for n in range(1, path.count("/") + 1))
    }
    assume(not directories & set(files))
    return [initramfs.regular(name, data) for name, data in files.items()]


@given(_files)
@settings(max_examples=60)
def test_any_files_come_back_with_their_parents_before_them(files: dict[str, bytes]) -> None:
    read = initramfs.read_archive(initramfs.archive(_entries(files)))
    assert {entry.name: entry.data for entry in read if stat.S_ISREG(entry.mode)} == files
    made: set[str] = set()
    for entry in read:
        parent = entry.name.rpartition("/")[0]
        assert not parent or parent in made, "the kernel does not make parents"
        assert entry.name not in made
        made.add(entry.name)


@given(_files, _files)
@settings(max_examples=30)
def test_archives_in_a_row_are_all_read(first: dict[str, bytes], second: dict[str, bytes]) -> None:
    both = initramfs.archive(_entries(first)) + initramfs.archive(_entries(second))
    read = [entry.name for entry in initramfs.read_archive(both) if stat.S_ISREG(entry.mode)]
    assert read == [*first, *second]


@given(_files)
@settings(max_examples=30)
def test_everything_begins_where_the_kernel_looks_for_it(files: dict[str, bytes]) -> None:
    data = initramfs.archive(_entries(files))
    assert len(data) % 512 == 0
    assert data == initramfs.archive(_entries(files)), "the same entries, the same bytes"
    at = 0
    for name in [*(entry.name for entry in initramfs.read_archive(data)), initramfs.TRAILER]:
        assert data[at : at + 6] == b"070701"
        size, name_size = int(data[at + 54 : at + 62], 16), int(data[at + 94 : at + 102], 16)
        assert data[at + 110 : at + 110 + name_size] == name.encode() + b"\0"
        at += (110 + name_size + 3) // 4 * 4 + (size + 3) // 4 * 4


@pytest.mark.parametrize("name", ["/etc", "../etc", "a//b", "a/../b", ".", "", "a/", "nul\0", "TRAILER!!!", "x" * 4096])
def test_names_that_could_land_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no name"):
        initramfs.archive([initramfs.regular(name, b"")])


def test_a_name_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        initramfs.archive([initramfs.directory("a"), initramfs.link("a", "b")])


@pytest.mark.skipif(shutil.which("cpio") is None, reason="needs cpio: apt install cpio")
def test_the_tool_cpio_unpacks_what_we_pack(tmp_path: Path) -> None:
    entries = [initramfs.regular("a/b", b"text", 0o640), initramfs.link("a/l", "b"), initramfs.directory("e", 0o700)]
    (tmp_path / "x.cpio").write_bytes(initramfs.archive(entries))
    into = tmp_path / "into"
    into.mkdir()
    unpack = ["cpio", "-i", "--quiet", "-D", str(into), "-F", str(tmp_path / "x.cpio"), "--no-preserve-owner"]
    process.run(unpack)
    assert (into / "a" / "l").readlink() == Path("b")
    assert (into / "a" / "l").read_bytes() == b"text"
    assert stat.S_IMODE((into / "a" / "b").stat().st_mode) == 0o640
    assert stat.S_IMODE((into / "e").stat().st_mode) == 0o700


# --- modules ---


def _modules(path: Path, dependencies: dict[str, list[str]], builtin: list[str] | None = None) -> Path:
    path.mkdir()
    for name in dependencies:
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(name.encode())
    lines = (f"{name}: {' '.join(needs)}".rstrip() + "\n" for name, needs in dependencies.items())
    (path / "modules.dep").write_text("".join(lines))
    (path / "modules.builtin").write_text("".join(f"{name}\n" for name in builtin or []))
    return path


def test_a_module_loads_after_all_that_it_needs_and_once(tmp_path: Path) -> None:
    modules = _modules(
        tmp_path / "m",
        {
            "kernel/virtio_ring.ko": [],
            "kernel/virtio.ko": ["kernel/virtio_ring.ko"],
            "kernel/virtio-net.ko": ["kernel/net_failover.ko", "kernel/virtio.ko", "kernel/virtio_ring.ko"],
            "kernel/net_failover.ko": [],
            "kernel/virtio_blk.ko": ["kernel/virtio.ko", "kernel/virtio_ring.ko"],
        },
    )
    order = [path.name for path in initramfs.load_order(modules, ("virtio_blk", "virtio_net"), ("virtio_rng",))]
    assert order == ["virtio_ring.ko", "virtio.ko", "virtio_blk.ko", "net_failover.ko", "virtio-net.ko"]


def test_a_module_that_would_be_welcome_and_was_not_kept_is_done_without(tmp_path: Path) -> None:
    listed = {"kernel/virtio_blk.ko": [], "kernel/nd_pmem.ko": ["kernel/libnvdimm.ko"], "kernel/libnvdimm.ko": []}
    modules = _modules(tmp_path / "m", listed)
    (modules / "kernel/libnvdimm.ko").unlink()
    order = [path.name for path in initramfs.load_order(modules, ("virtio_blk",), ("nd_pmem",))]
    assert order == ["virtio_blk.ko"]


def test_what_is_built_in_needs_no_module_and_what_is_nowhere_is_named(tmp_path: Path) -> None:
    modules = _modules(tmp_path / "m", {}, ["kernel/fs/ext4/ext4.ko"])
    assert initramfs.load_order(modules, ("ext4",), ()) == []
    with pytest.raises(Unsupported, match="no virtio_blk"):
        initramfs.load_order(modules, ("virtio_blk",), ())


def test_modules_without_their_list_are_told(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="depmod"):
        initramfs.load_order(tmp_path)


@pytest.mark.parametrize("suffix", ["", ".xz", ".gz", ".zst"])
def test_a_module_is_read_with_any_compression_of_the_distributions(tmp_path: Path, suffix: str) -> None:
    import pyarrow

    content = b"\x7fELF module " * 50
    zstd = bytes(pyarrow.Codec("zstd").compress(content, asbytes=True))
    packed = {"": content, ".xz": lzma.compress(content), ".gz": gzip.compress(content), ".zst": zstd}
    path = tmp_path / f"a.ko{suffix}"
    path.write_bytes(packed[suffix])
    assert initramfs.module_content(path) == content


# --- the two archives ---


def _program(*, interpreter: bool) -> bytes:
    """An ELF header and one program header."""
    header = (
        b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    )
    return header + struct.pack("<I", 3 if interpreter else 1) + bytes(52)


def test_the_base_has_an_init_the_modules_in_order_and_no_secret(tmp_path: Path) -> None:
    busybox = tmp_path / "busybox"
    busybox.write_bytes(_program(interpreter=False))
    names = [*initramfs.WANTED, "virtio"]
    needs = {f"kernel/{name}.ko.xz": [] for name in names}
    needs["kernel/virtio_blk.ko.xz"] = ["kernel/virtio.ko.xz"]
    modules = _modules(tmp_path / "m", needs)
    for name in needs:
        (modules / name).write_bytes(lzma.compress(name.encode()))
    entries = {entry.name: entry for entry in initramfs.read_archive(initramfs.base(modules, busybox))}
    order = entries["modules/order"].data.decode().split()
    loaded = [entries[path.removeprefix("/")].data.decode() for path in order]
    assert loaded == [f"kernel/{name}.ko.xz" for name in ("virtio_pci", "virtio", *initramfs.WANTED[1:])]
    assert entries["dev/console"].mode == stat.S_IFCHR | 0o600
    assert entries["dev/console"].device == (5, 1)
    assert stat.S_IMODE(entries["init"].mode) == 0o755
    assert not any(name.startswith(initramfs.SECRETS) for name in entries)


def test_a_busybox_that_needs_libraries_is_refused_with_the_package(tmp_path: Path) -> None:
    busybox = tmp_path / "busybox"
    busybox.write_bytes(_program(interpreter=True))
    with pytest.raises(Unsupported, match="busybox-static"):
        initramfs.base(None, busybox)
    with pytest.raises(Unsupported, match="busybox-static"):
        initramfs.base(None, tmp_path / "none")


def test_secrets_are_root_s_alone_and_settings_are_plain() -> None:
    archive = initramfs.secrets("PRIVATE", "ssh-ed25519 AAAA", {"NAME": "a-1"})
    entries = {entry.name: entry for entry in initramfs.read_archive(archive)}
    assert all(entry.mode & 0o077 == 0 for name, entry in entries.items() if name.startswith(initramfs.SECRETS))
    assert entries[f"{initramfs.SECRETS}/settings"].data == b"NAME=a-1\n"
    for name, value in (("NAME", "a b"), ("NAME", "$(id)"), ("NAME", "a\nb"), ("name", "a")):
        with pytest.raises(ValueError, match="plain"):
            initramfs.secrets("", "", {name: value})


def test_the_second_archive_replaces_no_directory_of_the_system(tmp_path: Path) -> None:
    top = {entry.name.split("/")[0] for entry in initramfs.read_archive(initramfs.secrets("", "", {}))}
    assert top == {initramfs.GUEST}


@pytest.mark.parametrize("script", ["init", "rc", "probe"])
def test_the_guest_s_scripts_are_what_a_shell_reads(script: str) -> None:
    process.run(["sh", "-n", Path(initramfs.__file__).parent / "guest" / script])
