"""The question's answer in words and one figure, and what a reader needs to look at a trial again."""

from __future__ import annotations

import dataclasses
import re
import shlex
from pathlib import Path

import pytest
import synthetic_run

from analysis.report import first_screen, trial_rows
from analysis.report.findings import find
from analysis.report.page import Page, gather
from analysis.report.write import render
from analysis.runs import load
from analysis.verdict import evaluate
from testbed.orchestrator.spec import Expectation


def page_of(path: Path) -> Page:
    run = load(path)
    return gather(run, find(run), evaluate(run))


@pytest.fixture(scope="module")
def aggregation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic_run.make_run(tmp_path_factory.mktemp("runs"), synthetic_run.aggregation())


def test_a_relative_expectation_is_told_with_its_ratio_and_both_numbers(aggregation: Path) -> None:
    page = page_of(aggregation)

    first = page.answers[0]
    numbers = [float(text) for text in re.findall(r"(\d+\.\d+)\u202f(?:×|Mbit/s)", first)]
    assert first.startswith("mptcp: goodput ") and "that of tcp-path" in first
    assert numbers[0] == pytest.approx(numbers[1] / numbers[2], rel=0.01)
    assert page.answers[1] == "mptcp: 2\u202fsubflows."


def test_failures_are_told_first_with_what_was_expected(tmp_path: Path) -> None:
    experiment = synthetic_run.handover(repetitions=1)
    met = Expectation(variant="mptcp", metric="goodput_bit_s", at_least=1.0)
    strict = dataclasses.replace(experiment.expectations[1], at_most=1e6)
    path = synthetic_run.make_run(tmp_path, dataclasses.replace(experiment, expectations=(met, strict)))

    page = page_of(path)

    told = r"mptcp: block delay, 99th percentile [\d.]+\u202fms; expected at most 1\u202fms\."
    assert re.fullmatch(told, page.answers[0]), page.answers
    assert page.answers[1].startswith("mptcp: goodput ")
    assert page.first is not None and page.first.plot is not None
    assert page.first.plot.metric == "block_delay_p99_ns", "the figure shows what failed"


def test_more_answers_than_a_screen_holds_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [f"sentence {number}" for number in range(9)]

    shown = first_screen._limited(found)

    assert shown == [*found[: first_screen.MOST_ANSWERS - 1], "And 6 more, below."]


def test_the_figure_shows_what_was_expected_where_it_lies(aggregation: Path) -> None:
    page = page_of(aggregation)

    assert page.first is not None and page.first.plot is not None
    drawn = {row.variant: str(row.drawing) for row in page.first.plot.rows}
    assert [words for _, words in page.first.plot.flags] == ["expected at least"]
    assert 'class="bound"' in drawn["mptcp"] and 'class="bound"' not in drawn["tcp-path1"]
    assert "expected at least" in drawn["mptcp"], "for who does not see the figure, too"
    best = max(
        float(row.median.split("\u202f")[0]) for row in page.first.plot.rows if row.variant.startswith("tcp-path")
    )
    described = re.search(r"expected at least ([\d.]+)", drawn["mptcp"])
    assert described is not None and float(described[1]) == pytest.approx(1.8 * best, rel=0.01)


def test_the_figure_of_the_first_screen_is_not_shown_again(aggregation: Path, tmp_path: Path) -> None:
    assert [plot.metric for plot in page_of(aggregation).plots] == []
    sweep = synthetic_run.make_run(tmp_path, synthetic_run.loss_sweep(points=3, repetitions=1))
    page = page_of(sweep)
    assert page.first is not None and page.first.sweep is not None and page.sweep is None
    assert page.answers[0].startswith("tcp-path1: goodput ") and "with loss 0\u202f%" in page.answers[0]


def test_of_many_variants_the_first_screen_has_those_that_something_was_expected_of(tmp_path: Path) -> None:
    experiment = synthetic_run.loss_sweep(points=4, repetitions=1)
    named = [variant.name for variant in experiment.variants]
    variants = tuple(
        dataclasses.replace(variant, topology=experiment.variants[0].topology) for variant in experiment.variants
    )
    bound = Expectation(variant=named[7], metric="goodput_bit_s", at_least=1.0, relative_to=(named[1],))
    path = synthetic_run.make_run(tmp_path, dataclasses.replace(experiment, variants=variants, expectations=(bound,)))

    page = page_of(path)

    assert page.first is not None and page.first.plot is not None
    assert [row.variant for row in page.first.plot.rows] == [named[1], named[7]]
    assert page.first.note == "2 of 12 variants; all of them stand below."
    assert [len(plot.rows) for plot in page.plots] == [12]


def test_the_bars_of_a_grid_add_up_to_its_cells(tmp_path: Path) -> None:
    verdicts = {1: ("INVALID", "late")}
    page = page_of(synthetic_run.make_run(tmp_path, synthetic_run.grid(), alter=synthetic_run.ended, verdicts=verdicts))

    assert page.first is not None and page.first.bars is not None
    counts = dict(zip(page.first.heads[1:], page.first.rows[0][1:], strict=True))
    assert counts == {"MPTCP": "1", "not as expected": "1", "not measured": "1"}
    assert page.answers[0] == "As expected in 1 of 2 cells: MPTCP in 1, fell back to TCP in 1."
    assert page.answers[1].startswith("mptcp: ")


def test_captures_and_logs_of_each_trial_are_linked_with_their_sizes(aggregation: Path) -> None:
    (aggregation / "captures" / "0002").mkdir(parents=True, exist_ok=True)
    (aggregation / "captures" / "0002" / "client #1.pcap").write_bytes(bytes(2500))

    rows = trial_rows.trial_rows(load(aggregation))

    assert [(link.href, link.label, link.size) for link in rows[2].files] == [
        ("captures/0002/client%20%231.pcap", "client #1.pcap", "2.50\u202fkB"),
        ("logs/0002/client.txt", "client.txt", "10\u202fB"),
    ]


def test_where_files_are_too_many_their_directories_are_linked(
    aggregation: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial_rows, "MOST_FILES", 5)

    rows = trial_rows.trial_rows(load(aggregation))

    assert [(link.href, link.label, link.size) for link in rows[0].files] == [
        ("logs/0000/", "logs", "1 file, 10\u202fB")
    ]


def test_one_trial_has_a_command_that_a_shell_understands(aggregation: Path) -> None:
    run = load(aggregation)

    words = shlex.split(trial_rows.trial_command(run, "mptcp & co", 1))

    assert words[:3] == ["testbed", "run", "aggregation"]
    options = dict(zip(words[3::2], words[4::2], strict=False))
    assert options["--variant"] == "mptcp & co" and options["--repeat"] == "2"
    assert options["--seed"] == str(run.document["seed"])
    assert words[-2:] == ["--set", "duration=10s"], "what was set for the run is set for the trial"
    shown = page_of(aggregation).one_trial
    assert shown is not None and shown[0].variant == "mptcp"
    assert shown[1] == trial_rows.trial_command(run, "mptcp", shown[0].repetition)
    assert shown[1] in render(aggregation)["report.html"]
