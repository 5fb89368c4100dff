"""Flows and variants that several experiments start from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

from testbed.orchestrator.spec import Application, Bulk, Endpoint, Flow, Implementation, PathManager, Variant
from topologies.link_profile import LinkProfile
from topologies.model import Topology
from topologies.two_path import two_path

MBIT = 1_000_000
MS = 1_000_000
SECOND = 1_000_000_000

UPLOAD = Bulk(direction="upload")

RENO = "reno"
"""Experiments on loss name their congestion control: a kernel's default is whatever its distributor chose, and Reno is
the one that every kernel has and that every host may choose (net.ipv4.tcp_allowed_congestion_control)."""


Stack = Literal["linux", "userspace"]
"""This kernel's stack, or our own, which also runs in the simulator."""

PLAIN: Mapping[Stack, Implementation] = {"linux": "linux-tcp", "userspace": "userspace-tcp"}
"""Stack -> the implementation that is its plain TCP."""


def endpoint(implementation: Implementation, congestion_control: str | None) -> Endpoint:
    """An endpoint of that implementation."""
    return Endpoint(implementation=implementation, congestion_control=congestion_control)


def tcp(
    name: str,
    topology: Topology,
    path: str,
    application: Application = UPLOAD,
    congestion_control: str | None = None,
    stack: Stack = "linux",
) -> Variant:
    """Plain TCP over one path: what MPTCP is compared with."""
    side = endpoint(PLAIN[stack], congestion_control)
    flow = Flow(application=application, client=side, server=side, path=path)
    return Variant(
        name=name,
        summary=f"Plain TCP over {path}." if stack == "linux" else f"Plain TCP of our own stack over {path}.",
        topology=topology,
        flows=(flow,),
        path_manager=PathManager(mode="none"),
    )


def mptcp(
    name: str,
    summary: str,
    topology: Topology,
    application: Application = UPLOAD,
    congestion_control: str | None = None,
    path_manager: PathManager | None = None,
    stacks: tuple[Stack, Stack] = ("linux", "linux"),
) -> Variant:
    """MPTCP over all paths, one subflow each; the trial is INVALID when one is missing. ``stacks``: client, server."""
    client, server = (endpoint(stack, congestion_control) for stack in stacks)
    return Variant(
        name=name,
        summary=summary,
        topology=topology,
        flows=(Flow(application=application, client=client, server=server),),
        path_manager=path_manager or PathManager(mode="signal"),
    )


def symmetric_paths() -> Topology:
    """Two equal paths, 20 Mbit/s and 10 ms one way each: what a sweep starts from."""
    path = LinkProfile(rate_bit_s=20 * MBIT, delay_ns=10 * MS)
    return two_path(path1=path, path2=path)


def sweep(networks: Mapping[str, tuple[str, Topology]]) -> tuple[Variant, ...]:
    """TCP over ``path1`` (``tcp-<key>``) and MPTCP over both paths (``mptcp-<key>``), with Reno, for each network.

    Of this kernel, and of our own stack (``userspace-tcp-<key>``, ``userspace-<key>``). A network is given with what is
    special about it.
    """
    variants: list[Variant] = []
    stacks: tuple[tuple[Stack, str, str], ...] = (
        ("linux", "tcp", "mptcp"),
        ("userspace", "userspace-tcp", "userspace"),
    )
    for stack, plain, multipath in stacks:
        for key, (words, topology) in networks.items():
            variants.append(tcp(f"{plain}-{key}", topology, "path1", congestion_control=RENO, stack=stack))
            variants.append(
                mptcp(
                    f"{multipath}-{key}",
                    f"MPTCP, {words} on both paths.",
                    topology,
                    congestion_control=RENO,
                    stacks=(stack, stack),
                )
            )
    return tuple(variants)


def on_links(topology: Topology, names: tuple[str, ...], **values: object) -> Topology:
    """``topology`` with these fields of LinkProfile set on the named links, in both directions."""
    for name in names:
        link = topology.link(name)
        forward: LinkProfile = dataclasses.replace(link.forward, **values)  # type: ignore[arg-type]
        backward: LinkProfile = dataclasses.replace(link.backward, **values)  # type: ignore[arg-type]
        topology = topology.with_link(dataclasses.replace(link, forward=forward, backward=backward))
    return topology
