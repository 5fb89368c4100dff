"""A trial whose network or endpoint dies keeps what it had, and says whose fault it was."""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from experiments.quickstart import quickstart
from testbed.orchestrator import features, plan
from testbed.orchestrator.trial import Outcome, run_trial

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_mptcp, pytest.mark.slow]


def children_running(module: str) -> list[int]:
    """Processes that this one started and that run ``python -m module``."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and f"PPid:\t{os.getpid()}\n" in (entry / "status").read_text():
                words = (entry / "cmdline").read_bytes().split(b"\0")
                found += [int(entry.name)] if module.encode() in words else []
        except (FileNotFoundError, ProcessLookupError):
            continue
    return sorted(found)


def killed(module: str, tmp_path: Path) -> Outcome:
    """The outcome of a trial in which the last process of ``module`` is killed half a second into the traffic."""
    (tmp_path / "logs").mkdir()
    experiment = dataclasses.replace(quickstart(), duration_ns=3 * 10**9)
    trial = next(each for each in plan.trials(experiment) if each.variant == "tcp")
    begun_s: list[float] = []

    def progress(phase: str, _expected_s: float) -> None:
        if phase == "traffic":
            begun_s.append(time.monotonic())
        if not phase and begun_s and time.monotonic() > begun_s[0] + 0.5:
            begun_s.clear()
            os.kill(children_running(module)[-1], signal.SIGKILL)

    run: Callable[..., Outcome] = run_trial
    return run(experiment, trial, run_id="t1", directory=tmp_path, qdiscs=features.qdiscs(), progress=progress)


def test_a_relay_that_dies_leaves_what_the_ends_had_and_is_a_disturbance(tmp_path: Path) -> None:
    outcome = killed("testbed.emulation", tmp_path)
    assert outcome.verdict == "INVALID"
    assert "died during the traffic" in outcome.reason
    assert outcome.disturbed
    tables = outcome.record.tables
    assert len(tables["flows"]) == 1
    assert tables["flows"][0]["bytes_received_upload"] > 0
    assert len(tables["links"]) == 4
    assert {row["source"] for row in tables["samples"]} >= {"TCP_INFO", "/proc/stat"}
    assert tables["counters"]
    notes = [row["detail"] for row in tables["events"] if row["kind"] == "note"]
    assert any("SCHED_" in text and "CPU" in text for text in notes)


def test_an_endpoint_that_dies_leaves_the_others_view_and_is_no_disturbance(tmp_path: Path) -> None:
    outcome = killed("testbed.endpoint", tmp_path)
    assert outcome.verdict == "INVALID"
    assert "endpoint main.client ended with exit code" in outcome.reason
    assert outcome.disturbed is any("emulation:" in part for part in outcome.reason.split("; "))
    (flow,) = outcome.record.tables["flows"]
    assert flow["bytes_received_upload"] > 0
    assert flow["bytes_sent_upload"] is None
    assert "client: it ended without a result" in flow["error"]
    assert outcome.record.tables["counters"]
    assert len(outcome.record.tables["links"]) == 4
