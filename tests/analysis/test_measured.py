"""Every source of a measure, from the tables of a run to one number per valid trial."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import synthetic_run
from run_in_memory import run_in_memory
from test_contention import displaced, segment

from analysis.ledger_trials import _COMPUTED
from analysis.measured import Measured, Measurements
from analysis.report.wording import metric_name
from analysis.verdict import Verdict, evaluate
from testbed.orchestrator.spec import Expectation, Experiment
from testbed.record.ledger_sums import ledger_sums
from testbed.record.measure import LEDGER_MEASURES, WHOLE_SIDE
from testbed.record.schema import LEDGER_SUMS, SEGMENTS

Alter = Callable[[int, synthetic_run.Rows], None]
MPTCP = (2, 5)
"""Trials of variant mptcp among those of two repetitions of three variants."""


def experiment(**changes: Any) -> Experiment:
    return dataclasses.replace(synthetic_run.aggregation(repetitions=2), duration_ns=10**9 * 3, **changes)


def measured(text: str, alter: Alter, *, variant: str = "mptcp", **options: Any) -> Measured:
    expectations = (Expectation(variant=variant, metric=text, at_least=0),)
    run = run_in_memory(experiment(expectations=expectations), alter=alter, **options)
    return Measurements(run).of(text, variant, "main")


def judged(alter: Alter, **expectation: Any) -> Verdict:
    values = {"variant": "mptcp", **expectation}
    run = experiment(expectations=(Expectation(**values),), any_outcome=True)
    (verdict,) = evaluate(run_in_memory(run, alter=alter))
    return verdict


def nothing(_trial: int, _tables: synthetic_run.Rows) -> None:
    pass


def test_a_column_of_flows_has_its_unit_and_only_valid_trials() -> None:
    found = measured("goodput_bit_s", nothing, verdicts={2: ("INVALID", "late")})
    assert (found.unit, tuple(found.values)) == ("bit/s", (5,))


def counting(name: str, growth: int | None, *, stack: str = "linux") -> Alter:
    def alter(trial: int, tables: synthetic_run.Rows) -> None:
        tables["flows"][0]["server_implementation"] = stack
        after = None if growth is None else 7 + growth * trial
        tables["counters"] = [
            {"trial": trial, "host": "client", "counter": name, "before": 7, "after": 99},
            {"trial": trial, "host": "server", "counter": name, "before": 7, "after": after},
        ]

    return alter


def test_a_counter_is_how_far_it_moved_at_that_host() -> None:
    found = measured("counter:MPTcpExtMPRstTx@server", counting("MPTcpExtMPRstTx", 10))
    assert found.values == {2: 20.0, 5: 50.0}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("counter:MPTcpExtMPRstTx@server", "this kernel has no such counter"),
        ("counter:MPTcpExtMPRstRx@server", "server has no counter of that name; near: MPTcpExtMPRstTx"),
        ("counter:MPTcpExtMPRstTx@router", "no counters of host 'router'; there are client, server"),
    ],
)
def test_a_counter_that_a_kernel_lacks_is_not_measured(text: str, reason: str) -> None:
    found = measured(text, counting("MPTcpExtMPRstTx", None))
    assert (found.values, found.missing) == ({}, f"{text}: {reason}")


def test_what_our_stack_never_counted_is_zero() -> None:
    alter = counting("MPTcpExtMPRstTx", 1, stack="userspace")
    assert measured("counter:MPTcpExtDssFallback@server", alter).values == {2: 0.0, 5: 0.0}


def watching(trial: int, tables: synthetic_run.Rows) -> None:
    names = {"seen": 9, "changed": 0, "dropped": 0, "made": 0, "delayed": 0, "trial": trial, "link": "path1"}
    boxes = (("link", 1, "watch tcp.rst as resets", 1), ("link", 1, "watch tcp.rst as resets", 2))
    boxes += (("forward", 1, "watch tcp.syn as syns", 40), ("forward", 2, "drop tcp.rst nth 1 as resets", 500))
    tables["middleboxes"] = [
        {**names, "place": place, "number": number, "middlebox": box, "direction": way, "matched": matched}
        for (place, number, box, matched), way in zip(boxes, ("forward", "backward") * 2, strict=True)
    ]


def test_a_watch_counts_both_directions_and_no_other_middlebox() -> None:
    found = measured("watched:resets@path1", watching)
    assert (found.unit, found.values) == ("packets", {2: 3.0, 5: 3.0})


def test_a_watch_that_was_not_there_is_not_measured() -> None:
    found = measured("watched:resets@path2", watching)
    assert found.missing.endswith("no such watch in mptcp; there are resets@path1, syns@path1")


def observing(values: dict[int, float | None]) -> Alter:
    def alter(trial: int, tables: synthetic_run.Rows) -> None:
        row = {"trial": trial, "flow": "main", "side": "client", "name": "data_acked", "value": 800.0, "unit": "bytes"}
        tables["observations"] = [row]
        if trial in values:
            tables["observations"].append({**row, "name": "reset_reason.sf1", "value": values[trial], "unit": ""})

    return alter


def test_what_a_scripted_peer_wrote_down_has_the_unit_it_gave() -> None:
    found = measured("observed:data_acked", observing({}))
    assert (found.unit, found.values) == ("bytes", {2: 800.0, 5: 800.0})


def test_what_a_scripted_peer_waited_for_in_vain_fails_and_what_it_never_looked_for_is_not_measured() -> None:
    bound = {"metric": "observed:reset_reason.sf1", "at_most": 6}
    vain = judged(observing({2: 6.0, 5: None}), **bound)
    assert (vain.outcome, vain.reason) == ("FAILED", "trial 5: reset_reason.sf1 did not occur")
    unasked = judged(observing({}), **bound)
    assert (unasked.outcome, unasked.value) == ("not evaluated", None)
    assert unasked.reason.startswith("no scripted peer of mptcp wrote down reset_reason.sf1")


def with_ledger(trial: int, tables: synthetic_run.Rows) -> None:
    """At the server: two data segments and three pure ACKs, of which two displace; times depend on the trial."""
    ms = 1_000_000
    ranges = {"ack": 100, "sack_ranges": "200-300"}
    tables["segments"] = [
        segment(trial, "data", mapping_ssn=1, mapping_octets=2000),
        segment(trial, "data", ssn=1001, mapping="repeated", mapping_ssn=1, mapping_octets=2000, time_ns=1),
        displaced(trial, 3, 1, "padding", "timestamps dss") | {"time_ns": 2},
        displaced(trial, 1, 0, "hard", "") | {"time_ns": 3 * ms, **ranges, "omitted": "add_addr:hard"},
        displaced(trial, 1, 1, "hard", "") | {"time_ns": (13 + trial) * ms, **ranges},
        segment(trial, "data", side="client", source="kernel"),
    ]


@pytest.mark.parametrize(
    ("name", "kind", "value"),
    [
        ("segments", "ack", 3.0),
        ("segments", "all", 5.0),
        ("contended_share", "ack", 1 / 3),
        ("sack_wanted", "ack", 5.0),
        ("sack_sent", "ack", 2.0),
        ("sack_displaced", "ack", 3.0),
        ("displaced_share", "ack", 0.6),
        ("sack_blocks_max", "all", 1.0),
        ("option_octets_max", "data", 40.0),
        ("header_tax", "all", 0.1),
        ("header_tax", "data", 0.1),  # of the whole side
        ("padding_share", "data", 0.1),
        ("never_reported_share", "all", 0.0),
        ("map_delayed_share", "all", 0.0),
        ("map_delay_p95_ns", "all", 0.0),
        ("redundant_mapping_share", "data", 0.5),
        ("omitted_add_addr", "ack", 1.0),
        ("omitted_dss", "ack", 0.0),
    ],
)
def test_the_ledger_of_a_trial(name: str, kind: str, value: float) -> None:
    found = measured(f"ledger:{name}@server/{kind}", with_ledger)
    expected = 5 * 40 / 2000 if name == "header_tax" else value
    assert found.source == "ledger"
    assert found.unit == LEDGER_MEASURES[name][0]
    assert list(found.values) == list(MPTCP)
    assert found.values[5] == pytest.approx(expected)


def test_times_of_the_ledger_are_of_each_trial() -> None:
    found = measured("ledger:information_delay_p95_ns@server/ack", with_ledger)
    assert found.values == {2: 12e6, 5: 15e6}


def test_a_share_of_nothing_has_no_value_and_a_count_of_nothing_is_zero() -> None:
    share = measured("ledger:displaced_share@server/data", with_ledger)
    assert (share.values, share.missing.startswith("ledger:displaced_share")) == ({}, True)
    assert measured("ledger:sack_sent@client/ack", with_ledger).values == {2: 0.0, 5: 0.0}


def test_a_kernel_end_is_told_by_its_kernel_and_by_a_capture_only_where_there_is_nothing_else() -> None:
    def one_lacks_the_kernel(trial: int, tables: synthetic_run.Rows) -> None:
        tables["segments"] = [segment(trial, "data", source="capture", payload=500)]
        if trial == 5:
            tables["segments"] = [segment(trial, "data", source="kernel")]

    def both(trial: int, tables: synthetic_run.Rows) -> None:
        tables["segments"] = [segment(trial, "data", source=source) for source in ("capture", "kernel")]

    text = "ledger:segments@server/data"
    assert measured(text, both).source == "kernel"
    mixed = measured(text, one_lacks_the_kernel)
    assert (mixed.source, mixed.values) == ("kernel", {5: 1.0})


def test_a_run_that_keeps_sums_gives_the_numbers_of_its_segments() -> None:
    def summed(trial: int, tables: synthetic_run.Rows) -> None:
        with_ledger(trial, tables)
        empty = {column.name: None for column in SEGMENTS.columns}
        tables["ledger_sums"] = ledger_sums([{**empty, **row} for row in tables.pop("segments")])

    for name in LEDGER_MEASURES:
        text = f"ledger:{name}@server/all"
        kept, sums = measured(text, with_ledger), measured(text, summed)
        assert (kept.values, kept.missing) == (sums.values, sums.missing), name


def test_every_measure_of_the_ledger_is_a_sum_or_made_of_sums() -> None:
    columns = {column.name for column in LEDGER_SUMS.columns}
    assert LEDGER_MEASURES.keys() <= columns | _COMPUTED.keys()
    assert LEDGER_MEASURES.keys() >= WHOLE_SIDE


def test_a_variant_without_ledger_and_capture_is_not_measured() -> None:
    found = measured("ledger:segments@server/all", nothing)
    assert found.missing == "neither ledger nor capture of flow main at the server of mptcp"


def sampling(trial: int, tables: synthetic_run.Rows) -> None:
    row = {"trial": trial, "subject": "main.server", "metric": "goodput", "unit": "bit/s", "source": "application"}
    tables["samples"] = [{**row, "time_ns": n * 10**9 // 2, "value": float(n * trial)} for n in range(1, 7)]


def test_a_part_of_a_series_is_averaged_from_after_its_begin_to_its_end() -> None:
    found = measured("sampled:goodput@main.server[1s..2s]", sampling)  # samples 3 and 4
    assert (found.unit, found.values) == ("bit/s", {2: 7.0, 5: 17.5})


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("sampled:goodputs@main.server[1s..2s]", "near metrics: goodput; near subjects: main.server"),
        ("sampled:goodput@main.server[8s..9s]", "near metrics: goodput; near subjects: main.server"),
    ],
)
def test_a_series_without_samples_there_is_not_measured(text: str, near: str) -> None:
    found = measured(text, sampling)
    assert (found.values, found.missing) == ({}, f"{text}: no sample in mptcp; {near}")


def fated(trial: int, tables: synthetic_run.Rows) -> None:
    tables["flows"][0]["complete"] = True
    if trial == 5:
        tables["flows"][0] |= {"complete": False, "error_kind": "peer", "error": "reset by peer"}


@pytest.mark.parametrize(("word", "values"), [("mptcp", {2: 1.0, 5: 0.0}), ("reset", {2: 0.0, 5: 1.0})])
def test_a_fate_is_1_in_the_trials_that_had_it(word: str, values: dict[int, float]) -> None:
    assert measured(f"fate:{word}", fated).values == values


def test_any_measure_can_be_relative_to_other_variants() -> None:
    def alter(trial: int, tables: synthetic_run.Rows) -> None:
        counting("MPTcpExtMPRstTx", 1)(trial, tables)
        tables["counters"][1]["after"] = 7 + (10, 20, 5)[trial % 3]  # path1, path2, mptcp

    verdict = judged(
        alter,
        metric="counter:MPTcpExtMPRstTx@server",
        at_most=0.25,
        relative_to=("tcp-path1", "tcp-path2"),
    )
    assert (verdict.outcome, verdict.value, verdict.unit, verdict.reference_variant) == ("met", 0.25, "x", "tcp-path2")
    assert verdict.interval is not None
    assert (verdict.interval.low, verdict.interval.high) == (0.25, 0.25)


def test_variants_are_compared_in_pairs_where_their_trials_have_the_same_seeds() -> None:
    def alter(trial: int, tables: synthetic_run.Rows) -> None:
        repetition = tables["trials"][0]["repetition"]
        tables["flows"][0]["goodput_bit_s"] = (1e6, 1e6, 0.5e6)[trial % 3] * (1 + 9 * repetition)

    def other_seed(trial: int, tables: synthetic_run.Rows) -> None:
        alter(trial, tables)
        if trial == 5:
            tables["trials"][0]["seed"] += 1

    bound = {"metric": "goodput_bit_s", "at_most": 1, "relative_to": ("tcp-path1",)}
    pairs, apart = judged(alter, **bound).interval, judged(other_seed, **bound).interval
    assert pairs is not None and apart is not None
    assert (pairs.low, pairs.estimate, pairs.high) == (0.5, 0.5, 0.5)
    assert (apart.low, apart.estimate, apart.high) == (0.05, 0.5, 5.0)


def test_of_several_ledgers_the_best_is_the_one_that_displaces_least() -> None:
    def alter(trial: int, tables: synthetic_run.Rows) -> None:
        wanted = (4, 2, 3)[trial % 3]
        tables["segments"] = [displaced(trial, wanted, 0, "hard", "")]

    verdict = judged(
        alter,
        metric="ledger:sack_displaced@server/ack",
        at_most=2,
        relative_to=("tcp-path1", "tcp-path2"),
    )
    assert (verdict.value, verdict.reference_variant, verdict.source) == (1.5, "tcp-path2", "ledger")


def test_sources_that_differ_are_both_named() -> None:
    def alter(trial: int, tables: synthetic_run.Rows) -> None:
        tables["segments"] = [segment(trial, "data", source="ledger" if trial in MPTCP else "kernel")]

    metric = "ledger:segments@server/data"
    assert judged(alter, metric=metric, at_most=2, relative_to=("tcp-path1",)).source == ("ledger against kernel")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("block_delay_p99_ns", "block delay, 99th percentile"),
        ("counter:MPTcpExtMPRstTx@server", "counter MPTcpExtMPRstTx of server"),
        ("watched:resets@path1", "packets that the watch resets of path1 counted"),
        ("observed:reset_reason.sf1", "reset_reason.sf1, seen by the scripted peer"),
        ("ledger:sack_sent@server/ack", "SACK blocks sent, pure ACKs of the server"),
        ("sampled:rtt@main.client[1s..2.5s]", "rtt of main.client from 1\u202fs to 2.50\u202fs"),
        ("fate:fallback", "connection fell back to TCP"),
        ("integrity", "integrity"),
    ],
)
def test_every_measure_has_words(text: str, words: str) -> None:
    assert metric_name(text) == words


def test_a_measure_of_the_whole_side_names_no_kind_of_segment() -> None:
    assert metric_name("ledger:header_tax@client/data").endswith("payload octet that it sent, the client")
