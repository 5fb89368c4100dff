"""Kernels from packages of both layouts and from bzImages; the tools for modules are stood in for."""

from __future__ import annotations

import shutil
from pathlib import Path

import made_kernel
import pytest
from made_kernel import VERSION

from testbed.orchestrator.errors import InvalidTrial
from testbed.orchestrator.spec import SpecificationError
from testbed.vm import kernels, modules, tools
from testbed.vm.cache import KERNELS, Cache

DEP = "kernel/virtio_blk.ko.xz: kernel/virtio.ko.xz\nkernel/virtio.ko.xz:\nkernel/other.ko.xz:\n"
IMAGE = made_kernel.bzimage(made_kernel.compressed("gzip", made_kernel.vmlinux()))
MODULE_FILES = {f"{name}.ko.xz": name.encode() for name in ("kernel/virtio_blk", "kernel/virtio", "kernel/other")}

pytestmark = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg-deb: a Debian or Ubuntu machine")


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """depmod and mksquashfs leave what the testbed looks at; all else is run."""
    real, squashed = tools.run, []

    def run(name: str, *words, **options) -> str:  # type: ignore[no-untyped-def]
        if name == "depmod":
            assert words[0] == "-b"
            (Path(words[1]) / "lib" / "modules" / words[2] / "modules.dep").write_text(DEP)
        elif name == "mksquashfs":
            names = sorted(str(path.relative_to(words[0])) for path in Path(words[0]).rglob("*") if path.is_file())
            squashed.extend(names)
            Path(words[1]).write_text("\n".join(names))
        else:
            return real(name, *words, **options)
        return ""

    monkeypatch.setattr(tools, "run", run)
    return squashed


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def _quiet(text: str) -> None:
    """Progress is not what these tests look at."""


def _old_layout(folder: Path) -> list[Path]:
    content = {f"boot/vmlinuz-{VERSION}": IMAGE, f"boot/config-{VERSION}": made_kernel.config().encode()}
    content |= {f"lib/modules/{VERSION}/{name}": data for name, data in MODULE_FILES.items()}
    return [made_kernel.deb(folder / "linux-image.deb", content)]


def _new_layout(folder: Path) -> list[Path]:
    place = f"usr/lib/modules/{VERSION}"
    binary = {f"{place}/vmlinuz": IMAGE, f"{place}/config": made_kernel.config().encode()}
    return [
        made_kernel.deb(folder / "linux-binary.deb", binary),
        made_kernel.deb(folder / "linux-modules.deb", {f"{place}/{name}": data for name, data in MODULE_FILES.items()}),
    ]


@pytest.mark.parametrize("layout", [_old_layout, _new_layout])
def test_both_layouts_of_debian_give_the_same_entry(layout, cache: Cache, tmp_path: Path, stand_ins: list[str]) -> None:  # type: ignore[no-untyped-def]
    debs = layout(tmp_path)
    kernel = kernels.from_debs(cache, debs, "6.99", {"kind": "deb"}, _quiet)
    assert (kernel.name, kernel.version, kernel.lacks) == ("6.99", VERSION, [])
    assert kernel.image.read_bytes() == made_kernel.vmlinux()
    assert kernel.bzimage.read_bytes() == IMAGE
    assert kernel.early is not None
    assert sorted(path.name for path in kernel.early.rglob("*.ko.xz")) == ["virtio.ko.xz", "virtio_blk.ko.xz"]
    assert sorted(stand_ins) == sorted([*MODULE_FILES, "modules.dep"])  # neither the kernel nor its configuration
    assert [given["file"] for given in kernel.meta["inputs"]] == [path.name for path in debs]
    assert sorted(path.name for path in kernel.directory.iterdir()) == sorted(
        ["bzImage", "vmlinux", "config", "modules.sqfs", "early", "meta.json", "lock"]
    )


def test_the_same_packages_are_unpacked_once_and_have_every_name_they_were_fetched_by(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    debs = _old_layout(tmp_path)
    first = kernels.from_debs(cache, debs, "6.99", {}, _quiet)
    monkeypatch.setattr(kernels, "_unpack", lambda *_: pytest.fail("unpacked again"))
    assert kernels.from_debs(cache, debs, "newest", {}, _quiet).directory == first.directory
    for word in ("6.99", "debian:6.99", "newest", VERSION, first.directory.name[:8]):
        assert kernels.find(cache, word).directory == first.directory
    with pytest.raises(SpecificationError, match=f"there is: 6.99 .{VERSION}"):
        kernels.find(cache, "5.4")


def test_a_bzimage_with_modules_built_in_configuration_and_no_pvh(cache: Cache, tmp_path: Path) -> None:
    image = tmp_path / "bzImage"
    text = made_kernel.config(PVH="n", OPENVSWITCH="n")
    image.write_bytes(made_kernel.bzimage(made_kernel.compressed("xz", made_kernel.vmlinux(pvh=False, config=text))))
    tree = tmp_path / "installed" / "lib" / "modules" / VERSION
    for name, data in MODULE_FILES.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(data)
    (tree / "build").symlink_to("/")
    kernel = kernels.from_bzimage(cache, image, "mine", _quiet, module_tree=tmp_path / "installed")
    assert kernel.image == kernel.bzimage and "PVH" in kernel.meta["why_compressed"]
    assert [finding["option"] for finding in kernel.meta["findings"]] == ["OPENVSWITCH", "PVH"]
    assert kernel.meta["config"] == "image"
    assert not (tree / "modules.dep").exists()  # the user's tree is left as it is
    other = kernels.from_bzimage(cache, image, "mine", _quiet, module_tree=tree)
    assert other.directory == kernel.directory
    (tree / "kernel" / "other.ko.xz").write_bytes(b"changed")
    assert kernels.from_bzimage(cache, image, "mine", _quiet, module_tree=tree).directory != kernel.directory


def test_a_kernel_without_modules_and_configuration_is_taken_and_nothing_is_claimed_of_it(
    cache: Cache, tmp_path: Path
) -> None:
    (tmp_path / "bzImage").write_bytes(IMAGE)
    kernel = kernels.from_bzimage(cache, tmp_path / "bzImage", None, _quiet)
    assert kernel.name == VERSION
    assert (kernel.modules, kernel.early, kernel.config, kernel.lacks) == (None, None, None, [])


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ({"usr/share/doc/x": b"-"}, "0 kernels"),
        ({"boot/vmlinuz-1": IMAGE, "boot/vmlinuz-2": IMAGE}, "2 kernels"),
        ({"boot/vmlinuz-1": b"noise"}, "no x86 bzImage"),
        ({f"boot/vmlinuz-{VERSION}": IMAGE, f"boot/config-{VERSION}": b"noise"}, "no line of a kernel conf"),
        ({"boot/vmlinuz-1": made_kernel.bzimage(made_kernel.compressed("gzip", b"x"), version="..")}, "name of a dir"),
    ],
)
def test_packages_that_are_no_kernel_are_refused_and_leave_nothing(
    content: dict[str, bytes], why: str, cache: Cache, tmp_path: Path
) -> None:
    with pytest.raises(SpecificationError, match=why):
        kernels.from_debs(cache, [made_kernel.deb(tmp_path / "x.deb", content)], "x", {}, _quiet)
    assert cache.entries(KERNELS) == [] and list((cache.root / KERNELS).iterdir()) == []


def test_files_that_are_none_are_named(cache: Cache, tmp_path: Path) -> None:
    (tmp_path / "x.deb").write_bytes(b"noise")
    with pytest.raises(SpecificationError, match=r"x\.deb: is no Debian package"):
        kernels.from_debs(cache, [tmp_path / "x.deb"], "x", {}, _quiet)
    with pytest.raises(SpecificationError, match=r"y\.deb: No such file"):
        kernels.from_debs(cache, [tmp_path / "y.deb"], "x", {}, _quiet)
    with pytest.raises(SpecificationError, match=r"y: No such file"):
        kernels.from_bzimage(cache, tmp_path / "y", "x", _quiet)


def test_modules_of_another_kernel_are_refused(cache: Cache, tmp_path: Path) -> None:
    (tmp_path / "bzImage").write_bytes(IMAGE)
    (tmp_path / "lib" / "modules" / "5.4.0").mkdir(parents=True)
    with pytest.raises(SpecificationError, match=r"no modules of 6\.99.*those of 5\.4\.0"):
        kernels.from_bzimage(cache, tmp_path / "bzImage", "x", _quiet, module_tree=tmp_path)


def test_a_link_in_a_package_leads_nowhere(cache: Cache, tmp_path: Path) -> None:
    tree = tmp_path / "x.tree"
    (tree / "boot").mkdir(parents=True)
    (tmp_path / "outside").write_bytes(IMAGE)
    (tree / "boot" / f"vmlinuz-{VERSION}").symlink_to(tmp_path / "outside")
    with pytest.raises(SpecificationError, match="0 kernels"):
        kernels.from_debs(cache, [made_kernel.deb_of(tree, tmp_path / "x.deb")], "x", {}, _quiet)


def test_a_damaged_entry_is_told(cache: Cache, tmp_path: Path) -> None:
    kernel = kernels.from_debs(cache, _old_layout(tmp_path), "x", {}, _quiet)
    (kernel.directory / "vmlinux").unlink()
    with pytest.raises(InvalidTrial, match="vmlinux is missing"):
        kernels.find(cache, "x")


def test_modules_come_after_what_they_need() -> None:
    needs = {"k/a.ko": ["k/b.ko", "k/c-d.ko"], "k/b.ko": ["k/c-d.ko"], "k/c-d.ko": [], "k/crc.ko.zst": []}
    assert modules.closure(["a"], needs, {"b": ["crc", "unknown"]}) == ["k/c-d.ko", "k/crc.ko.zst", "k/b.ko", "k/a.ko"]
    assert modules.closure(["c_d", "built_in"], needs, {"c_d": ["c_d"]}) == ["k/c-d.ko"]
