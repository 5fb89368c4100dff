"""The reports: they say what the run says, stand alone, and are fit for machines and for people who do not see."""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from statistics import median
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import synthetic_run

from analysis.report import write_report
from analysis.report.write import render
from analysis.runs import load
from testbed.record import REPORT_FILES, RunDirectory
from topologies.three_path import three_path

INVALID = {4: ("INVALID", "path2.forward: calibrated rate 17.1 Mbit/s, expected 20.0 Mbit/s")}
LACKING = dict.fromkeys((2, 5, 8), ("UNSUPPORTED", "scheduler redundant is not in this kernel"))


@pytest.fixture(scope="module")
def aggregation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic_run.make_run(tmp_path_factory.mktemp("a"), synthetic_run.aggregation(), verdicts=INVALID)


@pytest.fixture(scope="module")
def handover(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic_run.make_run(tmp_path_factory.mktemp("h"), synthetic_run.handover(), verdicts=LACKING)


VOID = {"meta", "br", "hr", "img", "input", "link"}


class Page(HTMLParser):
    """Elements of a page with their attributes; complains about tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.images: list[set[str]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if self.images:
            self.images[-1].add(tag)
        if tag == "svg" and ("role", "img") in attrs:
            self.images.append(set())
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def html_of(path: Path) -> str:
    return render(path)["report.html"]


def test_all_four_are_written_and_the_run_stays_as_it_was(aggregation: Path) -> None:
    before = (aggregation / "run.json").read_bytes()
    assert [path.name for path in write_report(aggregation)] == list(REPORT_FILES)
    first = {name: (aggregation / name).read_bytes() for name in REPORT_FILES}
    write_report(aggregation)
    assert {name: (aggregation / name).read_bytes() for name in REPORT_FILES} == first
    assert (aggregation / "run.json").read_bytes() == before
    assert RunDirectory.open(aggregation).altered_files() == ()


@pytest.mark.parametrize("name", ["aggregation", "handover"])
def test_the_page_is_well_formed_and_stands_alone(name: str, request: pytest.FixtureRequest) -> None:
    text = html_of(request.getfixturevalue(name))
    page = Page(text)
    tags = Counter(tag for tag, _ in page.elements)
    assert not tags.keys() & {"script", "link", "img", "iframe", "object"}
    for _, attributes in page.elements:
        for key in ("src", "href", "xlink:href"):  # to itself, or to what the run has stored beside it
            assert re.match("#|captures/|logs/", attributes.get(key) or "#")
        assert not [key for key in attributes if key.startswith("on")]
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    identifiers = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(set(identifiers)) == len(identifiers)
    links = [str(attributes["href"]) for tag, attributes in page.elements if tag == "a"]
    targets = {link[1:] for link in links if link.startswith("#")}
    assert targets <= set(identifiers)


@pytest.mark.parametrize("name", ["aggregation", "handover"])
def test_who_does_not_see_the_figures_is_told(name: str, request: pytest.FixtureRequest) -> None:
    page = Page(html_of(request.getfixturevalue(name)))
    assert page.images
    assert all({"title", "desc"} <= inside for inside in page.images)
    for tag, attributes in page.elements:
        assert tag != "th" or attributes.get("scope") in ("col", "row", "rowgroup")
    for tag, attributes in page.elements:
        if tag == "svg" and attributes.get("role") != "img" and attributes.get("preserveaspectratio") is None:
            assert attributes.get("aria-hidden") == "true"


def test_the_answer_comes_first_in_words_with_numbers(aggregation: Path) -> None:
    text = html_of(aggregation)
    summary = json.loads(render(aggregation)["summary.json"])
    goodput = {v["name"]: v["flows"]["main"]["goodput_bit_s"]["median"] for v in summary["variants"]}
    ratio = goodput["mptcp"] / max(goodput["tcp-path1"], goodput["tcp-path2"])
    head = text[: text.index("<nav")]
    assert "Both expectations are met." in head
    assert "8 of 9 trials valid, 1 INVALID" in head
    assert f"{ratio:.2f}" in head
    assert INVALID[4][1] in head


def test_failed_expectations_are_said_with_sign_word_and_numbers(tmp_path: Path) -> None:
    experiment = synthetic_run.handover(repetitions=1)
    strict = dataclasses.replace(experiment.expectations[0], at_most=1e6)
    path = synthetic_run.make_run(tmp_path, dataclasses.replace(experiment, expectations=(strict,)))
    text = html_of(path)
    assert "The expectation FAILED." in text
    assert "✗ FAILED" in text
    assert "at most 1\u202fms" in text


def test_the_summary_has_numbers_units_n_and_values(aggregation: Path) -> None:
    summary = json.loads(render(aggregation)["summary.json"])
    flows = load(aggregation).with_trial("flows")
    for variant in summary["variants"]:
        rows = flows[(flows["variant"] == variant["name"]) & (flows["verdict"] == "VALID")]
        metric = variant["flows"]["main"]["goodput_bit_s"]
        assert metric["unit"] == "bit/s"
        assert metric["values"] == list(rows["goodput_bit_s"])
        assert metric["median"] == pytest.approx(median(metric["values"]))
        assert metric["n"] == len(rows)
    assert [v["trials"]["INVALID"] for v in summary["variants"]] == [0, 1, 0]
    assert summary["exit_code"] == 3
    assert summary["variants"][2]["derived"]["aggregation_benefit"]["median"] == pytest.approx(0.97, abs=0.06)
    assert summary["variants"][2]["aggregation_benefit_against"] == ["tcp-path1", "tcp-path2"]


def test_junit_tells_invalid_unsupported_and_failed_apart(aggregation: Path, handover: Path) -> None:
    suite = ET.fromstring(render(aggregation)["junit.xml"])
    assert (suite.get("tests"), suite.get("errors"), suite.get("failures"), suite.get("skipped")) == (
        "11",
        "1",
        "0",
        "0",
    )
    suite = ET.fromstring(render(handover)["junit.xml"])
    assert (suite.get("tests"), suite.get("errors"), suite.get("skipped")) == ("12", "0", "4")
    assert int(suite.get("failures") or 0) == len(suite.findall("testcase/failure"))


def test_the_outage_is_marked_labelled_and_measured(handover: Path) -> None:
    text = html_of(handover)
    assert "path1 down" in text
    assert 'class="outage"' in text
    assert "path1, 4\u202fs to 8\u202fs" in text
    assert "Block delay" in text


def test_an_interrupted_run_has_a_report_that_says_so(tmp_path: Path) -> None:
    path = synthetic_run.make_run(tmp_path, synthetic_run.aggregation(), stop_after=4)
    texts = render(path)
    assert "the run is not complete" in texts["report.html"]
    assert "4 of 9 trials valid, 5 not run yet" in texts["report.html"]
    assert ET.fromstring(texts["junit.xml"]).get("errors") == "5"
    assert len(write_report(path)) == 4


def test_a_run_without_a_single_result_has_a_report(tmp_path: Path) -> None:
    path = synthetic_run.make_run(tmp_path, synthetic_run.aggregation(), stop_after=0)
    assert "Nothing was measured: no trial is valid." in render(path)["report.html"]
    verdicts = dict.fromkeys(range(9), ("UNSUPPORTED", "MPTCP is switched off: net.mptcp.enabled = 0"))
    path = synthetic_run.make_run(tmp_path, synthetic_run.aggregation(), verdicts=verdicts)
    assert "net.mptcp.enabled = 0" in render(path)["report.md"]
    assert json.loads(render(path)["summary.json"])["exit_code"] == 4


def test_names_and_reasons_cannot_break_out(tmp_path: Path) -> None:
    experiment = synthetic_run.aggregation(repetitions=1)
    nasty = '<script>alert("x")</script> | \x01 & co'
    variants = tuple(dataclasses.replace(variant, summary=nasty) for variant in experiment.variants)
    path = synthetic_run.make_run(
        tmp_path, dataclasses.replace(experiment, variants=variants), verdicts={0: ("INVALID", nasty)}
    )
    texts = render(path)
    assert "<script" not in texts["report.html"]
    assert "&lt;script&gt;" in texts["report.html"]
    ET.fromstring(texts["junit.xml"])


def test_markdown_tables_have_as_many_cells_as_heads(aggregation: Path, handover: Path) -> None:
    for path in (aggregation, handover):
        block: list[str] = []
        for line in [*render(path)["report.md"].splitlines(), ""]:
            if line.startswith("|"):
                block.append(line)
                continue
            if block:
                assert len(block) >= 3, block
                assert len({len(re.findall(r"(?<!\\)\|", row)) for row in block}) == 1, block
                assert re.fullmatch(r"\|(:?-+:?\|)+", block[1]), block
            block = []


@pytest.mark.slow
def test_sixty_scenarios_fit_into_a_page_of_one_and_a_half_megabytes(tmp_path: Path) -> None:
    path = synthetic_run.make_run(tmp_path, synthetic_run.loss_sweep(points=20, repetitions=1))
    text = html_of(path)
    Page(text)
    assert len(text.encode()) <= 1_500_000
    assert text.count("<h3>") >= 60


def test_who_carried_the_bytes_before_during_and_after_the_outage_is_told(handover: Path) -> None:
    text = render(handover)["report.md"]
    heads = "| variant | received by | 0 to 4\u202fs | 4\u202fs to 8\u202fs: path1 down | 8\u202fs to the end |"
    assert heads in text
    (first,) = re.findall(r"\| mptcp \| subflow 0 \(path1\) \|(.*)\|", text)
    before, during, after = (cell.strip() for cell in first.split("|"))
    assert before.endswith(", 100\u202f%")
    assert during.startswith(("0\u202fB", "1"))
    assert not after.startswith("0\u202fB")
    assert heads.split(" | ")[3].strip() in html_of(handover)


def test_a_fallback_in_a_valid_trial_is_told_beside_the_variant(tmp_path: Path) -> None:
    def plain(trial: int, tables: synthetic_run.Rows) -> None:
        if trial == 2:
            tables["flows"][0] |= {"fallback": True, "in_force": "fallback"}

    texts = render(synthetic_run.make_run(tmp_path, synthetic_run.aggregation(), alter=plain))
    words = "fell back to TCP in 1 of 3 valid trials"
    assert texts["report.html"].count(words) >= 2
    assert f"| mptcp ({words}) |" in texts["report.md"]
    told = {variant["name"]: variant["fallback"] for variant in json.loads(texts["summary.json"])["variants"]}
    assert told["mptcp"] == {"n": 1, "of": 3, "trials": [2]}
    assert told["tcp-path1"]["n"] == 0


def test_the_aggregation_benefit_needs_tcp_on_every_path(tmp_path: Path) -> None:
    experiment = synthetic_run.aggregation(repetitions=1)
    first, *others = experiment.variants
    unnamed = dataclasses.replace(first, flows=(dataclasses.replace(first.flows[0], path=None),))  # the first path
    three = three_path()
    on_three = [dataclasses.replace(variant, topology=three) for variant in experiment.variants]
    for name, variants, alone in (
        ("same", (unnamed, *others), ["tcp-path1", "tcp-path2"]),
        ("twice", (first, dataclasses.replace(unnamed, name="tcp-path2"), others[-1]), []),
        ("three", on_three, []),
    ):
        run = synthetic_run.make_run(
            tmp_path / name, dataclasses.replace(experiment, variants=tuple(variants), expectations=())
        )
        found = {variant["name"]: variant for variant in json.loads(render(run)["summary.json"])["variants"]}
        assert found["mptcp"]["aggregation_benefit_against"] == alone
        assert ("aggregation_benefit" in found["mptcp"]["derived"]) == bool(alone)


def test_a_warning_that_repeats_is_told_once_with_how_often(tmp_path: Path) -> None:
    def warned(trial: int, tables: synthetic_run.Rows) -> None:
        event = {"trial": trial, "kind": "warning", "subject": "kernel log", "detail": "burst is low"}
        tables["events"] += [event | {"time_ns": at} for at in range(3)] if trial == 1 else []

    text = render(synthetic_run.make_run(tmp_path, synthetic_run.aggregation(1), alter=warned))["report.md"]
    assert text.count("burst is low") == 1
    assert "| 1 | kernel log | burst is low (3 times) |" in text


def test_what_middleboxes_dropped_and_changed_stands_beside_the_links(tmp_path: Path) -> None:
    def stripped(_trial: int, tables: dict[str, list[dict[str, Any]]]) -> None:
        for row in tables["links"]:
            row["dropped_middlebox"], row["changed_middlebox"] = 3, 41

    text = render(synthetic_run.make_run(tmp_path, synthetic_run.aggregation(1), alter=stripped))["report.md"]
    assert "3 by middlebox, 41 changed by middlebox" in text


def test_what_a_queue_marked_stands_beside_the_links(tmp_path: Path) -> None:
    def marking(_trial: int, tables: dict[str, list[dict[str, Any]]]) -> None:
        for row in tables["links"]:
            row["marked_ce"] = 17

    text = render(synthetic_run.make_run(tmp_path, synthetic_run.aggregation(1), alter=marking))["report.md"]
    assert "17 marked CE" in text


def test_each_middlebox_has_a_line_with_what_it_saw_and_did(tmp_path: Path) -> None:
    def dropping(trial: int, tables: dict[str, list[dict[str, Any]]]) -> None:
        row = {
            "trial": trial,
            "link": "path1",
            "place": "link",
            "number": 1,
            "middlebox": "drop data nth 3",
            "direction": "forward",
        }
        counts = {"seen": 100 + trial, "matched": 1, "changed": 0, "dropped": 1, "made": 0, "delayed": 0}
        tables["middleboxes"] = [{**row, **counts}]

    pages = render(synthetic_run.make_run(tmp_path, synthetic_run.aggregation(1), alter=dropping))
    assert "| path1 forward | drop data nth 3 | 100 | 1 | 0 | 1 | 0 | 0 |" in pages["report.md"]
    assert '<h2 id="middleboxes">' in pages["report.html"]
    without = render(synthetic_run.make_run(tmp_path / "without", synthetic_run.aggregation(1)))
    assert "Middleboxes" not in without["report.md"]
