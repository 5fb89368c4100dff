"""What MPTCP is first asked for: the sum of the paths."""

from __future__ import annotations

from experiments.ingredients import MBIT, MS, SECOND, mptcp, tcp
from testbed.orchestrator.spec import Expectation, Experiment
from topologies.link_profile import LinkProfile
from topologies.two_path import two_path

RATE_BIT_S = 20 * MBIT
PAYLOAD_SHARE = 1448 / 1514
"""TCP payload of a full Ethernet frame with timestamps: the ceiling of goodput over the rate of a link."""


def aggregation() -> Experiment:
    """2 x 20 Mbit/s, one way delays 10 ms and 30 ms."""
    topology = two_path(
        path1=LinkProfile(rate_bit_s=RATE_BIT_S, delay_ns=10 * MS),
        path2=LinkProfile(rate_bit_s=RATE_BIT_S, delay_ns=30 * MS),
    )
    single = ("tcp-path1", "tcp-path2")
    own = ("userspace-tcp-path1", "userspace-tcp-path2")
    return Experiment(
        name="aggregation",
        question="How much of the sum of two 20 Mbit/s paths does MPTCP deliver?",
        variants=(
            tcp(single[0], topology, "path1"),
            tcp(single[1], topology, "path2"),
            mptcp("mptcp", "MPTCP over both paths, the second address announced by the server.", topology),
            tcp(own[0], topology, "path1", stack="userspace"),
            tcp(own[1], topology, "path2", stack="userspace"),
            mptcp("userspace", "MPTCP of our own stack over both paths.", topology, stacks=("userspace", "userspace")),
        ),
        repetitions=3,
        duration_ns=8 * SECOND,
        expectations=(
            *(
                Expectation(
                    variant=multipath,
                    metric="goodput_bit_s",
                    at_least=1.8,
                    at_most=2.1,
                    relative_to=plain,
                    because="two equal rates add up; more than twice would mean that a link is not shaped",
                )
                for multipath, plain in (("mptcp", single), ("userspace", own))
            ),
            *(
                Expectation(
                    variant=name,
                    metric="goodput_bit_s",
                    at_least=0.85 * RATE_BIT_S,
                    at_most=1.01 * PAYLOAD_SHARE * RATE_BIT_S,
                    because="one bulk flow fills a link with a queue of one BDP; the ceiling is 1448/1514 of the rate",
                )
                for name in (*single, *own)
            ),
        ),
    )
