"""The checkout as a disk: what a run in a machine needs of it, made once, and not kept for ever."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from testbed.remote.checkout import Checkout
from testbed.remote.trees import Entry
from testbed.vm import bytecode, checkout_image, modules
from testbed.vm.cache import LOCK, Cache
from testbed.vm.rootfs import PYTHON

ENTRIES = (
    Entry("analysis/report.py", content=b"reports = 'made on the host'\n"),
    Entry("testbed/tool", executable=True, content=b"#!/bin/sh\n"),
    Entry("testbed/again", link="tool"),
    Entry("testbed/module.py", content=b"number = 1\n"),
)


@pytest.fixture
def squashed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The images that were made; each is the tree itself, and no stacks are compiled."""
    made: list[Path] = []

    def squash(tree: Path, image: Path, compressor: str | None) -> None:
        shutil.copytree(tree, image, symlinks=True)
        made.append(image)

    monkeypatch.setattr(modules, "squash", squash)
    monkeypatch.setattr(checkout_image, "build_here", lambda: None)
    return made


def _build(cache: Cache, digest: str, said: list[str]) -> Path:
    return checkout_image.build(cache, Checkout(ENTRIES, digest, "e", False, ()), said.append)


def test_a_machine_gets_what_carries_out_runs_with_its_bytecode(tmp_path: Path, squashed: list[Path]) -> None:
    said: list[str] = []
    image = _build(Cache(tmp_path), "one", said)
    assert not (image / "analysis").exists()
    assert (image / "testbed" / "tool").stat().st_mode & 0o100
    assert (image / "testbed" / "again").readlink() == Path("tool")
    assert any((image / "testbed").rglob("module.*.pyc")) == bytecode.fits(PYTHON)
    assert "./tb build" in said[0]
    assert _build(Cache(tmp_path), "one", said) == image
    assert len(squashed) == 1


def test_images_of_checkouts_that_are_gone_are_not_kept_for_ever(tmp_path: Path, squashed: list[Path]) -> None:
    cache = Cache(tmp_path)
    images = []
    for number in range(checkout_image.KEPT):
        images.append(_build(cache, str(number), []))
        os.utime(images[-1].parent / LOCK, ns=(number, number))  # the clock of a file system has few ticks
    assert _build(cache, "0", []) == images[0]  # used again, so it is not the oldest any more
    _build(cache, "another", [])
    assert [image.exists() for image in images] == [True, False, *[True] * (checkout_image.KEPT - 2)]
