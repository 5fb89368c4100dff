"""What the experiments of the catalog state as evidence can be measured, and every claim they name has some."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from experiments.catalog import EXPERIMENTS, GROUPS, build
from experiments.claims import CLAIMS
from testbed.orchestrator.collectors.counters import read_counters
from testbed.orchestrator.spec import Experiment
from testbed.record.measure import parse_measure

STACK = Path(__file__).parents[2] / "testbed"
_COUNTER = re.compile(r'"((?:MPTcpExt|TcpExt|Tcp|Ip|Ip6|Icmp|Testbed)[A-Za-z0-9]+)"')


@cache
def built(name: str) -> Experiment:
    return build(name)


@cache
def known_counters() -> frozenset[str]:
    """Those of this kernel and those that our stack counts: of our stack, a name that it never counts reads 0."""
    sources = (path.read_text() for room in ("tcp", "mptcp") for path in (STACK / room).rglob("*.py"))
    return frozenset(read_counters()) | {name for text in sources for name in _COUNTER.findall(text)}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_has_evidence_of_exactly_the_claims_it_names(name: str) -> None:
    experiment = built(name)
    evidence = {expectation.claim for expectation in experiment.expectations if expectation.claim}
    assert {claim.id for claim in experiment.claims} == evidence
    assert all(CLAIMS.get(claim.id) == claim for claim in experiment.claims), "claims are those of the registry"


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_counter_watch_and_host_that_an_expectation_names_is_there(name: str) -> None:
    experiment = built(name)
    for expectation in experiment.expectations:
        measure = parse_measure(expectation.metric)
        topology = experiment.variant(expectation.variant).topology
        if measure.source == "counter":
            assert measure.at in {host.name for host in topology.hosts}, expectation.metric
            assert measure.name in known_counters(), expectation.metric
        if measure.source == "watched":
            link = topology.link(measure.at)
            boxes = (*link.middleboxes, *link.forward.middleboxes, *link.backward.middleboxes)
            assert measure.name in {getattr(box, "name", None) for box in boxes}, expectation.metric


def test_groups_are_made_of_experiments() -> None:
    assert {name for members in GROUPS.values() for name in members} <= EXPERIMENTS.keys()
