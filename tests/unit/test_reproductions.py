"""Reproductions of published results as values: parameters as published, evidence on either backend."""

from __future__ import annotations

import pytest

from experiments.catalog import GROUPS
from experiments.reproductions import REPRODUCTIONS
from experiments.reproductions.v2_mptcp_connect import LIMIT_BYTES, SEED, draws
from testbed.orchestrator import runner, sim_runner
from testbed.orchestrator.spec import from_json, to_json

MS = 1_000_000
KERNEL_TAKES_NO_PART = ("v8-experimental-design",)


def test_the_group_has_one_experiment_for_each_validation_claim() -> None:
    claimed = [claim.id for build in REPRODUCTIONS.values() for claim in build().claims]

    assert GROUPS["reproductions"] == tuple(REPRODUCTIONS)
    assert claimed == [f"V{number}" for number in range(1, 9)]


@pytest.mark.parametrize("name", REPRODUCTIONS)
def test_it_is_kept_in_a_run_directory_and_has_evidence_on_each_backend_that_runs_it(name: str) -> None:
    experiment = REPRODUCTIONS[name]()
    (claim,) = experiment.claims
    virtual, _ = sim_runner.runnable(experiment)
    backends = [virtual] if name in KERNEL_TAKES_NO_PART else [virtual, runner.for_real_time(experiment)]

    assert experiment.name == name
    assert from_json(to_json(experiment)) == experiment
    for each in backends:
        evidence = [item for item in each.expectations if item.claim == claim.id]
        assert evidence
        assert all(item.says and item.because for item in evidence)


def test_draws_are_those_of_the_script_and_the_first_ones_stay_the_same() -> None:
    many = draws(400, SEED)

    assert draws(3, SEED) == many[:3]
    assert draws(3, SEED + 1) != many[:3]
    assert {draw.family for draw in many} == {4, 6}
    for draw in many:
        assert 0 <= draw.loss <= 0.01
        assert 0 <= draw.delay_ns <= 49 * MS
        assert draw.reorder_delay_ns == draw.delay_ns // MS // 4 * MS
        assert all(0 < size < LIMIT_BYTES for size in (draw.client_bytes, draw.server_bytes))
        if draw.reordering is not None:
            assert draw.reorder_delay_ns > 0
            assert 0.91 <= draw.reordering.probability < 1
    assert max(draw.loss for draw in many) > 0.0099
    assert max(draw.delay_ns for draw in many) == 49 * MS
    assert any(draw.reordering is None for draw in many)
