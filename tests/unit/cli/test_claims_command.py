"""``testbed claims`` and what else the command line tells of claims."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import typer
from synthetic_run import aggregation, make_run

from experiments.claims import CLAIMS, claim
from testbed.cli.claims import claims, run_paths
from testbed.cli.show import show
from testbed.orchestrator.spec import Expectation, SpecificationError
from testbed.record import RecordError


def a_run(parent: Path) -> Path:
    experiment = dataclasses.replace(
        aggregation(repetitions=1),
        expectations=(Expectation(variant="mptcp", metric="subflows", at_least=2, claim="S7", says="{value} seen"),),
        claims=(CLAIMS["S7"],),
        duration_ns=10**9,
    )
    return make_run(parent, experiment)


def test_the_newest_complete_run_of_each_experiment_and_backend_counts(tmp_path: Path) -> None:
    old = a_run(tmp_path)
    for name, changes in {
        "newer": {"started_utc": "2999-01-01T00:00:00Z"},
        "unfinished": {"started_utc": "2999-02-01T00:00:00Z", "state": "running"},
        "simulated": {"backend": "sim"},
    }.items():
        shutil.copytree(old, tmp_path / "aggregation" / name)
        document = json.loads((old / "run.json").read_text())
        (tmp_path / "aggregation" / name / "run.json").write_text(json.dumps(document | changes))
    assert [path.name for path in run_paths([tmp_path])] == ["newer", "simulated"]
    assert run_paths([old, old]) == [old]


def test_a_directory_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="is no run directory, and has no complete run below it"):
        run_paths([tmp_path])


def test_claims_prints_the_verdicts_and_writes_markdown_with_the_evidence_beside_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    claims([a_run(tmp_path)], out=tmp_path / "claims.md")
    printed = capsys.readouterr().out
    assert "holds" in printed
    assert "no evidence in these runs: S1, S2" in printed
    document = json.loads((tmp_path / "claims.json").read_text())
    (piece,) = next(each for each in document["claims"] if each["id"] == "S7")["evidence"]
    assert (piece["sentence"], piece["values"]) == ("2\u202fsubflows seen", [2.0])
    assert "2\u202fsubflows seen (one trial; mininet, linux, `mptcp`)" in (tmp_path / "claims.md").read_text()


def test_show_tells_a_claim_with_what_would_refute_it_and_the_experiments(capsys: pytest.CaptureFixture[str]) -> None:
    show("s7")
    printed = capsys.readouterr().out
    assert "V Anil Kumar (CSIR-4PI), 13 January 2020" in printed
    assert "refuted by: data segments that carry all three" in printed
    assert "evidence from: " in printed


def test_a_claim_is_found_in_either_case_and_a_wrong_id_lists_near_ones() -> None:
    assert claim("s7") is CLAIMS["S7"]
    with pytest.raises(SpecificationError, match="there is no claim 'S77'; near ones: S7"):
        claim("S77")


def test_evidence_that_was_written_is_rendered_again_without_the_runs(tmp_path: Path) -> None:
    claims([a_run(tmp_path)], out=tmp_path / "claims.md", quiet=True)
    claims([tmp_path / "claims.json"], out=tmp_path / "again.md", quiet=True)
    assert (tmp_path / "again.md").read_text() == (tmp_path / "claims.md").read_text()
    assert (tmp_path / "again.json").read_text() == (tmp_path / "claims.json").read_text()


@pytest.mark.parametrize(
    ("text", "words"), [("[]", "is no evidence of claims"), ('{"version": 7}', "this testbed reads version 1")]
)
def test_what_is_no_evidence_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, words: str
) -> None:
    (tmp_path / "other.json").write_text(text)
    with pytest.raises(typer.Exit):
        claims([tmp_path / "other.json"])
    assert words in capsys.readouterr().err
