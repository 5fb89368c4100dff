"""bzImages are read or refused, whatever the bytes."""

from __future__ import annotations

import shutil

import made_kernel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.orchestrator.errors import Unsupported
from testbed.vm import vmlinux

KINDS = ("gzip", "xz", "bzip2", "lzma", "nothing", "zstd", "lz4")
GOOD = made_kernel.bzimage(made_kernel.compressed("gzip", made_kernel.vmlinux()))


@pytest.mark.parametrize("kind", KINDS)
def test_every_compressor_of_the_kernel_is_undone(kind: str) -> None:
    if kind in {"zstd", "lz4"} and shutil.which(kind) is None:
        pytest.skip(f"needs {kind}")
    kernel = made_kernel.vmlinux(size=300_000)
    image = vmlinux.read_bzimage(made_kernel.bzimage(made_kernel.compressed(kind, kernel)))
    assert image.version == made_kernel.VERSION
    assert (image.compression, image.uncompressed_bytes) == (kind, len(kernel))
    assert vmlinux.decompress(image) == kernel
    assert vmlinux.has_pvh_entry(kernel)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "nothing"])
def test_a_payload_that_unpacks_to_more_than_it_says_is_refused(kind: str) -> None:
    if kind in {"zstd", "lz4"} and shutil.which(kind) is None:
        pytest.skip(f"needs {kind}")
    payload = bytearray(made_kernel.compressed(kind, made_kernel.vmlinux(size=50_000)))
    payload[-4:] = (20_000).to_bytes(4, "little")
    with pytest.raises(vmlinux.NoKernel, match="damaged"):
        vmlinux.decompress(vmlinux.read_bzimage(made_kernel.bzimage(bytes(payload))))


def test_an_unknown_compressor_leaves_the_bzimage_as_it_is() -> None:
    image = vmlinux.read_bzimage(made_kernel.bzimage(b"\x89LZO\x00" + bytes(100) + b"\x01\x00\x00\x00"))
    with pytest.raises(Unsupported, match="lzo"):
        vmlinux.decompress(image)


def test_a_tool_that_is_not_there_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    image = vmlinux.read_bzimage(made_kernel.bzimage(b"\x28\xb5\x2f\xfd" + bytes(100) + b"\x01\x00\x00\x00"))
    with pytest.raises(Unsupported, match="apt install zstd"):
        vmlinux.decompress(image)


def test_without_the_note_qemu_cannot_enter() -> None:
    assert not vmlinux.has_pvh_entry(made_kernel.vmlinux(pvh=False))


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda data: data[:100], "HdrS"),
        (lambda data: made_kernel.vmlinux(), "uncompressed vmlinux"),
        (lambda data: data[:0x24A], "within its setup header"),
        (lambda data: data[:-80], "cut off"),
        (lambda data: data[:0x206] + b"\x07\x02" + data[0x208:], "older than 2.8"),
        (lambda data: data[:0x211] + b"\x00" + data[0x212:], "zImage"),
        (lambda data: data[:0x20E] + b"\x00\x00" + data[0x210:], "no kernel version"),
    ],
)
def test_what_is_wrong_is_said(damage, why: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(vmlinux.NoKernel, match=why):
        vmlinux.read_bzimage(damage(GOOD))


@settings(max_examples=150)
@given(st.binary(max_size=700), st.integers(0, len(GOOD)), st.binary(min_size=1, max_size=8), st.integers(0, 1 << 32))
def test_any_bytes_are_refused_or_read(noise: bytes, at: int, patch: bytes, cut: int) -> None:
    """Noise, and a good kernel with a few bytes changed and its end cut off."""
    changed = (GOOD[:at] + patch + GOOD[at + len(patch) :])[: len(GOOD) - cut % 200]
    for data in (noise, changed):
        try:
            image = vmlinux.read_bzimage(data)
            if image.compression in {"zstd", "lz4"}:
                continue
            assert len(vmlinux.decompress(image)) == image.uncompressed_bytes
        except (vmlinux.NoKernel, Unsupported) as error:
            assert str(error)


@settings(max_examples=100)
@given(st.integers(0, 200), st.binary(min_size=1, max_size=12))
def test_any_elf_header_is_looked_at_without_harm(at: int, patch: bytes) -> None:
    kernel = made_kernel.vmlinux()
    assert vmlinux.has_pvh_entry(kernel[:at] + patch + kernel[at + len(patch) :]) in {True, False}
