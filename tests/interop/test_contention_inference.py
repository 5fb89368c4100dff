"""Inference from a capture at our endpoint's interface against the endpoint's own ledger, on real packets with loss.

tcpdump sees packets before the endpoint has handled them, and this endpoint is Python: it reads a batch, builds a round
of segments, then sends it. The replay takes arrivals as the acknowledgments and reports on the segments show them to be
handled (:mod:`analysis.contention.replay`) and bounds when a round was built by its timestamps and by its first segment
(:mod:`analysis.contention.rounds`); what remains are arrivals that change the number of ranges in the moment in which a
round is built. The paths are slow enough that few fall into it; where the machine is so busy that the endpoint is
milliseconds behind, a second and third run have their chance.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from segment_agreement import SACK, SENT, Agreement, agreement, inferred
from userspace_lab import LINUX, MS, PATH, SECOND, USERSPACE, Scenario, carry_out

from testbed.endpoint.parameters import Bulk
from testbed.mptcp.ledger import COLUMNS
from testbed.orchestrator.spec import PathManager
from topologies.link_profile import QueueLimit, RandomLoss

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_mptcp]

ROLES = {"client": {"client": USERSPACE, "server": LINUX}, "server": {"client": LINUX, "server": USERSPACE}}
WANTED = 0.999
RUNS = 3
LOSSY = dataclasses.replace(
    PATH, rate_bit_s=4_000_000, delay_ns=15 * MS, queue=QueueLimit(packets=40), loss=RandomLoss(0.01)
)


def compared(role: str, captures: Path, seed: int) -> list[Agreement]:
    """By subflow."""
    made = Scenario(
        **ROLES[role],  # type: ignore[arg-type]
        paths=(LOSSY, LOSSY),
        path_manager=PathManager(mode="signal"),
        application=Bulk(direction="both", size_bytes=4_000_000),
        ledger=True,
        seed=seed,
        duration_ns=40 * SECOND,
    )
    report = carry_out(made, captures, capture_at=(role,))
    assert report.problems() == []
    names = ["connection", *(name for name, _, _ in COLUMNS)]
    ledger = [dict(zip(names, row, strict=True)) for row in report.ledgers[role]]
    found = []
    for path in report.captures:
        rows = inferred(path, "userspace")
        assert {row["side"] for row in rows} == {role}, "told by the quickest answers where not by the handshake"
        mine = _same_subflow(rows, ledger)
        # The capture goes on for a while after the ledger has been handed over: what came last is not compared.
        until = max(row["time_ns"] for row in mine) - min(row["time_ns"] for row in mine)
        first = min(row["time_ns"] for row in rows)
        rows = [row for row in rows if row["time_ns"] - first <= until]
        found.append(agreement(rows, mine, [*SACK, *SENT]))
    return found


def _same_subflow(rows: list[dict[str, Any]], ledger: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of the ledger that are of the subflow in the capture."""
    seen = {(row["ssn"], row["payload"], row["ack"]) for row in rows}
    subflows: dict[int, list[dict[str, Any]]] = {}
    for row in ledger:
        subflows.setdefault(row["subflow"], []).append(row)
    return max(subflows.values(), key=lambda mine: sum((r["ssn"], r["payload"], r["ack"]) in seen for r in mine))


@pytest.mark.parametrize("role", ROLES)
def test_inference_agrees_with_the_ledger_on_999_of_1000_segments(role: str, tmp_path: Path) -> None:
    found: list[Agreement] = []
    for seed in range(1, RUNS + 1):
        found = compared(role, tmp_path / str(seed), seed)
        segments = sum(each.matched for each in found)
        assert segments > 3000
        assert not [each for each in found if set(each.differences) & set(SENT)], "what was sent is on record"
        differing = sum(each.differing + len(each.only_first) + len(each.only_second) for each in found)
        if 1 - differing / segments >= WANTED:
            return
    pytest.fail("\n".join(str(each) for each in found))
