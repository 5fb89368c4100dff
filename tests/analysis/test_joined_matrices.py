"""Matrices of several runs as one: whose cells they are, what the kernels are called, and what nobody was asked."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
from matrix_run import Outcomes, make_matrix_run

import analysis
from analysis.interop import Absent, CellResult, MatrixResult, exit_code, joined
from analysis.interop.joined import name_at
from analysis.report.interop_write import render_result, write_result
from experiments.interop import build, chosen_tests, implementation
from experiments.interop.kernels import parts
from testbed.orchestrator.spec import Experiment
from testbed.record import MATRIX_FILES, RecordError

ENDS = ("linux@6.1", "linux@6.12", "linux-tcp@6.12", "userspace")
TESTS = ("handshake", "join", "goodput")


def machine(place: str) -> dict[str, Any]:
    kernel = place.removeprefix("vm:").partition("+")[0]
    return {
        "ran_on": {"backend": place, "host": "root@127.0.0.1:1", "clock": "virtual"},
        "kernel": {"release": f"{kernel}.9-cloud", "version": "#1"},
    }


def experiment(names: tuple[str, ...], pairs: tuple[tuple[str, str], ...] | None = None) -> Experiment:
    return build([implementation(name) for name in names], tests=chosen_tests(TESTS), pairs=pairs)


def run(parent: Path, place: str, asked: Experiment, outcomes: Outcomes | None = None) -> analysis.Run:
    return analysis.load(make_matrix_run(parent, asked, outcomes, document=machine(place)))


def cell_of(matrix: MatrixResult, test: str, client: str, server: str) -> CellResult:
    (cell,) = [each for each in matrix.of_pair(client, server) if each.test["name"] == test]
    return cell


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[analysis.Run]:
    """Of all parts but the pair from 6.12 to 6.1."""
    parent = tmp_path_factory.mktemp("runs")
    ends = [implementation(name) for name in ENDS]
    outcomes: Outcomes = {"join/linux-6.1/userspace": "unmet", "join/linux-6.12/linux-6.12": "INVALID"}
    chosen, _ = parts(ends, ends)
    return [
        run(parent, part.place, experiment(ENDS, part.pairs), outcomes)
        for part in chosen
        if part.place != "vm:6.12+6.1"
    ]


@pytest.fixture
def matrix(runs: list[analysis.Run], tmp_path: Path) -> MatrixResult:
    absent = {("linux@6.12", "linux@6.1"): Absent("invalid", "vm:6.12+6.1: it did not boot")}
    return joined(runs, tmp_path, absent=absent, command=["testbed", "matrix", "--kernels", "6.1,6.12"])


def test_each_cell_is_that_of_the_run_that_asked_it(matrix: MatrixResult, runs: list[analysis.Run]) -> None:
    assert [end["name"] for end in matrix.clients] == [end["name"] for end in matrix.servers] == list(ENDS)
    assert len(matrix.cells) == len(ENDS) ** 2 * len(TESTS)
    assert cell_of(matrix, "join", "linux@6.1", "userspace").result == "fail"
    assert cell_of(matrix, "join", "linux@6.12", "linux@6.12").result == "invalid"
    assert cell_of(matrix, "join", "linux@6.1", "linux@6.12").result == "pass"
    for cell in matrix.cells:
        if cell.trials:
            assert cell.run is not None
            place = runs[cell.run].document["ran_on"]["backend"]
            kernels = {name.partition("@")[2] for name in (cell.client, cell.server)} - {""}
            assert kernels <= set(place.removeprefix("vm:").split("+")), cell
    assert exit_code(matrix) == 1


def test_what_could_not_be_asked_says_why_and_is_no_pass(matrix: MatrixResult) -> None:
    cell = cell_of(matrix, "join", "linux@6.12", "linux@6.1")

    assert (cell.result, cell.reason, cell.run) == ("invalid", "vm:6.12+6.1: it did not boot", None)
    left = cell_of(matrix, "join", "linux-tcp@6.12", "linux@6.1")
    assert (left.result, left.reason) == ("unsupported", "none of these runs asked it")


def test_the_files_lead_to_those_of_each_run(matrix: MatrixResult, tmp_path: Path) -> None:
    written = write_result(matrix, tmp_path)

    assert {path.name for path in written} == set(MATRIX_FILES)
    document = json.loads((tmp_path / "matrix.json").read_text())
    assert len(document["results"]) == len(ENDS) ** 2
    assert [each["ran_on"]["backend"] for each in document["runs"]] == ["vm:6.1", "vm:6.12", "vm:6.1+6.12"]
    cells = [cell for pair in document["results"] for cell in pair]
    files = [name for cell in cells for name in (*cell["captures"], *cell["logs"])]
    assert files
    assert all((tmp_path / name).is_file() for name in files)
    page = (tmp_path / "matrix.html").read_text()
    links = re.findall(r'href="([^"#]+/report\.html)"', page)
    assert len(links) == len(document["runs"])
    text = (tmp_path / "matrix.ktap").read_text()
    assert text.count("not ok ") == sum(cell.result in ("fail", "invalid") for cell in matrix.cells)


def test_a_cell_is_done_again_on_the_machine_of_its_run(matrix: MatrixResult) -> None:
    document = json.loads(render_result(matrix)["matrix.json"])
    commands = {
        (cell["name"], number): cell["command"] for number, pair in enumerate(document["results"]) for cell in pair
    }

    start = "testbed matrix --backend vm:6.1 --clients linux@6.1 --servers userspace --tests join"
    assert commands["join", 3].startswith(start)
    again = "testbed matrix --clients linux@6.12 --servers linux@6.1 --tests join"
    assert commands["join", 4] == again, "no run has it: the names say where"


def test_the_same_runs_give_the_same_bytes(matrix: MatrixResult) -> None:
    assert render_result(matrix) == render_result(matrix)


@pytest.mark.parametrize(
    ("place", "client", "server"),
    [
        ("vm:6.12", "linux@6.12", "linux@6.12"),
        ("vm:6.1+6.12", "linux@6.1", "linux@6.12"),
        ("ssh:lab", "linux@ssh:lab.9-cloud", "linux@ssh:lab.9-cloud"),
        ("vm:bzimage:/boot/bzImage", "linux@bzimage:/boot/bzImage", "linux@bzimage:/boot/bzImage"),
    ],
)
def test_the_kernel_of_a_machine_is_called_by_its_version(place: str, client: str, server: str, tmp_path: Path) -> None:
    matrix = joined([run(tmp_path, place, experiment(("linux",)))], tmp_path)

    assert ([end["name"] for end in matrix.clients], [end["name"] for end in matrix.servers]) == ([client], [server])
    again = json.loads(render_result(matrix)["matrix.json"])["results"][0][0]["command"]
    assert again.startswith(f"testbed matrix --backend {place} --clients linux --servers linux ")


def test_the_newest_kernel_is_called_by_what_it_is() -> None:
    there = {"backend": "vm:6.1+newest"}
    run = {"backend": "mininet", "ran_on": there, "kernel": {"release": "6.1.0-56"}}
    away = {"kernel": {"release": "7.3.4+deb13-cloud-amd64"}}

    assert [name_at("linux", {**run, "away": away}, side) for side in (0, 1)] == ["linux@6.1", "linux@7.3"]
    assert name_at("linux", run, 1) == "linux@newest", "nothing is known of it"
    alone = {**run, "ran_on": {"backend": "vm:newest"}, "kernel": away["kernel"]}
    assert [name_at("linux-tcp", alone, side) for side in (0, 1)] == ["linux-tcp@7.3"] * 2


def test_of_two_runs_that_asked_a_cell_the_later_one_counts_whatever_their_order(tmp_path: Path) -> None:
    early = run(tmp_path, "vm:6.12", experiment(("linux",)), {"join/linux/linux": "unmet"})
    late = run(tmp_path, "vm:6.12", experiment(("linux",)))

    for order in ([early, late], [late, early]):
        matrix = joined(order, tmp_path)
        assert cell_of(matrix, "join", "linux@6.12", "linux@6.12").result == "pass"
        assert "3 cells were asked in more than one" in matrix.notes[0]


def test_a_run_that_could_not_ask_a_cell_does_not_hide_one_that_did(tmp_path: Path) -> None:
    ends = [dataclasses.replace(implementation("linux"), obstacle="no root"), implementation("userspace")]
    unable = build(ends, tests=chosen_tests(TESTS))
    able = run(tmp_path, "vm:6.12", experiment(("linux",)))
    later = run(tmp_path, "vm:6.12", unable)

    for order in ([able, later], [later, able]):
        assert cell_of(joined(order, tmp_path), "join", "linux@6.12", "linux@6.12").result == "pass"


def test_a_test_that_asks_different_things_in_two_runs_is_refused(tmp_path: Path) -> None:
    asked = experiment(("linux",))
    assert asked.interop is not None
    tests = tuple(dataclasses.replace(test, judged="otherwise") for test in asked.interop.tests)
    other = dataclasses.replace(asked, interop=dataclasses.replace(asked.interop, tests=tests))
    runs = [run(tmp_path, "vm:6.1", asked), run(tmp_path, "vm:6.12", other)]

    with pytest.raises(RecordError, match=r"test handshake asks different things in .*judged.*run the older one again"):
        joined(runs, tmp_path)


def test_nothing_to_join_is_said(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no run was given"):
        joined([], tmp_path)
