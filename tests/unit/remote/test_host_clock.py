"""Whose clock it was: the host's stamps of the messages, and what of them stands in a run that was fetched."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.record.errors import RecordError
from testbed.record.run_directory import RunDirectory
from testbed.remote import fetched
from testbed.remote.host_clock import HostClock, Stamp, is_same_run, write_stamps


def _message(kind: str, number: int, **more: Any) -> Mapping[str, Any]:
    return {"kind": kind, "number": number, **more}


@given(st.lists(st.tuples(st.integers(1, 10**12), st.booleans(), st.booleans(), st.booleans())))
def test_a_stamp_is_what_our_clock_said_between_two_messages_that_were_heard_in_time(
    trials: list[tuple[int, bool, bool, bool]],
) -> None:
    now_ns = 0
    clock = HostClock(lambda: now_ns, lambda: f"utc {now_ns}")
    expected: dict[int, Stamp] = {}
    for number, (lasts_ns, late_begin, late_end, retried) in enumerate(trials):
        now_ns += 7
        clock.hear(_message("trial", number), late=late_begin)
        clock.hear({"kind": "tick"}, late=False)
        begin_ns, known = now_ns, not late_begin
        now_ns += lasts_ns
        if retried:
            clock.hear(_message("retry", number), late=False)
            begin_ns, known = now_ns, True
            now_ns += 1
        clock.hear(_message("ended", number), late=late_end)
        if known:
            expected[number] = Stamp(f"utc {begin_ns}", None if late_end else now_ns - begin_ns)
    assert clock.stamps == expected


def test_trials_that_ran_side_by_side_and_ends_without_a_beginning_have_no_time_of_ours() -> None:
    clock = HostClock()
    clock.hear(_message("trial", 0, over=True), late=False)
    clock.hear(_message("ended", 0), late=False)
    clock.hear(_message("ended", 1), late=False)
    clock.hear(_message("trial", 2), late=False)
    clock.hear(_message("ended", 3), late=False)
    assert clock.stamps == {}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two trials for another machine, on virtual time."""
    from experiments.catalog import build
    from testbed.orchestrator import overrides, runner

    experiment = overrides.only_variants(build("quickstart"), ["userspace-tcp"])
    request = runner.RunRequest(
        experiment=overrides.apply(experiment, ["duration=100ms", "repetitions=2"]),
        parent=tmp_path_factory.mktemp("made"),
        backend="sim",
        jobs=1,
        ran_on={"backend": "vm:6.12/sim", "host": "root@127.0.0.1:1", "clock": "virtual"},
    )
    return runner.run(request, lambda message: None).path


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Iterator[Path]:
    yield Path(shutil.copytree(made, tmp_path / "came"))


def test_a_fetched_run_has_both_clocks_and_is_whole_as_its_digests_say(run: Path, made: Path) -> None:
    write_stamps(run, {1: Stamp("2026-01-01T00:00:00.000+00:00", 31_000_000_000)})

    fetched.check(run)
    rows = RunDirectory.open(run).read_table("trials").to_pylist()
    assert [row["clock"] for row in rows] == ["virtual", "virtual"]
    assert [row["host_duration_ns"] for row in rows] == [None, 31_000_000_000]
    assert [row["host_started_utc"] for row in rows] == [None, "2026-01-01T00:00:00.000+00:00"]
    before = RunDirectory.open(made).read_table("trials")
    same = [name for name in before.column_names if not name.startswith(("host", "clock"))]
    assert RunDirectory.open(run).read_table("trials").select(same).equals(before.select(same))


def test_a_run_that_is_fetched_again_is_not_kept_twice_whatever_was_heard_of_it(run: Path, tmp_path: Path) -> None:
    again, other = (Path(shutil.copytree(run, tmp_path / name)) for name in ("again", "other"))
    write_stamps(run, {0: Stamp("2026-01-01T00:00:00.000+00:00", 5)})
    document = json.loads((other / "run.json").read_bytes())
    document["started_utc"] = "2026-01-01T00:00:00.001Z"
    (other / "run.json").write_text(json.dumps(document))

    assert is_same_run(run, again)
    parent = tmp_path / "runs"
    parent.mkdir()
    first = fetched.moved(run, parent, "name")
    assert fetched.moved(again, parent, "name") == first
    assert fetched.moved(other, parent, "name") == parent / "name-2"


def test_who_comes_second_to_a_name_takes_the_next(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parent = tmp_path / "runs"
    (parent / "name").mkdir(parents=True)
    (parent / "name" / "file").touch()
    exists = Path.exists
    monkeypatch.setattr(Path, "exists", lambda path, **how: path.name != "name" and exists(path, **how))

    assert fetched.moved(run, parent, "name") == parent / "name-2"


def test_what_came_incomplete_is_not_taken(run: Path) -> None:
    document = json.loads((run / "run.json").read_bytes())
    (run / "run.json").write_text(json.dumps(document | {"state": "running"}))
    with pytest.raises(RecordError, match="is not complete"):
        fetched.check(run)
