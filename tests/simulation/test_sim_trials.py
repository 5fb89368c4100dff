"""Whole trials in virtual time: what they leave, that they repeat, and what the network does to them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from experiments.ingredients import MBIT, MS, mptcp, on_links, tcp
from testbed.net.middlebox import BEHAVIOURS
from testbed.orchestrator import plan, sim_runner, sim_trial
from testbed.orchestrator.errors import Unsupported
from testbed.orchestrator.spec import (
    Application,
    Bulk,
    Endpoint,
    Experiment,
    Flow,
    PathManager,
    Program,
    RequestResponse,
    ShortFlows,
    Stream,
    Variant,
)
from testbed.orchestrator.trial import Outcome
from testbed.record.run_directory import RunDirectory
from topologies import middlebox
from topologies.link_profile import LinkProfile, RandomLoss, outage
from topologies.middlebox import Drop, StripOption
from topologies.model import Topology
from topologies.two_path import two_path

PATH = LinkProfile(rate_bit_s=10 * MBIT, delay_ns=10 * MS)
OWN = ("userspace", "userspace")
WAYS = ("forward", "backward")


def network(**values: Any) -> Topology:
    """Two paths of 10 Mbit/s and 10 ms; ``values`` change both directions of both."""
    topology = two_path(path1=PATH, path2=PATH)
    return on_links(topology, ("path1", "path2"), **values) if values else topology


def experiment(*variants: Variant, **values: Any) -> Experiment:
    values = {"duration_ns": 1_000 * MS, "repetitions": 1, **values}
    return Experiment(name="example", question="Does it?", variants=variants, **values)


def own(topology: Topology, application: Application | None = None, **values: Any) -> Variant:
    return mptcp("own", "MPTCP.", topology, application or Bulk(size_bytes=300_000), stacks=OWN, **values)  # type: ignore[arg-type]


def carried_out(made: Experiment, folder: Path) -> Outcome:
    for name in ("captures", "logs"):
        (folder / name).mkdir(parents=True)
    return sim_trial.run_trial(made, plan.trials(made)[0], folder, lambda _phase, _s: None)


def flow_of(outcome: Outcome) -> dict[str, Any]:
    (flow,) = outcome.record.tables["flows"]
    return dict(flow)


def test_the_same_seed_gives_the_same_captures_and_tables_byte_for_byte(tmp_path: Path) -> None:
    variant = own(network(loss=RandomLoss(0.02)), Bulk(direction="both"))
    made = experiment(variant, capture=True, ledger=True)
    tables = []
    for name in ("first", "second"):
        outcome = carried_out(made, tmp_path / name)
        assert outcome.verdict == "VALID", outcome.reason
        tables.append({key: rows for key, rows in outcome.record.tables.items() if key != "trials"})
    captures = sorted(path.name for path in (tmp_path / "first" / "captures").iterdir())
    assert captures == ["client-eth0.pcap", "client-eth1.pcap", "server-eth0.pcap", "server-eth1.pcap"]
    for name in captures:
        first, second = ((tmp_path / each / "captures" / name).read_bytes() for each in ("first", "second"))
        assert first == second
        assert len(first) > 20_000
    assert tables[0] == tables[1]


def test_another_seed_gives_other_captures(tmp_path: Path) -> None:
    made = experiment(own(network()), capture=True)
    for seed in (1, 2):
        carried_out(dataclasses.replace(made, seed=seed), tmp_path / str(seed))
    first, second = ((tmp_path / each / "captures" / "client-eth0.pcap").read_bytes() for each in "12")
    assert first != second


@pytest.mark.parametrize(
    "application",
    [
        Bulk(size_bytes=200_000),
        Bulk(direction="both"),
        Bulk(direction="download"),
        RequestResponse(request_bytes=500, response_bytes=3000, interval_ns=20 * MS),
        Stream(rate_bit_s=2 * MBIT, block_bytes=4000),
        Stream(rate_bit_s=2 * MBIT, block_bytes=4000, direction="upload"),
        ShortFlows(size_bytes=20_000, concurrency=2),
        ShortFlows(size_bytes=20_000, direction="upload", count=5),
    ],
    ids=lambda each: "-".join([each.kind, str(getattr(each, "direction", "")), str(getattr(each, "size_bytes", ""))]),
)
@pytest.mark.parametrize("implementation", ["userspace", "userspace-tcp"])
def test_every_application_moves_its_bytes_intact_over_a_lossy_network(
    application: Application, implementation: str, tmp_path: Path
) -> None:
    topology = network(loss=RandomLoss(0.01))
    if implementation == "userspace":
        variant = own(topology, application)
    else:
        variant = tcp("own", topology, "path1", application, stack="userspace")
    outcome = carried_out(experiment(variant, duration_ns=3_000 * MS), tmp_path)
    flow = flow_of(outcome)
    assert outcome.verdict == "VALID", outcome.reason
    assert flow["error"] is None
    assert flow["complete"]
    assert flow["in_force"] == implementation
    assert flow["integrity"] == ("unchecked" if isinstance(application, ShortFlows) else "ok")
    moved = sum(flow[f"bytes_received_{way}"] for way in ("upload", "download"))
    assert moved == sum(flow[f"bytes_sent_{way}"] for way in ("upload", "download")) >= 50_000
    if not isinstance(application, Bulk):
        assert flow["operations"] > 4


def test_both_paths_are_used_and_every_table_has_its_rows(tmp_path: Path) -> None:
    outcome = carried_out(experiment(own(network(), Bulk()), duration_ns=3_000 * MS, ledger=True), tmp_path)
    tables = outcome.record.tables
    assert flow_of(outcome)["goodput_bit_s"] > 1.5 * 10 * MBIT
    assert {(row["side"], row["path"]) for row in tables["subflows"]} == {
        (side, path) for side in ("client", "server") for path in ("path1", "path2")
    }
    assert {row["counter"] for row in tables["counters"]} >= {"MPTcpExtMPCapableSYNTX", "MPTcpExtMPJoinAckRx"}
    assert {row["source"] for row in tables["samples"]} == {"application", "userspace"}
    subjects = {row["subject"] for row in tables["samples"] if row["metric"] == "snd_cwnd"}
    assert {"main.client.subflow0", "main.client.subflow1"} <= subjects
    assert {row["realisation"] for row in tables["links"]} == {"virtual time"}
    arrived = {(row["link"], row["direction"]): row["packets_arrived"] for row in tables["links"]}
    assert all(count > 100 for count in arrived.values())
    assert {row["source"] for row in tables["segments"]} == {"ledger"}
    assert tables["trials"][0]["backend"] == "sim"


def test_an_outage_of_one_path_stalls_tcp_and_not_mptcp_and_is_an_event(tmp_path: Path) -> None:
    topology = network()
    link = dataclasses.replace(topology.link("path1"), changes=outage(500 * MS, 1_500 * MS))
    topology = topology.with_link(link)
    made = experiment(
        tcp("plain", topology, "path1", Bulk(), stack="userspace"), own(topology, Bulk()), duration_ns=3_000 * MS
    )
    outcomes = {
        trial.variant: sim_trial.run_trial(made, trial, tmp_path, lambda _phase, _s: None)
        for trial in plan.trials(made)
    }
    stalls = {name: flow_of(outcome)["longest_stall_ns"] for name, outcome in outcomes.items()}
    assert stalls["plain"] > 1_400 * MS
    assert stalls["own"] < 1_000 * MS
    changes = [row for row in outcomes["own"].record.tables["events"] if row["kind"] == "change"]
    assert [(row["time_ns"], row["detail"]) for row in changes] == [(500 * MS, "down"), (2_000 * MS, "up")]


@pytest.mark.parametrize("on", ["syn", "syn_ack", "third_ack", ""])
def test_a_middlebox_that_strips_mptcp_costs_the_paths_and_never_the_bytes(on: str, tmp_path: Path) -> None:
    topology = network(middleboxes=(StripOption("mptcp", on),))
    made = experiment(own(topology, path_manager=PathManager(mode="none")), capture=False)
    flow = flow_of(carried_out(made, tmp_path))
    assert flow["integrity"] == "ok"
    assert flow["complete"]
    assert flow["fallback"]
    assert flow["bytes_received_upload"] == 300_000


def test_what_middleboxes_drop_and_change_is_counted_beside_the_links(tmp_path: Path) -> None:
    topology = network(middleboxes=(Drop("mptcp.dss nth 3+5"), StripOption("tcp.timestamps", "syn")))
    links = carried_out(experiment(own(topology)), tmp_path).record.tables["links"]
    assert {row["dropped_middlebox"] for row in links} == {2}
    changed = {(row["link"], row["direction"]): row["changed_middlebox"] for row in links}
    assert changed == {(path, way): int(way == "forward") for path in ("path1", "path2") for way in WAYS}
    for row in links:
        drops = sum(row[name] for name in ("dropped_loss", "dropped_queue", "dropped_outage"))
        assert row["packets_arrived"] == row["packets_delivered"] + drops, "they never came to the link"


def test_each_middlebox_has_its_row_for_each_direction_that_it_sees(tmp_path: Path) -> None:
    topology = network()
    texts = {"middleboxes": "drop data nth 3, duplicate tcp.syn and backward"}
    link = dataclasses.replace(topology.link("path1"), middleboxes=middlebox.parse(texts["middleboxes"]))
    forward = dataclasses.replace(link.forward, middleboxes=middlebox.parse("delay 5ms data every 10"))
    topology = topology.with_link(dataclasses.replace(link, forward=forward))
    tables = carried_out(experiment(own(topology)), tmp_path).record.tables
    rows = {(row["place"], row["number"], row["direction"]): row for row in tables["middleboxes"]}
    assert set(rows) == {
        ("link", 1, "forward"),
        ("link", 1, "backward"),
        ("link", 2, "forward"),
        ("link", 2, "backward"),
        ("forward", 1, "forward"),
    }
    assert {row["link"] for row in rows.values()} == {"path1"}
    assert sum(rows["link", 1, way]["dropped"] for way in WAYS) == 1
    assert (rows["link", 2, "forward"]["made"], rows["link", 2, "backward"]["made"]) == (0, 1)
    delayed = rows["forward", 1, "forward"]
    assert delayed["middlebox"] == "delay 5ms data every 10"
    assert delayed["delayed"] == delayed["matched"] > 5
    assert flow_of(carried_out(experiment(own(topology)), tmp_path / "again"))["integrity"] == "ok"


def test_a_flow_that_asks_for_mptcp_and_falls_back_makes_the_trial_invalid(tmp_path: Path) -> None:
    outcome = carried_out(experiment(own(network(middleboxes=(StripOption("mptcp"),)))), tmp_path)
    assert outcome.verdict == "INVALID"
    assert "fell back to TCP" in outcome.reason


def test_kernels_and_programs_are_left_out_with_what_they_need(tmp_path: Path) -> None:
    kernel = mptcp("kernel", "Linux.", network())
    side = Endpoint(implementation="userspace")
    program = Variant(
        name="program", summary="", topology=network(), flows=(Flow(application=Program(), client=side, server=side),)
    )
    made, obstacles = sim_runner.runnable(experiment(kernel, program, own(network())))
    assert [variant.name for variant in made.variants] == ["own"]
    assert obstacles == {
        "kernel": "linux needs --backend mininet",
        "program": "unmodified programs need --backend mininet",
    }
    with pytest.raises(Unsupported, match="needs --backend mininet"):
        sim_runner.runnable(experiment(kernel))


def test_trials_side_by_side_are_the_trials_one_after_the_other(tmp_path: Path) -> None:
    made = experiment(own(network()), tcp("plain", network(), "path1", stack="userspace"), repetitions=2, capture=True)
    runs = []
    for jobs in (1, 2):
        document = {
            "experiment": {},
            "plan": [trial.as_row() for trial in plan.trials(made)],
            "seed": 1,
            "backend": "sim",
            "command": [],
            "source": {"commit": None, "dirty": None},
            "versions": {},
            "machine": {},
            "kernel": {},
            "sysctls": {},
        }
        with RunDirectory.create(tmp_path / str(jobs), made.name, "0" * 64, document) as directory:
            sim_runner.carry_out(made, plan.trials(made), directory, jobs, lambda _message: None)
            directory.complete()
        runs.append(directory)
    for name in ("flows", "subflows", "samples", "counters", "links", "events"):
        assert runs[0].read_table(name).equals(runs[1].read_table(name)), name
    captures = sorted(path.relative_to(runs[0].path) for path in runs[0].path.glob("captures/*/*.pcap"))
    assert len(captures) == 4 * 4
    assert all((runs[0].path / name).read_bytes() == (runs[1].path / name).read_bytes() for name in captures)


def test_every_middlebox_value_has_a_behaviour() -> None:
    assert set(BEHAVIOURS) == set(middlebox.MIDDLEBOX_KINDS.values())
