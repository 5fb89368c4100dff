"""The networks that have a name: what ``testbed list topologies`` shows and an experiment or a user can ask for."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from topologies.dual_homed_server import dual_homed_server
from topologies.fat_tree import fat_tree
from topologies.model import Topology, TopologyError
from topologies.random_paths import random_paths
from topologies.satellite import satellite
from topologies.shared_bottleneck import shared_bottleneck
from topologies.simult_flows import simult_flows
from topologies.three_path import three_path
from topologies.two_path import two_path
from topologies.wifi_cellular import wifi_cellular


@dataclass(frozen=True, slots=True)
class Entry:
    """A builder and what it is for, in one line."""

    builder: Callable[..., Topology]
    summary: str

    def parameters(self) -> Mapping[str, inspect.Parameter]:
        """The builder's keyword parameters with their defaults."""
        return inspect.signature(self.builder).parameters


CATALOG: Mapping[str, Entry] = {
    "two_path": Entry(two_path, "two disjoint paths, each with its own bottleneck"),
    "three_path": Entry(three_path, "three disjoint paths of unequal delay"),
    "shared_bottleneck": Entry(shared_bottleneck, "two access paths and a competing TCP pair through one bottleneck"),
    "wifi_cellular": Entry(wifi_cellular, "WiFi with an outage beside LTE, unequal in both directions"),
    "dual_homed_server": Entry(dual_homed_server, "one client address, a second server address learned by ADD_ADDR"),
    "satellite": Entry(satellite, "a terrestrial and a geostationary path"),
    "fat_tree": Entry(fat_tree, "two pods of a data-centre fabric, multi-homed hosts"),
    "random_paths": Entry(random_paths, "one point of a space-filling design over rate, delay, queue and loss"),
    "simult_flows": Entry(simult_flows, "the kernel selftest's network: two links, one router, one server address"),
}
"""Name -> entry, in the order in which a newcomer should meet them."""


def build(name: str, **parameters: Any) -> Topology:
    """The topology of that name. Raises TopologyError for an unknown name or parameter and lists the near ones."""
    if name not in CATALOG:
        raise TopologyError(f"no topology is called {name!r}{_near(name, tuple(CATALOG))}")
    known = tuple(CATALOG[name].parameters())
    for parameter in parameters:
        if parameter not in known:
            raise TopologyError(f"topology {name} has no parameter {parameter!r}{_near(parameter, known)}")
    return CATALOG[name].builder(**parameters)


def _near(word: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(word, known, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(near)}?" if near else f"; there are {', '.join(known)}"
