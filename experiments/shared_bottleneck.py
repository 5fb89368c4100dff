"""RFC 6356, goal 2: over a shared bottleneck, do all subflows together take no more than one TCP?"""

from __future__ import annotations

import dataclasses

from experiments.ingredients import RENO, SECOND, endpoint, mptcp, tcp
from testbed.orchestrator.spec import Bulk, Expectation, Experiment, Flow, PathManager, Variant
from topologies.shared_bottleneck import shared_bottleneck as network


def shared_bottleneck() -> Experiment:
    """A rival TCP crosses the same 20 Mbit/s; once against one TCP, once against two subflows."""
    topology = network()
    side = endpoint("linux-tcp", RENO)
    rival = Flow(
        name="rival",
        application=Bulk(direction="upload"),
        client=side,
        server=side,
        client_host="rival",
        server_host="rival_server",
    )

    def against_rival(variant: Variant) -> Variant:
        return dataclasses.replace(variant, flows=(*variant.flows, rival))

    return Experiment(
        name="shared_bottleneck",
        question="How much more than a competing TCP do two subflows take of a shared bottleneck?",
        variants=(
            against_rival(tcp("tcp", topology, "path1", congestion_control=RENO)),
            against_rival(
                mptcp(
                    "mptcp",
                    "MPTCP with two subflows through the same bottleneck.",
                    topology,
                    congestion_control=RENO,
                    path_manager=PathManager(mode="subflow"),
                )
            ),
        ),
        repetitions=3,
        duration_ns=20 * SECOND,
        expectations=(
            Expectation(
                variant="tcp",
                metric="goodput_bit_s",
                relative_to_flow="rival",
                at_least=0.5,
                at_most=2.0,
                because="two equal TCPs share; Reno's shares over some tens of seconds differ by less than two",
            ),
            Expectation(
                variant="mptcp",
                metric="goodput_bit_s",
                relative_to_flow="rival",
                at_least=1.2,
                at_most=4.0,
                because="the kernel couples no congestion windows (no LIA): two subflows take about two shares",
            ),
        ),
    )
