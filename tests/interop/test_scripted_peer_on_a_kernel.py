"""A scripted peer on real packets: the thread's schedule to this kernel's receiver, with its expectations."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_mptcp, pytest.mark.slow]

ROOT = Path(__file__).parents[2]


def test_the_schedule_of_eight_segments_reaches_the_kernel_to_the_octet(tmp_path: Path) -> None:
    words = ("run", "eight_segments", "--backend", "mininet", "--variant", "late/linux", "--repeat", "1")
    result = subprocess.run(
        [sys.executable, "-m", "testbed", *words, "--json", "--out", str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert result.returncode == 0, result.stdout + result.stderr
    expectations = json.loads(result.stdout)["expectations"]
    outcomes = {each["metric"]: each["outcome"] for each in expectations}
    assert outcomes["observed:acked.sf1"] == outcomes["observed:acked.sf2"] == "met"  # 100 and 400 octets
    assert set(outcomes.values()) == {"met"}
