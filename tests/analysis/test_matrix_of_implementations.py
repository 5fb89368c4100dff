"""The matrix of a run that never ran: what each cell is, why, and what other programs read of it."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from matrix_run import Outcomes, make_matrix_run

import analysis
from analysis.interop import CellResult, MatrixResult, exit_code, matrix_of
from analysis.report.interop_write import render_matrix
from experiments.interop import Implementation, build, chosen_tests, implementation
from testbed.orchestrator.spec import Experiment
from testbed.record import MATRIX_FILES

ENDS = ("linux", "linux-tcp", "userspace:rfc8684", "linux@6.12")


def end(name: str) -> Implementation:
    """Of a virtual machine: one that cannot stand in any cell."""
    found = implementation(name)
    return dataclasses.replace(found, obstacle=f"{name}: it did not boot") if found.kernel else found


def matrix_experiment(
    tests: tuple[str, ...] = ("handshake", "join", "goodput"), repetitions: int = 1, ends: tuple[str, ...] = ENDS
) -> Experiment:
    return build([end(name) for name in ends], tests=chosen_tests(tests), repetitions=repetitions)


def judged(tmp_path: Path, experiment: Experiment, outcomes: Outcomes | None = None, **how: int) -> MatrixResult:
    found = matrix_of(analysis.load(make_matrix_run(tmp_path, experiment, outcomes, **how)))
    assert found is not None
    return found


def cell_of(matrix: MatrixResult, test: str, client: str, server: str) -> CellResult:
    (cell,) = [each for each in matrix.of_pair(client, server) if each.test["name"] == test]
    return cell


def test_a_cell_is_what_its_trials_are_and_says_why(tmp_path: Path) -> None:
    outcomes = {
        "handshake/linux/linux": "fallback",
        "handshake/linux/linux-tcp": "unmet",
        "handshake/linux/userspace.rfc8684": "wrong",
        "join/linux/linux": "unmet",
        "join/linux/userspace.rfc8684": "INVALID",
        "handshake/linux-tcp/linux": "UNSUPPORTED",
        "handshake/userspace.rfc8684/linux": "reset",
    }

    matrix = judged(tmp_path, matrix_experiment(), outcomes)

    expected = {
        ("handshake", "linux", "linux"): ("fail", "fell back to TCP instead of MPTCP"),
        ("handshake", "linux", "linux-tcp"): ("fail", "1 packet instead of at most 0 .*plain TCP answers without"),
        ("handshake", "linux", "userspace:rfc8684"): ("fail", "wrong from byte 700"),
        ("join", "linux", "linux"): ("fail", "RFC 8684 section 3.2: the client asks with MP_JOIN"),
        ("join", "linux", "userspace:rfc8684"): ("invalid", "8.8 instead of 10 Mbit/s"),
        ("handshake", "linux-tcp", "linux"): ("unsupported", "this kernel is too old"),
        ("handshake", "userspace:rfc8684", "linux"): ("fail", "reset instead of MPTCP .*reset by peer"),
        ("join", "linux", "linux-tcp"): ("unsupported", "plain TCP has one path"),
        ("join", "linux@6.12", "linux"): ("unsupported", "linux@6.12: it did not boot"),
        ("handshake", "linux-tcp", "linux-tcp"): ("pass", ""),
        ("join", "userspace:rfc8684", "linux"): ("pass", ""),
    }
    for place, (result, reason) in expected.items():
        cell = cell_of(matrix, *place)
        assert cell.result == result, (place, cell.reason)
        assert re.search(reason, cell.reason), (place, cell.reason)
    assert exit_code(matrix) == 1


def test_a_fall_back_of_which_neither_end_tells_is_neither_a_pass_nor_a_failure(tmp_path: Path) -> None:
    experiment = matrix_experiment(("fallback_syn", "transfer"), ends=("linux",))

    matrix = judged(tmp_path, experiment, dict.fromkeys(("fallback_syn/linux/linux", "transfer/linux/linux"), "untold"))

    assert {cell.test["name"]: cell.result for cell in matrix.cells} == {"fallback_syn": "invalid", "transfer": "pass"}


def test_what_passes_now_and_then_is_flaky_and_a_failure(tmp_path: Path) -> None:
    matrix = judged(tmp_path, matrix_experiment(("join",), 3, ("linux",)), {"join/linux/linux": ("pass", "unmet")})

    (cell,) = matrix.cells
    assert (cell.result, cell.is_flaky, cell.passed) == ("fail", True, 2)
    assert cell.reason.startswith("1 of 3 trials: ")
    assert cell.shown is not None
    assert cell.shown.repetition == 1


@pytest.mark.parametrize(
    ("outcome", "code"), [("pass", 0), ("unmet", 1), ("INVALID", 3), ("UNSUPPORTED", 4)], ids=lambda each: str(each)
)
def test_the_exit_code_tells_what_the_worst_cell_is(outcome: str, code: int, tmp_path: Path) -> None:
    experiment = matrix_experiment(("join",), ends=("linux",))

    assert exit_code(judged(tmp_path, experiment, {"join/linux/linux": outcome})) == code


def test_a_trial_that_has_not_run_is_no_pass(tmp_path: Path) -> None:
    matrix = judged(tmp_path, matrix_experiment(("join", "handshake"), ends=("linux",)), stop_after=1)

    assert sorted(cell.result for cell in matrix.cells) == ["invalid", "pass"]
    assert exit_code(matrix) == 3


def test_a_measurement_has_repetitions_of_its_own_and_a_spread(tmp_path: Path) -> None:
    matrix = judged(tmp_path, matrix_experiment(("goodput", "join"), ends=("linux",)))

    cell = cell_of(matrix, "goodput", "linux", "linux")
    assert len(cell.trials) == 3
    assert cell.measurement is not None
    assert cell.measurement.values == (18e6, 18.1e6, 18.2e6)
    assert cell.measurement.median.estimate == 18.1e6
    assert len(cell_of(matrix, "join", "linux", "linux").trials) == 1


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with every kind of cell, and its files."""
    outcomes: Outcomes = {
        "handshake/linux/linux": ("pass", "reset"),
        "join/linux/userspace.rfc8684": "INVALID",
        "fallback_payload/linux/linux": "mptcp",
    }
    experiment = matrix_experiment(("handshake", "join", "fallback_payload", "goodput"), repetitions=2)
    path = make_matrix_run(tmp_path_factory.mktemp("matrix"), experiment, outcomes)
    write(path)
    return path


def write(path: Path) -> None:
    for name, text in render_matrix(analysis.load(path)).items():
        (path / name).write_text(text)


def test_the_same_run_gives_the_same_bytes(written: Path) -> None:
    before = {name: (written / name).read_bytes() for name in MATRIX_FILES}

    write(written)

    assert {name: (written / name).read_bytes() for name in MATRIX_FILES} == before


def test_the_document_has_the_shape_of_the_interop_runner_with_numbers(written: Path) -> None:
    document = json.loads((written / "matrix.json").read_text())

    assert document["clients"] == document["servers"] == list(ENDS)
    assert {"start_time", "end_time", "urls", "tests", "results", "measurements"} <= document.keys()
    assert document["tests"]["J"]["name"] == "join"
    assert len(document["results"]) == len(document["measurements"]) == len(ENDS) ** 2
    first = {each["name"]: each for each in document["results"][0]}
    assert (first["handshake"]["result"], first["handshake"]["flaky"], first["handshake"]["n"]) == ("failed", True, 2)
    assert first["join"]["result"] == "succeeded"
    assert [each["result"] for each in document["results"][1]] == ["succeeded", "unsupported", "unsupported"]
    (goodput,) = document["measurements"][0]
    assert (goodput["value"], goodput["unit"], goodput["values"]) == (18.1e6, "bit/s", [18e6, 18.1e6, 18.2e6])
    assert document["summary"]["fail"] == 2


def test_a_failed_cell_names_its_files_and_the_command_that_does_it_again(written: Path) -> None:
    document = json.loads((written / "matrix.json").read_text())

    cell = document["results"][0][0]
    assert cell["command"] == (
        "testbed matrix --backend mininet --clients linux --servers linux --tests handshake --seed 1 --repeat 2"
    )
    assert [Path(name).name for name in cell["captures"]] == ["client-eth0.pcap", "server-eth0.pcap"]
    for name in (*cell["captures"], *cell["logs"]):
        assert (written / name).exists()
    page = (written / "matrix.html").read_text()
    assert cell["command"] in page
    assert "claim N10" in page, "what is known of a failure stands beside it"


def test_a_cell_of_another_machine_is_done_again_there(tmp_path: Path) -> None:
    path = make_matrix_run(tmp_path, matrix_experiment(("join",), ends=("linux",)))
    record = json.loads((path / "run.json").read_text())
    there = {"backend": "ssh:lab", "host": "me@lab:22", "clock": "real"}
    (path / "run.json").write_text(json.dumps(record | {"ran_on": there}))

    document = json.loads(render_matrix(analysis.load(path))["matrix.json"])

    assert document["results"][0][0]["command"].startswith("testbed matrix --backend ssh:lab --clients linux ")


def test_ktap_and_junit_have_the_numbers_of_a_measurement(written: Path) -> None:
    assert "# linux to linux: goodput: 1.81e+07 bit/s (1.8e+07 to 1.82e+07, n = 3)" in (
        (written / "matrix.ktap").read_text().splitlines()
    )
    root = ET.fromstring((written / "matrix.junit.xml").read_text())
    (case,) = root.findall("testsuite[@name='linux to linux']/testcase[@name='goodput']")
    numbers = {each.get("name"): each.get("value") for each in case.findall("properties/property")}
    assert numbers == {"value": "18100000.0", "unit": "bit/s", "n": "3", "least": "18000000.0", "most": "18200000.0"}


def test_ktap_and_junit_agree_with_the_cells(written: Path) -> None:
    counts = json.loads((written / "matrix.json").read_text())["summary"]
    lines = (written / "matrix.ktap").read_text().splitlines()
    tests = [line for line in lines if re.match(r"(not )?ok ", line)]
    names = [re.sub(r"^(not )?ok \d+ | # .*$", "", line) for line in tests]
    assert lines[:2] == ["KTAP version 1", f"1..{len(tests)}"]
    assert len(set(names)) == len(names)
    assert [int(re.findall(r"ok (\d+) ", line)[0]) for line in tests] == list(range(1, len(tests) + 1))
    assert sum(" # SKIP " in line and line.startswith("ok ") for line in tests) == counts["unsupported"]
    assert sum(" # ERROR " in line and line.startswith("not ok ") for line in tests) == counts["invalid"]
    assert sum(line.startswith("not ok ") for line in tests) == counts["fail"] + counts["invalid"]

    suites = ET.fromstring((written / "matrix.junit.xml").read_text()).findall("testsuite")
    assert len(suites) == len(ENDS) ** 2
    totals = {key: sum(int(suite.get(key, "0")) for suite in suites) for key in ("failures", "errors", "skipped")}
    assert totals == {"failures": counts["fail"], "errors": counts["invalid"], "skipped": counts["unsupported"]}
