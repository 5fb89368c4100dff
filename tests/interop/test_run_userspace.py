"""``testbed run --backend mininet`` with our own stack as an end: the rows say so, and nothing of it is left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from testbed.record.run_directory import RunDirectory

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_mptcp, pytest.mark.slow]

ROOT = Path(__file__).parents[2]


def run(tmp_path: Path, *words: str) -> RunDirectory:
    argv = [sys.executable, "-m", "testbed", "run", "quickstart", "--backend", "mininet", "--repeat", "1", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    argv += ["--out", str(tmp_path), *words]
    result = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=120)
    assert result.returncode in (0, 1, 3), result.stderr  # a second is short, and machines are busy
    return RunDirectory.open(Path(json.loads(result.stdout)["path"]))


def moved(found: RunDirectory, trial: int, host: str) -> dict[str, int]:
    rows: list[dict[str, Any]] = found.read_table("counters").to_pylist()
    return {
        row["counter"]: (row["after"] or 0) - (row["before"] or 0)
        for row in rows
        if row["trial"] == trial and row["host"] == host
    }


def test_either_end_may_be_ours(tmp_path: Path) -> None:
    found = run(tmp_path, "--variant", "userspace/linux", "--variant", "linux/userspace", "--set", "duration=1s")
    trials = {row["trial"]: row for row in found.read_table("trials").to_pylist()}
    flows = {row["trial"]: row for row in found.read_table("flows").to_pylist()}
    assert sorted(row["variant"] for row in trials.values()) == ["linux/userspace", "userspace/linux"]
    for number, row in flows.items():
        assert row["integrity"] == "ok", trials[number]
        assert row["bytes_received_upload"] == row["bytes_sent_upload"] > 0
        assert row["subflows"] == 2, trials[number]
        assert moved(found, number, "client")["MPTcpExtMPCapableSYNACKRX"] == 1
        assert moved(found, number, "server")["MPTcpExtMPJoinAckRx"] == 1
        assert moved(found, number, "client").get("TcpOutRsts", 0) == 0
    sources = set(found.read_table("samples").column("source").to_pylist())
    assert {"userspace", "MPTCP_FULL_INFO"} <= sources


def test_a_middlebox_of_the_link_is_in_the_way_of_either(tmp_path: Path) -> None:
    words = ("--variant", "userspace/linux", "--set", "path1.forward.middleboxes=strip mptcp on syn")
    found = run(tmp_path, *words, "--set", "duration=1s", "--set", "subflows=0")
    (flow,) = found.read_table("flows").to_pylist()
    assert flow["in_force"] == "fallback"
    assert flow["integrity"] == "ok"
    (box,) = found.read_table("middleboxes").to_pylist()
    assert (box["link"], box["place"], box["direction"]) == ("path1", "forward", "forward")
    assert box["middlebox"] == "strip mptcp on syn"
    assert 1 == box["matched"] == box["changed"] < box["seen"]
    assert moved(found, 0, "client")["MPTcpExtMPCapableFallbackSYNACK"] == 1
    assert moved(found, 0, "server")["MPTcpExtMPCapableSYNRX"] == 0
