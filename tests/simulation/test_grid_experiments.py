"""Cells of the two grids in virtual time: the boxes do what they are there for, and our stack what is expected."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from analysis.fate import Fate, fate_of
from experiments.catalog import build
from experiments.fallback_integrity import SIZE_BYTES, WRITE_BYTES
from testbed.orchestrator import overrides, plan, sim_trial
from testbed.orchestrator.spec import Experiment
from testbed.orchestrator.trial import Outcome


def carried_out(name: str, variant: str, folder: Path) -> tuple[Experiment, Outcome, Fate]:
    made = dataclasses.replace(overrides.only_variants(build(name), [variant]), capture=False)
    (folder / "logs").mkdir(parents=True)
    outcome = sim_trial.run_trial(made, plan.trials(made)[0], folder, lambda _phase, _s: None)
    assert outcome.verdict == "VALID", outcome.reason
    (trial,), (flow,) = outcome.record.tables["trials"], outcome.record.tables["flows"]
    missing = {"fallback": None, "error": None, "error_kind": None}
    return made, outcome, fate_of(trial, {**missing, **flow})


@pytest.mark.parametrize(
    ("variant", "fate", "wrong"),
    [
        ("strip-syn/userspace/userspace/up", "fallback", False),
        ("strip-second/userspace/userspace/down", "mptcp", False),
        ("firewall-forgets/userspace/userspace/up", "mptcp", False),
        ("firewall-forgets/userspace-tcp", "unfinished", False),
        ("rewrite/userspace-tcp", "tcp", True),
        ("rewrite-checksum/userspace/userspace/up", "fallback", True),
        ("rewrite-checksum/userspace/userspace/down", "mptcp", False),
    ],
)
def test_a_cell_of_middleboxes_is_as_expected(variant: str, fate: str, wrong: bool, tmp_path: Path) -> None:
    made, outcome, found = carried_out("middleboxes", variant, tmp_path)
    assert (found.fate, found.wrong) == (fate, wrong)
    assert made.grid is not None
    (cell,) = made.grid.cells
    assert found.fate in cell.fates
    assert not wrong or found.fate in cell.altered
    boxes = outcome.record.tables["middleboxes"]
    assert sum(row["changed"] + row["dropped"] for row in boxes) > 0


@pytest.mark.parametrize(
    ("variant", "fates", "wrong", "failures"),
    [
        ("one/rfc8684/rfc8684", ("fallback",), True, 1),
        ("two-second/userspace/userspace", ("mptcp",), False, 1),
        ("two-both/userspace/userspace", ("reset", "unfinished"), False, 2),
    ],
)
def test_failed_checksums_reach_the_application_after_a_fallback_alone(
    variant: str, fates: tuple[str, ...], wrong: bool, failures: int, tmp_path: Path
) -> None:
    _, outcome, found = carried_out("failed_checksums", variant, tmp_path)
    assert found.fate in fates
    assert found.wrong is wrong
    growth = [
        row["after"] - row["before"] for row in outcome.record.tables["counters"] if "DataCsumErr" in row["counter"]
    ]
    assert sum(growth) == failures
    changed = [row["changed"] for row in outcome.record.tables["middleboxes"] if "rewrite" in row["middlebox"]]
    assert sum(changed) > 20


@pytest.mark.parametrize("way", ["upload", "download"])
def test_bare_acks_make_our_stack_fall_back_and_repeat_nothing(way: str, tmp_path: Path) -> None:
    _, outcome, found = carried_out("bare_acks", f"stripped/{way}/rfc8684/rfc8684", tmp_path)
    assert (found.fate, found.wrong, found.missing_bytes) == ("fallback", False, 0)
    assert not [row for row in outcome.record.tables["counters"] if row["counter"] == "MPTcpExtMPTCPRetrans"]


@pytest.mark.parametrize("way", ["up", "down"])
def test_segments_that_overlap_after_a_fallback_lose_no_byte_of_our_stack(way: str, tmp_path: Path) -> None:
    variant = f"forced-stripped/userspace/userspace/{way}"
    _, outcome, found = carried_out("fallback_integrity", variant, tmp_path)
    assert (found.fate, found.wrong, found.missing_bytes) == ("fallback", False, 0)
    direction = "forward" if way == "up" else "backward"
    rows = {row["number"]: row for row in outcome.record.tables["middleboxes"] if row["place"] == direction}
    copies, merged = rows[1]["made"], rows[2]["delayed"]
    # each copy begins a segment that goes on with new bytes, and its original was in the one before it
    assert copies > SIZE_BYTES / WRITE_BYTES / 10
    assert merged > copies


def test_small_writes_leave_one_by_one(tmp_path: Path) -> None:
    _, outcome, found = carried_out("fallback_integrity", "forced-plain/userspace-tcp/userspace-tcp/up", tmp_path)
    assert (found.fate, found.wrong) == ("tcp", False)
    (arrived,) = {
        row["seen"] for row in outcome.record.tables["middleboxes"] if (row["place"], row["number"]) == ("forward", 1)
    }
    assert arrived >= SIZE_BYTES / WRITE_BYTES * 0.9
    (flow,) = outcome.record.tables["flows"]
    assert flow["completion_time_ns"] > SIZE_BYTES / WRITE_BYTES * 1_000_000 * 0.9
