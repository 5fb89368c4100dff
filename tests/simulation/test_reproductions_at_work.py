"""Reproductions in virtual time: one short trial of those whose mechanism no other test looks at."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from experiments.catalog import build
from testbed.orchestrator import overrides, plan, sim_trial

MS = 1_000_000


def flow_of(name: str, variant: str, folder: Path) -> Mapping[str, Any]:
    """The row of the first flow of that variant's first trial."""
    made = overrides.only_variants(build(name), [variant])
    (folder / "logs").mkdir(parents=True)
    outcome = sim_trial.run_trial(made, plan.trials(made)[0], folder, lambda _phase, _s: None)
    assert outcome.verdict == "VALID", outcome.reason
    return outcome.record.tables["flows"][0]


@pytest.mark.parametrize(("scheduler", "round_trip_ms"), [("lowest-rtt", 40), ("round-robin", 80)])
def test_v6_a_request_takes_the_round_trip_of_its_path_and_waits_for_no_delayed_ack(
    scheduler: str, round_trip_ms: int, tmp_path: Path
) -> None:
    row = flow_of("v6-schedulers", f"requests-{scheduler}", tmp_path)

    assert row["operations"] == 20
    assert round_trip_ms * MS <= row["latency_p50_ns"] < (round_trip_ms + 5) * MS


@pytest.mark.parametrize("mode", ["backup", "normal"])
def test_v7_a_blackhole_costs_one_late_answer_and_no_connection(mode: str, tmp_path: Path) -> None:
    row = flow_of("v7-failover", f"{mode}/userspace/userspace", tmp_path)

    assert (row["operations"], row["operations_failed"], row["fallback"]) == (50, 0, False)
    assert row["latency_p95_ns"] < 45 * MS < 200 * MS < row["latency_max_ns"] < 1000 * MS
