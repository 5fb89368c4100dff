"""Expectations and exit codes: what could not be measured neither fails nor passes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pytest
import synthetic_run

from analysis.better import SMALLER_IS_BETTER, best_is
from analysis.report.write import render
from analysis.runs import load
from analysis.verdict import Verdict, evaluate, exit_code
from testbed.orchestrator.spec import Expectation, Experiment
from testbed.record import TABLES

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
    run = load(synthetic_run.make_run(tmp_path, expects(at_least=1)))
    run.experiment["expectations"][0]["metric"] = "integrity"  # what another version of the testbed may have written
    (verdict,) = evaluate(run)
    assert (verdict.outcome, exit_code(run, [verdict])) == ("not evaluated", 3)


def test_relative_is_to_the_best_of_the_others(tmp_path: Path) -> None:
    experiment = expects(metric="goodput_bit_s", at_least=1.5, relative_to=("tcp-path1", "tcp-path2"))
    run = load(synthetic_run.make_run(tmp_path, experiment))
    (verdict,) = evaluate(run)
    flows = run.with_trial("flows").groupby("variant")["goodput_bit_s"].median()
    assert verdict.reference == pytest.approx(max(flows["tcp-path1"], flows["tcp-path2"]))
    assert verdict.reference_variant == "tcp-path1"
    assert verdict.value == pytest.approx(flows["mptcp"] / flows["tcp-path1"])
    assert (verdict.unit, verdict.n) == ("x", 2)


def test_a_share_counts_the_variants_that_are_better_than_what_each_is_compared_with(tmp_path: Path) -> None:
    worse = ("tcp-path2", ("tcp-path1", "mptcp"))
    experiment = expects(metric="goodput_bit_s", at_most=0.5, relative_to=("tcp-path1", "tcp-path2"), among=(worse,))
    run = load(synthetic_run.make_run(tmp_path, experiment))
    (verdict,) = evaluate(run)
    assert (verdict.value, verdict.unit, verdict.n, verdict.outcome) == (0.5, "ratio", 2, "met")


def test_a_share_has_no_value_when_one_of_its_variants_has_none(tmp_path: Path) -> None:
    others = ("tcp-path1",)
    experiment = expects(metric="goodput_bit_s", at_least=0, relative_to=others, among=(("tcp-path2", others),))
    assert judged(tmp_path, experiment, {1: INVALID, 4: INVALID}) == (["not evaluated"], 3)


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


def test_the_best_of_the_others_is_the_smallest_where_less_is_better(tmp_path: Path) -> None:
    def slower(trial: int, tables: synthetic_run.Rows) -> None:
        tables["flows"][0]["completion_time_ns"] = (10**9, 4 * 10**9, 2 * 10**9)[trial % 3]  # path1, path2, mptcp

    experiment = expects(metric="completion_time_ns", at_most=1.0, relative_to=("tcp-path1", "tcp-path2"))
    run = load(synthetic_run.make_run(tmp_path, experiment, alter=slower))
    (verdict,) = evaluate(run)
    assert (verdict.outcome, verdict.value, verdict.reference_variant) == ("FAILED", 2.0, "tcp-path1")
    assert "the best (smallest) of tcp-path1, tcp-path2" in render(run.path)["report.md"]


def test_waiting_is_better_when_short_and_goodput_when_large() -> None:
    columns = {column.name for column in TABLES["flows"].columns}
    assert columns >= SMALLER_IS_BETTER
    assert {best_is(name) for name in ("block_delay_p99_ns", "retransmits", "connect_time_ns")} == {"smallest"}
    assert {best_is(name) for name in ("goodput_bit_s", "operations", "bytes_received_upload")} == {"largest"}


def against_rival(parent: Path, rivals: list[float | None], mains: list[float | None]) -> Verdict:
    """Of the variant mptcp, whose two trials have these goodputs of flow rival and flow main."""

    def with_rival(trial: int, tables: synthetic_run.Rows) -> None:
        if trial in (2, 5):
            (row,) = tables["flows"]
            tables["flows"].append({**row, "flow": "rival", "goodput_bit_s": rivals[trial // 3]})
            row["goodput_bit_s"] = mains[trial // 3]

    variants = [
        dataclasses.replace(variant, flows=(*variant.flows, dataclasses.replace(variant.flows[0], name="rival")))
        for variant in small().variants
    ]
    expectation = Expectation(variant="mptcp", metric="goodput_bit_s", at_least=1, relative_to_flow="rival")
    experiment = small(variants=tuple(variants), expectations=(expectation,))
    (verdict,) = evaluate(load(synthetic_run.make_run(parent, experiment, alter=with_rival)))
    return verdict


def test_a_ratio_of_flows_is_taken_trial_by_trial_and_shown_with_the_numbers_of_one(tmp_path: Path) -> None:
    verdict = against_rival(tmp_path, [1e6, 10e6], [3e6, 20e6])
    assert (verdict.outcome, verdict.value, verdict.n) == ("met", 2.5, 2)
    assert (verdict.reference_trial, verdict.absolute, verdict.reference) == (2, 3e6, 1e6)


@pytest.mark.parametrize(
    ("rivals", "mains", "reason"),
    [
        ([None, 1e6], [1e6, None], "no valid trial has goodput_bit_s of both main and rival"),
        ([0.0, 1e6], [1e6, 1e6], "the reference, goodput_bit_s of flow rival, is 0 in trial 2"),
        ([1e6, 1e6], [None, None], "goodput_bit_s was not measured in mptcp"),
    ],
)
def test_a_ratio_that_cannot_be_formed_is_not_evaluated_and_says_why(
    tmp_path: Path, rivals: list[float | None], mains: list[float | None], reason: str
) -> None:
    verdict = against_rival(tmp_path, rivals, mains)
    assert (verdict.outcome, verdict.value, verdict.reason) == ("not evaluated", None, reason)


def test_a_flow_that_broke_off_without_the_number_fails_its_expectation(tmp_path: Path) -> None:
    def broken(trial: int, tables: synthetic_run.Rows) -> None:
        if trial == 5:
            tables["flows"][0] |= {"completion_time_ns": None, "error_kind": "peer", "error": "client: reset by peer"}

    experiment = expects(metric="completion_time_ns", at_most=1e12)
    own, implicit = evaluate(load(synthetic_run.make_run(tmp_path, experiment, alter=broken)))
    assert (own.outcome, own.reason) == ("FAILED", "trial 5 has none: client: reset by peer")
    assert (implicit.outcome, implicit.n) == ("FAILED", 2)


def test_a_missing_number_without_an_error_is_no_failure(tmp_path: Path) -> None:
    def absent(trial: int, tables: synthetic_run.Rows) -> None:
        tables["flows"][0]["completion_time_ns"] = None

    run = load(synthetic_run.make_run(tmp_path, expects(metric="completion_time_ns", at_most=1e12), alter=absent))
    (verdict,) = evaluate(run)
    assert (verdict.outcome, verdict.reason) == ("not evaluated", "completion_time_ns was not measured in mptcp")


def lost_bytes(trial: int, tables: synthetic_run.Rows) -> None:
    if trial in (2, 3):
        tables["flows"][0]["integrity"] = "mismatch"


def test_lost_bytes_fail_the_run_although_no_expectation_speaks_of_them(tmp_path: Path) -> None:
    run = load(synthetic_run.make_run(tmp_path, expects(at_least=2), verdicts={3: INVALID}, alter=lost_bytes))
    own, implicit = evaluate(run)
    assert own.outcome == "met"
    assert (implicit.outcome, implicit.expectation["variant"], implicit.n) == ("FAILED", "mptcp", 2)
    assert implicit.reason == "1 of 2 valid trials; trial 2: the bytes received are not the bytes sent"
    assert exit_code(run, [own, implicit]) == 1


def test_every_report_tells_of_lost_bytes(tmp_path: Path) -> None:
    texts = render(synthetic_run.make_run(tmp_path, expects(at_least=2), alter=lost_bytes))
    words = "the bytes received are not the bytes sent"
    assert all(words in text for text in texts.values())
    assert "| ✗ FAILED | mptcp: integrity | 1 of 2 valid trials; trial 2: " + words in texts["report.md"]
    assert '"metric": "integrity"' in texts["summary.json"]
    assert "mptcp: integrity, every byte as it was sent, to the end" in texts["junit.xml"]
