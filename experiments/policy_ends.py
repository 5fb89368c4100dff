"""Two ends that differ in their option policies, over two narrow paths: what the experiments on policies share."""

from __future__ import annotations

import dataclasses
from typing import Literal

from experiments.ingredients import MBIT, MS, RENO, on_links
from testbed.orchestrator.spec import Application, Endpoint, Flow, PathManager, Variant
from topologies import middlebox
from topologies.link_profile import LinkProfile, Loss, NoLoss, RandomLoss, Reordering
from topologies.model import Family, Topology
from topologies.two_path import two_path

PATHS = ("path1", "path2")
LOSS = RandomLoss(0.05)
"""Of each path and direction: many a window has two holes, and a window of Reno at this loss is five packets or so."""
REORDERING = Reordering(0.02)
"""Share of packets that skip the delay, and so overtake what is on the way: SACK blocks without a loss."""

Side = Literal["client", "server"]


def narrow_paths(
    loss: Loss | None = None,
    reordering: Reordering | None = None,
    boxes: str = "none",
    families: tuple[Family, ...] = (4,),
) -> Topology:
    """10 Mbit/s and 10 ms one way on each: few packets per trial, so that many trials can be had. ``boxes`` stand on
    both paths."""
    path = LinkProfile(rate_bit_s=10 * MBIT, delay_ns=10 * MS)
    topology = on_links(
        two_path(path1=path, path2=path, families=families), PATHS, loss=loss or NoLoss(), reordering=reordering
    )
    return with_boxes(topology, dict.fromkeys(PATHS, boxes))


def with_boxes(topology: Topology, boxes: dict[str, str]) -> Topology:
    """Middleboxes on these links, that see both directions."""
    for name, text in boxes.items():
        link = dataclasses.replace(topology.link(name), middleboxes=middlebox.parse(text))
        topology = topology.with_link(link)
    return topology


def ours(
    profile: str = "linux",
    receiver: str | None = None,
    policies: tuple[str, ...] = (),
    timestamps: bool | None = None,
    checksum: bool | None = None,
) -> Endpoint:
    """An end of our own stack, with Reno."""
    return Endpoint(
        implementation="userspace",
        congestion_control=RENO,
        profile=profile,
        receiver=receiver,
        policies=policies,
        timestamps=timestamps,
        checksum=checksum,
    )


def kernel(timestamps: bool | None = None, checksum: bool | None = None) -> Endpoint:
    """An end of this kernel, with Reno."""
    return Endpoint(implementation="linux", congestion_control=RENO, timestamps=timestamps, checksum=checksum)


def pair(
    name: str,
    summary: str,
    topology: Topology,
    application: Application,
    client: Endpoint,
    server: Endpoint,
    *,
    factors: tuple[tuple[str, str], ...] = (),
    situation: str = "",
    only_on: Literal["sim", "mininet"] | None = None,
    path_manager: PathManager | None = None,
    family: Literal[4, 6] | None = None,
) -> Variant:
    """One conversation of two ends over both paths; how many subflows it had is a result."""
    return Variant(
        name=name,
        summary=summary,
        topology=topology,
        flows=(Flow(application=application, client=client, server=server, family=family),),
        path_manager=path_manager or PathManager(mode="signal"),
        subflows=0,
        factors=factors,
        situation=situation,
        only_on=only_on,
    )
