"""RFC 6356, goal 2: over a shared bottleneck, do all subflows together take no more than one TCP?"""

from __future__ import annotations

import dataclasses

from experiments.ingredients import PLAIN, RENO, SECOND, Stack, endpoint, mptcp, tcp
from testbed.orchestrator.spec import Bulk, Expectation, Experiment, Flow, PathManager, Variant
from topologies.shared_bottleneck import shared_bottleneck as network


def shared_bottleneck() -> Experiment:
    """A rival TCP crosses the same 20 Mbit/s; once against one TCP, once against two subflows.

    Of our own stack also with the coupled congestion control of RFC 6356, which the kernel has not.
    """
    topology = network()

    def against_rival(variant: Variant, stack: Stack = "linux") -> Variant:
        side = endpoint(PLAIN[stack], RENO)
        rival = Flow(
            name="rival",
            application=Bulk(direction="upload"),
            client=side,
            server=side,
            client_host="rival",
            server_host="rival_server",
        )
        return dataclasses.replace(variant, flows=(*variant.flows, rival))

    def own(name: str, words: str, congestion_control: str) -> Variant:
        variant = mptcp(
            name,
            f"MPTCP of our own stack, two subflows, {words}.",
            topology,
            congestion_control=congestion_control,
            path_manager=PathManager(mode="subflow"),
            stacks=("userspace", "userspace"),
        )
        return against_rival(variant, "userspace")

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
            against_rival(
                tcp("userspace-tcp", topology, "path1", congestion_control=RENO, stack="userspace"), "userspace"
            ),
            own("userspace", "uncoupled Reno", RENO),
            own("userspace-lia", "coupled by RFC 6356", "lia"),
        ),
        repetitions=3,
        duration_ns=20 * SECOND,
        expectations=(
            *(
                Expectation(
                    variant=name,
                    metric="goodput_bit_s",
                    relative_to_flow="rival",
                    at_least=0.5,
                    at_most=2.0,
                    because="two equal TCPs share; Reno's shares over some tens of seconds differ by less than two",
                )
                for name in ("tcp", "userspace-tcp")
            ),
            *(
                Expectation(
                    variant=name,
                    metric="goodput_bit_s",
                    relative_to_flow="rival",
                    at_least=1.2,
                    at_most=4.0,
                    because="uncoupled congestion windows (the kernel has no LIA): two subflows take about two shares",
                )
                for name in ("mptcp", "userspace")
            ),
            Expectation(
                variant="userspace-lia",
                metric="goodput_bit_s",
                relative_to_flow="rival",
                at_least=0.5,
                at_most=1.5,
                because="goal 2 of RFC 6356: all subflows together take no more than a single TCP, chance aside",
            ),
        ),
    )
