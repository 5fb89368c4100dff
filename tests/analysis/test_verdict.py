"""Expectations and exit codes: what could not be measured neither fails nor passes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pytest
import synthetic_run

from analysis.load import load
from analysis.verdict import evaluate, exit_code
from testbed.orchestrator.spec import Expectation, Experiment

INVALID = ("INVALID", "path1: rate out of tolerance")
UNSUPPORTED = ("UNSUPPORTED", "this kernel has no such scheduler")


def judged(
    parent: Path, experiment: Experiment, verdicts: Mapping[int, tuple[str, str]] | None = None, stop: int | None = None
) -> tuple[list[str], int]:
    run = load(synthetic_run.make_run(parent, experiment, verdicts=verdicts, stop_after=stop))
    found = evaluate(run)
    return [verdict.outcome for verdict in found], exit_code(run, found)


def small(**changes: object) -> Experiment:
    """Two repetitions of three variants: trials 0..5, mptcp is 2 and 5."""
    return dataclasses.replace(synthetic_run.aggregation(repetitions=2), duration_ns=10**9 * 3, **changes)  # type: ignore[arg-type]


def expects(**bounds: object) -> Experiment:
    values = {"variant": "mptcp", "metric": "subflows", **bounds}
    return small(expectations=(Expectation(**values),))  # type: ignore[arg-type]


def test_met_is_0(tmp_path: Path) -> None:
    assert judged(tmp_path, expects(at_least=2)) == (["met"], 0)


def test_failed_is_1_even_beside_an_invalid_trial(tmp_path: Path) -> None:
    assert judged(tmp_path, expects(at_least=3), {0: INVALID}) == (["FAILED"], 1)


def test_an_invalid_trial_is_3_although_the_rest_is_met(tmp_path: Path) -> None:
    assert judged(tmp_path, expects(at_least=2), {2: INVALID}) == (["met"], 3)


def test_without_valid_trials_nothing_is_evaluated(tmp_path: Path) -> None:
    assert judged(tmp_path, expects(at_least=99), {2: INVALID, 5: INVALID}) == (["not evaluated"], 3)


def test_unsupported_beside_valid_is_0_and_not_evaluated(tmp_path: Path) -> None:
    assert judged(tmp_path, expects(at_least=99), {2: UNSUPPORTED, 5: UNSUPPORTED}) == (["not evaluated"], 0)


def test_all_unsupported_is_4(tmp_path: Path) -> None:
    assert judged(tmp_path, expects(at_least=2), dict.fromkeys(range(6), UNSUPPORTED)) == (["not evaluated"], 4)


def test_a_run_that_is_not_complete_is_3(tmp_path: Path) -> None:
    assert judged(tmp_path, expects(at_least=2), stop=3) == (["met"], 3)


def test_a_metric_that_is_no_number_is_not_evaluated(tmp_path: Path) -> None:
    assert judged(tmp_path, expects(metric="integrity", at_least=1)) == (["not evaluated"], 3)


def test_relative_is_to_the_best_of_the_others(tmp_path: Path) -> None:
    experiment = expects(metric="goodput_bit_s", at_least=1.5, relative_to=("tcp-path1", "tcp-path2"))
    run = load(synthetic_run.make_run(tmp_path, experiment))
    (verdict,) = evaluate(run)
    flows = run.flows().groupby("variant")["goodput_bit_s"].median()
    assert verdict.reference == pytest.approx(max(flows["tcp-path1"], flows["tcp-path2"]))
    assert verdict.reference_variant == "tcp-path1"
    assert verdict.value == pytest.approx(flows["mptcp"] / flows["tcp-path1"])
    assert (verdict.unit, verdict.n) == ("x", 2)


def test_invalid_trials_do_not_enter_the_statistic(tmp_path: Path) -> None:
    experiment = expects(metric="goodput_bit_s", at_least=1, statistic="max")
    run = load(synthetic_run.make_run(tmp_path, experiment, verdicts={2: INVALID}))
    (verdict,) = evaluate(run)
    flows = run.table("flows").set_index("trial")["goodput_bit_s"]
    assert (verdict.value, verdict.n) == (flows[5], 1)


def test_the_tables_keep_integers_exact_and_nulls_null(tmp_path: Path) -> None:
    run = load(synthetic_run.make_run(tmp_path, small()))
    seeds = run.table("trials")["seed"]
    assert [int(seed) for seed in seeds] == [entry["seed"] for entry in run.document["plan"]]
    assert str(seeds.dtype) == "uint64[pyarrow]"
    lacking = run.table("counters").query("counter == 'MPTcpExtDssFallback'")["after"]
    assert len(lacking) == 12
    assert lacking.isna().all()
