"""Random loss on both paths, from none to 5 %."""

from __future__ import annotations

from experiments.ingredients import SECOND, on_links, sweep, symmetric_paths
from testbed.orchestrator.spec import Expectation, Experiment
from topologies.link_profile import NoLoss, RandomLoss

LOSSES = {"0": 0.0, "0.5": 0.005, "1": 0.01, "2": 0.02, "5": 0.05}
"""Percent, as in a variant's name -> probability."""


def loss_sweep() -> Experiment:
    """Reno over 2 x 20 Mbit/s: its rate falls with the square root of the loss (Mathis et al., CCR 1997)."""
    networks = {
        f"loss{percent}": (
            f"{percent}% random loss",
            on_links(symmetric_paths(), ("path1", "path2"), loss=RandomLoss(probability) if probability else NoLoss()),
        )
        for percent, probability in LOSSES.items()
    }
    return Experiment(
        name="loss_sweep",
        question="How does random loss on both paths reduce the goodput of TCP and of MPTCP?",
        variants=sweep(networks),
        repetitions=3,
        duration_ns=6 * SECOND,
        expectations=tuple(
            Expectation(
                variant=f"{multipath}-loss{percent}",
                metric="goodput_bit_s",
                at_least=1.2,
                relative_to=(f"{plain}-loss{percent}",),
                because="two subflows with a congestion window each recover independently",
            )
            for plain, multipath in (("tcp", "mptcp"), ("userspace-tcp", "userspace"))
            for percent in LOSSES
        ),
    )
