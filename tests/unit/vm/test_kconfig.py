"""Configurations of kernels, and what is missing in them."""

from __future__ import annotations

import made_kernel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.orchestrator.spec import SpecificationError
from testbed.vm import kconfig

_NAMES = st.from_regex(r"[A-Z][A-Z0-9_]{0,20}", fullmatch=True)
_VALUES = st.one_of(
    st.sampled_from("ymn"),
    st.integers(-5, 1 << 40).map(str),
    st.integers(0, 1 << 40).map(hex),
    st.text(st.characters(codec="ascii", categories=["L", "P", "Zs"]), min_size=2).filter(
        lambda text: text not in "ymn"
    ),
)


def _written(option: str, value: str) -> str:
    if value == "n":
        return f"# CONFIG_{option} is not set"
    if value in {"y", "m"} or value.lstrip("-").isdigit() or value.startswith("0x"):
        return f"CONFIG_{option}={value}"
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'CONFIG_{option}="{escaped}"'


@given(st.dictionaries(_NAMES, _VALUES, min_size=1))
def test_what_is_written_is_read(config: dict[str, str]) -> None:
    assert kconfig.parse("\n".join(_written(*item) for item in config.items())) == config


@given(st.text())
def test_any_text_is_refused_or_read(text: str) -> None:
    try:
        assert kconfig.parse(text)
    except SpecificationError as error:
        assert "kernel configuration" in str(error)


@given(st.binary(), st.binary())
def test_a_configuration_is_found_in_any_surroundings(before: bytes, after: bytes) -> None:
    text = made_kernel.config()
    assert kconfig.in_image(before + made_kernel.vmlinux(config=text) + after) == text


def test_an_image_without_one_has_none() -> None:
    assert kconfig.in_image(made_kernel.vmlinux() + b"IKCFG_ED") is None


def test_a_complete_kernel_lacks_nothing() -> None:
    assert kconfig.preflight(kconfig.parse(made_kernel.config(VIRTIO_BLK="m")), modules=True) == []


@pytest.mark.parametrize("need", kconfig.BOOT + kconfig.WISHED, ids=lambda need: need.option)
def test_each_need_is_looked_at(need: kconfig.Need) -> None:
    (found,) = kconfig.preflight(kconfig.parse(made_kernel.config(**{need.option: "n"})), modules=True)
    assert (found.option, found.value, found.fatal) == (need.option, "n", need in kconfig.BOOT)
    late = kconfig.preflight(kconfig.parse(made_kernel.config(**{need.option: "m"})), modules=True)
    assert bool(late) == need.must_be_built_in


def test_a_module_is_of_no_use_without_modules() -> None:
    (found,) = kconfig.preflight(kconfig.parse(made_kernel.config(VIRTIO_BLK="m")), modules=False)
    assert str(found) == "CONFIG_VIRTIO_BLK=m: the disks of the machine; it must be built in, for there are no modules"


@pytest.mark.parametrize(
    ("config", "compressor"),
    [
        (None, "gzip"),
        ({"SQUASHFS_ZSTD": "y", "SQUASHFS_ZLIB": "y"}, "zstd"),
        ({"SQUASHFS_ZLIB": "y"}, "gzip"),
        ({"SQUASHFS_XZ": "y"}, "xz"),
    ],
)
def test_the_kernel_can_read_the_image_of_its_modules(config: dict[str, str] | None, compressor: str) -> None:
    assert kconfig.squashfs_compressor(config) == compressor
