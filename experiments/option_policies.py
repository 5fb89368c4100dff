"""What each option policy costs: the 40 octets under pressure, two-way data and losses on both paths."""

from __future__ import annotations

import dataclasses

from experiments.ingredients import RENO, SECOND, mptcp, on_links, symmetric_paths
from testbed.orchestrator.spec import Bulk, Expectation, Experiment, Variant
from topologies.link_profile import RandomLoss
from topologies.model import Topology

POLICIES = ("linux", "mptcp.org", "dense", "dense-32", "thin-maps", "split-segment", "drop-timestamps", "rfc2018")
"""Profiles of our own stack whose mappings never leave after their data, so that any receiver may read them."""


def option_policies() -> Experiment:
    """Both directions at once, so that data segments want SACK blocks, too; the ledger says what was displaced."""
    topology = on_links(symmetric_paths(), ("path1", "path2"), loss=RandomLoss(0.01))
    return Experiment(
        name="option_policies",
        question="What does it cost that timestamps, mapping and SACK blocks do not fit into 40 octets together?",
        variants=tuple(_variant(policy, topology) for policy in POLICIES),
        repetitions=3,
        duration_ns=6 * SECOND,
        ledger=True,
        expectations=tuple(
            Expectation(
                variant=policy,
                metric="goodput_bit_s",
                at_least=0.7,
                relative_to=("linux",),
                because="a policy changes which options ride, not which data; none may halve the goodput",
            )
            for policy in POLICIES
            if policy != "linux"
        ),
    )


def _variant(policy: str, topology: Topology) -> Variant:
    made = mptcp(
        policy,
        f"Both ends with the profile {policy}.",
        topology,
        application=Bulk(direction="both"),
        congestion_control=RENO,
        stacks=("userspace", "userspace"),
    )
    flows = tuple(
        dataclasses.replace(
            flow,
            client=dataclasses.replace(flow.client, profile=policy),
            server=dataclasses.replace(flow.server or flow.client, profile=policy),
        )
        for flow in made.flows
    )
    return dataclasses.replace(made, flows=flows)
