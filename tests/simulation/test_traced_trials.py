"""Whole trials over traced links in virtual time."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from experiments.ingredients import MS, mptcp
from testbed.orchestrator import plan, sim_trial
from testbed.orchestrator.spec import Bulk, Experiment
from topologies import traces
from topologies.link_profile import LinkProfile, QueueLimit
from topologies.model import Topology
from topologies.traces import from_bytes
from topologies.two_path import two_path

SECOND = 1000 * MS
SIZE = 2_000_000


def network(path1: traces.Trace, path2: traces.Trace) -> Topology:
    """Traces towards the server, plain wires with a delay back."""
    topology = two_path()
    for name, trace in (("path1", path1), ("path2", path2)):
        forward = LinkProfile(trace=trace, delay_ns=5 * MS, queue=QueueLimit(packets=200))
        link = dataclasses.replace(topology.link(name), forward=forward, backward=LinkProfile(delay_ns=5 * MS))
        topology = topology.with_link(link)
    return topology


def tables(topology: Topology, folder: Path) -> dict[str, list[Any]]:
    """Those of one upload of 2 MB."""
    variant = mptcp("own", "MPTCP.", topology, Bulk(size_bytes=SIZE), stacks=("userspace", "userspace"))
    made = Experiment(name="traced", question="Does it?", variants=(variant,), repetitions=1, duration_ns=20 * SECOND)
    for name in ("captures", "logs"):
        (folder / name).mkdir(parents=True)
    outcome = sim_trial.run_trial(made, plan.trials(made)[0], folder, lambda _phase, _s: None)
    assert outcome.verdict == "VALID", outcome.reason
    return {key: rows for key, rows in outcome.record.tables.items() if key != "trials"}


def test_a_transfer_goes_at_the_pace_of_its_traces_and_repeats(tmp_path: Path) -> None:
    topology = network(traces.load("lte_down"), traces.load("lte_up"))
    first, second = (tables(topology, tmp_path / name) for name in ("first", "second"))
    assert first == second
    delivered = {row["link"]: row for row in first["links"] if row["direction"] == "forward"}
    for name, trace in (("path1", "lte_down"), ("path2", "lte_up")):
        assert f"trace {traces.load(trace).text()}" in delivered[name]["profile"]
        shape = traces.load(trace).shape()
        assert isinstance(shape, traces.Opportunities)
        taken_ns = first["flows"][0]["completion_time_ns"]
        offered = 1514 * sum(at_ns < taken_ns for at_ns in shape.times_ns)
        assert 0.7 * offered < delivered[name]["bytes_delivered"] <= 1.02 * offered


def test_links_that_are_dead_in_turn_carry_the_connection_in_turn(tmp_path: Path) -> None:
    rows = ["time_ms,rate_mbit", *(f"{at},{10 * (at // 250 % 2 == 0)}" for at in range(0, 2000, 250)), "2000,"]
    other = ["time_ms,rate_mbit", *(f"{at},{10 * (at // 250 % 2 == 1)}" for at in range(0, 2000, 250)), "2000,"]
    pair = [from_bytes(name, "\n".join(lines).encode()) for name, lines in (("even", rows), ("odd", other))]
    found = tables(network(*pair), tmp_path / "turns")
    delivered = {row["link"]: row["bytes_delivered"] for row in found["links"] if row["direction"] == "forward"}
    assert all(0.35 < each / sum(delivered.values()) < 0.65 for each in delivered.values()), delivered
    assert 6_000_000 < found["flows"][0]["goodput_bit_s"] < 10_000_000
