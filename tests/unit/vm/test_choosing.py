"""What machines are booted from, for several kernels at once; nothing is made here."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.orchestrator.errors import Unsupported
from testbed.vm import checkout_image, choosing, fetching, rootfs, site_packages
from testbed.vm.cache import Cache
from testbed.vm.side_by_side import Say


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Everything is made at once but ``bad``, of which the name alone is looked at."""
    asked: list[str] = []

    class Fetched:
        version, image, early, modules, directory = "6.12.117", tmp_path, None, None, tmp_path
        takes_memory_disks = False

        def __init__(self, name: str) -> None:
            self.name = name

    def obtain(cache: Cache, word: str, say: Say) -> Fetched:
        asked.append(word)
        if word == "bad":
            raise Unsupported("Debian's archive has no kernel bad")
        return Fetched(word)

    monkeypatch.setattr(fetching, "obtain", obtain)
    monkeypatch.setattr(rootfs, "build_image", lambda cache, say, variant: tmp_path / variant)
    monkeypatch.setattr(choosing, "read_checkout", lambda: None)
    monkeypatch.setattr(checkout_image, "build", lambda cache, checkout, say: tmp_path / "c" / "checkout.sqfs")
    monkeypatch.setattr(site_packages, "build", lambda cache, say, python: tmp_path / "s" / "site.sqfs")
    return asked


def test_a_kernel_that_cannot_be_had_does_not_lose_the_others(made: list[str], tmp_path: Path) -> None:
    found = choosing.images_of_all(Cache(tmp_path), ["6.12", "bad", "6.12"], lambda text: None)
    assert sorted(made) == ["6.12", "bad"]  # each asked for once
    assert list(found) == ["6.12", "bad"] and isinstance(found["bad"], Unsupported)
    images = choosing.images_of(Cache(tmp_path), "6.12", lambda text: None, "full")
    assert (images.name, images.root) == ("6.12", tmp_path / "full" / "root.ext4")
    with pytest.raises(Unsupported, match="no kernel bad"):
        choosing.images_of(Cache(tmp_path), "bad", lambda text: None)


def test_without_a_root_file_system_there_is_nothing_to_boot(
    made: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build_image(cache: Cache, say: Say, variant: str) -> Path:
        raise Unsupported("mmdebstrap is not installed")

    monkeypatch.setattr(rootfs, "build_image", build_image)
    with pytest.raises(Unsupported, match="mmdebstrap"):
        choosing.images_of_all(Cache(tmp_path), ["6.12"], lambda text: None)
