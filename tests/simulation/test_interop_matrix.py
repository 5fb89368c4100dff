"""The tests of the matrix in virtual time: our stack passes all, and each fails when what it asks does not happen."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from command_line import testbed

import analysis
from analysis.interop import MatrixResult, matrix_of
from experiments.interop import TESTS, build, implementation
from experiments.interop import tests as asked
from experiments.interop.question import NONE
from experiments.interop.question import Test as Question
from testbed.orchestrator import runner
from testbed.orchestrator.spec import Experiment, PathManager
from testbed.record import DERIVED_FILES
from topologies import middlebox


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of every test between our MPTCP and our TCP, by the command."""
    out = tmp_path_factory.mktemp("runs")
    words = ["matrix", "--backend", "sim", "--clients", "userspace,linux", "--servers", "userspace,userspace-tcp"]
    ended = testbed(*words, "--tests", "tests", "--no-pcap", "--jobs", "2", "--out", str(out), "--json", "-q")
    assert ended.returncode == 0, ended.stderr
    (path,) = (out / "interop").iterdir()
    assert ended.stdout == (path / "matrix.json").read_text()
    return path


def test_our_stack_passes_every_test_with_itself(ours: Path) -> None:
    matrix = _matrix(ours)

    assert {cell.test["name"]: cell.result for cell in matrix.of_pair("userspace", "userspace")} == {
        test.name: "pass" for test in TESTS
    }


def test_with_plain_tcp_at_an_end_mptcp_falls_back_or_cannot_be_asked(ours: Path) -> None:
    results = {cell.test["name"]: cell.result for cell in _matrix(ours).of_pair("userspace", "userspace-tcp")}

    assert results == {test.name: "unsupported" if test.needs_mptcp else "pass" for test in TESTS}


def test_what_the_backend_cannot_run_is_a_column_of_its_own(ours: Path) -> None:
    document = json.loads((ours / "matrix.json").read_text())

    assert document["clients"] == ["userspace", "linux"]
    reasons = {each["reason"] for pair in document["results"][2:] for each in pair}
    assert reasons == {"linux: needs real kernels (--backend mininet)"}


def test_the_run_has_the_usual_reports_beside_the_matrix(ours: Path) -> None:
    for name in DERIVED_FILES:
        assert (ours / name).stat().st_size > 0, name


BROKEN: Mapping[str, tuple[Any, dict[str, Any]]] = {
    "handshake": (asked.HANDSHAKE, {"box": "strip mptcp on syn"}),
    "transfer": (asked.TRANSFER, {"box": 'rewrite-payload "a" "A" on after 200ms'}),
    "join": (asked.JOIN, {"second": "drop mptcp.mp_join and syn"}),
    "add_addr": (asked.ADD_ADDR, {"box": "filter add_addr.echo"}),
    "remove_addr": (asked.REMOVE_ADDR, {"path_manager": PathManager(mode="subflow")}),
    "backup": (asked.BACKUP, {"path_manager": PathManager(mode="subflow")}),
    "fastclose": (asked.FASTCLOSE, {"box": "filter mp_fastclose"}),
    "checksum": (asked.CHECKSUM, {"checksum": (False, False)}),
    "checksum_one_path": (asked.CHECKSUM, {"name": "checksum_one_path", "abbreviation": "C1", "path_manager": NONE}),
    "fallback_syn": (asked.FALLBACK_SYN, {"without": True}),
    "fallback_late": (asked.FALLBACK_LATE, {"path_manager": PathManager(mode="none")}),
    "fallback_payload": (asked.FALLBACK_PAYLOAD, {"checksum": (False, False)}),
    "fallback_payload_two": (asked.FALLBACK_PAYLOAD_TWO, {"last": "drop tcp.rst"}),
    "failover": (asked.FAILOVER, {"stays": True}),
    "zero_window": (asked.ZERO_WINDOW, {"receive_buffer_bytes": 2_000_000}),
    "half_close": (asked.HALF_CLOSE, {"box": "strip mptcp on syn"}),
}
"""Test -> what keeps what it asks from happening: a middlebox on the first or second path, other settings."""


ELSEWHERE = ("box", "second", "last", "without", "stays")
"""Of these the words that are not settings of the test."""


def _without_what_it_asks(test: Question, how: dict[str, Any]) -> Question:
    topology = test.topology
    for key, name in (("box", "path1"), ("second", "path2")):
        if key in how:
            link = topology.link(name)
            boxes = (*middlebox.parse(how[key]), *link.middleboxes)
            topology = topology.with_link(dataclasses.replace(link, middleboxes=boxes))
    if "last" in how:  # where what comes back passes first
        link = topology.link("path1")
        boxes = (*link.middleboxes, *middlebox.parse(how["last"]))
        topology = topology.with_link(dataclasses.replace(link, middleboxes=boxes))
    if how.get("without"):
        topology = topology.with_link(dataclasses.replace(topology.link("path1"), middleboxes=()))
    if how.get("stays"):
        topology = topology.with_link(dataclasses.replace(topology.link("path1"), changes=()))
    settings = {key: value for key, value in how.items() if key not in ELSEWHERE}
    return dataclasses.replace(test, topology=topology, **settings)


def test_each_test_fails_when_what_it_asks_does_not_happen(tmp_path: Path) -> None:
    broken = [_without_what_it_asks(test, how) for test, how in BROKEN.values()]
    experiment = build([implementation("userspace")], tests=broken, capture=False)

    matrix = _run(dataclasses.replace(experiment, duration_ns=4_000_000_000), tmp_path)

    assert {cell.test["name"]: cell.result for cell in matrix.cells} == dict.fromkeys(BROKEN, "fail")


def test_a_test_whose_disturbance_no_packet_met_was_not_measured(tmp_path: Path) -> None:
    disturbed = [asked.FALLBACK_THIRD_ACK, asked.FALLBACK_LATE, asked.LOSS, asked.REORDER]

    experiment = build([implementation("userspace")], tests=[_undisturbed(test) for test in disturbed], capture=False)
    matrix = _run(dataclasses.replace(experiment, duration_ns=4_000_000_000), tmp_path)

    assert {cell.test["name"]: cell.result for cell in matrix.cells} == {test.name: "invalid" for test in disturbed}
    assert all("no packet met what was to disturb it (drop after 1000s" in cell.reason for cell in matrix.cells)


def _undisturbed(test: Question) -> Question:
    topology = test.topology
    for link in topology.links:
        boxes = (*middlebox.parse("drop after 1000s"), *(each for each in link.middleboxes if each.kind == "watch"))
        topology = topology.with_link(dataclasses.replace(link, middleboxes=boxes))
    return dataclasses.replace(test, topology=topology)


@pytest.mark.parametrize("receive_buffer_bytes", [64_000, 100_000])
def test_a_standby_subflow_waits_while_a_small_window_holds_up_the_other(
    receive_buffer_bytes: int, tmp_path: Path
) -> None:
    """Less than a packet of window was left for the regular subflow, and the backup took it (RFC 8684, 3.3.8)."""
    small = dataclasses.replace(asked.BACKUP, receive_buffer_bytes=receive_buffer_bytes)

    matrix = _run(build([implementation("userspace")], tests=[small], capture=False), tmp_path)

    assert [(cell.result, cell.reason) for cell in matrix.cells] == [("pass", "")]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("--implementations", "linux", "--backend", "sim"), 4, "linux: needs real kernels"),
        (("--implementations", "linux", "--backend", "ssh:nowhere.invalid/sim"), 4, "linux: needs real kernels"),
        (("--implementations", "userspase"), 2, "no implementation 'userspase'; near: userspace"),
        (("--implementations", "userspace:rfc9999", "--backend", "sim"), 2, "profile of userspace is one of linux"),
        (("--tests", "jion", "--backend", "sim"), 2, "no test 'jion'; near: join"),
        (("--tests", ",", "--backend", "sim"), 2, "',' names nothing"),
        (("--adapter", "a=/bin/true", "--adapter", "a=/bin/false"), 2, "two of the 2 adapters have the same name"),
        (("--backend", "sim", "--repeat", "1000000000"), 2, "more than the 1,000,000 .*--repeat"),
        (("--adapter", "nothing", "--backend", "sim"), 2, "adapter 'nothing'"),
        (("--backend", "vm"), 2, "it is vm:KERNEL"),
    ],
)
def test_what_cannot_be_asked_is_one_clear_line(words: tuple[str, ...], code: int, told: str, tmp_path: Path) -> None:
    ended = testbed("matrix", *words, "--out", str(tmp_path), "-q")

    assert ended.returncode == code, ended.stderr
    assert re.search(told, ended.stderr), ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def _matrix(path: Path) -> MatrixResult:
    found = matrix_of(analysis.load(path))
    assert found is not None
    return found


def _run(experiment: Experiment, folder: Path) -> MatrixResult:
    request = runner.RunRequest(experiment=experiment, parent=folder, backend="sim", jobs=2)
    return _matrix(runner.run(request, lambda _message: None).path)
