"""The grid of a report: what became of each connection, said in words, and how to look at it again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import synthetic_run

from analysis import fate
from analysis.report.write import render
from analysis.runs import load
from analysis.verdict import evaluate, exit_code
from testbed.orchestrator.grid import Grid, GridCell, GridColumn, GridRow
from testbed.orchestrator.spec import Experiment, Flow, Variant
from topologies.two_path import two_path

Change = dict[str, Any]
VARIANTS = ("kept", "lost")
SENT = 1000


def experiment(fates: tuple[Any, ...] = ("fallback",), altered: tuple[Any, ...] = ()) -> Experiment:
    """Two cells in a row, two repetitions: trials 0 and 2 are of ``kept``, 1 and 3 of ``lost``."""
    variants = tuple(Variant(name=name, summary=name, topology=two_path(), flows=(Flow(),)) for name in VARIANTS)
    cells = tuple(
        GridCell(
            variant=name,
            row="box",
            column=GridColumn(pair="linux/linux", role=f"{name} | sends"),
            fates=fates,
            altered=altered,
        )
        for name in VARIANTS
    )
    grid = Grid(
        heading="middlebox", rows=(GridRow(name="box", text="strip | it", because="K3 <says> so"),), cells=cells
    )
    return Experiment(
        name="example",
        question="Does it keep every byte?",
        variants=variants,
        repetitions=2,
        duration_ns=3 * 10**9,
        grid=grid,
    )


FELL_BACK: Change = {
    "fallback": True,
    "complete": True,
    "bytes_sent_upload": SENT,
    "bytes_received_upload": SENT,
    "bytes_sent_download": 0,
    "bytes_received_download": 0,
}
SHIFTED: Change = {
    "integrity": "mismatch",
    "complete": False,
    "error_kind": "integrity",
    "error": "server: byte 700 is not what the peer sent",
    "bytes_received_upload": 900,
    "first_wrong_upload": 700,
}
CUT_SHORT: Change = {
    "integrity": "mismatch",
    "complete": False,
    "error_kind": "peer",
    "error": "server: the peer ended its stream after 900 of 1000 bytes",
    "bytes_received_upload": 900,
}
BROKE: Change = {
    "integrity": "unchecked",
    "complete": False,
    "error_kind": "peer",
    "error": "server: the connection broke",
}
STUCK: Change = {**BROKE, "error_kind": "deadline", "bytes_received_upload": 10}
NEVER: Change = {**BROKE, "error_kind": "connect", "bytes_received_upload": 0, "bytes_sent_upload": 0}


def made(parent: Path, change: Change, of: Experiment | None = None) -> Path:
    """A run in which trial 3 is otherwise than all the others, which fell back in order."""

    def alter(trial: int, tables: synthetic_run.Rows) -> None:
        tables["flows"][0] |= {**FELL_BACK, **(change if trial == 3 else {})}

    return synthetic_run.make_run(parent, of or experiment(), alter=alter)


def found(path: Path) -> dict[str, fate.Cell]:
    return {cell.expected["variant"]: cell for cell in fate.cells(load(path))}


@pytest.mark.parametrize(
    ("change", "word", "missing", "first_wrong"),
    [
        (SHIFTED, "fallback", 100, 700),
        (CUT_SHORT, "fallback", 100, 900),
        (BROKE, "reset", 0, None),
        (STUCK, "unfinished", 990, None),
        (NEVER, "no connection", 0, None),
        ({"fallback": False}, "mptcp", 0, None),
        ({"implementation": "linux-tcp", "fallback": False}, "tcp", 0, None),
    ],
)
def test_what_became_of_a_connection(
    change: Change, word: str, missing: int, first_wrong: int | None, tmp_path: Path
) -> None:
    cells = found(made(tmp_path, change))
    assert cells["kept"].outcome == "met"
    assert cells["kept"].counts == {"fallback": 2}
    (bad,) = cells["lost"].bad
    assert cells["lost"].outcome == "FAILED"
    assert (bad.trial, bad.repetition) == (3, 1)
    assert (bad.fate, bad.missing_bytes, bad.first_wrong) == (word, missing, first_wrong)


def test_more_bytes_than_were_sent_are_counted(tmp_path: Path) -> None:
    (bad,) = found(made(tmp_path, {**SHIFTED, "bytes_received_upload": SENT + 300}))["lost"].bad
    assert (bad.surplus_bytes, bad.missing_bytes, bad.wrong) == (300, 0, True)


def test_a_box_that_changes_bytes_may_do_so_only_where_that_is_expected(tmp_path: Path) -> None:
    altered: Change = {**SHIFTED, "bytes_received_upload": SENT}
    assert found(made(tmp_path / "a", altered, experiment(altered=("fallback",))))["lost"].outcome == "met"
    as_mptcp = {**altered, "fallback": False}
    strict = experiment(fates=("fallback", "mptcp"), altered=("fallback",))
    assert found(made(tmp_path / "b", as_mptcp, strict))["lost"].outcome == "FAILED"


def test_a_failed_cell_fails_the_run_and_is_judged_once(tmp_path: Path) -> None:
    run = load(made(tmp_path, SHIFTED))
    verdicts = evaluate(run)
    assert [verdict.outcome for verdict in verdicts] == ["met", "FAILED"]
    assert exit_code(run, verdicts) == 1


def test_what_was_not_measured_is_neither_met_nor_failed(tmp_path: Path) -> None:
    states = {1: ("INVALID", "late"), 3: ("INVALID", "late"), 0: ("UNSUPPORTED", "no"), 2: ("UNSUPPORTED", "no")}
    cells = found(synthetic_run.make_run(tmp_path, experiment(), verdicts=states))
    assert [(cell.outcome, cell.excused) for cell in cells.values()] == [
        ("not evaluated", True),
        ("not evaluated", False),
    ]


def with_capture(path: Path) -> Path:
    folder = path / "captures" / "0003"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "client-eth0.pcap").write_bytes(b"")
    return path


def in_html(texts: Any) -> str:
    return str(texts["report.html"])


def in_markdown(texts: Any) -> str:
    return str(texts["report.md"])


@pytest.mark.parametrize("text_of", [in_html, in_markdown])
def test_lost_bytes_are_shown_with_seed_capture_and_command(text_of: Callable[[Any], str], tmp_path: Path) -> None:
    path = with_capture(made(tmp_path, SHIFTED))
    text = text_of(render(path))
    (trial,) = [entry for entry in load(path).document["plan"] if entry["trial"] == 3]
    for words in (
        "✗ fell back to TCP, bytes lost",
        "✓ fell back to TCP",
        "100 of 1\u202f000 bytes lost, first wrong byte 700",
        str(trial["seed"]),
        "captures/0003/client-eth0.pcap",
        f"testbed run example --backend {load(path).document['backend']} --variant lost",
        "--repeat 2 --pcap",
    ):
        assert words in text


def test_words_of_an_experiment_cannot_break_out_of_the_page(tmp_path: Path) -> None:
    text = render(made(tmp_path, SHIFTED))["report.html"]
    assert "K3 &lt;says&gt; so" in text
    assert "<says>" not in text


def test_markdown_rows_of_the_grid_have_as_many_cells_as_its_head(tmp_path: Path) -> None:
    lines = render(made(tmp_path, SHIFTED))["report.md"].splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("| middlebox |"))
    counts = {line.replace("\\|", "").count("|") for line in lines[start : start + 3]}
    assert counts == {5}


def test_without_captures_that_is_said(tmp_path: Path) -> None:
    assert "captures: none were taken" in render(made(tmp_path, SHIFTED))["report.md"]


def test_the_summary_has_every_cell_with_its_trials(tmp_path: Path) -> None:
    grid = json.loads(render(made(tmp_path, SHIFTED))["summary.json"])["grid"]
    kept, lost = grid["cells"]
    assert (kept["outcome"], lost["outcome"]) == ("met", "FAILED")
    (bad,) = [trial for trial in lost["trials"] if not trial["as_expected"]]
    assert (bad["bytes_sent"], bad["bytes_missing"], bad["first_wrong"]) == (SENT, 100, 700)
    assert bad["command"].startswith("testbed run example")


def test_a_run_without_a_grid_has_none(tmp_path: Path) -> None:
    path = synthetic_run.make_run(tmp_path, synthetic_run.aggregation(repetitions=1))
    assert fate.cells(load(path)) == []
    assert json.loads(render(path)["summary.json"])["grid"] is None
