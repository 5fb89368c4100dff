"""The forced overlap after a fallback, on real kernels: plain TCP and our stack keep every byte.

Whether this machine's kernel does as an MPTCP client is a finding and not a test; either way the report has to tell it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_mptcp, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
OURS, PLAIN = "forced-plain/userspace/linux-tcp/down", "forced-plain/linux-tcp/linux-tcp/down"
KERNEL = "forced-plain/linux/linux-tcp/down"


def test_overlaps_after_a_fallback_lose_no_byte_and_if_they_do_the_report_tells(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "testbed", "run", "fallback_integrity", "--backend", "mininet", "--repeat", "1"]
    for variant in (OURS, PLAIN, KERNEL):
        argv += ["--variant", variant]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [*argv, "--json", "--out", str(tmp_path)], env=environment, capture_output=True, text=True, timeout=180
    )
    assert result.returncode in (0, 1), result.stderr
    summary = json.loads(result.stdout)
    cells: dict[str, Any] = {cell["variant"]: cell for cell in summary["grid"]["cells"]}
    assert {name: cells[name]["outcome"] for name in (OURS, PLAIN)} == {OURS: "met", PLAIN: "met"}
    (kernel,) = cells[KERNEL]["trials"]
    assert kernel["fate"] == "fallback"
    assert kernel["as_expected"] is (kernel["bytes_missing"] == 0 and not kernel["bytes_wrong"])
    report = (Path(summary["path"]) / "report.md").read_text()
    for words in (str(kernel["seed"]), kernel["command"], *kernel["captures"]):
        assert (words in report) or kernel["as_expected"]
    assert kernel["captures"]
