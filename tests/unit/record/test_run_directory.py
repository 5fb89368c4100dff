"""The run directory: whole or not at all, readable at any time, immutable once complete."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from testbed.record import RecordError, RunDirectory, TrialRecord, unfinished_run

DIGEST = "0123456789abcdef" * 4


def run_json(trials: int = 3) -> dict[str, Any]:
    return {
        "experiment": {"name": "demo"},
        "plan": [{"trial": n, "variant": "mptcp", "repetition": n, "seed": 2**63 + n} for n in range(trials)],
        "seed": 1,
        "backend": "mininet",
        "command": ["testbed", "run", "demo"],
        "source": {"commit": None, "dirty": None},
        "versions": {},
        "machine": {},
        "kernel": {"release": "6.18"},
        "sysctls": {},
    }


def trial_row(trial: int, **changes: Any) -> dict[str, Any]:
    return {
        "trial": trial,
        "experiment": "demo",
        "variant": "mptcp",
        "repetition": trial,
        "seed": 2**63 + trial,
        "verdict": "VALID",
        "reason": "",
        "backend": "mininet",
        "started_utc": "2026-01-01T00:00:00Z",
        "duration_ns": 12_000_000_000,
    } | changes


def record(trial: int, **changes: Any) -> TrialRecord:
    sample = {
        "trial": trial,
        "time_ns": 100,
        "subject": "main.server",
        "metric": "goodput_bit_s",
        "value": 1,
        "unit": "bit/s",
        "source": "application",
    }
    return TrialRecord(trial, {"trials": [trial_row(trial, **changes)], "samples": [sample]})


def new_run(parent: Path, trials: int = 3) -> RunDirectory:
    return RunDirectory.create(parent, "demo", DIGEST, run_json(trials))


def paths_in(path: Path) -> set[str]:
    return {str(child.relative_to(path)) for child in path.rglob("*")}


def test_its_name_says_experiment_time_and_digest(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    assert run.path.parent == tmp_path / "demo"
    assert run.path.name.endswith("Z-01234567")
    assert run.document["state"] == "running"


def test_two_runs_in_one_second_get_two_directories(tmp_path: Path) -> None:
    assert new_run(tmp_path).path != new_run(tmp_path).path


def test_a_stored_trial_is_readable_before_the_run_is_complete(tmp_path: Path) -> None:
    with new_run(tmp_path) as run:
        run.store_trial(record(1))
    seen = RunDirectory.open(run.path)
    assert seen.completed_trials() == (1,)
    assert seen.remaining_trials() == (0, 2)
    assert seen.read_table("trials").to_pylist()[0]["seed"] == 2**63 + 1
    assert seen.read_table("flows").num_rows == 0


def test_complete_joins_the_parts_in_order_and_keeps_the_files(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    for trial in (2, 0, 1):
        folder = run.begin_trial(trial)
        (folder / "captures" / "client.pcap").write_bytes(b"packets of %d" % trial)
        run.store_trial(record(trial))
    run.write_file("drawings/two_path.txt", "client -- server\n")
    run.complete()
    seen = RunDirectory.open(run.path)
    assert seen.is_complete
    assert seen.read_table("trials").column("trial").to_pylist() == [0, 1, 2]
    assert [path.read_bytes() for path in seen.trial_files(2)] == [b"packets of 2"]
    assert "captures/0002/client.pcap" in seen.document["files"]
    assert not (run.path / "trials").exists()
    assert seen.altered_files() == ()
    (run.path / "captures/0002/client.pcap").write_bytes(b"others")
    assert seen.altered_files() == ("captures/0002/client.pcap",)


def test_a_complete_run_without_one_of_its_tables_is_damaged_not_empty(tmp_path: Path) -> None:
    run = new_run(tmp_path, trials=1)
    run.store_trial(record(0))
    run.complete()
    (run.path / "trials.parquet").unlink()
    with pytest.raises(RecordError, match=r"trials\.parquet is gone, and run\.json lists it"):
        RunDirectory.open(run.path).read_table("trials")


def test_a_complete_run_refuses_every_write_but_reports(tmp_path: Path) -> None:
    run = new_run(tmp_path, trials=1)
    run.store_trial(record(0))
    run.complete()
    before = (run.path / "run.json").read_bytes()
    for write in (
        lambda: run.store_trial(record(0)),
        lambda: run.begin_trial(0),
        lambda: run.write_file("drawings/x.txt", ""),
        lambda: run.update({"notes": []}),
        run.discard_partial,
        run.complete,
        lambda: RunDirectory.open(run.path, writable=True),
    ):
        with pytest.raises(RecordError, match="complete"):
            write()
    run.write_file("report.md", "# fine\n")
    assert (run.path / "run.json").read_bytes() == before


def test_a_run_with_missing_trials_cannot_be_completed(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    run.store_trial(record(0))
    with pytest.raises(RecordError, match="2 trials are missing, first 1"):
        run.complete()


def test_a_trial_under_way_is_invisible_and_can_be_discarded(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    (run.begin_trial(1) / "logs" / "kernel.txt").write_text("half")
    assert run.completed_trials() == ()
    assert run.discard_partial() == (1,)
    assert run.discard_partial() == ()
    assert paths_in(run.path / "trials") == set()


def test_an_interrupted_run_is_found_by_its_digest_and_goes_on(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    run.store_trial(record(0))
    run.begin_trial(1)
    run.close()
    assert unfinished_run(tmp_path, "demo", "f" * 64) is None
    found = unfinished_run(tmp_path, "demo", DIGEST)
    assert found == run.path
    with RunDirectory.open(found, writable=True) as again:
        again.discard_partial()
        for trial in again.remaining_trials():
            again.store_trial(record(trial))
        again.complete()
    assert unfinished_run(tmp_path, "demo", DIGEST) is None


def test_completing_goes_on_after_a_crash_inside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = new_run(tmp_path, trials=1)
    (run.begin_trial(0) / "logs" / "kernel.txt").write_text("text")
    run.store_trial(record(0))
    with monkeypatch.context() as patch:
        patch.setattr("testbed.record.files.sha256_of", lambda path: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run.complete()
    run.close()
    with RunDirectory.open(run.path, writable=True) as again:
        again.complete()
    assert [path.name for path in RunDirectory.open(run.path).trial_files(0)] == ["kernel.txt"]


def test_one_process_at_a_time_writes(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    with pytest.raises(RecordError, match="another process"):
        RunDirectory.open(run.path, writable=True)
    assert RunDirectory.open(run.path).remaining_trials() == (0, 1, 2)
    run.close()
    RunDirectory.open(run.path, writable=True).close()


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"trials": [trial_row(0, goodput=1)]}, "table trials, row 0: there is no column 'goodput'"),
        ({"trials": [trial_row(0, duration_ns=1.5)]}, "duration_ns is an integer, not 1.5"),
        ({"trials": [trial_row(0, duration_ns=2**63)]}, "duration_ns is an integer that fits int64"),
        ({"trials": [trial_row(0, seed=-1)]}, "seed is an integer that fits uint64, not -1"),
        ({"trials": [trial_row(0, verdict="FAIL")]}, "verdict is one of VALID, INVALID, UNSUPPORTED, not 'FAIL'"),
        ({"trials": [trial_row(0, reason=None)]}, "reason is missing"),
        ({"trials": [trial_row(0, goodput_bit_s=True)]}, "goodput_bit_s is a finite number .*, not True"),
        ({"trials": [trial_row(0, goodput_bit_s=float("nan"))]}, "goodput_bit_s is a finite number .*, not nan"),
        ({"trials": [trial_row(1)]}, "a row of trial 1 in the record of 0"),
        ({"trials": []}, "exactly one row"),
        ({"trails": []}, "there is no table 'trails'"),
    ],
)
def test_rows_that_do_not_fit_are_refused_and_nothing_is_kept(
    tmp_path: Path, tables: Mapping[str, Any], message: str
) -> None:
    run = new_run(tmp_path)
    with pytest.raises(RecordError, match=message.replace("(", r"\(")):
        run.store_trial(TrialRecord(0, tables))
    assert run.completed_trials() == ()


def test_a_trial_is_stored_once_and_only_if_planned(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    run.store_trial(record(0))
    with pytest.raises(RecordError, match="already stored"):
        run.store_trial(record(0))
    with pytest.raises(RecordError, match="trial 9 is not in the plan"):
        run.store_trial(record(9))


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = new_run(tmp_path)
    run.store_trial(record(0))
    before = paths_in(run.path)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(RecordError, match=r"no space left for trial 1 .*call the command again .*--resume"):
            run.store_trial(record(1))
        with pytest.raises(RecordError, match=r"no space left for report\.md"):
            run.write_file("report.md", "text")
    assert paths_in(run.path) == before
    run.store_trial(record(1))


FULL_DISK = """
import ctypes, sys
from pathlib import Path
sys.path[:0] = [{tests!r}]
from test_run_directory import new_run, record
from testbed.record import RecordError, TrialRecord
libc = ctypes.CDLL(None, use_errno=True)
parent = Path({parent!r})
assert libc.unshare(0x00020000) == 0, "unshare(CLONE_NEWNS)"
assert libc.mount(b"none", b"/", None, 0x4000 | 0x40000, None) == 0, "private mounts"
assert libc.mount(b"tmpfs", bytes(parent), b"tmpfs", 0, b"size=128k") == 0, "mount(tmpfs)"
run = new_run(parent)
(run.begin_trial(0) / "captures" / "big").write_bytes(bytes(60_000))
run.store_trial(record(0))
try:
    rows = [dict(record(1).tables["samples"][0], time_ns=i, value=hash(str(i)) / 7) for i in range(20000)]
    run.store_trial(TrialRecord(1, dict(record(1).tables, samples=rows)))
except RecordError as error:
    print(error, run.completed_trials(), sorted(p.name for p in (run.path / "trials").iterdir()))
"""


@pytest.mark.needs_root
def test_a_really_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    script = FULL_DISK.format(parent=str(tmp_path), tests=str(Path(__file__).parent))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "no space left for trial 1" in done.stdout
    assert done.stdout.endswith("(0,) ['0000']\n")


def test_a_file_name_may_not_lead_outside(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="leads out"):
        new_run(tmp_path).write_file("../escape.txt", "")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kernel": None}, "kernel has the wrong type"),
        ({"colour": 1}, "there is no key 'colour'"),
        ({"state": "complete"}, "state is set by the run directory"),
        ({"plan": [{"trial": 0}]}, "has no str 'variant'"),
        ({"plan": run_json(1)["plan"] * 2}, "the same trial number"),
    ],
)
def test_run_json_is_checked(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(RecordError, match=message):
        RunDirectory.create(tmp_path, "demo", DIGEST, run_json() | change)


def test_what_is_no_run_directory_or_damaged_says_so(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"not a run directory: it has no run\.json"):
        RunDirectory.open(tmp_path)
    run = new_run(tmp_path)
    run.store_trial(record(0))
    part = run.path / "trials" / "0000" / "trials.parquet"
    part.write_bytes(part.read_bytes()[:-9])
    with pytest.raises(RecordError, match=r"trials\.parquet is not a table .* or is damaged"):
        run.read_table("trials")
    document = json.loads((run.path / "run.json").read_bytes())
    (run.path / "run.json").write_text(json.dumps(document | {"schema_version": 999}))
    with pytest.raises(RecordError, match=r"/run\.json: this run has schema version 999"):
        RunDirectory.open(run.path)
    (run.path / "run.json").write_text("{")
    with pytest.raises(RecordError, match=r"run\.json is damaged"):
        RunDirectory.open(run.path)


def test_keys_learned_later_are_added_but_the_plan_stays(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    run.update({"notes": ["the clock stepped"]})
    assert json.loads((run.path / "run.json").read_text())["notes"] == ["the clock stepped"]
    with pytest.raises(RecordError, match="plan does not change"):
        run.update({"plan": []})
