"""The first experiment to run: two paths, TCP on one of them, MPTCP on both, of each stack and between them."""

from __future__ import annotations

from experiments.ingredients import MBIT, MS, SECOND, Stack, mptcp, tcp
from testbed.orchestrator.spec import Expectation, Experiment
from topologies.link_profile import LinkProfile
from topologies.two_path import two_path

STACKS: tuple[Stack, Stack] = ("userspace", "linux")


def quickstart() -> Experiment:
    """Two trials a variant, a few seconds each, with captures to look at, and the ledger of our own stack's options.

    A variant is named by the stacks of client and server. TCP runs on each path alone, too, in our own stack: the
    aggregation benefit compares with those.
    """
    topology = two_path(
        path1=LinkProfile(rate_bit_s=10 * MBIT, delay_ns=10 * MS),
        path2=LinkProfile(rate_bit_s=10 * MBIT, delay_ns=20 * MS),
    )
    pairs = [(client, server) for client in STACKS for server in STACKS]
    return Experiment(
        name="quickstart",
        question="Does MPTCP use both of two 10 Mbit/s paths where TCP uses one?",
        variants=(
            tcp("userspace-tcp", topology, "path1", stack="userspace"),
            tcp("userspace-tcp-path2", topology, "path2", stack="userspace"),
            *(
                mptcp(
                    f"{client}/{server}",
                    f"MPTCP, {client} to {server}, over both paths.",
                    topology,
                    stacks=(client, server),
                )
                for client, server in pairs
            ),
            tcp("tcp", topology, "path1"),
        ),
        repetitions=2,
        duration_ns=4 * SECOND,
        capture=True,
        ledger=True,
        expectations=tuple(
            Expectation(
                variant=f"{client}/{server}",
                metric="goodput_bit_s",
                at_least=1.5,
                relative_to=("tcp" if client == server == "linux" else "userspace-tcp",),
                because="two equal paths; the second subflow starts a round trip later and the run is short",
            )
            for client, server in pairs
        ),
    )
