"""An announcement that does not fit, on the real kernel: a result of the experiment, told by watches and counters."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from testbed.record import RunDirectory

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_mptcp]

ROOT = Path(__file__).parents[2]
VARIANT = "add-addr-port/ts/linux"


def test_an_announcement_without_room_is_measured_and_not_refused_beforehand(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "testbed", "run", "linux_mechanisms", "--backend", "mininet", "--repeat", "1"]
    result = subprocess.run(
        [*argv, "--variant", VARIANT, "--json", "--out", str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode in (0, 1), result.stderr
    summary: dict[str, Any] = json.loads(result.stdout)
    assert summary["trials"]["VALID"] == 1
    outcomes = [each["outcome"] for each in summary["expectations"]]
    assert outcomes, "whether this kernel drops it is a finding and not a test; that it was looked at is"
    assert set(outcomes) <= {"met", "FAILED"}
    events = RunDirectory.open(Path(summary["path"])).read_table("events").to_pylist()
    (told,) = [event["detail"] for event in events if event["subject"] == "option space"]
    assert "cannot be announced" in told
