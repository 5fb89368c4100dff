"""Cells of the matrix on this kernel: what only a kernel's own means can do, an address given up and a stream left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import testbed

import analysis

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_mptcp]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs")
    words = ["--backend", "mininet", "--implementations", "linux", "--tests", "remove_addr,fastclose"]
    ended = testbed("matrix", *words, "--out", str(out), "-q")
    assert ended.returncode == 0, ended.stderr
    (path,) = (out / "interop").iterdir()
    return path


def test_the_kernels_path_manager_gives_an_address_up_in_the_middle_of_the_traffic(path: Path) -> None:
    run = analysis.load(path)
    counters = run.with_trial("counters")
    grown = counters[counters["after"] > counters["before"]]
    removed = {(row.host, row.counter) for row in grown.itertuples() if row.variant == "remove_addr/linux/linux"}
    notes = [detail for detail in run.events["detail"] if "deleted" in detail]

    # that the server hears it is not promised: nothing repeats a REMOVE_ADDR that the queue drops (RFC 8684 3.4.2)
    assert ("client", "MPTcpExtRmAddrTx") in removed
    assert notes == ["path manager endpoint 10.0.3.1 deleted"]


def test_a_kernel_that_leaves_bytes_unread_sends_a_fast_close(path: Path) -> None:
    run = analysis.load(path)
    counters = run.with_trial("counters")
    grown = counters[counters["after"] > counters["before"]]
    closed = {(row.host, row.counter) for row in grown.itertuples() if row.variant == "fastclose/linux/linux"}

    assert {("client", "MPTcpExtMPFastcloseTx"), ("server", "MPTcpExtMPFastcloseRx")} <= closed


def test_every_cell_has_its_captures_and_the_commands_that_built_its_network(path: Path) -> None:
    (results,) = json.loads((path / "matrix.json").read_text())["results"]

    assert [each["result"] for each in results] == ["succeeded", "succeeded"]
    for each in results:
        assert len(each["captures"]) >= 2
        assert any(name.endswith("commands.txt") for name in each["logs"])
