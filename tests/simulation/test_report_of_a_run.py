"""The report of a real run in virtual time, with ledger and captures: what it shows is what the run recorded."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from analysis.report.sequence_section import sequence_plots
from analysis.report.write import render
from analysis.runs import Run, load
from experiments.quickstart import quickstart
from testbed.orchestrator import overrides, runner


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    changes = ["duration=300ms", "repetitions=1", "capture=true"]
    experiment = overrides.apply(
        overrides.only_variants(quickstart(), ["userspace-tcp", "userspace/userspace"]), changes
    )
    request = runner.RunRequest(experiment=experiment, parent=tmp_path_factory.mktemp("runs"), backend="sim")
    return load(runner.run(request, lambda _: None).path)


def representative(run: Run) -> dict[str, int | None]:
    return {entry["variant"]: entry["trial"] for entry in run.document["plan"]}


def test_the_sequence_of_a_multipath_trial_reaches_what_was_sent_under_the_names_of_the_run(run: Run) -> None:
    (plot,) = sequence_plots(run, representative(run), list(run.variants))

    assert plot.variant == "userspace/userspace", "plain TCP has one subflow, and needs no such figure"
    (flow,) = (row for row in run.directory.read_table("flows").to_pylist() if row["trial"] == plot.trial)
    assert (plot.direction, plot.host) == (flow["direction"], flow["client_host"])
    assert plot.figure.legend[:2] == (("s1", "subflow 0 (path1)"), ("s2", "subflow 1 (path2)"))
    ends = re.findall(r"to ([\d.]+)\u202f([kM])B", str(plot.figure.drawing))
    reached = max(float(number) * {"k": 1e3, "M": 1e6}[unit] for number, unit in ends)
    assert reached == pytest.approx(flow["bytes_sent_upload"], rel=0.01)
    assert all((run.path / file).stat().st_size > 24 for file in plot.files)


def test_captures_that_are_too_large_are_left_to_the_analyzer(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analysis.report.sequence_section.MOST_OCTETS", 1000)

    assert sequence_plots(run, representative(run), list(run.variants)) == []


def test_a_damaged_capture_costs_the_figure_and_not_the_report(run: Run, tmp_path: Path) -> None:
    (plot,) = sequence_plots(run, representative(run), list(run.variants))
    kept = {file: (run.path / file).read_bytes() for file in plot.files}
    for file in plot.files:
        (run.path / file).write_bytes(b"no capture at all" * 10)
    try:
        assert sequence_plots(run, representative(run), list(run.variants)) == []
        assert 'id="sequence"' not in render(run.path)["report.html"]
    finally:
        for file, content in kept.items():
            (run.path / file).write_bytes(content)


def test_the_page_has_every_part_and_is_the_same_each_time(run: Run) -> None:
    text = render(run.path)["report.html"]

    for part in ("answer", "results", "time", "sequence", "contention", "trials", "reproduce"):
        assert f'id="{part}"' in text
    assert "Where the 40 octets went" in text and "What became of the SACK blocks wanted" in text
    links = re.findall(r'href="(captures/[^"]+)"', text)
    assert len(set(links)) == 8 and all((run.path / link).is_file() for link in links)
    assert render(run.path)["report.html"] == text
