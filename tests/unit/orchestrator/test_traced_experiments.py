"""Traces in whole experiments: set from text, stored, planned, drawn and reported."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from analysis.report.findings import path_capacities
from experiments.quickstart import quickstart
from experiments.walk import walk
from testbed.orchestrator import overrides
from testbed.orchestrator.netem import QdiscFeatures
from testbed.orchestrator.network_plan import plan_network
from testbed.orchestrator.spec import SpecificationError, from_json, to_json
from topologies import drawing, traces

HOWTO = Path(__file__).resolve().parents[3] / "docs" / "howto" / "replay-a-trace.md"


def test_a_trace_is_set_by_name_for_both_directions_or_one() -> None:
    changed = overrides.apply(quickstart(), ["path1.trace=walk_wifi", "path2.backward.trace=lte_down"])
    topology = changed.variants[0].topology
    path1, path2 = topology.link("path1"), topology.link("path2")
    assert path1.forward.trace == path1.backward.trace == traces.load("walk_wifi")
    assert (path2.forward.trace, path2.backward.trace) == (None, traces.load("lte_down"))
    still = overrides.apply(changed, ["path1.trace=none"]).variants[0].topology.link("path1")
    assert still.forward == path1.forward.untraced()


def test_an_error_in_a_file_is_shown_with_key_file_line_and_column(tmp_path: Path) -> None:
    file = tmp_path / "office.csv"
    file.write_text("time_s,rate\n0,10mbit\n1,12 foo\n")
    key = re.escape(f"--set path2.trace={file}: {file}:3:3: '12 foo' has no unit of rate")
    with pytest.raises(SpecificationError, match=key):
        overrides.apply(quickstart(), [f"path2.trace={file}"])


def test_a_stored_experiment_brings_its_traces_along(tmp_path: Path) -> None:
    file = tmp_path / "office.csv"
    file.write_text("time_s,rate_mbit\n0,10\n1,12\n")
    experiment = overrides.apply(quickstart(), [f"path2.trace={file} hold"])
    stored = json.dumps(to_json(experiment))
    file.unlink()
    assert from_json(json.loads(stored)) == experiment
    trace = experiment.variants[0].topology.link("path2").forward.trace
    assert trace is not None
    with pytest.raises(SpecificationError, match="it is another one"):
        from_json(json.loads(stored.replace(trace.sha256, "0" * 64)))


def test_a_traced_link_is_the_relays() -> None:
    topology = walk().variants[0].topology
    plan = plan_network(topology, qdiscs=QdiscFeatures(tbf=True, netem=True, netem_seed=True))
    assert {shaped.realisation for shaped in plan.shaped} == {"relay"}


def test_a_drawing_names_the_trace_and_the_report_claims_no_capacity() -> None:
    experiment = walk()
    text = drawing.as_text(experiment.variants[0].topology)
    assert "trace walk_wifi sha256:" in text
    variants = {variant["name"]: variant for variant in to_json(experiment)["variants"]}
    assert path_capacities(variants["mptcp"]) == []
    still = overrides.apply(experiment, ["wifi.trace=none", "cellular.trace=none"])
    variants = {variant["name"]: variant for variant in to_json(still)["variants"]}
    assert len(path_capacities(variants["mptcp"])) == 2


def test_the_example_of_the_howto_is_a_trace() -> None:
    (csv,) = re.findall(r"```\n(time_s, .*?)```", HOWTO.read_text(), re.DOTALL)
    shape = traces.from_bytes("howto", csv.encode()).shape()
    assert isinstance(shape, traces.Steps)
    assert shape.rate_bit_s == ((0, 20_000_000), (500_000_000, 12_500_000), (1_500_000_000, 0))
    assert shape.period_ns == 2_000_000_000
    for name in re.findall(r"trace=([a-z_]+)\b(?![/.])", HOWTO.read_text()):
        assert name in (*traces.SHIPPED, "measured", "none")
