"""V1: the kernel's selftest of aggregation, by its own bound, with our stack in virtual time and with this kernel.

``experiments/simult_flows.py`` has the rows, the bound and why; it also keeps rows that the selftest gave up.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from experiments.claims import CLAIMS
from experiments.ingredients import SECOND, Stack, mptcp
from experiments.simult_flows import CUBIC, LARGE_BYTES, SETTLE_NS, SMALL_BYTES, bound_ns
from testbed.orchestrator.spec import Bulk, Expectation, Experiment, PathManager, Variant
from topologies.quantity import format_time
from topologies.simult_flows import CASES, simult_flows

DIRECTIONS = {"large-up": (LARGE_BYTES, SMALL_BYTES), "large-down": (SMALL_BYTES, LARGE_BYTES)}
"""Which way the 16 MiB go; 80 KiB go the other way at the same time."""
STACKS: Mapping[Stack, tuple[str, ...]] = {"userspace": ("large-up", "large-down"), "linux": ("large-up",)}
"""Stack -> directions. The kernel takes a minute for each; ``testbed run simult_flows`` has both."""


def v1_simult_flows() -> Experiment:
    """Today's five rows of the selftest, each of the two stacks."""
    variants = tuple(_variants())
    return Experiment(
        name="v1-simult-flows",
        question="Do both stacks keep the time limit of the kernel's selftest of aggregation?",
        variants=variants,
        repetitions=1,
        duration_ns=30 * SECOND,
        claims=(CLAIMS["V1"],),
        expectations=tuple(_expectation(variant) for variant in variants),
    )


def _variants() -> Iterator[Variant]:
    for stack, directions in STACKS.items():
        for row, parameters in CASES.items():
            for direction in directions:
                upload, download = DIRECTIONS[direction]
                name = f"{row.replace('_', '-')}-{direction}"
                variant = mptcp(
                    f"{name}/{stack}",
                    f"simult_flows row {name}, {stack} at both ends.",
                    simult_flows(**parameters),  # type: ignore[arg-type]  # the rows set no families
                    Bulk(direction="both", size_bytes=upload, reverse_size_bytes=download, settle_ns=SETTLE_NS),
                    congestion_control=CUBIC,
                    path_manager=PathManager(mode="subflow"),
                    stacks=(stack, stack),
                )
                yield dataclasses.replace(
                    variant,
                    only_on="sim" if stack == "userspace" else None,
                    factors=(("row", name), ("stack", stack)),
                )


def _expectation(variant: Variant) -> Expectation:
    row, stack = (level for _, level in variant.factors)
    links = [variant.topology.link(name).forward.rate_bit_s or 0 for name in ("path1", "path2")]
    bound = bound_ns(links[0], links[1])
    return Expectation(
        variant=variant.name,
        metric="completion_time_ns",
        statistic="max",
        at_most=bound,
        because="the bound of simult_flows.sh: 90 % of the sum of the rates, two joins of 200 ms, 50 ms of slack",
        claim="V1",
        says=f"row {row}, {stack} at both ends: {{value}}, of {format_time(bound)} that the selftest allows",
    )
