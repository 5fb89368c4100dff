"""Reordering within a path, for TCP and for MPTCP, whose receiver reorders once more across paths."""

from __future__ import annotations

from experiments.ingredients import SECOND, on_links, sweep, symmetric_paths
from testbed.orchestrator.spec import Expectation, Experiment
from topologies.link_profile import Reordering

DEGREES = {"none": 0.0, "1pct": 0.01, "10pct": 0.1}
"""Word in a variant's name -> probability that a packet skips the delay and overtakes."""


def reordering() -> Experiment:
    """Packets that skip a 10 ms delay overtake some fifteen others at 20 Mbit/s."""
    networks = {
        word: (
            f"{probability:.0%} reordering",
            on_links(
                symmetric_paths(), ("path1", "path2"), reordering=Reordering(probability) if probability else None
            ),
        )
        for word, probability in DEGREES.items()
    }
    return Experiment(
        name="reordering",
        question="What does reordering within the paths cost TCP and MPTCP?",
        variants=sweep(networks),
        repetitions=3,
        duration_ns=6 * SECOND,
        expectations=tuple(
            Expectation(
                variant=f"{stack}-1pct",
                metric="goodput_bit_s",
                at_least=0.5,
                relative_to=(f"{stack}-none",),
                because="RACK (RFC 8985) and DSACK adapt to reordering; a stack that took each as loss would collapse",
            )
            for stack in ("tcp", "mptcp", "userspace-tcp", "userspace")
        ),
    )
