"""What can be inferred from a capture at an endpoint's interface is what the endpoint's own ledger says.

In virtual time a capture shows packets in the very order in which the endpoint handles them, so both have to agree on
every segment. What a capture cannot know is named where it matters: the rows that wait for an option policy that holds
the DSS back.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from segment_agreement import SACK, SENT, agreement, inferred

from analysis.capture.analysis import analyze
from analysis.capture.batch import Batch, RareOptions, SackBlocks
from analysis.capture.reader import open_capture
from analysis.capture.resolution import resolve
from analysis.contention import contention, run_captures, waits, what_if
from analysis.contention.capture_contention import Contention, of_capture
from analysis.contention.inference import Inference
from analysis.contention.replay import SIMULATED
from analysis.contention.segment_table import segment_table
from analysis.contention.vantage import Side, beginning, subflows_of
from analysis.contention.what_if import Policy, policies
from analysis.measured import Measurements
from analysis.report.write import render
from analysis.runs import load
from experiments.ingredients import MBIT, MS, on_links
from testbed.orchestrator import plan, sim_trial
from testbed.orchestrator.spec import Bulk, Endpoint, Experiment, Flow, PathManager, Variant
from topologies.link_profile import LinkProfile, RandomLoss, Reordering
from topologies.two_path import two_path

ROOT = Path(__file__).parents[2]
ALL = (
    *SACK,
    *SENT,
    "wanted",
    "wanted_octets",
    "sack_blame",
    "sack_ranges",
    "omitted",
    "mapping",
    "mapping_ssn",
    "mapping_octets",
    "mss",
    "retransmission",
    "connection",
)
HELD_BACK = {"wanted", "wanted_octets", "omitted", "mapping"}
"""Under a policy that puts SACK ahead of the DSS nothing on the wire tells a DSS that had to wait from none wanted."""

LOSSY = {"loss": RandomLoss(0.02)}


def carried_out(folder: Path, link: dict[str, Any], endpoint: Endpoint, octets: int = 600_000) -> list[dict[str, Any]]:
    """The rows of the ledger of a two-way transfer over two paths; captures are in the folder."""
    path = LinkProfile(rate_bit_s=10 * MBIT, delay_ns=10 * MS)
    topology = on_links(two_path(path1=path, path2=path), ("path1", "path2"), **link)
    application = Bulk(direction="both", size_bytes=octets, reverse_size_bytes=octets)
    variant = Variant(
        name="own",
        summary="MPTCP.",
        topology=topology,
        flows=(Flow(application=application, client=endpoint, server=endpoint),),
        path_manager=PathManager(mode="signal"),
    )
    made = Experiment(
        name="example",
        question="Does it?",
        variants=(variant,),
        capture=True,
        ledger=True,
        repetitions=1,
        duration_ns=15_000 * MS,
    )
    for name in ("captures", "logs"):
        (folder / name).mkdir(parents=True)
    outcome = sim_trial.run_trial(made, plan.trials(made)[0], folder, lambda _phase, _s: None)
    assert outcome.verdict == "VALID", outcome.reason
    return [dict(row) for row in outcome.record.tables["segments"]]


def measured(path: Path, side: Side, what_if: Sequence[Policy]) -> dict[str, Any]:
    """The tables of one capture."""
    with open_capture(path) as capture:
        resolution = resolve(capture)
        taken = Contention(capture, resolution, what_if, side=side, stack="simulated")
        for batch in capture.batches():
            taken.take(batch, *resolution.both(batch))
        return taken.finish()


def endpoint(**values: Any) -> Endpoint:
    return Endpoint(implementation="userspace", **values)


@pytest.mark.parametrize(
    ("link", "end"),
    [
        (LOSSY, endpoint()),
        ({"loss": RandomLoss(0.05)}, endpoint(timestamps=False)),
        ({"loss": RandomLoss(0.01), "reordering": Reordering(probability=0.1)}, endpoint()),
        ({"loss": RandomLoss(0.01), "duplication": 0.05}, endpoint()),
        ({"corruption": 0.02}, endpoint(checksum=True)),
        (LOSSY, endpoint(profile="dense-32")),
        (LOSSY, endpoint(profile="thin-maps")),
        (LOSSY, endpoint(profile="late-map", receiver="holding")),
        (LOSSY, endpoint(profile="drop-timestamps")),
        (LOSSY, endpoint(profile="rfc2018")),
    ],
    ids=["loss", "no timestamps", "reordering", "copies", "damage", "dense-32", "thin", "late", "drop", "sack first"],
)
def test_inference_agrees_with_the_ledger_on_every_segment(tmp_path: Path, link: dict[str, Any], end: Endpoint) -> None:
    ledger = carried_out(tmp_path, link, end)
    columns = [name for name in ALL if end.profile != "rfc2018" or name not in HELD_BACK]
    wanted = sent = 0
    for side in ("client", "server"):
        for number in (0, 1):
            rows = inferred(tmp_path / "captures" / f"{side}-eth{number}.pcap", "simulated", side)  # type: ignore[arg-type]
            mine = [row for row in ledger if row["side"] == side and row["subflow"] == number]
            found = agreement(rows, mine, columns)
            assert found.share == 1.0 or _is_known(found), str(found)
            assert found.matched > 100
            assert {row["side"] for row in rows} == {side}
            wanted += sum(row["sack_wanted"] for row in rows)
            sent += sum(row["sack_sent"] for row in rows)
    assert wanted > 200
    assert wanted > sent or end.profile == "rfc2018"


def _is_known(found: Any) -> bool:
    """The order of ranges beyond those sent, and the width of a DATA_ACK that an ADD_ADDR displaced before any was
    sent, are not on record."""
    return (
        set(found.differences) <= {"sack_ranges", "wanted", "wanted_octets"}
        and found.differing <= 2
        and all(
            set(one["sack_ranges"].split()) == set(two["sack_ranges"].split())
            for one, two in found.differences.get("sack_ranges", [])
        )
        and all("add_addr" in one["sent"] for one, _ in found.differences.get("wanted", []))
    )


def test_the_side_is_told_by_the_handshake_or_the_quickest_answers(tmp_path: Path) -> None:
    carried_out(tmp_path, LOSSY, endpoint(), 200_000)
    for side, number in (("client", 0), ("server", 1)):
        for place in (0, 1):
            with open_capture(tmp_path / "captures" / f"{side}-eth{place}.pcap") as capture:
                resolution = resolve(capture)
                assert set(subflows_of(resolution, beginning(capture.batches())).side) == {number}


def cut(batch: Batch, low: int, high: int) -> Batch:
    """Some packets of a batch."""
    sack = (batch.sack.row >= low) & (batch.sack.row < high)
    rare = (batch.rare.row >= low) & (batch.rare.row < high)
    blocks = {each.name: getattr(batch.sack, each.name)[sack] for each in dataclasses.fields(SackBlocks)}
    options = {each.name: getattr(batch.rare, each.name)[rare] for each in dataclasses.fields(RareOptions)}
    blocks["row"] = blocks["row"] - low
    options["row"] = options["row"] - low
    columns: dict[str, Any] = batch.select(np.arange(low, high))
    return Batch(**columns, sack=SackBlocks(**blocks), rare=RareOptions(**options))


@pytest.mark.parametrize("size", [1, 2, 7, 100])
def test_where_batches_end_changes_nothing(tmp_path: Path, size: int) -> None:
    carried_out(tmp_path, {"loss": RandomLoss(0.03), "duplication": 0.02}, endpoint(), 200_000)
    with open_capture(tmp_path / "captures" / "client-eth1.pcap") as capture:
        resolution = resolve(capture)
        batches = list(capture.batches())
    subflows = subflows_of(resolution, side="client")

    def rows(step: int) -> list[dict[str, Any]]:
        inference = Inference(capture.layouts, subflows, receiver=SIMULATED)
        found: list[dict[str, Any]] = []
        for batch in batches:
            for low in range(0, len(batch), step):
                part = cut(batch, low, min(low + step, len(batch)))
                segments = inference.take(part, *resolution.both(part))
                found += segment_table(segments, inference.outcomes, subflows).to_pylist()
        return found

    whole, parts = rows(1 << 30), rows(size)
    assert sum(row["sack_wanted"] for row in whole) > 30
    found = agreement(parts, whole, [*SACK, *SENT, "wanted", "mapping", "retransmission", "omitted"])
    assert found.share >= 0.995, str(found)


def test_tables_add_up_to_the_rows_and_linux_s_rule_is_what_linux_s_profile_sent(tmp_path: Path) -> None:
    ledger = carried_out(tmp_path, LOSSY, endpoint())
    what_if = policies(["as-sent", "linux", "dense,32-bit", "no-timestamps", "dense,map-every=4"])
    tables = measured(tmp_path / "captures" / "server-eth1.pcap", "server", what_if)
    mine = [row for row in ledger if row["side"] == "server" and row["subflow"] == 1]
    rows = {row["segment"]: row for row in tables["contention"].to_pylist()}
    for kind, row in rows.items():
        group = {"data": ("data",), "pure ACK": ("ack",), "opening and closing": ("syn", "syn-ack", "fin", "rst")}
        these = [each for each in mine if kind == "all" or each["segment"] in group[kind]]
        assert row["segments"] == len(these)
        assert row["contended"] == sum(each["wanted_octets"] > 40 for each in these)
        for name in ("payload", "option_octets", "padding_octets", "free_octets", *SACK):
            assert row[name] == sum(each[name] for each in these), name
        parts = ("timestamps_octets", "dss_octets", "sack_octets", "other_octets", "padding_octets")
        assert row["option_octets"] == sum(row[name] for name in parts)
    whole = rows["all"]
    assert whole["sack_displaced"] == whole["sack_wanted"] - whole["sack_sent"] > 100
    assert whole["displacement_rate"] == whole["sack_displaced"] / whole["sack_wanted"]
    assert (whole["mss"], whole["mss_net"]) == (1460, 1420)
    assert whole["mss_loss"] == pytest.approx(1 - 1420 / 1448)
    assert (whole["map_delay_p95_ns"], whole["map_delayed_octets"], whole["map_missing_octets"]) == (0, 0, 0)
    assert whole["sack_ranges"] > whole["never_reported"] >= 0
    assert whole["information_delay_p95_ns"] > whole["information_delay_p50_ns"] >= 0

    displaced = {
        row["policy"]: row["sack_displaced"] for row in tables["what_if"].to_pylist() if row["segment"] == "all"
    }
    assert displaced["as-sent"] == displaced["linux"] == whole["sack_displaced"], "the model is what the sender does"
    assert displaced["dense,32-bit"] < displaced["no-timestamps"] < displaced["linux"] or displaced["linux"] > 0
    assert displaced["dense,map-every=4"] < displaced["linux"]


def test_an_announced_address_is_followed_to_the_subflow_over_it(tmp_path: Path) -> None:
    carried_out(tmp_path, LOSSY, endpoint(), 100_000)
    paths = [tmp_path / "captures" / f"server-eth{number}.pcap" for number in (0, 1)]
    with analyze(paths, accumulators=[of_capture(side="server", stack="simulated")]) as analysis:
        (row,) = analysis.tables["add_addr"].to_pylist()
        joined = analysis.resolution.subflows[1]
        assert analysis.tables["contention"].num_rows > 0
    assert (row["direction"], row["source"], row["requested_ns"]) == (1, "capture", None)
    assert row["address"] == str(ipaddress.ip_address(joined.listener[0]))
    assert row["transmissions"] >= 1 and row["echoed_ns"] > row["sent_ns"]
    assert (row["join_syn_ns"], row["join_established_ns"]) == (joined.handshake_ns[0], joined.handshake_ns[2])
    assert row["join_delay_ns"] == row["join_established_ns"] - row["sent_ns"] >= 40 * MS, "two round trips"


def test_deferred_mappings_have_their_delay(tmp_path: Path) -> None:
    carried_out(tmp_path, LOSSY, endpoint(profile="late-map", receiver="holding"))
    tables = measured(tmp_path / "captures" / "client-eth1.pcap", "client", ())
    (row,) = (row for row in tables["contention"].to_pylist() if row["segment"] == "all")
    assert row["map_delayed_octets"] > row["new_payload"] / 2, "each mapping follows its data by two segments"
    assert row["map_delay_p95_segments"] >= 2
    assert row["map_missing_octets"] == 0


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with ledger and captures."""
    parent = tmp_path_factory.mktemp("runs")
    argv = [sys.executable, "-m", "testbed", "run", "quickstart", "--backend", "sim", "--pcap", "--repeat", "1", "-q"]
    subprocess.run([*argv, "--set", "duration=1500ms", "--out", str(parent)], check=True, cwd=ROOT, timeout=120)
    (run,) = (parent / "quickstart").iterdir()
    return run


def test_a_report_without_ledger_infers_from_the_captures_of_the_run_what_the_ledger_says(
    quickstart: Path, tmp_path: Path
) -> None:
    without = tmp_path / "without"
    shutil.copytree(quickstart, without)
    table = pq.read_table(without / "segments.parquet")
    pq.write_table(table.slice(0, 0), without / "segments.parquet")

    said, seen = load(quickstart), load(without)
    ledger, captured = contention(said), contention(seen)
    assert {row.source for row in ledger} == {"ledger"} and {row.source for row in captured} == {"capture"}
    assert [dataclasses.replace(row, source="ledger") for row in captured] == ledger
    assert sum(row.displaced for row in ledger) > 100
    waited = [dataclasses.replace(row, addresses_ns=()) for row in waits(said)]
    assert [dataclasses.replace(row, source="ledger") for row in waits(seen)] == waited
    policies = ["as-sent", "linux", "dense,32-bit"]
    assert [row[4:] for row in what_if(seen, policies)] == [row[4:] for row in what_if(said, policies)]
    for name, text in render(without).items():
        if name.startswith("report"):
            assert "capture" in text and "Option contention" in text, name
    recorded, from_captures = Measurements(said), Measurements(seen)
    for name in ("segments", "sack_wanted", "displaced_share", "redundant_mapping_share", "information_delay_p95_ns"):
        for kind in ("data", "ack", "all"):
            of = f"ledger:{name}@server/{kind}", "userspace/userspace", "main"
            own, other = recorded.of(*of), from_captures.of(*of)
            assert (own.source, other.source, own.values) == ("ledger", "capture", other.values), of


def test_sides_that_have_rows_of_their_own_are_not_inferred(quickstart: Path, tmp_path: Path) -> None:
    half = tmp_path / "half"
    shutil.copytree(quickstart, half)
    table = pq.read_table(half / "segments.parquet")
    pq.write_table(table.filter(pc.equal(table["side"], "client")), half / "segments.parquet")
    assert {(row.side, row.source) for row in contention(load(half))} == {("client", "ledger"), ("server", "capture")}


def test_captures_that_are_too_large_are_left_alone(
    quickstart: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = tmp_path / "without"
    shutil.copytree(quickstart, without)
    table = pq.read_table(without / "segments.parquet")
    pq.write_table(table.slice(0, 0), without / "segments.parquet")
    monkeypatch.setattr(run_captures, "MOST_OCTETS", 1000)
    assert contention(load(without)) == []
