"""What changed between kernels: evidence row by row, from run directories alone."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from compared_runs import experiment, make
from matrix_run import Outcomes, make_matrix_run

import analysis
from analysis.kernels import KernelTable, table_of
from analysis.report.kernels_write import KERNELS_FILES, write_kernels
from experiments.interop import build, chosen_tests, implementation
from testbed.orchestrator.grid import Grid, GridCell, GridColumn, GridRow
from testbed.orchestrator.spec import Claim, Expectation, Experiment
from testbed.record import RecordError

SENT, ABSENT = "counter:MPTcpExtAddAddrTx@server", "counter:MPTcpExtDssFallback@server"
CLAIM = Claim(
    id="N12",
    title="IPv6 with a port has no room",
    statement="It is so.",
    who="Somebody",
    when="2026",
    method="By looking.",
    confirmed_by="seeing it",
    refuted_by="not seeing it",
)


def asked(repetitions: int = 2) -> Experiment:
    def expects(metric: str, at_least: float, claim: str | None = None) -> Expectation:
        return Expectation(variant="userspace", metric=metric, at_least=at_least, statistic="min", claim=claim)

    return experiment(
        repetitions=repetitions,
        any_outcome=True,
        claims=(CLAIM,),
        expectations=(
            expects("goodput_bit_s", 1e6),
            expects("retransmits", 0),
            expects(SENT, 1, "N12"),
            expects(ABSENT, 1),
        ),
    )


def on(
    parent: Path,
    kernel: str,
    counters: Mapping[str, int | None],
    goodputs: Sequence[float] = (2e6, 2.1e6),
    of: Experiment | None = None,
    **more: Any,
) -> analysis.Run:
    """A run on that kernel, which counted this at the server; None: it has no such counter."""

    def numbers(_variant: str, repetition: int, _seed: int) -> Mapping[str, Any]:
        counted = {("server", f"MPTcpExt{name}"): growth for name, growth in counters.items()}
        ends = {"implementation": "linux", "server_implementation": "linux"}
        return {**ends, "goodput_bit_s": goodputs[repetition], "retransmits": 3, "counters": counted}

    document = {"backend": "mininet", "kernel": {"release": f"{kernel}.9-cloud", "version": "#1"}}
    document["ran_on"] = {"backend": f"vm:{kernel}", "host": "root@127.0.0.1:1", "clock": "virtual"}
    return analysis.load(make(parent, numbers, of or asked(), document=document, **more))


def changes(table: KernelTable) -> dict[str, str]:
    return {row.expectation["metric"]: row.change for row in table.rows}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[analysis.Run]:
    parent = tmp_path_factory.mktemp("runs")
    return [
        on(parent, "7.3", {"AddAddrTx": 1, "DssFallback": 4}, (4e6, 4.1e6)),
        on(parent, "6.12", {"AddAddrTx": 0, "DssFallback": 4}),
        on(parent, "6.1", {"AddAddrTx": 0}),
    ]


def test_kernels_stand_in_the_order_of_their_versions_and_what_changed_comes_first(runs: list[analysis.Run]) -> None:
    table = table_of(runs)

    assert [(kernel.name, kernel.release) for kernel in table.kernels] == [
        ("6.1", "6.1.9-cloud"),
        ("6.12", "6.12.9-cloud"),
        ("7.3", "7.3.9-cloud"),
    ]
    assert list(changes(table).items()) == [
        (SENT, "verdict"),
        (ABSENT, "known of some"),
        ("goodput_bit_s", "numbers"),
        ("retransmits", "none"),
    ]
    (claim,) = table.claims
    assert claim.has_changed
    assert [each.word for each in claim.judgements] == ["does not hold", "does not hold", "holds"]


def test_a_counter_that_a_kernel_has_not_is_not_known_and_never_0(runs: list[analysis.Run], tmp_path: Path) -> None:
    written = write_kernels(runs, tmp_path, ["testbed", "matrix", "--merge"])

    assert [path.name for path in written] == list(KERNELS_FILES)
    document = json.loads((tmp_path / "kernels.json").read_text())
    (row,) = [each for each in document["evidence"] if each["metric"] == ABSENT]
    assert [each["value"] for each in row["by_kernel"]] == [None, 4, 4]
    assert "server has no counter of that name" in row["by_kernel"][0]["reason"]
    for name in ("kernels.html", "kernels.md"):
        text = (tmp_path / name).read_text()
        assert "not known" in text
        assert "this kernel has no such counter" in text
        for link in ("6.1.9-cloud", "6.12.9-cloud", "7.3.9-cloud"):
            assert link in text


def test_the_page_leads_to_the_report_of_every_run(runs: list[analysis.Run], tmp_path: Path) -> None:
    write_kernels(runs, tmp_path / "there", [])

    document = json.loads((tmp_path / "there" / "kernels.json").read_text())
    for kernel in document["kernels"]:
        for run in kernel["runs"]:
            assert (tmp_path / "there" / run["path"] / "run.json").is_file()


def test_what_a_machine_did_to_its_trials_is_said_beside_the_numbers(tmp_path: Path) -> None:
    counters = {"AddAddrTx": 1, "DssFallback": 1}
    disturbed = {"disturbed": True, "stall_max_ns": 90_000_000, "stall_p99_ns": 2_000_000}
    runs = [on(tmp_path, "6.1", counters), on(tmp_path, "6.12", counters, trial=disturbed)]

    write_kernels(runs, tmp_path / "page", [])

    for name in ("kernels.html", "kernels.md"):
        text = (tmp_path / "page" / name).read_text()
        assert "6.12, compared: 2 of 2 valid trials" in text
        assert "6.1, compared:" not in text


def test_one_kernel_alone_changes_nothing_and_what_is_not_measured_is_no_verdict(tmp_path: Path) -> None:
    run = on(tmp_path, "6.1", {"AddAddrTx": 1, "DssFallback": None})

    table = table_of([run])

    assert changes(table) == dict.fromkeys((SENT, ABSENT, "goodput_bit_s", "retransmits"), "none")
    assert not table.claims[0].has_changed


def test_what_is_evidence_of_two_claims_is_one_row(tmp_path: Path) -> None:
    other = dataclasses.replace(CLAIM, id="L3")
    whole = asked()
    again = dataclasses.replace(whole.expectations[2], claim="L3", speaks="against", under="Linux")
    of = dataclasses.replace(whole, claims=(CLAIM, other), expectations=(*whole.expectations, again))

    table = table_of([on(tmp_path, "6.1", {"AddAddrTx": 1, "DssFallback": 1}, of=of)])

    assert len(table.rows) == len(whole.expectations)
    assert [row.claims for row in table.rows if row.expectation["metric"] == SENT] == [("N12", "L3")]
    assert [each.judgements[0].word for each in table.claims] == ["holds", "does not hold"]


def test_overlapping_numbers_are_no_change(tmp_path: Path) -> None:
    counters = {"AddAddrTx": 1, "DssFallback": 1}
    runs = [on(tmp_path, "6.1", counters, (2e6, 4e6)), on(tmp_path, "6.12", counters, (3e6, 5e6))]

    assert set(changes(table_of(runs)).values()) == {"none"}


def test_trials_that_could_not_be_measured_make_no_change_of_verdict(tmp_path: Path) -> None:
    counters = {"AddAddrTx": 1, "DssFallback": 1}
    bad = dict.fromkeys(range(2), ("INVALID", "the link was late"))
    runs = [on(tmp_path, "6.1", counters), on(tmp_path, "6.12", {}, verdicts=bad)]

    table = table_of(runs)

    assert set(changes(table).values()) == {"known of some"}
    assert not table.claims[0].has_changed, "what is not known decides nothing"


def test_of_two_runs_on_one_kernel_the_later_one_counts(tmp_path: Path) -> None:
    runs = [
        on(tmp_path, "6.1", {"AddAddrTx": 0}),
        on(tmp_path, "6.1", {"AddAddrTx": 5}),
        on(tmp_path, "6.12", {"AddAddrTx": 5}),
    ]

    table = table_of(runs)

    assert [len(kernel.runs) for kernel in table.kernels] == [1, 1]
    assert changes(table)[SENT] == "none"


def test_a_cell_of_a_grid_is_compared_by_what_became_of_the_connection(tmp_path: Path) -> None:
    cell = GridCell(variant="userspace", row="box", column=GridColumn(pair="a/b", role="sends"), fates=("mptcp", "tcp"))
    of = experiment(
        repetitions=2, grid=Grid(heading="box", rows=(GridRow(name="box", text="x", because="y"),), cells=(cell,))
    )

    def run(kernel: str, fallback: bool) -> analysis.Run:
        def numbers(*_: object) -> Mapping[str, Any]:
            return {"fallback": fallback, "in_force": "linux", "goodput_bit_s": 1e6}

        document = {"kernel": {"release": kernel, "version": ""}, "ran_on": {"backend": f"vm:{kernel}"}}
        return analysis.load(make(tmp_path, numbers, of, document=document))

    (changed,) = table_of([run("6.1", False), run("6.12", True)]).rows
    (same,) = table_of([run("6.1", False), run("7.3", False)]).rows

    assert (changed.change, same.change) == ("verdict", "none")


def test_cells_of_a_matrix_are_compared_by_what_the_ends_are_on_any_kernel(tmp_path: Path) -> None:
    def run(place: str, kernel: str, outcomes: Outcomes) -> analysis.Run:
        ends = [implementation(name) for name in (f"linux@{kernel}", "userspace")]
        document = {"kernel": {"release": kernel, "version": ""}, "ran_on": {"backend": place}}
        asked = build(ends, tests=chosen_tests(["handshake", "goodput"]))
        return analysis.load(make_matrix_run(tmp_path, asked, outcomes, document=document))

    old = run("vm:6.1", "6.1", {"handshake/linux-6.1/userspace": "unmet", "handshake/userspace/linux-6.1": "INVALID"})
    new = run("vm:6.12", "6.12", {"handshake/linux-6.12/linux-6.12": "pass"})
    between = run("vm:6.1+6.12", "6.12", {"handshake/linux-6.12/linux-6.12": "unmet"})

    table = table_of([old, new, between])

    assert [kernel.name for kernel in table.kernels] == ["6.1", "6.12"]
    assert {row.expectation["variant"]: row.change for row in table.rows} == {
        "handshake: linux to userspace": "verdict",
        "handshake: userspace to linux": "known of some",
        "handshake: linux to linux": "none",
        **{f"goodput: {pair}": "none" for pair in ("linux to linux", "linux to userspace", "userspace to linux")},
    }
    write_kernels([old, new], tmp_path / "page", [])
    text = (tmp_path / "page" / "kernels.md").read_text()
    assert "0 packets instead of at least 1" in text
    assert "1 of 1 trials pass" in text


def test_runs_without_claims_are_refused(tmp_path: Path) -> None:
    def numbers(*_: object) -> Mapping[str, Any]:
        return {"goodput_bit_s": 1e6}

    with pytest.raises(RecordError, match="none of these runs has claims, a grid or a matrix"):
        table_of([analysis.load(make(tmp_path, numbers))])
