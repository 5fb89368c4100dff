"""What reports say of the machine that ran the trials: both clocks, stalls, chance without its seed, abilities."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import guest_run
import pytest
import synthetic_run

from analysis.comparison.runs import compare_runs
from analysis.report import machine
from analysis.report.compare_page import notes
from analysis.report.trial_rows import trial_command
from analysis.report.write import render
from analysis.runs import Run, load
from testbed.cli.result_table import print_result
from testbed.record import RunDirectory

STALLED = {2: 134, 4: 31}


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return guest_run.make(tmp_path_factory.mktemp("guest"), stalled=STALLED, unheard=(1,))


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic_run.make_run(tmp_path_factory.mktemp("own"), synthetic_run.aggregation(2))


@pytest.fixture(scope="module")
def of_guest(guest: Path) -> Mapping[str, str]:
    return {name: _plain(text) for name, text in render(guest).items()}


@pytest.fixture(scope="module")
def of_own(own: Path) -> Mapping[str, str]:
    return render(own)


def _plain(text: str) -> str:
    return text.replace("\u202f", " ")


def test_both_clocks_are_told_of_the_trials_that_both_measured(guest: Path) -> None:
    (sentence, *_) = map(_plain, machine.sentences(load(guest)))
    assert sentence == "5 of 6 trials took 60 s of that machine's time and 155 s of ours."


def test_of_a_slowed_clock_it_is_said_by_how_much() -> None:
    told = machine.clock_sentence(machine.Clocks("real", 2, 2, 12 * 10**9, 96 * 10**9, slowed=8))
    seconds = "12 s of that machine's time (slowed: 8 of our seconds are one of its) and 96 s of ours."
    assert _plain(told) == f"The trials took {seconds}"


def test_a_clock_that_nobody_compared_with_ours_is_told_all_the_same(tmp_path: Path) -> None:
    short = synthetic_run.aggregation(1)
    path = guest_run.make(tmp_path, clock="virtual", unheard=tuple(range(6)), held=7, experiment=short)
    (sentence,) = machine.sentences(load(path))
    assert sentence.startswith("All times are guest time (virtual: its instructions are counted)")
    clock = machine.as_json(load(path))["clock"]
    assert clock == {"of": "virtual", "slowed": 1, "trials": 0, "there_ns": None, "here_ns": None}


def test_disturbed_trials_are_counted_and_marked_and_still_count(guest: Path, of_guest: Mapping[str, str]) -> None:
    said = _plain(machine.disturbed_sentence(machine.disturbed(load(guest))))
    assert said.startswith("2 of 6 valid trials were disturbed (trials 2, 4): the machine stood still")
    assert "for up to 134 ms, more than 20 ms. They count" in said
    page = of_guest["report.html"]
    assert page.count(">VALID</span>, disturbed</td>") == 2
    assert '<th scope="col" class="n">stood still</th>' in page
    summary = json.loads(of_guest["summary.json"])
    assert summary["machine"]["disturbed"] == {"trials": [2, 4], "watched": 6, "stall_max_ns": 134_000_000}
    assert summary["trials"]["VALID"] == 6


def test_a_stall_is_drawn_where_it_was_and_told(of_guest: Mapping[str, str], of_own: Mapping[str, str]) -> None:
    drawn, told = 'class="stall"', "the machine stood still, 134 ms at 3.87 s."
    assert drawn in of_guest["report.html"]
    assert told in of_guest["report.html"]
    assert drawn not in of_own["report.html"]


@pytest.mark.parametrize(("held", "said"), [(None, "holds no seed"), (8, "holds another seed"), (7, "")])
def test_chance_that_did_not_begin_at_its_seed_is_found(tmp_path: Path, held: int | None, said: str) -> None:
    run = load(guest_run.make(tmp_path, held=held, experiment=synthetic_run.aggregation(1)))
    told = machine.seed_sentence(run, machine.unrepeatable(run))
    assert bool(told) is bool(said)
    assert f"Not repeatable: netem of Linux 6.18.44 {said} on path1 forward, path2 forward" in told or not said
    assert machine.as_json(run)["unrepeatable"] == (["path1 forward", "path2 forward"] if said else [])


def test_a_link_whose_both_directions_lack_their_seed_is_named_once(guest: Path) -> None:
    found = [machine.Unrepeatable("path1", way, False) for way in ("forward", "backward")]
    found.append(machine.Unrepeatable("path2", "backward", False))
    assert "holds no seed on path1, path2 backward, so that" in machine.seed_sentence(load(guest), found)


def test_chance_without_its_seed_is_never_silent(guest: Path, of_guest: Mapping[str, str]) -> None:
    told = _plain(machine.seed_sentence(load(guest), machine.unrepeatable(load(guest))))
    assert told in of_guest["report.html"]
    assert f"Note: {told}" in of_guest["report.md"]
    assert json.loads(of_guest["summary.json"])["machine"]["unrepeatable"] == ["path1 forward", "path2 forward"]


def test_abilities_stand_in_the_report_and_what_is_not_known_is_a_dash(
    guest: Path, of_guest: Mapping[str, str]
) -> None:
    table = machine.capability_table(load(guest))
    assert table is not None
    rows = dict(table.rows)
    assert table.heads == ("found",)
    assert rows["MPTCP_INFO"] == ("48 bytes",)
    assert rows["MPTCP_FULL_INFO"] == ("–",)
    assert rows["netem holds a seed"] == ("no",)
    assert rows["net.mptcp.pm_type"] == ("0",)
    assert rows["MPTCP counters"] == ("2: AddAddr, MPCapableSYNRX",)
    assert 'id="capabilities"' in of_guest["report.html"]
    assert "| MPTCP_INFO | 48 bytes |" in of_guest["report.md"]


def test_two_machines_stand_side_by_side_on_the_union_of_what_they_can_do(tmp_path: Path) -> None:
    other = {"kernel": "7.3.4", "counters": None, "sysctls": {"enabled": "1", "path_manager": "kernel"}}
    told = guest_run.ran_on() | {"away_capabilities": json.dumps(other)}
    document = {"ran_on": told, "away": {"node": "server"}}
    run = load(guest_run.make(tmp_path, document=document, experiment=synthetic_run.aggregation(1)))

    table = machine.capability_table(run)

    assert table is not None
    rows = dict(table.rows)
    assert table.heads == ("everything else", "the machine of server")
    assert rows["kernel"] == ("6.1.0-56-cloud-amd64", "7.3.4")
    assert rows["MPTCP_INFO"] == ("48 bytes", "–")
    assert rows["MPTCP counters"][1] == "–"  # could not be read, which is not none
    assert rows["net.mptcp.path_manager"] == ("–", "kernel")
    assert "| kernel | 6.1.0-56-cloud-amd64 | 7.3.4 |" in render(run.path)["report.md"]


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"backend": "vm:6.1", "clock": "real", "shift": "null"}, "--backend vm:6.1 --time real --variant"),
        ({"backend": "vm:6.1+7.3", "clock": "real"}, "--backend vm:6.1+7.3 --time real --variant"),
        ({"backend": "vm:6.1+7.3", "clock": "real", "slowed": "8"}, "--backend vm:6.1+7.3 --slow 8 --variant"),
        ({"backend": "vm:6.1", "clock": "virtual", "shift": "1"}, "--backend vm:6.1 --shift 1 --variant"),
        ({"backend": "ssh:lab", "clock": "real"}, "--backend ssh:lab --variant"),
        (None, "--backend mininet --variant"),
    ],
)
def test_a_trial_is_carried_out_again_where_it_was(own: Path, told: dict[str, str] | None, words: str) -> None:
    run = load(own)
    document = {**run.document, **({"ran_on": told} if told else {})}
    again = Run(RunDirectory(run.path, document))
    assert words in trial_command(again, "mptcp", 0)


def test_of_a_run_on_the_own_machine_nothing_of_this_is_said(own: Path, of_own: Mapping[str, str]) -> None:
    assert machine.sentences(load(own)) == ()
    assert machine.capability_table(load(own)) is None
    assert 'id="capabilities"' not in of_own["report.html"]
    assert "by our clock" not in of_own["report.html"]
    assert json.loads(of_own["summary.json"])["machine"] == {"clock": None, "disturbed": None, "unrepeatable": []}


def test_the_terminal_says_it_too(guest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_result(load(guest), ())
    told = _plain(capsys.readouterr().out)
    assert "! 5 of 6 trials took 60 s" in told
    assert "! 2 of 6 valid trials were disturbed" in told


def test_a_comparison_says_whose_trials_were_disturbed_or_met_other_losses(guest: Path, tmp_path: Path) -> None:
    calm = guest_run.make(tmp_path, held=7)

    told = [_plain(note) for note in notes(compare_runs(load(calm), load(guest)))]

    of_candidate = [note for note in told if note.startswith("Of the candidate: ")]
    assert any("2 of 6 valid trials were disturbed" in note for note in of_candidate)
    assert any("Not repeatable" in note for note in of_candidate)
    assert not [note for note in told if note.startswith("Of the reference: ")]


def _fewer_counters(trial: int, tables: dict[str, list[dict[str, Any]]]) -> None:
    """A kernel that has never heard of a counter."""
    tables["counters"] = [row for row in tables["counters"] if row["counter"] != "MPTcpExtMPJoinSynTx"]


def test_a_counter_that_one_of_two_kernels_lacks_is_null_and_no_comparison_takes_it_for_0(
    own: Path, tmp_path: Path
) -> None:
    from analysis import load_many

    older = synthetic_run.make_run(tmp_path, synthetic_run.aggregation(2), alter=_fewer_counters)

    wide = load_many({"newer": own, "older": older}).growth(host="client")
    joins = wide["MPTcpExtMPJoinSynTx"]
    assert joins.loc["newer"].tolist() == [0, 0, 1, 0, 0, 1]
    assert joins.loc["older"].isna().all()
    assert str(joins.dtype) == "int64[pyarrow]"
    assert wide["TcpInSegs"].notna().all()

    comparison = compare_runs(load(own), load(older))
    found = {one.metric: one for one in comparison.contrasts if one.variant == "mptcp"}
    contrast = found["counter:MPTcpExtMPJoinSynTx@client"]
    assert (contrast.verdict, contrast.n, contrast.candidate.n) == ("not comparable", 0, 0)
    assert "candidate: " in contrast.reason
    assert "has no counter of that name" in contrast.reason
