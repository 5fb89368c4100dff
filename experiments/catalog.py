"""Every experiment by name. Importing this runs nothing; a builder makes a value."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping

from experiments.aggregation import aggregation
from experiments.fallback_integrity import fallback_integrity
from experiments.handover import handover
from experiments.loss_sweep import loss_sweep
from experiments.middleboxes import middleboxes
from experiments.option_policies import option_policies
from experiments.quickstart import quickstart
from experiments.reordering import reordering
from experiments.shared_bottleneck import shared_bottleneck
from experiments.simult_flows import simult_flows
from experiments.walk import walk
from testbed.orchestrator.spec import Experiment, SpecificationError

EXPERIMENTS: Mapping[str, Callable[[], Experiment]] = {
    "quickstart": quickstart,
    "aggregation": aggregation,
    "handover": handover,
    "walk": walk,
    "reordering": reordering,
    "loss_sweep": loss_sweep,
    "shared_bottleneck": shared_bottleneck,
    "simult_flows": simult_flows,
    "option_policies": option_policies,
    "middleboxes": middleboxes,
    "fallback_integrity": fallback_integrity,
}


def build(name: str) -> Experiment:
    """The experiment of that name. Raises SpecificationError that lists the near names."""
    if name not in EXPERIMENTS:
        near = difflib.get_close_matches(name, EXPERIMENTS, n=3, cutoff=0.4) or list(EXPERIMENTS)
        raise SpecificationError(f"there is no experiment {name!r}; near ones: {', '.join(near)}")
    return EXPERIMENTS[name]()
