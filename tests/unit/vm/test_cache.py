"""Entries are whole or not there, are made once, and stay as long as somebody uses them."""

from __future__ import annotations

import errno
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from testbed.orchestrator.errors import Unsupported
from testbed.vm import cache as rooms
from testbed.vm.cache import KERNELS, RUNS, Cache, Gone, held


def _writes(text: str):  # type: ignore[no-untyped-def]
    return lambda directory: (directory / "image").write_text(text) and None


def test_an_entry_is_made_once_by_one_of_many(tmp_path: Path) -> None:
    made: list[int] = []
    start = threading.Barrier(4)

    def make(directory: Path) -> None:
        made.append(1)
        time.sleep(0.02)  # the others are to come while it is made
        (directory / "image").write_text("whole")

    def one() -> None:
        start.wait()
        assert (Cache(tmp_path).made(KERNELS, "a", make) / "image").read_text() == "whole"

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), OSError(errno.EACCES, "no")])
def test_what_fails_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    def make(directory: Path) -> None:
        (directory / "image").write_text("half")
        (directory / "closed").mkdir(mode=0o500)
        raise error

    cache = Cache(tmp_path)
    with pytest.raises(type(error)):
        cache.made(KERNELS, "a", make)
    assert list((tmp_path / KERNELS).iterdir()) == []
    cache.made(KERNELS, "a", _writes("whole"))


def test_a_full_disk_is_told_with_the_remedy(tmp_path: Path) -> None:
    def make(directory: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(Unsupported, match="vm prune"):
        Cache(tmp_path).made(KERNELS, "a", make)


def test_what_a_killed_one_left_is_made_anew_or_pruned(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    for name in (".a.partial", ".b.partial", ".c.removed"):
        (tmp_path / KERNELS / name).mkdir(parents=True)
        (tmp_path / KERNELS / name / "old").touch()
    path = cache.made(KERNELS, "a", _writes("whole"))
    assert sorted(file.name for file in path.iterdir()) == ["image", rooms.LOCK]
    assert cache.prune(KERNELS, keep=1) == []
    assert [entry.name for entry in (tmp_path / KERNELS).iterdir()] == ["a"]


def test_pruning_leaves_what_is_made_at_the_moment(tmp_path: Path) -> None:
    cache = Cache(tmp_path)

    def make(directory: Path) -> None:
        assert Cache(tmp_path).prune(KERNELS, keep=0) == []
        (directory / "image").touch()

    assert cache.made(KERNELS, "a", make).is_dir()


def test_pruning_keeps_the_newest_and_what_is_held(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    for at, name in enumerate("abcd"):
        os.utime(cache.made(KERNELS, name, _writes(name)) / rooms.LOCK, ns=(at, at))
    with held(cache.path(KERNELS, "b")) as descriptor:
        os.utime(cache.path(KERNELS, "b") / rooms.LOCK, ns=(1, 1))
        kept = os.dup(descriptor)  # as a machine that outlives us inherits it
    assert [(entry.digest, entry.in_use) for entry in cache.entries(KERNELS)] == [
        *(("d", False), ("c", False)),
        *(("b", True), ("a", False)),
    ]
    assert [entry.digest for entry in cache.prune(KERNELS, keep=1)] == ["c", "a"]
    os.close(kept)
    assert [entry.digest for entry in cache.prune(KERNELS, keep=1)] == ["b"]
    assert [entry.digest for entry in cache.entries(KERNELS)] == ["d"]


def test_one_that_is_made_again_replaces_the_old_one_when_it_is_whole_and_nobody_uses_that(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    path = cache.made(KERNELS, "a", _writes("old"))

    def fails(directory: Path) -> None:
        raise ValueError

    with pytest.raises(ValueError):
        cache.made(KERNELS, "a", fails, again=True)
    with held(path), pytest.raises(Unsupported, match="vm stop"):
        cache.made(KERNELS, "a", _writes("new"), again=True)
    assert (path / "image").read_text() == "old"
    assert (cache.made(KERNELS, "a", _writes("new"), again=True) / "image").read_text() == "new"
    assert [entry.name for entry in (tmp_path / KERNELS).iterdir()] == ["a"]


def test_holding_makes_it_the_one_used_last(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    for at, name in enumerate("ab"):
        os.utime(cache.made(KERNELS, name, _writes(name)) / rooms.LOCK, ns=(at, at))
    with held(cache.path(KERNELS, "a")):
        pass
    assert [entry.digest for entry in cache.entries(KERNELS)] == ["a", "b"]


def test_what_is_no_more_cannot_be_held(tmp_path: Path) -> None:
    with pytest.raises(Gone), held(tmp_path / "nothing"):
        pass


def test_several_who_prune_at_once_are_not_in_each_others_way(tmp_path: Path) -> None:
    for number in range(40):
        (Cache(tmp_path).runs / f"{number:02}" / "logs").mkdir(parents=True)
        for name in range(20):
            (Cache(tmp_path).runs / f"{number:02}" / "logs" / f"{name}").touch()
        (Cache(tmp_path).runs / f"{number:02}" / rooms.LOCK).touch()  # as every machine has it
        os.utime(Cache(tmp_path).runs / f"{number:02}" / rooms.LOCK, ns=(number, number))
    together = threading.Barrier(4)

    def prune(_number: int) -> None:
        together.wait(30)
        Cache(tmp_path).prune(RUNS, keep=1)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(prune, range(4)))
    assert [path.name for path in Cache(tmp_path).runs.iterdir()] == ["39"]


def test_scratch_is_emptied_of_what_nobody_is_at(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    for name in ("left", "at work"):
        (cache.scratch(rooms.DOWNLOADS) / name).mkdir()
    with cache.exclusive(f"{rooms.DOWNLOADS}-at work"):
        Cache(tmp_path).clear(rooms.DOWNLOADS)
    assert [path.name for path in cache.scratch(rooms.DOWNLOADS).iterdir()] == ["at work"]


def test_sizes_do_not_count_holes(tmp_path: Path) -> None:
    with (tmp_path / "image").open("wb") as file:
        file.write(b"x" * 5000)
        file.truncate(1 << 30)
    assert 0 < rooms.size_on_disk(tmp_path) < 1 << 20


def test_the_directory_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert Cache().root == tmp_path / "mptcp-testbed" / "vm"
    assert Cache().runs.stat().st_mode & 0o777 == 0o700
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Cache().root == tmp_path / ".cache" / "mptcp-testbed" / "vm"
    assert Cache(tmp_path).entries(RUNS) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unsupported, match="XDG_CACHE_HOME"):
        Cache(tmp_path / "file" / "below").made(KERNELS, "a", _writes("x"))
