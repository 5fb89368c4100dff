"""The store of nights: whole or not at all, never twice, never lost, and every fault named with its file."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import synthetic_nights as synthetic
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analysis.history import DuplicateNight, History
from analysis.history.__main__ import main
from analysis.history.documentation import columns_in_words, events_in_words, manifest_in_words
from analysis.history.layout import NIGHTS
from testbed.record import RecordError, files


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test takes the power away: what fsync protects from does not happen here."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def add(history: History, night: int, machine: str = synthetic.MACHINE) -> Path:
    rows = synthetic.rows(night, {"b": 1.0, "a": 0.95}, pairs=2, machine=machine)
    return history.append(rows, synthetic.manifest(night, machine=machine))


def content(history: History) -> list[tuple[Any, ...]]:
    """Night, machine, series, repetition and candidate of every row."""
    if not history.files():
        return []
    frame = history.frame()
    columns = ("night_utc", "machine", "series", "repetition", "candidate")
    return sorted(zip(*(frame[name].tolist() for name in columns), strict=True))


def test_what_was_appended_is_read_back_in_order_with_types_and_gaps(tmp_path: Path) -> None:
    history = History(tmp_path / "h")
    for night in (1, 0):
        rows = synthetic.rows(night, {"b": None, "a": 1.0}, pairs=2)
        history.append(rows, synthetic.manifest(night))
    frame = history.frame()
    assert list(frame.columns) == [column.name for column in NIGHTS.columns]
    assert frame["series"].tolist() == ["a"] * 4 + ["b"] * 4
    assert frame["night_utc"].tolist() == ([synthetic.utc(0)] * 2 + [synthetic.utc(1)] * 2) * 2
    assert frame["candidate"].isna().tolist() == [False] * 4 + [True] * 4
    assert frame["seed"].dtype == "uint64"
    assert [manifest["night_utc"] for manifest in history.manifests()] == [synthetic.utc(0), synthetic.utc(1)]
    only = history.frame("b")
    pd.testing.assert_frame_equal(only.astype(object), frame[4:].reset_index(drop=True).astype(object))


def test_a_night_that_is_there_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    history = History(tmp_path)
    path = add(history, 3)
    before = path.read_bytes()
    rows = synthetic.rows(3, {"a": 2.0}, pairs=1)
    with pytest.raises(DuplicateNight, match=r"2026-09-23T02:00:00Z .* already"):
        history.append(rows, synthetic.manifest(3))
    history.compact()
    add(history, 4)
    history.compact()
    with pytest.raises(DuplicateNight):
        add(history, 3)
    assert path.exists() is False
    assert before and len(content(history)) == 8


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"machine": "other"}, "row 0 has machine 'other', its manifest '0123abcd'"),
        ({"candidate": float("nan")}, "table nights, row 0: candidate is a finite number"),
        ({"verdict": "PASS"}, "table nights, row 0: verdict is one of VALID, INVALID, UNSUPPORTED"),
        ({"extra": 1}, "there is no column 'extra'"),
    ],
)
def test_a_wrong_row_is_named_and_nothing_is_written(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    rows = synthetic.rows(0, {"a": 1.0}, pairs=2)
    rows[0] |= change
    with pytest.raises(RecordError, match=told):
        History(tmp_path / "h").append(rows, synthetic.manifest(0))
    assert not (tmp_path / "h").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"reference_id": None}, "a manifest: reference_id is None"),
        ({"reference": {"kind": "other"}}, "reference.kind is to be build or variant, not 'other'"),
        ({"night_utc": "yesterday"}, "night_utc is to be like 2026-01-31T02:00:00Z, not 'yesterday'"),
        ({"machine": "a/b"}, "machine 'a/b' is no fingerprint"),
    ],
)
def test_a_wrong_manifest_is_named(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    with pytest.raises(RecordError, match=told):
        History(tmp_path).append(synthetic.rows(0, {"a": 1.0}), synthetic.manifest(0) | change)


class Interrupted(Exception):
    """The power went."""


class Failing:
    """Effects on the disk (writing a file, removing one); the one of that number fails, and all that come after."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left: int | None = None
        for owner, name in ((files, "write_synced"), (Path, "unlink"), (Path, "replace")):
            monkeypatch.setattr(owner, name, self._counted(getattr(owner, name)))

    def _counted(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def effect(*arguments: Any, **options: Any) -> Any:
            if self.left is not None:
                self.left -= 1
                if self.left < 0:
                    raise Interrupted
            return real(*arguments, **options)

        return effect


@pytest.fixture
def failing() -> Iterator[Failing]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield Failing(monkeypatch)


@pytest.mark.parametrize("file", [0, 1])
def test_a_full_disk_is_one_clear_error_and_the_history_is_what_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: int
) -> None:
    history = History(tmp_path)
    add(history, 0)
    before, names = content(history), sorted(tmp_path.rglob("*"))
    written = []

    def write_until_full(path: Path, data: bytes) -> None:
        written.append(path)
        path.write_bytes(data[: len(data) // 2] if len(written) == file + 1 else data)
        if len(written) == file + 1:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(files, "write_synced", write_until_full)
        with pytest.raises(RecordError, match=r"^no space left for .*nothing half-written was kept[^\n]*$"):
            add(history, 1)
    assert sorted(tmp_path.rglob("*")) == names
    assert content(history) == before
    assert len(history.manifests()) == 1
    add(history, 1)
    assert len(content(history)) == 2 * len(before)


operations = st.one_of(
    st.tuples(st.just("append"), st.one_of(st.none(), st.integers(0, 4)), st.integers(0, 60)),
    st.tuples(st.just("compact"), st.one_of(st.none(), st.integers(0, 7)), st.just(0)),
    st.tuples(st.just("merge"), st.none(), st.just(0)),
)


@settings(max_examples=14, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(operations, min_size=2, max_size=10))
def test_whatever_is_appended_compacted_interrupted_and_merged_every_night_stands_there_once(
    tmp_path: Path, failing: Failing, script: list[tuple[str, int | None, int]]
) -> None:
    root = tmp_path / "any"
    shutil.rmtree(root, ignore_errors=True)
    here, there = History(root / "here"), History(root / "there")
    expected: dict[History, set[tuple[int, str]]] = {here: set(), there: set()}
    for turn, (what, fails_at, number) in enumerate(script):
        history = (here, there)[turn % 3 == 2]
        night = number, ("m1", "m2")[number % 2]
        if what == "append" and night not in expected[history]:
            failing.left = fails_at
            with contextlib.suppress(Interrupted):
                add(history, *night)
            failing.left = None
            assert fails_at is not None or history.has(synthetic.key(number, machine=night[1]))
            expected[history] |= {night} if history.has(synthetic.key(number, machine=night[1])) else set()
        elif what == "compact":
            failing.left = fails_at
            with contextlib.suppress(Interrupted):
                history.compact()
            failing.left = None
        elif what == "merge" and there.path.exists():
            shutil.copytree(there.path, here.path, dirs_exist_ok=True)
            expected[here] |= expected[there]
        wanted = sorted(
            (row["night_utc"], row["machine"], row["series"], row["repetition"], row["candidate"])
            for day, on in expected[history]
            for row in synthetic.rows(day, {"b": 1.0, "a": 0.95}, pairs=2, machine=on)
        )
        assert content(history) == wanted
        assert len(history.manifests()) == len(expected[history])
    here.check()


def test_one_series_is_read_alike_before_and_after_compaction(tmp_path: Path) -> None:
    history = History(tmp_path)
    for night in synthetic.nights(44, but=[7, 8]):
        history.append(synthetic.rows(night, {"a": 1.0, "b": 1.1}, pairs=2), synthetic.manifest(night))
    before = history.frame("b", campaign=synthetic.CAMPAIGN, machine=synthetic.MACHINE)
    assert [path.name[:15] for path in history.compact()] == ["202609-0123abcd", "202610-0123abcd", "202611-0123abcd"]
    pd.testing.assert_frame_equal(history.frame("b").astype(object), before.astype(object))
    assert list((tmp_path / "nights").glob("*.parquet")) == []
    assert len(history.manifests()) == 42
    assert history.foreign() == []
    assert history.compact() == []


def damage(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 0x40
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("compacted", [False, True])
def test_a_damaged_file_is_named_with_the_way_out(tmp_path: Path, *, compacted: bool) -> None:
    history = History(tmp_path)
    paths = [add(history, night) for night in (0, 1)]
    path = history.compact()[0] if compacted else paths[1]
    whole = path.read_bytes()
    for cut in (0, 3, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(RecordError, match=rf"{path.name} is no file of a history, or is damaged .* from a copy"):
            history.frame()
    for position in range(4, len(whole), len(whole) // 12):
        path.write_bytes(whole)
        damage(path, position)
        with pytest.raises(RecordError, match=path.name):
            history.check()


def test_a_changed_value_is_an_error_when_it_is_read(tmp_path: Path) -> None:
    history = History(tmp_path)
    path = history.append(synthetic.rows(0, {"a": 1.0}, pairs=500), synthetic.manifest(0))
    damage(path, len(path.read_bytes()) // 2)
    with pytest.raises(RecordError, match=path.name):
        history.frame()


def test_foreign_and_later_files_are_named(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    history = History(tmp_path)
    path = add(history, 0)
    (tmp_path / "nights" / "notes.txt").write_text("mine")
    orphan = tmp_path / "nights" / "20260101T000000Z-0123.json"
    orphan.write_text("{}")
    assert history.foreign() == [orphan, tmp_path / "nights" / "notes.txt"]
    table = pq.read_table(path)
    later = tmp_path / "nights" / "later.parquet"
    pq.write_table(table.replace_schema_metadata({b"history_version": b"2", b"nights": b"{}"}), later)
    with pytest.raises(RecordError, match=r"later.parquet has version 2; this testbed reads up to 1"):
        history.frame()
    later.unlink()
    pq.write_table(pa.table({"a": [1]}), tmp_path / "nights" / "other.parquet")
    with pytest.raises(RecordError, match=r"other.parquet is no file of a history"):
        history.frame()


def test_a_night_without_its_manifest_is_named(tmp_path: Path) -> None:
    history = History(tmp_path)
    path = add(history, 0)
    path.with_suffix(".json").unlink()
    with pytest.raises(RecordError, match=r"-[0-9a-f]{12}\.json is missing"):
        history.manifests()


def test_events_are_written_once_and_come_in_order(tmp_path: Path) -> None:
    history = History(tmp_path)
    one = history.note("confirmation", **synthetic.key(1), series="a", confirmed=False)
    again = history.note("confirmation", **synthetic.key(1), series="a", confirmed=False)
    history.note("alarm", **synthetic.key(1), series="a")
    history.note("acceptance", **synthetic.key(0), series=None, why="the new pacing")
    history.note("alarm", **synthetic.key(0, machine="other"), series="a")
    assert one == again
    assert [(event.kind, event.series) for event in history.events(machine=synthetic.MACHINE)] == [
        ("acceptance", None),
        ("alarm", "a"),
        ("confirmation", "a"),
    ]
    assert history.events(machine=synthetic.MACHINE)[0].facts["why"] == "the new pacing"
    with pytest.raises(RecordError, match="event confirmation needs confirmed: Whether the paired re-run"):
        history.note("confirmation", **synthetic.key(1), series="a")
    with pytest.raises(RecordError, match="there is no event 'gossip': alarm, confirmation, acceptance"):
        history.note("gossip", **synthetic.key(1))
    one.write_text(json.dumps({"kind": "gossip"}))
    with pytest.raises(RecordError, match=one.name):
        history.events()


def test_the_command_checks_and_compacts_and_names_what_is_damaged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    history = History(tmp_path / "h")
    paths = [add(history, night) for night in (0, 1)]
    assert main(["check", str(history.path)]) == 0
    assert capsys.readouterr().out == "2 nights, 0 events, every file as it was written\n"
    damage(paths[0], 100)
    assert main(["compact", str(history.path)]) == 3
    told = capsys.readouterr().err
    assert told.startswith(f"error: {paths[0]} is no file of a history, or is damaged") and told.count("\n") == 1
    assert all(path.exists() for path in paths)
    damage(paths[0], 100)
    assert main(["compact", str(history.path)]) == 0
    assert capsys.readouterr().out.startswith(str(history.path / "compacted" / "202609-0123abcd-"))
    assert main(["check", str(tmp_path / "nothing")]) == 3


def test_the_documentation_has_every_column_key_and_event() -> None:
    page = (Path(__file__).parents[3] / "docs" / "history.md").read_text()
    for part in (columns_in_words(), manifest_in_words(), events_in_words()):
        assert part in page, "python -m analysis.history.documentation prints what belongs there"
