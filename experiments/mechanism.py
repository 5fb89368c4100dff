"""A situation in which a stack shows what it does, and what is to be seen in it: numbers with their reasons.

What experiments on mechanisms are made of. A number that is so of the kernel may be evidence of claims; the same of our
own stack with the profile ``linux`` checks that profile.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from experiments.ingredients import MBIT, MS, RENO, Stack
from testbed.orchestrator.claim import Speaks
from testbed.orchestrator.spec import Bulk, Endpoint, Expectation, Flow, PathManager, Variant
from topologies import middlebox
from topologies.link_profile import LinkProfile
from topologies.model import Family, Topology
from topologies.two_path import two_path

Evidence = tuple[tuple[str, Speaks], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A number that is as it is for a reason."""

    metric: str
    low: float | None = None
    high: float | None = None
    claims: Evidence = ()
    says: str
    because: str
    stacks: tuple[Stack, ...] = ("linux", "userspace")
    """Of whom it is so."""

    def of(self, variant: str, stack: Stack) -> Iterator[Expectation]:
        """For each claim that it is evidence of; our own stack's numbers are evidence of none."""
        claims: tuple[tuple[str | None, Speaks], ...] = self.claims if stack == "linux" else ()
        for claim, speaks in claims or ((None, "for"),):
            yield Expectation(
                variant=variant,
                metric=self.metric,
                at_least=self.low,
                at_most=self.high,
                statistic="min" if self.high is None else "max" if self.low is None else "median",
                claim=claim,
                speaks=speaks,
                under="Linux" if claim in ("S10", "S24") else "",
                says=self.says,
                because=self.because,
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Mechanism:
    """A situation and what is to be seen in it."""

    name: str
    summary: str
    topology: Topology
    application: Bulk
    seen: tuple[Seen, ...]
    subflows: PathManager = dataclasses.field(default_factory=lambda: PathManager(mode="none"))
    timestamps: bool = True
    checksum: bool | None = None
    stacks: tuple[Stack, ...] = ("linux", "userspace")

    def variant(self, stack: Stack) -> Variant:
        """The kernel at both ends, or our stack in virtual time."""
        side = Endpoint(
            implementation=stack,
            congestion_control=RENO,
            nodelay=self.application.write_interval_ns > 0,
            timestamps=self.timestamps,
            checksum=self.checksum,
        )
        return Variant(
            name=f"{self.name}/{stack}",
            summary=self.summary,
            topology=self.topology,
            flows=(Flow(application=self.application, client=side, server=side),),
            path_manager=self.subflows,
            only_on="mininet" if stack == "linux" else "sim",
        )


def network(
    path1: tuple[str, ...],
    path2: tuple[str, ...] = (),
    delay_ns: int = 10 * MS,
    family: Family = 4,
    rate_bit_s: int | None = 20 * MBIT,
) -> Topology:
    """Two paths with these middleboxes on them. Without a rate where nothing depends on it: less to disturb."""
    wire = LinkProfile(rate_bit_s=rate_bit_s, delay_ns=delay_ns)
    topology = two_path(path1=wire, path2=wire, families=(family,))
    for name, texts in (("path1", path1), ("path2", path2)):
        boxes = middlebox.parse(", ".join(texts) or "none")
        topology = topology.with_link(dataclasses.replace(topology.link(name), middleboxes=boxes))
    return topology
