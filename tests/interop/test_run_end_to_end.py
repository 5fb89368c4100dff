"""A whole run on real kernels: what it leaves, what a stop keeps, and how it goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.catalog import build
from testbed.orchestrator import overrides, runner
from testbed.orchestrator.collectors.jitter import STALL_NS
from testbed.record.run_directory import RunDirectory

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_mptcp, pytest.mark.slow]

ROOT = Path(__file__).parents[2]


def _command(*words: str) -> list[str]:
    kernel = ["--backend", "mininet", "--variant", "tcp", "--variant", "linux/linux"]
    return [sys.executable, "-m", "testbed", "run", *kernel, *words]


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def _only_run(parent: Path) -> Path:
    (experiment,) = parent.iterdir()
    (run,) = experiment.iterdir()
    return run


def test_a_run_leaves_tables_reports_captures_and_a_summary(tmp_path: Path) -> None:
    words = ["quickstart", "--repeat", "1", "--set", "duration=1s", "--out", str(tmp_path), "--json", "--pcap"]

    result = subprocess.run(_command(*words), env=_environment(), capture_output=True, text=True, timeout=120)

    assert result.returncode in (0, 1, 3), result.stderr  # a second is short, and machines are busy
    summary = json.loads(result.stdout)
    run = RunDirectory.open(Path(summary["path"]))
    assert run.is_complete
    assert run.altered_files() == ()
    names = {path.name for path in run.path.iterdir()}
    assert {"run.json", "report.html", "report.md", "summary.json", "junit.xml", "captures", "logs"} <= names
    flows = {row["trial"]: row for row in run.read_table("flows").to_pylist()}
    assert len(flows) == 2
    for row in flows.values():
        assert row["integrity"] == "ok"
        assert row["bytes_received_upload"] == row["bytes_sent_upload"] > 0
    mptcp = next(row for row in flows.values() if row["implementation"] == "linux")
    assert mptcp["in_force"] == "linux"
    assert mptcp["subflows"] == 2
    sources = set(run.read_table("samples").column("source").to_pylist())
    assert {"application", "TCP_INFO", "MPTCP_FULL_INFO"} <= sources
    moved = [row for row in run.read_table("counters").to_pylist() if row["counter"] == "MPTcpExtMPJoinSynAckRx"]
    assert any(row["after"] > row["before"] for row in moved)
    pcap_header_bytes = 24  # TCP leaves the second path silent
    busy = [path for path in run.path.glob("captures/*/*.pcap") if path.stat().st_size > pcap_header_bytes]
    assert len(busy) >= 2 + 4
    assert "ip link add" in (run.path / "logs" / "0001" / "commands.txt").read_text()


def test_another_machine_does_not_go_on_with_a_run(tmp_path: Path) -> None:
    words = ["quickstart", "--set", "duration=1s", "--out", str(tmp_path)]
    process = subprocess.Popen(_command(*words), env=_environment(), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    process.stderr.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    document = _only_run(tmp_path) / "run.json"
    document.write_text(document.read_text().replace(os.uname().release, "1.2.3-other"))

    resumed = subprocess.run(
        _command(*words, "--resume", "-q"), env=_environment(), capture_output=True, text=True, timeout=60
    )

    assert resumed.returncode == 3
    assert "1.2.3-other" in resumed.stderr
    assert "--resume" in resumed.stderr


def test_ctrl_c_keeps_what_is_done_and_resume_goes_on(tmp_path: Path) -> None:
    words = ["quickstart", "--set", "duration=1s", "--out", str(tmp_path)]
    process = subprocess.Popen(_command(*words), env=_environment(), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.strip().startswith("1/4"):
            break
    process.send_signal(signal.SIGINT)
    rest = process.stderr.read()
    assert process.wait(30) == 130
    process.stderr.close()
    assert "--resume" in rest
    run = RunDirectory.open(_only_run(tmp_path))
    kept = {row["trial"]: row["started_utc"] for row in run.read_table("trials").to_pylist()}
    assert not run.is_complete
    assert 1 <= len(kept) < 4

    resumed = subprocess.run(
        _command(*words, "--resume", "-q"), env=_environment(), capture_output=True, text=True, timeout=120
    )

    assert resumed.returncode in (0, 1, 3), resumed.stderr
    run = RunDirectory.open(_only_run(tmp_path))
    assert run.is_complete
    assert len(run.completed_trials()) == 4
    started = {row["trial"]: row["started_utc"] for row in run.read_table("trials").to_pylist()}
    assert {trial: started[trial] for trial in kept} == kept  # these did not run again


def test_a_run_of_a_virtual_machine_on_real_time_tells_whether_it_stood_still(tmp_path: Path) -> None:
    experiment = overrides.apply(overrides.only_variants(build("quickstart"), ["tcp"]), ["duration=200ms"])
    ran_on = {"backend": "vm:6.12", "host": "root@127.0.0.1:22", "clock": "real"}
    request = runner.RunRequest(
        experiment=overrides.apply(experiment, ["repetitions=1"]), parent=tmp_path, ran_on=ran_on
    )

    run = runner.run(request, lambda message: None)

    (trial,) = run.read_table("trials").to_pylist()
    assert trial["verdict"] == "VALID", trial["reason"]
    if not run.document["machine"]["virtualised"]:
        assert trial["disturbed"] is None  # of such a machine nobody asks
        return
    assert 0 <= trial["stall_p99_ns"] <= trial["stall_max_ns"]
    assert trial["disturbed"] is (trial["stall_max_ns"] > STALL_NS)
    stalls = [row for row in run.read_table("events").to_pylist() if row["kind"] == "stall"]
    assert bool(stalls) is trial["disturbed"]
    assert all(row["time_ns"] > 0 for row in stalls)
