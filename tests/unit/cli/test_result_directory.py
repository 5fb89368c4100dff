from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from testbed.cli.result_directory import made_whole, may_replace, set_aside
from testbed.record.errors import RecordError


def _names(path: Path) -> list[str]:
    return sorted(item.name for item in path.iterdir())


def test_the_directory_appears_when_all_is_written(tmp_path: Path) -> None:
    target = tmp_path / "a" / "result"

    with made_whole(target) as partial:
        (partial / "table").write_text("1")
        assert not target.exists()

    assert (target / "table").read_text() == "1"
    assert _names(target.parent) == ["result"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_nothing_is_left_when_it_ends_early_and_what_was_there_stays(
    tmp_path: Path, error: type[BaseException]
) -> None:
    target = tmp_path / "result"
    target.mkdir()
    (target / "table").write_text("old")

    with pytest.raises(error), made_whole(target) as partial:
        (partial / "table").write_text("half")
        raise error

    assert _names(tmp_path) == ["result"]
    assert (target / "table").read_text() == "old"


def test_a_termination_ends_it_like_an_interrupt(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt), made_whole(tmp_path / "result"):
        os.kill(os.getpid(), signal.SIGTERM)

    assert _names(tmp_path) == []
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_new_one_replaces_the_old_one_whole(tmp_path: Path) -> None:
    target = tmp_path / "result"
    target.mkdir()
    (target / "old").write_text("old")

    with made_whole(target) as partial:
        (partial / "new").write_text("new")

    assert _names(target) == ["new"]
    assert _names(tmp_path) == ["result"]


def test_only_an_empty_directory_or_one_of_ours_may_be_replaced(tmp_path: Path) -> None:
    file, empty, ours, theirs, link = (tmp_path / name for name in ("file", "empty", "ours", "theirs", "link"))
    file.write_text("")
    for directory in (empty, ours, theirs):
        directory.mkdir()
    (ours / "mark").write_text("")
    (theirs / "letter").write_text("")
    link.symlink_to(ours)

    found = {
        path.name: may_replace(path, lambda each: (each / "mark").exists())
        for path in (file, empty, ours, theirs, link, tmp_path / "none")
    }

    assert found == {"file": False, "empty": True, "ours": True, "theirs": False, "link": False, "none": True}


def test_what_is_set_aside_gets_the_first_free_name(tmp_path: Path) -> None:
    for _ in range(2):
        (tmp_path / "result").mkdir()
        set_aside(tmp_path / "result")

    assert _names(tmp_path) == ["result.old", "result.old2"]


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(RecordError, match="cannot be written"), made_whole(tmp_path / "file" / "result"):
        pass
