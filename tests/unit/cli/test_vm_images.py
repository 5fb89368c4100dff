"""``testbed vm fetch-kernel``, ``build`` and ``prune`` as they are typed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import made_kernel
import pytest
import typer
from typer.testing import CliRunner, Result

from testbed.cli import outcome, vm_images
from testbed.orchestrator.errors import Unsupported
from testbed.vm import rootfs
from testbed.vm.cache import KERNELS, ROOTFS, SITES, Cache

app = typer.Typer()
app.command("fetch-kernel")(vm_images.fetch_kernel)
app.command("build")(vm_images.build)
app.command("prune")(vm_images.prune)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def _typed(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def _bzimage(path: Path, **changes: str) -> Path:
    text = made_kernel.config(**changes)
    path.write_bytes(made_kernel.bzimage(made_kernel.compressed("gzip", made_kernel.vmlinux(config=text))))
    return path


def test_a_kernel_is_shown_with_what_it_lacks(tmp_path: Path) -> None:
    result = _typed("fetch-kernel", f"bzimage:{_bzimage(tmp_path / 'bzImage', OPENVSWITCH='n')}", "--name", "mine")
    assert result.exit_code == outcome.MET
    for word in ("mine", made_kernel.VERSION, "vmlinux", "CONFIG_OPENVSWITCH=n: Mininet's switches"):
        assert word in result.stdout
    rows = json.loads(_typed("fetch-kernel", f"bzimage:{tmp_path / 'bzImage'}", "--json").stdout)
    assert (rows[0]["fatal"], rows[0]["meta"]["version"]) == ([], made_kernel.VERSION)


def test_a_kernel_that_cannot_be_used_is_unsupported_and_says_why(tmp_path: Path) -> None:
    result = _typed("fetch-kernel", f"bzimage:{_bzimage(tmp_path / 'bzImage', MPTCP='n')}")
    assert result.exit_code == outcome.UNSUPPORTED
    assert "cannot be used: CONFIG_MPTCP=n: Multipath TCP" in result.stderr


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (["six"], outcome.USAGE, "'six' is no kernel: write 6.12"),
        (["deb:/nonexistent/x.deb"], outcome.USAGE, "/nonexistent/x.deb: No such file"),
        (["6.1", "6.12", "--name", "x"], outcome.USAGE, "one by one"),
        (["6.1", "--mirror", "nowhere"], outcome.UNSUPPORTED, "--mirror nowhere: it is the address"),
    ],
)
def test_what_cannot_be_is_one_clear_line(words: Sequence[str], code: int, why: str) -> None:
    result = _typed("fetch-kernel", *words)
    assert result.exit_code == code
    assert why in result.stderr and len(result.stderr.splitlines()) == 1


def test_pruning_tells_what_went(tmp_path: Path) -> None:
    cache = Cache()
    for name in ("a", "b"):
        cache.made(KERNELS, name, lambda directory: (directory / "image").write_bytes(b"x" * 9000) and None)
    assert "kept 2 in " in _typed("prune").stdout
    told = json.loads(_typed("prune", "--keep", "1", "--json").stdout)
    assert len(told["removed"]) == len(told["kept"]) == 1 and told["removed"][0]["bytes"] >= 9000
    assert "removed kernels/" in _typed("prune", "--keep", "0").stdout
    assert "Example: testbed vm prune" in _typed("prune", "--help").stdout


def test_what_is_built_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(cache: Cache, say: object, *, mirror: str | None, again: bool, variant: str) -> rootfs.RootFs:
        if again:
            raise Unsupported("no mirror")

        def make(directory: Path) -> None:
            (directory / "root.ext4").write_text("x")
            (directory / "packages.lock").write_text('[{"package": "bash", "version": "5.2"}]')

        root = cache.made(ROOTFS, f"{variant}-root", make)
        site = cache.made(SITES, "s", lambda directory: (directory / "site.sqfs").write_text("x") and None)
        return rootfs.RootFs(directory=root, image=root / "root.ext4", site=site / "site.sqfs")

    monkeypatch.setattr(rootfs, "build", build)
    told = _typed("build").stdout
    assert "rootfs/minimal-root/root.ext4 (0 MB)" in told and "packages.lock (1 packages)" in told
    full = json.loads(_typed("build", "--full", "--json").stdout)
    assert full["site"].endswith("sites/s/site.sqfs") and "full-root" in full["image"]
    assert (full["variant"], full["packages"]) == ("full", [{"package": "bash", "version": "5.2"}])
    assert _typed("build", "--again").exit_code == outcome.UNSUPPORTED
