"""The first experiment to run: two paths, TCP on one of them, MPTCP on both."""

from __future__ import annotations

from experiments.ingredients import MBIT, MS, SECOND, mptcp, tcp
from testbed.orchestrator.spec import Expectation, Experiment
from topologies.link_profile import LinkProfile
from topologies.two_path import two_path


def quickstart() -> Experiment:
    """Two trials a variant, a few seconds each, with captures to look at."""
    topology = two_path(
        path1=LinkProfile(rate_bit_s=10 * MBIT, delay_ns=10 * MS),
        path2=LinkProfile(rate_bit_s=10 * MBIT, delay_ns=20 * MS),
    )
    return Experiment(
        name="quickstart",
        question="Does MPTCP use both of two 10 Mbit/s paths where TCP uses one?",
        variants=(
            tcp("tcp", topology, "path1"),
            mptcp("mptcp", "MPTCP over both paths.", topology),
        ),
        repetitions=2,
        duration_ns=4 * SECOND,
        capture=True,
        expectations=(
            Expectation(
                variant="mptcp",
                metric="goodput_bit_s",
                at_least=1.5,
                relative_to=("tcp",),
                because="two equal paths; the second subflow starts a round trip later and the run is short",
            ),
        ),
    )
