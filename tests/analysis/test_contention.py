from __future__ import annotations

from pathlib import Path
from typing import Any

from synthetic_run import aggregation, make_run

from analysis.contention import contention
from analysis.report.contention_table import contention_lines
from analysis.report.subflow_goodput import subflow_goodputs
from analysis.report.write import render
from analysis.runs import load
from testbed.mptcp.ledger import COLUMNS
from testbed.record.schema import SEGMENTS


def segment(trial: int, kind: str, **values: Any) -> dict[str, Any]:
    """A row of ``segments`` without anything displaced."""
    return {
        "trial": trial,
        "flow": "main",
        "side": "server",
        "source": "ledger",
        "connection": 0,
        "time_ns": 0,
        "subflow": 0,
        "segment": kind,
        "retransmission": False,
        "ssn": 1,
        "payload": 1000 if kind == "data" else 0,
        "wanted": "timestamps:10 dss:26",
        "wanted_octets": 36,
        "sent": "timestamps:10 dss:26",
        "option_octets": 40,
        "padding_octets": 4,
        "free_octets": 0,
        "sack_wanted": 0,
        "sack_sent": 0,
        "sack_padding": 0,
        "sack_width": 0,
        "sack_policy": 0,
        "sack_hard": 0,
        "sack_blame": "",
        "mapping": "own",
        "omitted": "",
        **values,
    }


def displaced(trial: int, wanted: int, sent: int, why: str, blame: str) -> dict[str, Any]:
    values = {"sack_wanted": wanted, "sack_sent": sent, f"sack_{why}": wanted - sent, "sack_blame": blame}
    return segment(trial, "ack", wanted_octets=24 + 2 + 8 * wanted, **values)


def run_with_ledger(tmp_path: Path, verdicts: dict[int, tuple[str, str]] | None = None) -> Path:
    """Every trial of variant mptcp has two data segments and three pure ACKs."""
    experiment = aggregation()
    names = [variant.name for variant in experiment.variants]

    def alter(trial: int, tables: dict[str, list[dict[str, Any]]]) -> None:
        if names[trial % len(names)] == "mptcp":
            tables["segments"] = [
                segment(trial, "data"),
                segment(trial, "data", wanted_octets=44, omitted="mp_prio:hard dss-data-ack:width"),
                displaced(trial, 3, 1, "padding", "timestamps dss"),
                displaced(trial, 4, 0, "hard", ""),
                displaced(trial, 1, 1, "hard", ""),
            ]

    return make_run(tmp_path, experiment, alter=alter, verdicts=verdicts)


def test_the_table_of_segments_has_the_columns_of_the_ledger() -> None:
    own = [(column.name, column.type) for column in SEGMENTS.columns[5:-1]]
    assert own == [(name, kind) for name, kind, _ in COLUMNS]
    assert [column.name for column in SEGMENTS.columns[:5]] == ["trial", "flow", "side", "source", "connection"]
    assert SEGMENTS.columns[-1].name == "frame", "of a capture, which a ledger does not know"


def test_displaced_blocks_are_counted_by_kind_class_and_blame(tmp_path: Path) -> None:
    data, acks = contention(load(run_with_ledger(tmp_path)))
    repetitions = data.segments // 2
    assert repetitions > 1
    assert (data.kind, data.contended) == ("data", repetitions)
    assert data.header_tax == 80 / 2000
    assert data.padding_share == 0.1
    assert data.omitted == (("dss-data-ack:width", repetitions), ("mp_prio:hard", repetitions))
    assert data.displacement_rate is None
    assert (acks.kind, acks.segments, acks.contended) == ("pure ACK", 3 * repetitions, 2 * repetitions)
    assert acks.displaced == 6 * repetitions
    assert acks.displacement_rate == 6 / 8
    assert acks.classes() == {"padding": 2 * repetitions, "hard": 4 * repetitions}
    assert acks.blame == (("timestamps or dss", repetitions),)
    assert acks.header_tax is None


def test_only_valid_trials_count(tmp_path: Path) -> None:
    every = contention(load(run_with_ledger(tmp_path / "all")))
    mptcp = [variant.name for variant in aggregation().variants].index("mptcp")
    fewer = contention(load(run_with_ledger(tmp_path / "fewer", {mptcp: ("INVALID", "late")})))
    assert fewer[0].segments == every[0].segments - 2


def test_the_report_shows_the_table_and_leaves_it_out_without_a_ledger(tmp_path: Path) -> None:
    with_ledger = render(run_with_ledger(tmp_path / "with"))
    without = render(make_run(tmp_path / "without", aggregation()))
    for name in ("report.html", "report.md"):
        assert "Option contention" in with_ledger[name]
        assert "timestamps or dss" in with_ledger[name]
        assert "Option contention" not in without[name]


def test_a_terminal_gets_only_lines_with_sack_blocks_wanted(tmp_path: Path) -> None:
    lines = contention_lines(load(run_with_ledger(tmp_path)))
    assert [line.kind for line in lines] == ["data", "pure ACK"]
    assert [line.kind for line in lines if line.is_contended] == ["pure ACK"]
    assert lines[1].displaced.startswith(str(6 * int(lines[0].segments) // 2))


def test_goodput_is_shared_out_to_the_subflows_by_the_bytes_that_arrived_on_them(tmp_path: Path) -> None:
    run = load(make_run(tmp_path, aggregation()))
    found = subflow_goodputs(run)["mptcp"]
    flows = run.with_trial("flows")
    goodput = flows[(flows["variant"] == "mptcp")]["goodput_bit_s"].median()
    assert [each.label for each in found] == ["path1", "path2"]
    assert abs(sum(each.part for each in found) - 1) < 0.01
    assert abs(sum(each.goodput_bit_s for each in found) - goodput) < 0.05 * goodput
    assert "path1" in found[0].in_words()


def test_a_path_is_told_by_the_numbers_of_the_side_that_received(tmp_path: Path) -> None:
    def swapped(_trial: int, tables: dict[str, list[dict[str, Any]]]) -> None:
        """The client counts its subflows the other way round."""
        mine = [row for row in tables["subflows"] if row["side"] == "client"]
        for row in mine:
            row["index"] = len(mine) - 1 - row["index"]

    plain = subflow_goodputs(load(make_run(tmp_path / "plain", aggregation())))
    assert subflow_goodputs(load(make_run(tmp_path / "swapped", aggregation(), alter=swapped))) == plain


def test_a_path_that_a_trial_did_not_use_carried_nothing_in_it(tmp_path: Path) -> None:
    def only_path1(_trial: int, tables: dict[str, list[dict[str, Any]]]) -> None:
        if tables["trials"][0]["repetition"]:
            tables["samples"] = [row for row in tables["samples"] if not row["subject"].endswith(".subflow1")]

    found = subflow_goodputs(load(make_run(tmp_path, aggregation(3), alter=only_path1)))["mptcp"]
    assert [(each.label, each.part) for each in found] == [("path1", 1.0), ("path2", 0.0)]


def test_the_subflows_over_one_path_are_added_up(tmp_path: Path) -> None:
    def all_on_path1(_trial: int, tables: dict[str, list[dict[str, Any]]]) -> None:
        for row in tables["subflows"]:
            row["path"] = "path1"

    found = subflow_goodputs(load(make_run(tmp_path, aggregation(), alter=all_on_path1)))["mptcp"]
    assert [(each.label, each.part) for each in found] == [("path1", 1.0)]
