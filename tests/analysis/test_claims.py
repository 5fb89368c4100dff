"""Verdicts of claims: counted from evidence, told with its numbers, and the document that keeps them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from run_in_memory import run_in_memory
from synthetic_run import Rows, aggregation, make_run
from test_contention import segment

from analysis.claims import Piece, judge, judge_documented
from analysis.report.claim_evidence import claims_document, command, renewed
from analysis.report.claim_lines import claim_lines
from analysis.report.claims_document import markdown
from analysis.report.write import render
from analysis.runs import Run
from analysis.verdict import evaluate
from testbed.cli.claims import as_text, evidence_by_experiment, registry
from testbed.orchestrator.spec import Claim, Expectation

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(
    ("pieces", "text", "count"),
    [
        ([("", True), ("", True)], "holds", "2 of 2"),
        ([("", False), ("", False), ("", None)], "does not hold", "0 of 2"),
        ([("", True), ("", False)], "holds partly", "1 of 2"),
        ([("", None)], "not measured", "–"),
        ([], "not measured", "–"),
        ([("Linux", False), ("Linux", False)], "does not hold (Linux)", "0 of 2"),
        ([("Linux", False), ("", False)], "does not hold", "0 of 2"),
        ([("TS", False), ("no TS", True)], "depends: holds (no TS); does not hold (TS)", "1 of 2"),
        ([("", True), ("Linux", False)], "depends: does not hold (Linux); holds otherwise", "1 of 2"),
        ([("a", False), ("", True), ("b", True)], "depends: does not hold (a); holds (b; and otherwise)", "2 of 3"),
        ([("TS", False), ("no TS", True), ("no TS", False)], "holds partly", "1 of 3"),
        ([("TS", False), ("no TS", True), ("no TS", None)], "depends: holds (no TS); does not hold (TS)", "1 of 2"),
        ([(f"c{n}", True) for n in range(9)], "holds (c0; c1; c2; c3; c4; c5; 3 more)", "9 of 9"),
    ],
)
def test_a_verdict_is_counted_from_the_evidence(pieces: list[tuple[str, bool | None]], text: str, count: str) -> None:
    judgement = judge([Piece(answer, under, "linux") for under, answer in pieces])
    assert (judgement.text, judgement.count) == (text, count)


def test_where_no_condition_is_named_the_stacks_may_decide() -> None:
    ours = [Piece(True, stacks="script/userspace"), Piece(True, stacks="userspace"), Piece(True, "a hole", "linux")]
    kernel = [Piece(False, stacks="script/linux"), Piece(False, stacks="linux-tcp")]
    assert judge(ours + kernel).text == "depends: holds (our stack; a hole); does not hold (Linux)"
    assert judge([*ours, *kernel, Piece(False, stacks="userspace")]).text == "holds partly"
    mixed = [Piece(True, stacks="linux"), Piece(False, stacks="userspace/linux")]
    assert judge(mixed).text == "depends: holds (Linux); does not hold (Linux and our stack)"


def a_claim(name: str = "S7") -> Claim:
    return Claim(
        id=name,
        title=f"Title of {name}",
        statement="It is so.",
        who="Somebody",
        when="1 January 2020",
        method="By looking.",
        confirmed_by="seeing it",
        refuted_by="not seeing it",
    )


def goodput(**values: Any) -> Expectation:
    given = {"variant": "mptcp", "metric": "goodput_bit_s", "at_least": 1.0, "claim": "S7", **values}
    return Expectation(**given)


def goodputs(trial: int, tables: Rows) -> None:
    tables["flows"][0]["goodput_bit_s"] = {2: 4e6, 5: 6e6}.get(trial, 2e6)


def a_run(*expectations: Expectation, claims: tuple[Claim, ...] = (), **document: Any) -> Run:
    experiment = dataclasses.replace(
        aggregation(repetitions=2),
        expectations=expectations,
        claims=claims or (a_claim(),),
        duration_ns=10**9,
        any_outcome=True,
    )
    return run_in_memory(experiment, alter=goodputs, **document)


def the_claim(*runs: Run) -> dict[str, Any]:
    document = claims_document(runs, [dataclasses.asdict(a_claim())], {})
    (claim,) = document["claims"]
    found: dict[str, Any] = claim
    return found


def test_the_evidence_has_the_sentence_with_its_numbers() -> None:
    says = "MPTCP carried {value} ({interval}), {absolute} against {reference}, n = {n}"
    claim = the_claim(a_run(goodput(says=says, relative_to=("tcp-path1", "tcp-path2"))))
    (piece,) = claim["evidence"]
    assert piece["sentence"].replace("\u202f", " ") == (
        "MPTCP carried 2.50 × (2 – 3 ×, range of 2 trials), 5 Mbit/s against 2 Mbit/s, n = 2"
    )
    assert (piece["values"], piece["value"], piece["interval"]) == ([4e6, 6e6], 2.5, [2.0, 3.0])
    assert (piece["supports"], piece["stacks"], piece["spread"]) == (True, "linux", "")
    assert (claim["verdict"], claim["supporting"]) == ("holds", 1)


def test_what_failed_is_told_by_what_was_measured_and_not_by_what_was_expected() -> None:
    claim = the_claim(a_run(goodput(at_least=9e6, says="at least 9 Mbit/s")))
    (piece,) = claim["evidence"]
    assert piece["sentence"].replace("\u202f", " ") == (
        "Not as expected: mptcp: goodput, median of the trials: 5 Mbit/s; expected at least 9 Mbit/s."
    )
    assert claim["verdict"] == "does not hold"


def test_evidence_against_that_is_met_contradicts() -> None:
    claim = the_claim(a_run(goodput(speaks="against"), goodput(at_most=1.0, at_least=None, speaks="against")))
    assert [piece["supports"] for piece in claim["evidence"]] == [False, True]
    assert claim["verdict"] == "holds partly"


def test_a_share_may_be_told_in_percent_and_packets_without_the_word() -> None:
    def watching(trial: int, tables: Rows) -> None:
        row = {"trial": trial, "link": "path1", "place": "link", "number": 1, "middlebox": "watch tcp.rst as rst"}
        row |= {"direction": "forward", "seen": 9, "matched": 3, "changed": 0, "dropped": 0, "made": 0, "delayed": 0}
        tables["middleboxes"] = [row]
        tables["flows"][0]["complete"] = True

    experiment = dataclasses.replace(
        aggregation(repetitions=2),
        expectations=(
            goodput(metric="watched:rst@path1", says="{value} resets"),
            goodput(metric="fate:mptcp", statistic="mean", says="{value:%} of connections"),
        ),
        claims=(a_claim(),),
    )
    claim = the_claim(run_in_memory(experiment, alter=watching))
    texts = [piece["sentence"].replace("\u202f", " ") for piece in claim["evidence"]]
    assert texts == ["3 resets", "100 % of connections"]


def test_the_evidence_of_several_runs_is_one_verdict() -> None:
    real = a_run(goodput(at_least=9e6, under="real packets"))
    simulated = a_run(goodput(under="virtual time"), backend="sim")
    claim = the_claim(simulated, real)
    assert claim["verdict_text"] == "depends: holds (virtual time); does not hold (real packets)"
    text = markdown(claims_document([simulated, real], [dataclasses.asdict(a_claim())], {}))
    assert "Reproduce: `./tb run aggregation --backend sim --seed 1`, `sudo ./tb run aggregation" in text
    assert "- ✓ *virtual time:* mptcp: goodput" in text
    assert "- ✗ *real packets:* Not as expected" in text


def test_what_was_not_measured_says_why_or_what_would() -> None:
    known = [dataclasses.asdict(a_claim(name)) for name in ("S7", "S8", "S9")]
    run = a_run(goodput(metric="counter:MPTcpExtNothing@server", claim="S7"))
    text = markdown(claims_document([run], known, {"S8": ["half_close"]}))
    assert "It could not be evaluated in these runs: counter:MPTcpExtNothing@server: server has no counter" in text
    assert "None of these runs has evidence of it; `./tb run half_close` gives it." in text
    assert "No experiment gives evidence of it yet." in text
    assert "| [S9](#s9) | Title of S9 | Somebody | **not measured** | – |" in text


def test_the_evidence_is_kept_as_json_a_piece_in_a_line() -> None:
    run = a_run(goodput(), goodput(at_least=9e6))
    document = claims_document([run], [dataclasses.asdict(a_claim(name)) for name in ("S7", "S8")], {})
    text = as_text(document)
    assert json.loads(text) == document
    assert sum(line.startswith(' {"run": 0') for line in text.splitlines()) == 2
    assert markdown(json.loads(text)) == markdown(document)


def test_evidence_is_judged_anew_with_the_texts_of_now() -> None:
    document = claims_document([a_run(goodput(), goodput(claim="S8"), claims=(a_claim(), a_claim("S8")))], [], {})
    document["claims"][0]["verdict"] = "of another version"
    texts = [{**dataclasses.asdict(a_claim()), "title": "New"}, dataclasses.asdict(a_claim("S9"))]
    first, new, kept = renewed(document, texts, {"S9": ["half_close"]})["claims"]
    assert (first["title"], first["verdict"], len(first["evidence"])) == ("New", "holds", 1)
    assert (new["verdict"], new["experiments"]) == ("not measured", ["half_close"])
    assert (kept["id"], kept["title"], kept["verdict"]) == ("S8", "Title of S8", "holds")


def test_a_number_of_the_ledger_says_whose_it_is() -> None:
    def with_segments(trial: int, tables: Rows) -> None:
        tables["segments"] = [segment(trial, "data", source="capture")]

    metric = "ledger:segments@server/data"
    run = run_in_memory(
        dataclasses.replace(
            aggregation(repetitions=2),
            expectations=(goodput(metric=metric, says="{value} left"), goodput(metric=metric)),
            claims=(a_claim(),),
        ),
        alter=with_segments,
    )
    text = markdown(claims_document([run], [], {})).replace("\u202f", " ")
    assert "1 segment left (the same in both trials; inferred from packets; mininet, linux, `mptcp`)" in text
    (line,) = claim_lines(run, evaluate(run))
    assert line.sentences[0].endswith("1\u202fsegment left (the same in both trials; inferred from packets)")
    assert line.sentences[1].count("inferred from packets") == 1
    assert text.count("inferred from packets") == 2


def test_a_bound_within_the_interval_is_said() -> None:
    bound = goodput(at_least=4.5e6, says="MPTCP carried {value}")  # trials have 4 and 6 Mbit/s
    text = markdown(claims_document([a_run(bound, goodput(at_least=4e6, says="clear"))], [], {})).replace("\u202f", " ")
    doubtful, clear = (line for line in text.splitlines() if line.startswith("- ✓"))
    assert "range of 2 trials; the bound (at least 4.50 Mbit/s) is within it; mininet" in doubtful
    assert "is within it" not in clear


def test_the_command_keeps_what_the_numbers_depend_on_and_no_place_of_the_machine() -> None:
    words = [
        "testbed",
        "run",
        "claims",
        "--out",
        "/somewhere",
        "--set",
        "path2.loss=2%",
        "--jobs=2",
        "--repeat=5",
        "-q",
    ]
    document = {"command": words, "backend": "mininet", "experiment": {"name": "half_close"}}
    assert command(document) == "sudo ./tb run half_close --backend mininet --set path2.loss=2% --repeat=5"


def test_many_sentences_are_cut_but_never_what_contradicts() -> None:
    many = [goodput(at_least=float(bound)) for bound in range(1, 40)]
    run = a_run(*many, goodput(at_least=9e6))
    text = markdown(claims_document([run], [dataclasses.asdict(a_claim())], {}))
    assert text.count("- ✓") == 13
    assert "expected at least 9\u202fMbit/s (4 – 6\u202fMbit/s, range of 2 trials; mininet, linux, `mptcp`)" in text
    assert "- and 26 more, in seed-claims.json" in text


def test_the_registry_has_every_claim_of_the_thread_and_ours_once_and_in_order() -> None:
    names = [claim["id"] for claim in registry()]
    wanted = [f"S{n}" for n in range(1, 30)] + [f"N{n}" for n in range(1, 15)]
    assert names[: len(wanted)] == wanted
    assert [name for name in names if name[0] == "V"] == [f"V{n}" for n in range(1, 9)]
    assert len(set(names)) == len(names)


def test_evidence_in_the_catalog_names_claims_of_the_registry() -> None:
    assert evidence_by_experiment().keys() <= {claim["id"] for claim in registry()}


def test_the_document_in_docs_is_what_its_evidence_renders_to() -> None:
    text = (DOCS / "seed-claims.json").read_text()
    document = json.loads(text)
    assert as_text(document) == text
    assert markdown(document) == (DOCS / "seed-claims.md").read_text(), (
        "docs/seed-claims.md is generated: testbed claims RUN... --out docs/seed-claims.md"
    )
    for claim in document["claims"]:
        judgement = judge_documented(claim["evidence"])
        assert (claim["verdict"], claim["verdict_text"]) == (judgement.word, judgement.text), claim["id"]
        for piece in claim["evidence"]:
            is_met = piece["outcome"] == "met"
            expected = None if piece["outcome"] == "not evaluated" else is_met == (piece["speaks"] == "for")
            assert piece["supports"] == expected


def test_the_first_screen_of_a_report_tells_of_the_claims(tmp_path: Path) -> None:
    experiment = dataclasses.replace(
        aggregation(repetitions=2),
        expectations=(
            goodput(says="<b>it</b> carried {value}", under="TCP | MPTCP"),
            goodput(says="once more", claim="S8"),
            goodput(at_least=9e6, claim="S8"),
        ),
        claims=(a_claim(), a_claim("S8"), a_claim("S9")),
        duration_ns=10**9,
    )
    texts = render(make_run(tmp_path, experiment, alter=goodputs))
    page, text = texts["report.html"], texts["report.md"].replace("\u202f", " ")
    assert page.index("S7: Title of S7") < page.index("What was expected, and what was measured")
    assert "&lt;b&gt;it&lt;/b&gt; carried 5" in page
    assert (
        "| S7: Title of S7 (Somebody) | ✓ holds (TCP \\| MPTCP) | 1 of 1 | "
        "✓ TCP \\| MPTCP: <b>it</b> carried 5 Mbit/s (4 – 6 Mbit/s, range of 2 trials) |" in text
    )
    assert "| S8: Title of S8 (Somebody) | ± holds partly | 1 of 2 | ✗ Not as expected: mptcp: goodput" in text
    assert "| S9: Title of S9 (Somebody) | – not measured | – | – the variants of this run" in text
    assert "1 of 2 expectations FAILED." in page  # two of the three are one bound
    assert json.loads(texts["summary.json"])["claims"][1] == {
        "id": "S8",
        "title": "Title of S8",
        "verdict": "holds partly",
        "evidence": "1 of 2",
    }


def test_many_expectations_that_are_met_are_folded_and_those_that_are_not_stand_out(tmp_path: Path) -> None:
    bounds = [*range(1, 17), 9_000_000]
    experiment = dataclasses.replace(
        aggregation(repetitions=1),
        expectations=tuple(goodput(claim=None, at_least=float(bound)) for bound in bounds),
        duration_ns=10**9,
    )
    page = render(make_run(tmp_path, experiment, alter=goodputs))["report.html"]
    folded = page.index("<summary>16 expectations that are met</summary>")
    assert page.index("✗ FAILED") < folded < page.index("at least 15")
